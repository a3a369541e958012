"""A follower of the change feed, as a cache is one, and what its tests write and await."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.cache_ports import Changes
from retrieval.domain.model import Chunk, Item
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg

    from retrieval.application.cache_ports import ChangeFeed, Position, RowBatch, StoreSnapshot
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

SOON_S = 30.0
"""Far more than it takes, and far less than the waits that have to end before."""
NOTHING = Changes({}, catalogue=False)


class Follower:
    """Takes one step after the other, as a cache does."""

    def __init__(self, feed: ChangeFeed, position: Position) -> None:
        self._feed = feed
        self.position = position

    async def step(self) -> Changes:
        async with self._feed.snapshot() as look:
            found = await look.changes(self.position)
            self.position = look.position
        assert found is not None
        return found


def item(item_id: str, *, chunks: int = 1) -> Item:
    return Item(item_id, tuple(Chunk(n, np.array([1, n, 0, 0], dtype=np.float16)) for n in range(chunks)))


async def upsert(stores: Stores, collection: Collection, *ids: str) -> str:
    written = await stores.items.upsert(collection, collection.active, [item(i) for i in ids], "", b"")
    return written.token


async def log(connection: asyncpg.Connection, collection: Collection, *ids: str) -> None:
    """What a write does in the log; the transaction is the test's."""
    await connection.execute(queries("items")["log_change"], collection.collection_id, list(ids))


async def batches(look: StoreSnapshot, collection: Collection, ids: Sequence[str] | None = None) -> list[RowBatch]:
    return [b async for b in look.rows(collection, collection.active, ids)]


async def until(connection: asyncpg.Connection, sql: str, value: object) -> None:
    deadline = time.monotonic() + SOON_S
    while await connection.fetchval(sql) != value:
        assert time.monotonic() < deadline, f"{sql} is not {value}"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def soon() -> AsyncIterator[None]:
    """What is inside ends by itself, and not because a wait of a minute was over."""
    async with asyncio.timeout(SOON_S):
        yield
