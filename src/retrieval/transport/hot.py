"""Hot methods: unary calls that are answered at once, before any of the usual machinery is set up.

A hot method is synchronous and thread-safe: on the native front it runs in the thread that receives calls, on the
grpcio front in the event loop. It answers a batch and takes microseconds a call; what takes longer, waits for
something or fails is not for it, and it declines by None.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

log = logging.getLogger(__name__)


HotMethod = Callable[[Sequence[bytes]], Sequence[bytes | None]]
"""From encoded requests to encoded replies, in their order; None: the call takes the usual way."""

LongMethod = Callable[[bytes], bytes | None]
"""The same for one call that takes longer than others may wait: it runs in a thread, a first step of the usual way."""

LongMethods = Mapping[str, LongMethod]
"""By full method name."""

HotMethods = Mapping[str, HotMethod]
"""By full method name, `/package.Service/Method`."""


def answer(method: HotMethod, requests: Sequence[bytes]) -> Sequence[bytes | None]:
    """The replies to `requests`; where the method fails, that is logged and all of them take the usual way."""
    try:
        replies = method(requests)
    except Exception:
        log.exception("a hot method failed; its calls take the usual way")
        return [None] * len(requests)
    if len(replies) != len(requests):
        log.error("a hot method gave %d replies to %d calls; they take the usual way", len(replies), len(requests))
        return [None] * len(requests)
    return replies
