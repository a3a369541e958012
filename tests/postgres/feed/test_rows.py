"""Rows are those of the look's position; looks end, are cancelled and break without a trace."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.domain.errors import NotFoundError, UnavailableError
from retrieval.domain.model import Chunk, EmbeddingVersion, Item, Viewer
from retrieval.domain.search import Predicate
from retrieval.postgres import row_batches
from tests.catalogue import load, make
from tests.postgres.feed.follower import NOTHING, Follower, batches, soon, until, upsert

if TYPE_CHECKING:
    import asyncpg

    from retrieval.application.cache_ports import ChangeFeed, RowBatch
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

EVERYTHING = Viewer(unrestricted=True)
# Locks of relations; those of other databases do not matter.
WAITING = """
SELECT count(*) FROM pg_locks
WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def held(stores: Stores, collection: Collection) -> dict[str, Item]:
    """What the item store says of everything."""
    found = await stores.items.list_after(
        collection, collection.active, "", 10_000, Predicate(viewer=EVERYTHING), with_chunks=True
    )
    return {i.item_id: i for i in found}


def check(found: list[RowBatch], expected: dict[str, Item], dimension: int) -> None:
    rows = [row for b in found for row in zip(b.items, b.chunk_indexes, b.vectors, strict=True)]
    wanted = [(i, c) for i in sorted(expected) for c in expected[i].chunks]
    assert [(i.item_id, index) for i, index, _ in rows] == [(i, c.chunk_index) for i, c in wanted]
    objects: dict[str, Item] = {}
    for (got, _, vector), (item_id, chunk) in zip(rows, wanted, strict=True):
        bare = replace(expected[item_id], chunks=(), text="", payload_json=None, updated_at=None)
        assert got == bare
        assert {n: type(v) for n, v in got.attributes.items()} == {n: type(v) for n, v in bare.attributes.items()}
        assert objects.setdefault(item_id, got) is got, "rows of an item share it"
        np.testing.assert_array_equal(vector, chunk.vector)
    for batch in found:
        assert batch.vectors.dtype == np.float16
        assert batch.vectors.dtype.isnative
        assert batch.vectors.shape == (len(batch.items), dimension)
        assert batch.vectors.flags.c_contiguous


async def test_rows_are_what_the_item_store_holds(
    feed: ChangeFeed, stores: Stores, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_batches, "BATCH_ROWS", 7)
    data = make(name, 60, dimension=12, max_chunks=3)
    collection = await load(stores, data)
    version = collection.active
    odd = [replace(data.items["item-00001"], item_id=i) for i in ("Z", "a", "ü/' \\", "\uffff", "\U0001d11e")]
    whole = replace(data.items["item-00002"], attributes={"price": 3.0, "rank": 3, "labels": ()})
    await stores.items.upsert(collection, version, [*odd, whole, Item("without a vector")], "", b"")
    await stores.items.delete(collection, ["item-00003", "item-00059"], "", b"")
    expected = await held(stores, collection)
    assert "item-00003" not in expected
    assert len(expected) == 60 - 2 + 6
    async with feed.snapshot() as look:
        everything = await batches(look, collection)
        check(everything, expected, 12)
        assert len(everything) > 5
        asked = [*sorted(expected, reverse=True)[:20], "nowhere", "item-00003", "item-00004", "item-00004"]
        check(await batches(look, collection, asked), {i: expected[i] for i in asked if i in expected}, 12)
        assert await batches(look, collection, ["nowhere"]) == []
        assert await batches(look, collection, []) == []


async def test_rows_are_of_one_version(feed: ChangeFeed, stores: Stores, collection: Collection) -> None:
    added = await stores.collections.create_version(collection.name, EmbeddingVersion(0, 0, "other", 2))
    other = Item("item-00001", (Chunk(0, np.array([1, 2], dtype=np.float16)),), tags=("new",))
    await stores.items.upsert(collection, added, [other], "", b"")
    async with feed.snapshot() as look:
        (batch,) = [b async for b in look.rows(collection, added)]
        (first,) = await batches(look, collection, ["item-00001"])
    assert [(i.item_id, i.tags) for i in batch.items] == [("item-00001", ("new",))]
    np.testing.assert_array_equal(batch.vectors, [[1, 2]])
    assert [i.tags for i in first.items] == [("new",)], "the other version's columns follow"


async def test_reading_may_stop_between_batches(
    feed: ChangeFeed, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_batches, "BATCH_ROWS", 2)
    async with feed.snapshot() as look:
        async for batch in look.rows(collection, collection.active):
            assert len(batch.items) == 2
            break
        assert sum(len(b.items) for b in await batches(look, collection)) == 10


async def test_a_version_dropped_meanwhile_is_not_found(
    feed: ChangeFeed, stores: Stores, collection: Collection, follower: Follower
) -> None:
    async with feed.snapshot() as look:
        await stores.collections.delete(collection.name)
        with pytest.raises(NotFoundError) as caught:
            await batches(look, collection)
        assert caught.value.reason == "COLLECTION_NOT_FOUND"
    assert (await follower.step()).catalogue


async def test_a_look_at_a_version_that_is_to_be_dropped_holds_no_writer_up(
    feed: ChangeFeed, stores: Stores, collection: Collection, name: str, connection: asyncpg.Connection
) -> None:
    doomed = await load(stores, make(f"{name}-2", 10, dimension=4))
    async with feed.snapshot() as look:
        await batches(look, doomed)
        deletion = asyncio.create_task(stores.collections.delete(doomed.name))
        await until(connection, WAITING, 1)
        async with soon():
            await upsert(stores, collection, "item-00001")
        assert not deletion.done()
        assert sum(len(b.items) for b in await batches(look, doomed)) == 10
    async with soon():
        await deletion
    with pytest.raises(NotFoundError):
        await stores.collections.get(doomed.name)


async def test_a_cancelled_look_leaves_nothing_behind(
    feed: ChangeFeed, collection: Collection, follower: Follower, connection: asyncpg.Connection
) -> None:
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE retrieval.embeddings_v{collection.active.version_id}")

        async def read() -> None:
            async with feed.snapshot() as look:
                await batches(look, collection)

        for _ in range(4):  # more than there are connections
            task = asyncio.create_task(read())
            await until(connection, WAITING, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(connection, WAITING, 0)
        assert await follower.step() == NOTHING
    assert await follower.step() == NOTHING


async def test_a_look_may_be_cancelled_at_any_moment(
    feed: ChangeFeed, follower: Follower, connection: asyncpg.Connection
) -> None:
    """Even twice, the second time while the transaction is being rolled back."""

    async def look() -> None:
        async with feed.snapshot():
            pass

    for iterations in range(40):
        task = asyncio.create_task(look())
        for _ in range(iterations):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await follower.step() == NOTHING
    open_ones = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()"
    )
    await until(connection, open_ones, 0)


async def test_a_lost_connection_is_unavailable_and_replaced(
    feed: ChangeFeed, collection: Collection, follower: Follower, connection: asyncpg.Connection
) -> None:
    async def broken() -> None:
        async with feed.snapshot() as look:
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name = 'retrieval' AND state = 'idle in transaction' "
                "AND datname = current_database()"
            )
            await batches(look, collection)

    with pytest.raises(UnavailableError):
        await broken()
    assert await follower.step() == NOTHING
