"""Work that goes on in the background of every server, again and again."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from retrieval.domain.errors import RetrievalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Chore:
    """A chore of this process. `succeeded_at`: microseconds since the epoch; `failures`: in a row, since."""

    name: str
    interval_s: float
    succeeded_at: int | None = None
    failures: int = 0


class Chores:
    """Runs each chore at its interval, the first time at once, until `stop`. One that fails is tried again."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._chores: dict[str, Chore] = {}

    def start(self, name: str, work: Callable[[], Awaitable[object]], interval_s: float) -> None:
        """Begin with a chore."""
        chore = self._chores[name] = Chore(name, interval_s)
        self._tasks.append(asyncio.create_task(_repeat(chore, work), name=name))

    def named(self, name: str) -> Chore | None:
        """How that chore went so far, where this process has it."""
        return self._chores.get(name)

    async def stop(self) -> None:
        """End all chores; a transaction under way is rolled back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def _repeat(chore: Chore, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await work()
            chore.succeeded_at, chore.failures = time.time_ns() // 1000, 0
        except (RetrievalError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            chore.failures += 1
            log.warning("%s failed and is tried again: %s", chore.name, error)
        await asyncio.sleep(chore.interval_s)
