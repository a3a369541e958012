"""The commands `generate-pairs` and `export-pairs`."""

from __future__ import annotations

import logging
import sys
from contextlib import aclosing
from importlib.util import find_spec
from typing import TYPE_CHECKING
from uuid import uuid4

from retrieval.cli.arguments import LABELS
from retrieval.cli.progress import shown_line
from retrieval.client.pairs import generate_request, pair_service, stream_request
from retrieval.config import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable

    from retrieval.cli.pair_files import PairFolder
    from retrieval.client.pairs import Columns
    from retrieval.config import Settings

log = logging.getLogger("retrieval.training")


async def run_generate(settings: Settings, options: argparse.Namespace) -> int:
    """Make the pairs of a window and print what became of it."""
    run_id = options.run_id or uuid4().hex
    log.info("run %s; interrupted, it goes on with --run-id %s", run_id, run_id)
    request = generate_request(
        options.collection,
        options.model_version,
        (options.start, options.end),
        run_id,
        negatives_per_positive=options.negatives,
        history_length=options.history,
        seed=options.seed,
    )
    async with pair_service(options.target, settings.admin_token, options.ca) as service:
        with shown_line(log) as show:
            done = await service.generate(
                request,
                lambda reply: show(
                    f"run {reply.run_id}: {reply.user_count} users, {reply.positive_count} positive and "
                    f"{reply.negative_count} negative pairs"
                ),
            )
    sys.stdout.write(
        f"run {done.run_id} is complete: {done.user_count} users, {done.positive_count} positive and "
        f"{done.negative_count} negative pairs; {done.skipped_count} interactions without a fitting item, "
        f"{done.truncated_user_count} users with too many events\n"
    )
    return 0


async def run_export(settings: Settings, options: argparse.Namespace) -> int:
    """Write the pairs of a model version into Parquet parts, going on where an earlier export was interrupted."""
    if find_spec("pyarrow") is None:
        raise SettingsError("export-pairs needs pyarrow: pip install 'retrieval-service[train]'")
    from retrieval.cli.pair_files import PairFolder  # noqa: PLC0415  (optional extra, and slow to import)

    async with pair_service(options.target, settings.admin_token, options.ca) as service:
        export = {
            "collection": options.collection,
            "created_at": await service.identity(options.collection),
            "model_version": options.model_version,
            "label": options.label,
            "since": options.since,
        }
        folder = PairFolder(options.out, export)
        before = folder.rows
        if before:
            log.info("%s has %d pairs already; going on behind them", options.out, before)
        request = stream_request(
            options.collection, options.model_version, LABELS[options.label], options.since, folder.resume_token
        )
        async with aclosing(service.stream(request)) as batches:
            with shown_line(log) as show:
                await _write(batches, folder, options.part_pairs, show)
    sys.stdout.write(
        f"{folder.rows} pairs in {folder.next_part} parts at {options.out}, {folder.rows - before} of them new\n"
    )
    return 0


async def _write(
    batches: AsyncIterator[tuple[Columns, str]], folder: PairFolder, part_pairs: int, show: Callable[[str], None]
) -> None:
    """Part after part, each of `part_pairs` pairs and what is left of its last batch."""
    full = True
    while full:
        full = False
        with folder.part() as part:
            async for columns, token in batches:
                part.write(columns, token)
                show(f"{folder.rows + part.rows} pairs, part {folder.next_part}")
                if part.rows >= part_pairs:
                    full = True
                    break
