"""Loads a catalogue with progress: bars on a terminal, log lines on a pipe."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from retrieval.cli.terminal import console
from retrieval.client.loading import load_folder
from retrieval.embedding.wordllama import WordLlamaEmbedder

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.config import Settings

log = logging.getLogger("retrieval.load")
_LOG_EVERY_S = 2.0


class _LogProgress:
    """A line every two seconds, and one at the end of each part."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self._last >= _LOG_EVERY_S:
            self._last = now
            log.info("%s: %d of %d", what, done, total)


async def load_catalogue(target: str, folder: Path, settings: Settings, ca: Path | None = None) -> None:
    """Load `folder` into the service at `target`. `ca`: see `open_channel`."""
    if console.is_terminal:
        columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as bars:
            tasks: dict[str, TaskID] = {}

            def show(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what)
                bars.update(tasks[what], completed=done, total=total)

            await load_folder(target, folder, settings.data_dir, WordLlamaEmbedder, show, ca)
    elif not await load_folder(target, folder, settings.data_dir, WordLlamaEmbedder, _LogProgress(), ca):
        log.info("%s is loaded already", folder)


def collection_name(folder: Path) -> str:
    """The name of the collection that a catalogue fills."""
    text = (folder / "collection.json").read_text(encoding="utf-8")
    return str(json.loads(text)["collection"]["name"])
