"""Writes: all or nothing, once, in order."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import numpy as np
import pytest

from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, RetrievalError
from retrieval.domain.model import Chunk, EmbeddingVersion, Event, Item, Viewer
from retrieval.postgres.names import partition
from retrieval.postgres.tokens import make_token, read_token
from tests.catalogue import load, make

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

EVERYTHING = Viewer(unrestricted=True)
DAY_US = 86_400_000_000


@pytest.fixture
async def collection(stores: Stores, name: str) -> Collection:
    data = make(name, 10, dimension=4)
    return await load(stores, data)


def item(item_id: str, value: float = 1.0, **fields: object) -> Item:
    vector = np.array([value, 1, 0, 0], dtype=np.float16)
    return Item(item_id, (Chunk(0, vector),), **fields)


async def read(stores: Stores, collection: Collection, *ids: str) -> dict[str, Item]:
    return await stores.items.get(collection, collection.active, ids, EVERYTHING, with_chunks=True)


async def test_a_batch_with_a_bad_vector_leaves_nothing(stores: Stores, collection: Collection) -> None:
    bad = Item("b", (Chunk(0, np.ones(5, dtype=np.float16)),))
    known = replace(item("item-00001"), text="changed")
    with pytest.raises((RetrievalError, asyncpg.CheckViolationError)):
        await stores.items.upsert(collection, collection.active, [item("a"), known, bad, item("c")], "req", b"f")
    assert await read(stores, collection, "a", "b", "c") == {}
    assert (await read(stores, collection, "item-00001"))["item-00001"].text == "item number 1"
    assert await stores.index.vectors(collection.active, ["a", "b", "c"], EVERYTHING) == {}
    # The request id is free: other items may go with it.
    assert (await stores.items.upsert(collection, collection.active, [item("d")], "req", b"g")).count == 1


async def test_request_ids_make_writes_idempotent(stores: Stores, collection: Collection) -> None:
    version = collection.active
    first = await stores.items.upsert(collection, version, [item("a", text="one")], "r1", b"print")
    await stores.items.upsert(collection, version, [item("a", text="two")], "", b"")
    again = await stores.items.upsert(collection, version, [item("a", text="one")], "r1", b"print")
    assert again == first
    assert (await read(stores, collection, "a"))["a"].text == "two"
    for write in (
        stores.items.upsert(collection, version, [item("z")], "r1", b"other"),
        stores.items.delete(collection, ["a"], "r1", b"other"),
    ):
        with pytest.raises(FailedPreconditionError) as caught:
            await write
        assert caught.value.reason == "REQUEST_ID_REUSED"
    assert set(await read(stores, collection, "a", "z")) == {"a"}

    deleted = await stores.items.delete(collection, ["a", "nowhere"], "r2", b"d")
    assert deleted.count == 1
    await stores.items.upsert(collection, version, [item("a")], "", b"")
    assert await stores.items.delete(collection, ["a", "nowhere"], "r2", b"d") == deleted
    assert set(await read(stores, collection, "a")) == {"a"}


async def test_the_same_request_at_once_is_applied_once(stores: Stores, collection: Collection) -> None:
    write = stores.items.upsert
    receipts = await asyncio.gather(
        *(write(collection, collection.active, [item("a"), item("b")], "same", b"f") for _ in range(8))
    )
    assert len({r.token for r in receipts}) == 1
    assert {r.count for r in receipts} == {2}


async def test_concurrent_writers_of_the_same_items_end_consistent(stores: Stores, collection: Collection) -> None:
    """Each round every item is the work of one writer: its text, attributes and vector belong together."""
    ids = [f"shared-{n}" for n in range(20)]

    async def writer(number: int) -> None:
        for round_ in range(3):
            mine = [
                item(i, float(number + 1), text=f"{number}", attributes={"rank": number})
                for i in (ids if (number + round_) % 2 else reversed(ids))
            ]
            await stores.items.upsert(collection, collection.active, mine, "", b"")

    await asyncio.gather(*(writer(n) for n in range(8)))
    found = await read(stores, collection, *ids)
    assert sorted(found) == sorted(ids)
    assert len({i.text for i in found.values()}) == 1, "batches are atomic: the last one wins as a whole"
    for each in found.values():
        assert each.attributes["rank"] == int(each.text)
        assert [c.chunk_index for c in each.chunks] == [0]
        assert float(each.chunks[0].vector[0]) == int(each.text) + 1


async def test_concurrent_upserts_and_deletes_leave_no_half_item(stores: Stores, collection: Collection) -> None:
    ids = [f"fought-{n}" for n in range(10)]

    async def writer(number: int) -> None:
        for _ in range(20):
            mine = [item(i, float(number + 1)) for i in ids]
            await stores.items.upsert(collection, collection.active, mine, "", b"")

    async def remover() -> None:
        for _ in range(40):
            await stores.items.delete(collection, ids, "", b"")

    await asyncio.gather(*(writer(n) for n in range(3)), *(remover() for _ in range(3)))
    found = await read(stores, collection, *ids)
    vectors = await stores.index.vectors(collection.active, ids, EVERYTHING)
    assert set(found) == set(vectors), "an item and its embeddings come and go together"


async def test_created_at_is_kept_unless_given(stores: Stores, collection: Collection) -> None:
    version = collection.active
    await stores.items.upsert(collection, version, [item("a"), item("b", created_at=5 * DAY_US)], "", b"")
    before = await read(stores, collection, "a", "b")
    assert before["b"].created_at == 5 * DAY_US
    await stores.items.upsert(collection, version, [item("a", text="new"), item("b")], "", b"")
    after = await read(stores, collection, "a", "b")
    assert {i: x.created_at for i, x in after.items()} == {i: x.created_at for i, x in before.items()}
    assert after["a"].updated_at > before["a"].updated_at
    await stores.items.upsert(collection, version, [item("a", created_at=7 * DAY_US)], "", b"")
    assert (await read(stores, collection, "a"))["a"].created_at == 7 * DAY_US


async def test_an_upsert_replaces_the_whole_item(stores: Stores, collection: Collection) -> None:
    vector = np.array([1, 2, 3, 4], dtype=np.float16)
    full = Item(
        "ü/' \\",
        (Chunk(0, vector), Chunk(3, -vector)),
        "me",
        tags=("a b", 'c"'),
        text="ünï",
        attributes={"genre": "it's", "labels": ("x", ""), "rank": 2**62, "price": 0.1, "in_stock": False},
        payload_json='{"a": [1, null, "ü"]}',
        rating_value=4.5,
        rating_count=2**40,
    )
    await stores.items.upsert(collection, collection.active, [full], "", b"")
    (got,) = (await read(stores, collection, full.item_id)).values()
    assert json.loads(got.payload_json or "") == json.loads(full.payload_json or "")
    for field in ("owner_id", "tags", "text", "attributes", "rating_value", "rating_count"):
        assert getattr(got, field) == getattr(full, field)
    assert [c.chunk_index for c in got.chunks] == [0, 3]
    np.testing.assert_array_equal(got.chunks[1].vector, -vector)
    assert (await stores.collections.get(collection.name)).active.max_chunks == 2

    await stores.items.upsert(collection, collection.active, [Item(full.item_id)], "", b"")
    (bare,) = (await read(stores, collection, full.item_id)).values()
    assert (bare.chunks, bare.tags, bare.attributes, bare.payload_json, bare.owner_id) == ((), (), {}, None, "")


async def test_delete(stores: Stores, collection: Collection) -> None:
    receipt = await stores.items.delete(collection, ["item-00001", "item-00002", "nowhere"], "", b"")
    assert receipt.count == 2
    left = await read(stores, collection, *(f"item-{n:05d}" for n in range(10)))
    assert len(left) == 8
    assert await stores.index.vectors(collection.active, ["item-00001"], EVERYTHING) == {}
    assert (await stores.items.delete(collection, ["item-00001"], "", b"")).count == 0


async def test_tokens_are_accepted_by_the_store_that_made_them(stores: Stores, collection: Collection) -> None:
    first = await stores.items.upsert(collection, collection.active, [item("a")], "", b"")
    second = await stores.items.delete(collection, ["a"], "", b"")
    events = await stores.events.record(collection, [Event("u", "a", "like", DAY_US, "e")])
    tokens = [first.token, second.token, events.token, await stores.items.token()]
    assert first.token != second.token
    for token in tokens:
        await stores.items.wait_for(token)
    for bad in ("", "x", "ß", first.token + "AAAA"):
        with pytest.raises(InvalidArgumentError) as caught:
            await stores.items.wait_for(bad)
        assert caught.value.reason == "BAD_CONSISTENCY_TOKEN"


async def test_tokens_grow_with_writes(postgres: Stores, name: str) -> None:
    collection = await load(postgres, make(name, 2, dimension=4))
    positions = []
    for n in range(3):
        receipt = await postgres.items.upsert(collection, collection.active, [item(f"n{n}")], "", b"")
        positions.append(read_token(receipt.token))
        assert read_token(await postgres.items.token()) > positions[-1]
    assert positions == sorted(set(positions))
    assert read_token(make_token("18446744073709551615")) == 2**64 - 1


async def test_events_are_recorded_once(stores: Stores, collection: Collection) -> None:
    user = "u'1"
    events = [
        Event(user, "a", "like", 10 * DAY_US, "e1"),
        Event(user, "a", "like", 10 * DAY_US, "e2"),
        Event(user, "b", "rating", 400 * DAY_US, "e1", value=3.5, dwell_ms=20, context_json='{"x": 1}'),
        Event(user, "c", "view", 10 * DAY_US + 1, "e1"),
        Event("another", "d", "view", 10 * DAY_US, "e1"),
    ]
    first = await stores.events.record(collection, events)
    assert (first.recorded, first.duplicates) == (5, 0)
    again = await stores.events.record(collection, [*events[:2], Event(user, "c", "view", 11 * DAY_US, "e1")] * 2)
    assert (again.recorded, again.duplicates) == (1, 5)
    history = await stores.events.history(collection, user, 10)
    assert [(e.item_id, e.event_id) for e in history] == [
        ("b", "e1"),
        ("c", "e1"),
        ("c", "e1"),
        ("a", "e2"),
        ("a", "e1"),
    ]
    assert (history[0].value, history[0].dwell_ms) == (3.5, 20)
    assert [e.item_id for e in await stores.events.history(collection, user, 2)] == ["b", "c"]
    assert await stores.events.seen(collection, user, 10) == [("b", False), ("c", False), ("a", False)]
    assert await stores.events.seen(collection, user, 2) == [("b", False), ("c", False)]
    assert await stores.events.history(collection, "nobody", 10) == []


async def test_owners(stores: Stores, collection: Collection) -> None:
    await stores.items.upsert(
        collection, collection.active, [item("x", owner_id="o1"), item("y", owner_id="o2"), item("z")], "", b""
    )
    assert await stores.events.owners_of(collection, ["x", "y", "nowhere"]) == {"o1", "o2"}
    assert await stores.events.owners_of(collection, ["x", "z"]) == {"o1", ""}


async def test_samples(stores: Stores, collection: Collection) -> None:
    sample = await stores.index.sample(collection.active, 5)
    assert sample.dtype == np.float16
    assert sample.shape[1] == 4
    assert len(sample) == 5
    everything = await stores.index.sample(collection.active, 100)
    assert everything.shape == (10, 4)


async def test_a_sample_is_whole_whatever_the_statistics_say(
    postgres: Stores, name: str, connection: asyncpg.Connection
) -> None:
    collection = await load(postgres, make(name, 400, dimension=4))
    table = f"retrieval.{partition(collection.active.version_id)}"
    await connection.execute(f"ANALYZE {table}")
    await connection.execute(f"DELETE FROM {table} WHERE item_id NOT IN (SELECT item_id FROM {table} LIMIT 40)")
    for _ in range(10):
        assert len(await postgres.index.sample(collection.active, 30)) == 30
    assert len(await postgres.index.sample(collection.active, 60)) == 40


async def test_every_write_is_logged(postgres: Stores, name: str, connection: asyncpg.Connection) -> None:
    """In the writing transaction, with the ids it touched; a refused or repeated write logs nothing."""
    collection = await load(postgres, make(name, 2, dimension=4))
    heard: list[str] = []
    await connection.add_listener("retrieval_changes", lambda *arguments: heard.append(arguments[2]))
    await postgres.items.upsert(collection, collection.active, [item("b"), item("a")], "r", b"f")
    await postgres.items.upsert(collection, collection.active, [item("b"), item("a")], "r", b"f")
    receipt = await postgres.items.delete(collection, ["b", "nowhere"], "", b"")
    bad = Item("z", (Chunk(0, np.ones(5, dtype=np.float16)),))
    with pytest.raises((RetrievalError, asyncpg.CheckViolationError)):
        await postgres.items.upsert(collection, collection.active, [bad], "", b"")
    rows = await connection.fetch(
        "SELECT transaction_id::text AS id, item_ids FROM retrieval.change_log WHERE collection_id = $1 "
        "AND NOT catalogue ORDER BY position OFFSET 1",
        collection.collection_id,
    )
    assert [r["item_ids"] for r in rows] == [["a", "b"], ["b", "nowhere"]]
    assert make_token(rows[-1]["id"]) == receipt.token
    await asyncio.sleep(0.05)
    assert len(heard) >= 2


async def test_a_collection_is_deleted_once_nobody_holds_its_rows(
    postgres: Stores, name: str, connection: asyncpg.Connection
) -> None:
    collection = await load(postgres, make(name, 2, dimension=4))
    async with connection.transaction():
        await connection.execute(
            "SELECT FROM retrieval.items WHERE collection_id = $1 FOR UPDATE", collection.collection_id
        )
        deleting = asyncio.create_task(postgres.collections.delete(collection.name))
        await asyncio.sleep(1.2)  # longer than one attempt waits
        assert not deleting.done()
    await deleting
    with pytest.raises(NotFoundError):
        await postgres.collections.get(collection.name)


async def test_a_delete_that_waits_for_a_replacement_spares_its_embeddings(
    postgres: Stores, name: str, connection: asyncpg.Connection
) -> None:
    """Another writer replaces the item while the delete waits for the row: it keeps all of the new item, or nothing."""
    collection = await load(postgres, make(name, 2, dimension=4))
    key = collection.collection_id, "item-00001"
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("DELETE FROM retrieval.items WHERE collection_id = $1 AND item_id = $2", *key)
    deletion = asyncio.create_task(postgres.items.delete(collection, [key[1]], "", b""))
    while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.01)
    await connection.execute(
        "INSERT INTO retrieval.items (collection_id, item_id, visibility, status, created_at, updated_at) "
        "VALUES ($1, $2, 'public', 'approved', now(), now())",
        *key,
    )
    await connection.execute(
        "UPDATE retrieval.embeddings SET rating_count = 7 WHERE version_id = $1 AND item_id = $2",
        collection.active.version_id,
        key[1],
    )
    await transaction.commit()
    await deletion
    found = await read(postgres, collection, key[1])
    vectors = await postgres.index.vectors(collection.active, [key[1]], EVERYTHING)
    assert set(found) == set(vectors) == {key[1]}


async def test_a_write_to_a_deleted_collection_leaves_nothing(
    postgres: Stores, name: str, connection: asyncpg.Connection
) -> None:
    collection = await load(postgres, make(name, 3, dimension=4))
    await postgres.collections.delete(collection.name)
    with pytest.raises(NotFoundError) as caught:
        await postgres.items.upsert(collection, collection.active, [Item("without-vector")], "", b"")
    assert caught.value.reason == "COLLECTION_NOT_FOUND"
    rows = "SELECT count(*) FROM retrieval.items WHERE collection_id = $1"
    assert await connection.fetchval(rows, collection.collection_id) == 0


async def test_a_delete_reaches_versions_that_it_did_not_know(stores: Stores, collection: Collection) -> None:
    """As when another process added the version a moment ago: the collection in hand does not list it."""
    added = await stores.collections.create_version(collection.name, EmbeddingVersion(0, 0, "other", 4))
    await stores.items.upsert(collection, added, [item("item-00001")], "", b"")
    await stores.items.delete(collection, ["item-00001"], "", b"")
    assert await stores.index.vectors(added, ["item-00001"], EVERYTHING) == {}
