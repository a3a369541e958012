"""Adds up what writes of events left in `event_batches`: into engagement by hour, and counters of items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.errors import UnavailableError
from retrieval.postgres.apart import Apart, Resting
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from retrieval.postgres.database import Database

FOLD_INTERVAL_S = 1.0
"""How often; counters lag behind events by about as much."""
ROUND_BATCHES = 100
"""Batches of one transaction: at most 100,000 sums, a few tens of megabytes in Postgres."""
_FOLD_LOCK = 0x7265_7472_6965_7604  # "retriev", 4


class EventFolder:
    """Adds up, one process at a time. What cannot be added up of one collection does not keep that of others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._resting = Resting()

    async def fold(self) -> None:
        """Add up what there is, in rounds; nothing where another process does so.

        Raises: PartlyFailedError, at the end.
        """
        apart = Apart("adding up events")
        while await self._round(apart, wait=False) >= ROUND_BATCHES:
            pass
        apart.settle()

    async def fold_now(self) -> None:
        """Add up all that was committed before the call; waits for another process that does so."""
        async with self._database.connection() as connection:
            pending = await connection.fetchval(queries("engagement")["pending"])
        for _ in range(pending // ROUND_BATCHES + 1):
            await self._round(Apart("adding up events"), wait=True)

    async def _round(self, apart: Apart, *, wait: bool) -> int:
        """How many batches were added up."""
        try:
            return await self._fold(None, wait=wait)
        except UnavailableError:
            raise
        except Exception:  # whatever it is, it is met again below, and logged there
            return await self._each(apart, wait=wait)

    async def _each(self, apart: Apart, *, wait: bool) -> int:
        """A round that failed, once more, one collection after the other."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries("engagement")["pending_collections"], list(self._resting.keys))
        added = 0
        for (collection_id,) in rows:
            name = f"collection {collection_id}"
            with apart.step(name):
                added += await self._fold([collection_id], wait=wait)
            if name in apart.failed:
                self._resting.put(collection_id)
        return added

    async def _fold(self, collection_ids: list[int] | None, *, wait: bool) -> int:
        sql = queries("engagement")
        async with self._database.transaction() as connection:
            if wait:
                await connection.execute(sql["alone"], _FOLD_LOCK)
            elif not await connection.fetchval(sql["try_alone"], _FOLD_LOCK):
                return 0
            resting = list(self._resting.keys)
            return int(await connection.fetchval(sql["fold"], ROUND_BATCHES, collection_ids, resting))
