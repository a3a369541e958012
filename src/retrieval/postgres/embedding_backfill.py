"""Queues the items that were there before a version that embeds texts was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.embedding_jobs import BACKFILL_PRIORITY
from retrieval.postgres.apart import Apart, Resting
from retrieval.postgres.embedding_jobs import embedded_items, enqueue
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from retrieval.postgres.database import Database

BACKFILL_ITEMS = 1000
"""Items a transaction: writers of these items wait for it."""
BACKFILL_INTERVAL_S = 1.0


class Backfill:
    """Goes over the versions that have items to queue; one that fails does not keep the others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._resting = Resting()

    async def all(self) -> None:
        """Go on until every version has its jobs. Raises: PartlyFailedError, at the end."""
        apart = Apart("queueing texts")
        while await self.some(apart):
            pass
        apart.settle()

    async def some(self, apart: Apart) -> int:
        """See `EmbeddingJobStore.backfill`. How far a version is stands in its row, and moves with the jobs."""
        async with self._database.connection() as connection:
            waiting = await connection.fetch(queries("embedding_jobs")["waiting_backfills"], list(self._resting.keys))
        for (version_id,) in waiting:
            name, count = f"embedding version {version_id}", 0
            with apart.step(name):
                count = await self._page(version_id)
            if name in apart.failed:
                self._resting.put(version_id)
            if count:
                return count
        return 0

    async def _page(self, version_id: int) -> int:
        """Queue the next items of a version; 0 where another process does so, or has."""
        sql = queries("embedding_jobs")
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(sql["claim_backfill"], version_id)
            if row is None:
                return 0
            items = await connection.fetch(
                sql["backfill_items"], row["collection_id"], row["backfill_after"], BACKFILL_ITEMS
            )
            texts = [r["item_id"] for r in items if r["has_text"]]
            embedded = await embedded_items(connection, version_id, texts)
            await enqueue(connection, version_id, [i for i in texts if i not in embedded], BACKFILL_PRIORITY)
            last = items[-1]["item_id"] if len(items) == BACKFILL_ITEMS else None
            await connection.execute(sql["move_backfill"], version_id, last)
            # A page that ends a version may be an empty one: 1 says that there may be another version.
            return max(1, len(items))
