"""Work that goes on in the background, again and again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import asyncpg

from retrieval.domain.errors import RetrievalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


class Chores:
    """Runs each chore at its interval, the first time at once, until `stop`. One that fails is tried again."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, chore: Callable[[], Awaitable[None]], interval_s: float) -> None:
        """Begin with a chore."""
        self._tasks.append(asyncio.create_task(_repeat(name, chore, interval_s), name=name))

    async def stop(self) -> None:
        """End all chores; a transaction under way is rolled back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def _repeat(name: str, chore: Callable[[], Awaitable[None]], interval_s: float) -> None:
    while True:
        try:
            await chore()
        except (RetrievalError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            log.warning("%s failed and is tried again: %s", name, error)
        await asyncio.sleep(interval_s)
