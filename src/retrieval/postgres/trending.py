"""Lists of what trends, made in the background; see `domain.trending` for the formula."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from retrieval.domain.trending import LEAST_ENGAGEMENT, MAX_TRENDING, WINDOWS_S
from retrieval.postgres.apart import REST_S, Apart, Resting
from retrieval.postgres.sql_files import queries
from retrieval.postgres.times import to_micros, to_moment

if TYPE_CHECKING:
    from retrieval.postgres.database import Database

REST_FACTOR = 20
"""A list that took t seconds to make is not made again for 20 t: the lists cost a twentieth of a core at most each."""
_TRENDING_LOCK = 0x7265_7472_6965_7605  # "retriev", 5: one list at a time, whichever process makes it


class TrendingLists:
    """Makes and reads lists, each one row that is replaced whole."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._resting = Resting()

    async def refresh(self, collection_id: int) -> None:
        """Make the lists of a collection now."""
        for window_s in WINDOWS_S:
            await self._make(collection_id, window_s, wait=True)

    async def refresh_stale(self) -> None:
        """Make the lists that something was added to since; nothing where another process does so.

        Raises: PartlyFailedError, at the end: a list that cannot be made does not keep the others.
        """
        apart = Apart("making lists of what trends")
        async with self._database.connection() as connection:
            stale = await connection.fetch(queries("engagement")["stale_trending"], list(WINDOWS_S))
        for key in (tuple(row) for row in stale):
            if key in self._resting.keys:
                continue
            name, made, began = "that of collection {}, {} s".format(*key), True, time.monotonic()
            with apart.step(name):
                made = await self._make(*key, wait=False)
            if not made:
                break
            took = time.monotonic() - began
            self._resting.put(key, REST_S if name in apart.failed else REST_FACTOR * took)
        apart.settle()

    async def _make(self, collection_id: int, window_s: int, *, wait: bool) -> bool:
        sql = queries("engagement")
        async with self._database.transaction() as connection:
            if wait:
                await connection.execute(sql["alone"], _TRENDING_LOCK)
            elif not await connection.fetchval(sql["try_alone"], _TRENDING_LOCK):
                return False
            now = to_moment(time.time_ns() // 1000)
            await connection.execute(
                sql["refresh_trending"], collection_id, window_s, MAX_TRENDING, now, LEAST_ENGAGEMENT
            )
        return True

    async def best(self, collection_id: int, window_s: int, count: int) -> list[tuple[str, float]]:
        """(item id, score), best first."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(queries("engagement")["trending"], collection_id, window_s, count)
        return [] if row is None else list(zip(row["item_ids"], row["scores"], strict=True))

    async def refreshed_at(self, collection_id: int, window_s: int) -> int | None:
        """When a list was made, in microseconds since the epoch."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(queries("engagement")["trending"], collection_id, window_s, 0)
        return None if row is None else to_micros(row["refreshed_at"])
