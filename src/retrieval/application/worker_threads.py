"""A few threads for work that takes long: it takes neither the event loop nor the interpreter from other calls."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

WORKER_THREADS = 2
"""Threads share one interpreter: with more of them each one, the event loop's included, gets its turn less often."""

_threads = ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="long-work")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`work` in one of `WORKER_THREADS` threads, in the context of the caller; waits for a free one.

    Work that computes comes here; what waits for files or processes is for `asyncio.to_thread`. When the caller is
    cancelled the work goes on to its end, and nobody sees its result.
    """
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_threads, lambda: context.run(work, *args, **kwargs))
