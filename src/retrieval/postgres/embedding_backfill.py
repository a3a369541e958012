"""Queues the items that were there before a version that embeds texts was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.embedding_jobs import BACKFILL_PRIORITY
from retrieval.postgres.embedding_jobs import embedded_items, enqueue
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from retrieval.postgres.database import Database

BACKFILL_ITEMS = 1000
"""Items a transaction: writers of these items wait for it."""
BACKFILL_INTERVAL_S = 1.0


async def backfill_all(database: Database) -> None:
    """Go on until every version has its jobs."""
    while await backfill_some(database):
        pass


async def backfill_some(database: Database) -> int:
    """See `EmbeddingJobStore.backfill`. How far a version is stands in its row, and moves with the jobs."""
    sql = queries("embedding_jobs")
    async with database.transaction() as connection:
        row = await connection.fetchrow(sql["next_backfill"])
        if row is None:
            return 0
        version_id = row["version_id"]
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
