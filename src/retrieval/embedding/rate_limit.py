"""Keeps requests within what a provider allows in a minute."""

from __future__ import annotations

import asyncio
import time

BURST_S = 6.0
"""So much of the allowance may be used at once: a tenth of a minute, since providers enforce shorter windows too."""
BYTES_PER_TOKEN = 4
"""A rule of thumb for English (OpenAI, "What are tokens and how to count them?"): counting takes the tokenizer."""


class RateLimiter:
    """Requests and tokens a minute; 0: no limit.

    The generic cell rate algorithm (ITU-T I.371): each request moves the time at which the allowance is used up, and
    waits where that lies further ahead than the burst.
    """

    def __init__(self, requests_per_minute: int, tokens_per_minute: int) -> None:
        self._request_s = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._token_s = 60.0 / tokens_per_minute if tokens_per_minute else 0.0
        self._requests_until = 0.0
        self._tokens_until = 0.0
        self._paused_until = 0.0

    async def admit(self, byte_count: int, *, urgent: bool) -> None:
        """Return when a request of so many bytes may go out; an urgent one may at once, others make up for it."""
        wait_s = self.reserve(byte_count, time.monotonic())
        if not urgent and wait_s > 0:
            await asyncio.sleep(wait_s)

    def reserve(self, byte_count: int, now: float) -> float:
        """Count a request and return the seconds it has to wait from `now`, on the clock of `time.monotonic`."""
        ahead = max(self._requests_until - now, self._tokens_until - now) - BURST_S
        tokens = byte_count / BYTES_PER_TOKEN
        self._requests_until = max(self._requests_until, now) + self._request_s
        self._tokens_until = max(self._tokens_until, now) + tokens * self._token_s
        return max(0.0, ahead, self._paused_until - now)

    def pause(self, pause_s: float) -> None:
        """The provider asked for a pause."""
        self._paused_until = max(self._paused_until, time.monotonic() + pause_s)
