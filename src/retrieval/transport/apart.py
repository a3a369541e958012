"""Large messages are read and written in a thread: a message of megabytes takes longer than other calls may wait."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from retrieval.application.worker_threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

LARGE_REPLY_HITS = 64
"""More hits with their items take milliseconds to write."""

large_request: ContextVar[bool] = ContextVar("large_request", default=False)
"""Whether the request of the call in progress is large."""


async def apart(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `read` makes of a request, in a thread where the request is large."""
    return await apart_if(large_request.get(), read, *args, **kwargs)


async def apart_if(large: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`work`, in a thread where it is `large`."""
    return await in_thread(work, *args, **kwargs) if large else work(*args, **kwargs)
