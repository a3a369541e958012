"""The command `build-segment`: builds one segment of the FAISS cache, with progress, at low priority."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from rich.status import Status

from retrieval.bootstrap import build_segment
from retrieval.cli.terminal import console
from retrieval.domain.errors import FailedPreconditionError
from retrieval.faiss_cache.build_process import VERSION_EMPTY

if TYPE_CHECKING:
    import argparse

    from retrieval.config import Settings
    from retrieval.faiss_cache.build import BuildReport

log = logging.getLogger("retrieval.cache")

NICENESS = 15
"""The build takes what searches leave of the cores."""
_LOG_EVERY_S = 5.0


async def run_build_segment(settings: Settings, options: argparse.Namespace) -> int:
    """Build; the exit code is 0 once the segment is published, and `VERSION_EMPTY` for a parent that asked in vain."""
    os.nice(NICENESS)
    if options.attached:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    started = time.monotonic()
    with Status(f"building a segment of {options.collection}", console=console) as status:
        last = [started]

        def report(progress: BuildReport) -> None:
            line = f"{options.collection}: {progress.phase}, {progress.done:.0%}"
            if console.is_terminal and not options.attached:
                status.update(line)
            elif time.monotonic() - last[0] > _LOG_EVERY_S:
                last[0] = time.monotonic()
                log.info("%s", line)

        try:
            manifest = await asyncio.shield(build_segment(settings, options.collection, options.version, report))
        except FailedPreconditionError as error:
            if options.attached and error.reason == "VERSION_EMPTY":
                return VERSION_EMPTY  # the parent knows what to do
            raise
    log.info(
        "collection %s: segment %d of version id %d built: %d rows, %.0f MB, %s on %d components, %.1f s",
        options.collection,
        manifest.generation,
        manifest.version_id,
        manifest.rows,
        manifest.size_bytes / 1e6,
        manifest.kind,
        manifest.dimension,
        time.monotonic() - started,
    )
    return 0


def _end_with_parent() -> None:
    """The parent holds the other end of standard input; when it is gone, so is the need for the segment."""
    # Not through sys.stdin, whose lock would be held when the interpreter ends.
    while os.read(0, 1024):
        pass
    os._exit(1)
