"""The command `reembed`: has a collection embedded by another model and makes that version the active one."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING

from retrieval.cli.progress import shown_counts
from retrieval.client.reembedding import Wanted, reembed

if TYPE_CHECKING:
    from retrieval.config import Settings

log = logging.getLogger("retrieval.reembed")


def add_reembed_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command, but for where the service is."""
    parser.add_argument("collection")
    parser.add_argument("--model", required=True, help="model that the server, or a worker, embeds texts with")
    parser.add_argument("--dimension", required=True, type=_positive, help="components of its vectors")
    parser.add_argument(
        "--resolutions", type=_resolutions, default=(), metavar="D[,D...]", help="prefixes that get an index each"
    )
    parser.add_argument(
        "--chunk-characters",
        type=_positive,
        default=0,
        metavar="N",
        help="embed longer texts in parts of so many",
    )
    parser.add_argument("--no-activate", action="store_true", help="leave the active version as it is")


async def run_reembed(_settings: Settings, options: argparse.Namespace) -> int:
    """Go on until the version is complete; the exit code is 1 where texts could not be embedded."""
    wanted = Wanted(
        options.collection,
        options.model,
        options.dimension,
        options.resolutions,
        activate=not options.no_activate,
        chunk_characters=options.chunk_characters,
    )
    with shown_counts(log) as show:
        done = await reembed(options.target, wanted, show, options.ca)
    sys.stdout.write(
        f"version {done.version} of {options.collection} is {'active' if done.active else 'complete'}: "
        f"{done.embedded} of {done.total} texts are embedded\n"
    )
    if done.dead:
        log.warning("%d texts failed for good; ListFailedEmbeddingJobs shows why", done.dead)
    return 1 if done.dead else 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


def _resolutions(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))
