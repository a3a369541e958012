"""Hears of changes through NOTIFY, over a connection of its own that is replaced when it is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import asyncpg

from retrieval.domain.errors import RetrievalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from retrieval.postgres.database import Database

CHANNEL = "retrieval_changes"
RECONNECT_S = 1.0
"""Pause before another connection: as often as this, a server that drops them can wake the followers."""
PULSE_S = 30.0
"""A connection whose other end vanished without a word is found out after this."""

log = logging.getLogger(__name__)


class Listener:
    """Listens on a channel from `start` to `stop`.

    `on_payload` gets what is sent there. `on_gap` is called when a connection begins to listen: what was sent before
    may have been missed.
    """

    def __init__(
        self, database: Database, channel: str, on_payload: Callable[[str], None], on_gap: Callable[[], None]
    ) -> None:
        self._database = database
        self._channel = channel
        self._on_payload = on_payload
        self._on_gap = on_gap
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen; a second time does nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen_on(), name=f"{self._channel}-listener")

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
                log.warning("changes on %s are looked for at intervals only: %s", self._channel, error)
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self) -> None:
        """Listen until the connection is lost."""
        connection = await self._database.dedicated(self._channel.replace("_", "-"))
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(self._channel, lambda *arguments: self._on_payload(arguments[3]))
            self._on_gap()
            while not lost.is_set():
                try:
                    await asyncio.wait_for(lost.wait(), PULSE_S)
                except TimeoutError:
                    await connection.execute("SELECT", timeout=PULSE_S)
        finally:
            connection.terminate()


class Wakeups:
    """Wakes whoever waits. What comes while nobody waits is kept for the next who does."""

    def __init__(self, database: Database, channel: str = CHANNEL) -> None:
        self._heard = asyncio.Event()
        self._listener = Listener(database, channel, lambda _: self._heard.set(), self._heard.set)

    async def wait(self, timeout_s: float) -> None:
        """See `ChangeFeed`. The first call starts to listen."""
        self._listener.start()
        try:
            async with asyncio.timeout(timeout_s):
                await self._heard.wait()
        except TimeoutError:
            return
        self._heard.clear()

    async def stop(self) -> None:
        """Stop listening."""
        await self._listener.stop()
