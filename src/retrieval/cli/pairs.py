"""The commands `generate-pairs` and `export-pairs`."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from retrieval.cli.progress import shown_line
from retrieval.client.pairs import generate_request, pair_service, stream_request
from retrieval.config import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from retrieval.cli.pair_files import PairFolder
    from retrieval.client.pairs import Columns
    from retrieval.config import Settings

log = logging.getLogger("retrieval.training")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LABELS = {"both": None, "positive": True, "negative": False}


def add_generate_arguments(parser: argparse.ArgumentParser) -> None:
    """What `generate-pairs` takes, beside where the service is."""
    parser.add_argument("collection")
    parser.add_argument("--model-version", required=True, help="what the pairs are for")
    parser.add_argument("--start", required=True, type=_moment, metavar="TIME", help="first moment, e.g. 2026-01-31")
    parser.add_argument("--end", required=True, type=_moment, metavar="TIME", help="moment behind the last")
    parser.add_argument("--negatives", type=int, default=4, metavar="N", help="negatives for each positive (4)")
    parser.add_argument("--history", type=int, default=50, metavar="N", help="events in a history (50)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="chooses among the negatives (0)")
    parser.add_argument("--run-id", default="", metavar="ID", help="go on with this run; default: a new one")


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """What `export-pairs` takes, beside where the service is."""
    parser.add_argument("collection")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the Parquet parts")
    parser.add_argument("--model-version", required=True, help="what the pairs were made for")
    parser.add_argument("--label", choices=sorted(LABELS), default="both")
    parser.add_argument("--since", type=_moment, metavar="TIME", help="only interactions from this moment on")
    parser.add_argument("--part-pairs", type=_positive, default=50_000, metavar="N", help="pairs in a part (50000)")


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


def _moment(text: str) -> int:
    """Microseconds since the epoch of an ISO 8601 date or time; UTC where it does not say."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date or time like 2026-01-31T12:00") from error
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)
