"""Connections for searches and followers: they keep their settings and their prepared statements.

asyncpg's pool resets a session on its way back and shields that from cancellation, which costs a tenth of a
millisecond a search; these sessions run single statements, or read-only transactions, and have nothing to reset.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from retrieval.postgres.wall import NOBODY_ELSE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Profile = tuple[tuple[str, str], ...]


class SearchConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that remembers its search settings, so that only a change costs a round trip.

    This is the one seam where search settings reach the scan.
    """

    _profile: Profile | None = None
    _role: str | None = NOBODY_ELSE

    async def use(self, profile: Profile | None, role: str) -> None:
        """Set the session's settings to `profile`, None for those it has, and its role, as far as they are not yet."""
        changes: list[tuple[str, str]] = []
        if profile is not None and profile != self._profile:
            changes += profile
        if role != self._role:
            changes.append(("role", role))
        if not changes:
            return
        settled = self._profile if profile is None else profile
        self._profile = self._role = None
        assignments = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in changes)
        await self.execute(f"SELECT {assignments}")
        self._profile, self._role = settled, role


class SearchConnections:
    """Up to `count` connections, opened when first needed, the last used first.

    A connection whose statement was cancelled may go to the next search at once: asyncpg waits for the end of the
    cancellation before it sends anything else.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]], count: int) -> None:
        self._connect = connect
        self._free: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
        for _ in range(count):
            self._free.put_nowait(None)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection; waits for one where all are in use."""
        connection = await self._free.get()
        try:
            if connection is None or connection.is_closed():
                connection = None
                connection = await self._connect()
            yield connection
        finally:
            self._free.put_nowait(connection)

    async def close(self) -> None:
        """Close the connections that are not in use; calls have been drained before."""
        while not self._free.empty():
            connection = self._free.get_nowait()
            if connection is not None:
                connection.terminate()
