"""What goes to the terminal: one console, so that log lines and progress bars do not write over each other."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

console = Console(stderr=True)
_LOG_EVERY_S = 2.0


def configure_logging(level: str, worker: int | None = None) -> None:
    """Log to standard error: plain lines on a pipe, short ones on a terminal. `worker`: a number for each line."""
    number = "" if worker is None else f"worker={worker} "
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False, highlighter=None)
        form = f"{number}%(message)s"
    else:
        handler = logging.StreamHandler()
        form = f"%(asctime)s %(levelname)s {number}%(name)s %(message)s"
    handler.setFormatter(logging.Formatter(form))
    logging.basicConfig(level=level, handlers=[handler])
    # It would have a line for each batch of texts.
    logging.getLogger("httpx").setLevel(logging.WARNING)


@contextmanager
def progress(log: logging.Logger) -> Iterator[Callable[[str], None]]:
    """Shows how far it is: a line that changes on a terminal, a log line every two seconds on a pipe."""
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
