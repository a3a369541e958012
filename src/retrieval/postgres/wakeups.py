"""Hears of changes through NOTIFY, over a connection of its own that is replaced when it is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from retrieval.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from retrieval.application.task_supervisor import BackgroundTask, TaskSupervisor
    from retrieval.postgres.database import Database

CHANNEL = "retrieval_changes"
PULSE_S = 30.0
"""A connection whose other end vanished without a word is found out after this."""


class Listener:
    """Listens on a channel from `start` to `stop`.

    `on_payload` gets what is sent there. `on_gap` is called when a connection begins to listen: what was sent before
    may have been missed.
    """

    def __init__(
        self,
        database: Database,
        tasks: TaskSupervisor,
        channel: str,
        on_payload: Callable[[str], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._database = database
        self._tasks = tasks
        self._channel = channel
        self._on_payload = on_payload
        self._on_gap = on_gap
        self._task: BackgroundTask | None = None

    def start(self) -> None:
        """Begin to listen; a second time does nothing."""
        if self._task is None:
            self._task = self._tasks.start(f"listen-{self._channel.replace('_', '-')}", self._listen, 0.0)

    async def stop(self) -> None:
        """Stop listening."""
        if self._task is not None:
            await self._task.stop()
            self._task = None

    async def _listen(self) -> None:
        """Listen until the connection is lost. Raises: UnavailableError then."""
        async with self._database.dedicated(self._channel.replace("_", "-")) as connection:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(self._channel, lambda *arguments: self._on_payload(arguments[3]))
            self._on_gap()
            if self._task is not None:
                self._task.succeeded()
            while not lost.is_set():
                try:
                    await asyncio.wait_for(lost.wait(), PULSE_S)
                except TimeoutError:
                    await connection.execute("SELECT", timeout=PULSE_S)
        raise UnavailableError(f"the connection that listens on {self._channel} was lost")


class Wakeups:
    """Wakes whoever waits. What comes while nobody waits is kept for the next who does."""

    def __init__(self, database: Database, tasks: TaskSupervisor, channel: str = CHANNEL) -> None:
        self._heard = asyncio.Event()
        self._listener = Listener(database, tasks, channel, lambda _: self.wake(), self.wake)

    def wake(self) -> None:
        """Wake whoever waits, or the next who does."""
        self._heard.set()

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
