"""Adds up what writes of events left in `event_batches`: into engagement by hour, and counters of items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from retrieval.postgres.database import Database

FOLD_INTERVAL_S = 1.0
"""How often; counters lag behind events by about as much."""
ROUND_BATCHES = 100
"""Batches of one transaction: at most 100,000 sums, a few tens of megabytes in Postgres."""
_FOLD_LOCK = 0x7265_7472_6965_7604  # "retriev", 4


class EventFolder:
    """Adds up, one process at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fold(self) -> None:
        """Add up what there is, in rounds; nothing where another process does so."""
        while await self._round(wait=False) == ROUND_BATCHES:
            pass

    async def fold_now(self) -> None:
        """Add up all that was committed before the call; waits for another process that does so."""
        async with self._database.connection() as connection:
            pending = await connection.fetchval(queries("engagement")["pending"])
        for _ in range(pending // ROUND_BATCHES + 1):
            await self._round(wait=True)

    async def _round(self, *, wait: bool) -> int:
        """How many batches were added up."""
        sql = queries("engagement")
        async with self._database.transaction() as connection:
            if wait:
                await connection.execute(sql["alone"], _FOLD_LOCK)
            elif not await connection.fetchval(sql["try_alone"], _FOLD_LOCK):
                return 0
            return int(await connection.fetchval(sql["fold"], ROUND_BATCHES))
