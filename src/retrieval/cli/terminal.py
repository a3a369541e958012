"""What goes to the terminal: one console, so that log lines and progress bars do not write over each other."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.logging import RichHandler

console = Console(stderr=True)


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
    # httpx would have a line for each batch of texts, faiss one for each kind of processor that it is not built for.
    for chatty in ("httpx", "faiss.loader"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
