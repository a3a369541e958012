"""Shows how much of something is done: bars on a terminal, log lines on a pipe."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from retrieval.cli.terminal import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger("retrieval.progress")
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


@contextmanager
def counting() -> Iterator[Callable[[str, int, int], None]]:
    """Takes (what, how much is done, of how much)."""
    if not console.is_terminal:
        yield _LogProgress()
        return
    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what)
            bars.update(tasks[what], completed=done, total=total)

        yield show
