"""Hears of changes through NOTIFY, over a connection of its own that is replaced when it is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import asyncpg

from retrieval.domain.errors import RetrievalError

if TYPE_CHECKING:
    from retrieval.postgres.database import Database

CHANNEL = "retrieval_changes"
RECONNECT_S = 1.0
"""Pause before another connection: as often as this, a server that drops them can wake the followers."""
PULSE_S = 30.0
"""A connection whose other end vanished without a word is found out after this."""

log = logging.getLogger(__name__)


class Wakeups:
    """Wakes whoever waits. What comes while nobody waits is kept for the next who does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heard = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def wait(self, timeout_s: float) -> None:
        """See `ChangeFeed`. The first call starts to listen."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen_on(), name="change-wakeups")
        try:
            async with asyncio.timeout(timeout_s):
                await self._heard.wait()
        except TimeoutError:
            return
        self._heard.clear()

    async def stop(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _listen_on(self) -> None:
        while True:
            try:
                await self._listen()
            except (RetrievalError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                log.warning("changes are looked for at intervals only: %s", error)
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self) -> None:
        """Listen until the connection is lost."""
        connection = await self._database.dedicated("retrieval-changes")
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(CHANNEL, lambda *_: self._heard.set())
            # Notifications before this one may have been missed.
            self._heard.set()
            while not lost.is_set():
                try:
                    await asyncio.wait_for(lost.wait(), PULSE_S)
                except TimeoutError:
                    await connection.execute("SELECT", timeout=PULSE_S)
        finally:
            connection.terminate()
