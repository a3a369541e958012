"""The commands `attach`, `attached`, `resync` and `detach`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from retrieval.cli.progress import shown_counts
from retrieval.client.attachments import FAILED, AttachmentState, attachment_service
from retrieval.config import UsageError
from retrieval.domain.errors import FailedPreconditionError

if TYPE_CHECKING:
    import argparse

    from retrieval.client.attachments import AttachedTable, AttachmentService
    from retrieval.config import Settings


log = logging.getLogger("retrieval.attach")


async def run_attach(settings: Settings, options: argparse.Namespace) -> int:
    """Attach a table and wait until its rows are items; run again, it goes on waiting."""
    try:
        binding = options.binding.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{options.binding} cannot be read: {error}") from error
    async with attachment_service(options.target, settings.admin_token, options.ca) as service:
        table = await service.attach(options.collection, binding)
        if table is None:
            sys.stdout.write("it is attached already; detach it first to bind it otherwise\n")
            return 0
        return 0 if options.no_wait else await _wait(service, options.collection, table.relation)


async def run_resync(settings: Settings, options: argparse.Namespace) -> int:
    """Have a table read again and wait until items and rows are in step."""
    async with attachment_service(options.target, settings.admin_token, options.ca) as service:
        table = await service.resync(options.collection, options.relation)
        return await _wait(service, options.collection, table.relation)


async def run_attached(settings: Settings, options: argparse.Namespace) -> int:
    """Print what a collection follows."""
    async with attachment_service(options.target, settings.admin_token, options.ca) as service:
        tables = await service.tables(options.collection)
    for table in tables:
        _print(table)
    return 0


async def run_detach(settings: Settings, options: argparse.Namespace) -> int:
    """Follow a table no more."""
    async with attachment_service(options.target, settings.admin_token, options.ca) as service:
        deleted = await service.detach(options.collection, options.relation, delete_items=options.delete_items)
    sys.stdout.write(f"detached; {deleted} items deleted\n")
    return 0


async def _wait(service: AttachmentService, collection: str, relation: str) -> int:
    with shown_counts(log) as show:
        done = await service.follow(
            collection, relation, lambda t: show("rows", t.rows_done, max(t.rows_total, t.rows_done))
        )
    if done.state == FAILED:
        raise FailedPreconditionError(f"{relation} cannot be followed: {done.error}", reason="ATTACHMENT_FAILED")
    _print(done)
    return 0


def _print(table: AttachedTable) -> None:
    state = AttachmentState.Name(table.state).removeprefix("ATTACHMENT_STATE_").lower()
    sys.stdout.write(
        f"{table.relation}: {state}, {table.rows_done} rows read, {table.waiting_changes} changes waiting, "
        f"{table.problem_count} problems{f'; {table.error}' if table.error else ''}\n"
    )
    for problem in table.problems:
        sys.stdout.write(f"  {problem.item_id}: {problem.problem}\n")
