"""Failures to accept a connection come in their hundreds: one line a while tells how many, and what helps."""

from __future__ import annotations

import logging
import time

EVERY_S = 60.0
_FAILED = "accept failed"


class AcceptFilter(logging.Filter):
    """Lets one failed accept through every `EVERY_S`, with a count and advice; other records pass."""

    def __init__(self) -> None:
        super().__init__()
        self._told_at = -EVERY_S
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        text = record.getMessage()
        if _FAILED not in text:
            return True
        self._count += 1
        now = time.monotonic()
        if now - self._told_at < EVERY_S:
            return False
        record.msg = "%s; %d times since the last such line; where files run out, raise their limit (ulimit -n)"
        record.args = (text, self._count)
        self._told_at, self._count = now, 0
        return True


ACCEPT_FILTER = AcceptFilter()
