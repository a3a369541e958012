"""How much time the call in progress has left.

The transport sets the deadline once per call and cancels the handler when it passes; use cases read it to decide
whether another round is worth starting.
"""

from __future__ import annotations

import time
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def set_remaining_s(remaining_s: float | None) -> None:
    """Set the deadline of this context to `remaining_s` seconds from now; None: no deadline."""
    _deadline.set(None if remaining_s is None else time.monotonic() + remaining_s)


def remaining_s() -> float:
    """Seconds left in this context; infinite without a deadline."""
    deadline = _deadline.get()
    return float("inf") if deadline is None else deadline - time.monotonic()
