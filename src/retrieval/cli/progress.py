"""Shows how far something is: bars on a terminal, log lines on a pipe."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from retrieval.cli.terminal import console

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator

_LOG_EVERY_S = 2.0


class _LogProgress:
    """A line every two seconds, and one at the end of each part."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._last = 0.0
        self._said = ("", 0, 0)

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        due = done == total or now - self._last >= _LOG_EVERY_S
        if due and (what, done, total) != self._said:
            self._last, self._said = now, (what, done, total)
            self._log.info("%s: %d of %d", what, done, total)


@contextmanager
def shown_counts(log: logging.Logger) -> Iterator[Callable[[str, int, int], None]]:
    """What is to be told (what, done, total) while the block runs."""
    if not console.is_terminal:
        yield _LogProgress(log)
        return
    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what)
            bars.update(tasks[what], completed=done, total=total)

        yield show


@contextmanager
def shown_line(log: logging.Logger) -> Iterator[Callable[[str], None]]:
    """What is to be told in words while the block runs: a line that changes, or a log line every two seconds."""
    if console.is_terminal:
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
        ) as bars:
            task = bars.add_task("starting")
            yield lambda text: bars.update(task, description=text)
        return
    last = time.monotonic()

    def note(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOG_EVERY_S:
            last = time.monotonic()
            log.info("%s", text)

    yield note
