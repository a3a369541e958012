"""Every committed write is told once, whatever the order of commits."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import asyncpg
import numpy as np
import pytest

from retrieval.application.cache_ports import Changes
from retrieval.domain.errors import NotFoundError, RetrievalError
from retrieval.domain.model import AttributeType, Chunk, EmbeddingVersion, Item, PopularThresholds
from tests.catalogue import make
from tests.postgres.feed.follower import NOTHING, Follower, batches, item, log, upsert

if TYPE_CHECKING:
    from retrieval.application.cache_ports import ChangeFeed
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection
    from retrieval.postgres.adapter import PostgresAdapter


async def test_a_late_commit_comes_once(
    stores: Stores, collection: Collection, follower: Follower, connection: asyncpg.Connection
) -> None:
    late = connection.transaction()
    await late.start()
    await log(connection, collection, "late")
    await upsert(stores, collection, "early")
    assert await follower.step() == Changes({collection.collection_id: {"early"}}, catalogue=False)
    assert await follower.step() == NOTHING
    await upsert(stores, collection, "between")
    await late.commit()
    assert await follower.step() == Changes({collection.collection_id: {"between", "late"}}, catalogue=False)
    assert await follower.step() == NOTHING


async def test_a_commit_during_a_look_belongs_to_the_next(
    feed: ChangeFeed, stores: Stores, collection: Collection, follower: Follower
) -> None:
    async with feed.snapshot() as look:
        await upsert(stores, collection, "x")
        assert await look.changes(follower.position) == NOTHING
        ids = {i.item_id for b in await batches(look, collection) for i in b.items}
        assert "item-00000" in ids
        assert "x" not in ids
        follower.position = look.position
    assert (await follower.step()).items == {collection.collection_id: {"x"}}


async def test_a_foreign_transaction_holds_nobody_back(
    stores: Stores, collection: Collection, follower: Follower, connection: asyncpg.Connection
) -> None:
    foreign = connection.transaction()
    await foreign.start()
    await connection.execute("SELECT pg_current_xact_id()")
    for n in range(3):
        token = await upsert(stores, collection, f"n{n}")
        assert (await follower.step()).items == {collection.collection_id: {f"n{n}"}}
        assert follower.position.reflects(token)
    await foreign.commit()
    assert await follower.step() == NOTHING


async def test_what_was_rolled_back_is_never_seen(
    stores: Stores, collection: Collection, follower: Follower, connection: asyncpg.Connection
) -> None:
    aborted = connection.transaction()
    await aborted.start()
    await log(connection, collection, "aborted")
    assert await follower.step() == NOTHING
    await aborted.rollback()
    bad = Item("bad", (Chunk(0, np.ones(5, dtype=np.float16)),))
    with pytest.raises((RetrievalError, asyncpg.CheckViolationError)):
        await stores.items.upsert(collection, collection.active, [bad], "", b"")
    assert await follower.step() == NOTHING


@pytest.mark.parametrize("seed", range(3))
async def test_every_write_of_many_writers_is_seen_once(
    url: str, stores: Stores, collection: Collection, follower: Follower, seed: int
) -> None:
    """Each write has ids of its own; transactions stay open for random spans, and some roll back."""
    rng = random.Random(seed)
    committed: list[str] = []

    async def through_the_store(writer: int) -> None:
        for n in range(12):
            ids = [f"{seed}-{writer}-{n}-{part}" for part in range(rng.randrange(1, 4))]
            if rng.random() < 0.7:
                await upsert(stores, collection, *ids)
            else:
                await stores.items.delete(collection, ids, "", b"")
            committed.extend(ids)

    async def dawdling(writer: int) -> None:
        connection = await asyncpg.connect(url)
        for n in range(12):
            transaction = connection.transaction()
            await transaction.start()
            await log(connection, collection, f"{seed}-{writer}-{n}")
            for _ in range(rng.randrange(12)):
                await connection.execute("SELECT")
            if rng.random() < 0.3:
                await transaction.rollback()
            else:
                await transaction.commit()
                committed.append(f"{seed}-{writer}-{n}")
        await connection.close()

    seen: list[str] = []
    steps = 0
    writers = asyncio.gather(*(through_the_store(w) for w in range(4)), *(dawdling(w) for w in range(4, 10)))
    while True:
        last = writers.done()
        seen += (await follower.step()).items.get(collection.collection_id, ())
        steps += 1
        if last:
            break
    await writers
    assert steps > 5
    assert sorted(seen) == sorted(committed)


async def test_changes_of_the_catalogue_are_told(
    stores: Stores, collection: Collection, follower: Follower, name: str
) -> None:
    other = make(f"{name}-2", 2, dimension=4)
    collections = stores.collections
    await collections.create(other.collection(), other.version())
    assert await follower.step() == Changes({}, catalogue=True)
    await collections.update(other.name, {"mood": AttributeType.KEYWORD}, PopularThresholds(1.0, 1), None)
    assert await follower.step() == Changes({}, catalogue=True)
    await collections.create_version(other.name, EmbeddingVersion(0, 0, "next", 4))
    assert await follower.step() == Changes({}, catalogue=True)
    await collections.activate_version(other.name, 2)
    assert await follower.step() == Changes({}, catalogue=True)
    await collections.rollback_version(other.name)
    assert await follower.step() == Changes({}, catalogue=True)
    await collections.delete(other.name)
    assert await follower.step() == Changes({}, catalogue=True)
    with pytest.raises(NotFoundError):
        await collections.delete(other.name)
    assert await follower.step() == NOTHING
    # An item with more chunks than any before changes its version.
    for chunks, catalogue in ((1, False), (2, True), (2, False)):
        known = await collections.get(collection.name)
        await stores.items.upsert(known, known.active, [item("several", chunks=chunks)], "", b"")
        assert await follower.step() == Changes({collection.collection_id: {"several"}}, catalogue=catalogue)


async def test_a_deleted_collection_is_told_to_whoever_missed_its_items(
    stores: Stores, collection: Collection, follower: Follower
) -> None:
    await upsert(stores, collection, "a")
    await stores.collections.delete(collection.name)
    assert await follower.step() == Changes({}, catalogue=True)


async def test_a_look_at_nothing_new_is_cheap(adapter: PostgresAdapter, stores: Stores, follower: Follower) -> None:
    """A follower looks often: begin, position, commit; the changes are asked for only where some were logged."""
    database = adapter._database
    assert database is not None
    sent: list[str] = []

    def note(record: Any) -> None:
        sent.append(record.query)

    async with database.following() as connection:
        connection.add_query_logger(note)
    await stores.items.token()
    assert await follower.step() == NOTHING
    await asyncio.sleep(0)
    assert len(sent) == 3
    assert await follower.step() == NOTHING
    await asyncio.sleep(0)
    async with database.following() as connection:
        connection.remove_query_logger(note)
    assert len(sent) == 6
