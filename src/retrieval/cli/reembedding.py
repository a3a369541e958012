"""The command `reembed`: has a collection embedded by another model and makes that version the active one."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from retrieval.cli.progress import shown_counts
from retrieval.client.reembedding import Wanted, reembed

if TYPE_CHECKING:
    import argparse

    from retrieval.config import Settings

log = logging.getLogger("retrieval.reembed")


async def run_reembed(_settings: Settings, options: argparse.Namespace) -> int:
    """Go on until the version is complete; the exit code is 1 where texts could not be embedded."""
    wanted = Wanted(
        options.collection,
        options.model,
        options.dimension,
        options.resolutions,
        activate=not options.no_activate,
        chunk_characters=options.chunk_characters,
        by_worker=options.worker,
        patience_s=options.patience,
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
