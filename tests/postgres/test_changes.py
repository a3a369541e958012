"""The change feed: every committed write once, whatever the order of commits; rows as of a position; wake-ups."""

from __future__ import annotations

import asyncio
import random
import re
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncpg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.application.ports import Changes
from retrieval.config import Settings
from retrieval.domain.errors import InvalidArgumentError, NotFoundError, RetrievalError, UnavailableError
from retrieval.domain.model import AttributeType, Chunk, EmbeddingVersion, Event, Item, PopularThresholds, Viewer
from retrieval.domain.search import Predicate
from retrieval.postgres import row_batches, wakeups
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.changes import PostgresChanges
from retrieval.postgres.database import Database
from retrieval.postgres.positions import SnapshotPosition
from retrieval.postgres.sql_files import queries
from retrieval.postgres.tokens import make_token
from tests.catalogue import load, make
from tests.postgres.conftest import scratch_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from retrieval.application.ports import ChangeFeed, Position, RowBatch, Stores, StoreSnapshot
    from retrieval.domain.model import Collection

EVERYTHING = Viewer(unrestricted=True)
SOON_S = 10.0
"""Far more than it takes, and far less than the waits that have to end before."""


@pytest.fixture(scope="module")
async def url(database_url: str) -> AsyncIterator[str]:
    """A database of this module's own, where nobody else writes."""
    async with scratch_database(database_url) as url:
        yield url


@pytest.fixture(scope="module")
async def adapter(url: str) -> AsyncIterator[PostgresAdapter]:
    adapter = PostgresAdapter(Settings(database_url=url))
    yield adapter
    await adapter.close()


@pytest.fixture(scope="module")
async def stores(adapter: PostgresAdapter) -> Stores:
    return await adapter.open(migrate=True)


@pytest.fixture
async def feed(adapter: PostgresAdapter, stores: Stores) -> ChangeFeed:
    return adapter.changes


@pytest.fixture
async def collection(stores: Stores, name: str) -> Collection:
    return await load(stores, make(name, 10, dimension=4))


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


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


@pytest.fixture
async def follower(feed: ChangeFeed, collection: Collection) -> Follower:
    """Begins after the collection was loaded."""
    async with feed.snapshot() as look:
        return Follower(feed, look.position)


def item(item_id: str, *, chunks: int = 1) -> Item:
    return Item(item_id, tuple(Chunk(n, np.array([1, n, 0, 0], dtype=np.float16)) for n in range(chunks)))


async def upsert(stores: Stores, collection: Collection, *ids: str) -> str:
    written = await stores.items.upsert(collection, collection.active, [item(i) for i in ids], "", b"")
    return written.token


async def log(connection: asyncpg.Connection, collection: Collection, *ids: str) -> None:
    """What a write does in the log; the transaction is the test's."""
    await connection.execute(queries("items")["log_change"], collection.collection_id, list(ids))


NOTHING = Changes({}, catalogue=False)


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


async def test_tokens_are_reflected_from_the_step_that_brings_them(
    stores: Stores, collection: Collection, follower: Follower
) -> None:
    async def recorded() -> str:
        return (await stores.events.record(collection, [Event("u", "a", "like", 1, "e")])).token

    async def deleted() -> str:
        return (await stores.items.delete(collection, ["item-00001"], "", b"")).token

    for make_one in (lambda: upsert(stores, collection, "a"), deleted, recorded, stores.items.token):
        token = await make_one()
        assert not follower.position.reflects(token)
        await follower.step()
        assert follower.position.reflects(token)
    with pytest.raises(InvalidArgumentError) as caught:
        follower.position.reflects("nonsense")
    assert caught.value.reason == "BAD_CONSISTENCY_TOKEN"


async def test_a_token_is_not_reflected_while_its_transaction_runs(
    stores: Stores, follower: Follower, connection: asyncpg.Connection
) -> None:
    """A transaction that began before others that were seen is still not in."""
    async with connection.transaction():
        own = make_token(str(await connection.fetchval("SELECT pg_current_xact_id()")))
        later = await stores.items.token()
        await follower.step()
        assert follower.position.reflects(later)
        assert not follower.position.reflects(own)
    await follower.step()
    assert follower.position.reflects(own)


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


async def test_the_log_says_where_it_cannot_tell(
    feed: ChangeFeed, collection: Collection, follower: Follower, stores: Stores, connection: asyncpg.Connection
) -> None:
    before = follower.position
    assert isinstance(before, SnapshotPosition)
    await upsert(stores, collection, "a")
    await follower.step()
    now = follower.position
    assert isinstance(now, SnapshotPosition)
    future = SnapshotPosition(now.xmin, now.xmax + 10, frozenset())
    pruned = "UPDATE retrieval.service_state SET log_begins = $1"
    try:
        async with feed.snapshot() as look:
            assert await look.changes(future) is None
            assert await look.changes(before) is not None
        await connection.execute(pruned, before.xmin)
        async with feed.snapshot() as look:
            assert await look.changes(before) is not None
        await connection.execute(pruned, before.xmin + 1)
        async with feed.snapshot() as look:
            assert await look.changes(before) is None
            assert await look.changes(now) == NOTHING
    finally:
        await connection.execute(pruned, 0)


async def test_a_look_at_nothing_new_is_cheap(adapter: PostgresAdapter, stores: Stores, follower: Follower) -> None:
    """A follower looks often: begin, position, changes, commit; the third only where transactions ended."""
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
    assert len(sent) == 4
    assert await follower.step() == NOTHING
    await asyncio.sleep(0)
    async with database.following() as connection:
        connection.remove_query_logger(note)
    assert len(sent) == 7


async def batches(look: StoreSnapshot, collection: Collection, ids: Sequence[str] | None = None) -> list[RowBatch]:
    return [b async for b in look.rows(collection, collection.active, ids)]


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
            await until(connection, "SELECT count(*) FROM pg_locks WHERE NOT granted", 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(connection, "SELECT count(*) FROM pg_locks WHERE NOT granted", 0)
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


async def until(connection: asyncpg.Connection, sql: str, value: object) -> None:
    deadline = time.monotonic() + SOON_S
    while await connection.fetchval(sql) != value:
        assert time.monotonic() < deadline, f"{sql} is not {value}"
        await asyncio.sleep(0.005)


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
        await until(connection, "SELECT count(*) FROM pg_locks WHERE NOT granted", 1)
        async with soon():
            await upsert(stores, collection, "item-00001")
        assert not deletion.done()
        assert sum(len(b.items) for b in await batches(look, doomed)) == 10
    async with soon():
        await deletion
    with pytest.raises(NotFoundError):
        await stores.collections.get(doomed.name)


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


@asynccontextmanager
async def soon() -> AsyncIterator[None]:
    """What is inside ends by itself, and not because a wait of a minute was over."""
    async with asyncio.timeout(SOON_S):
        yield


@pytest.fixture
async def listening(feed: ChangeFeed, collection: Collection) -> ChangeFeed:
    """A feed that listens, and has told of everything written so far, that of the other fixtures included."""
    async with soon():
        while await woken(feed, 0.2):
            pass
    return feed


async def woken(feed: ChangeFeed, timeout_s: float) -> bool:
    started = time.monotonic()
    await feed.wait(timeout_s)
    return time.monotonic() - started < timeout_s


async def test_writes_wake_everybody_who_waits(listening: ChangeFeed, stores: Stores, collection: Collection) -> None:
    waits = [asyncio.create_task(listening.wait(60)) for _ in range(3)]
    await asyncio.sleep(0)
    await upsert(stores, collection, "a")
    async with soon():
        await asyncio.gather(*waits)
    assert not await woken(listening, 0.1), "one wake-up, not a storm"


async def test_a_wakeup_that_nobody_waited_for_is_kept(
    listening: ChangeFeed, stores: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    heard = asyncio.Event()
    await connection.add_listener("retrieval_changes", lambda *_: heard.set())
    cancelled = asyncio.create_task(listening.wait(60))
    await asyncio.sleep(0)
    cancelled.cancel()
    await stores.collections.update(collection.name, {"mood": AttributeType.KEYWORD}, None, None)
    async with soon():
        await heard.wait()
        await listening.wait(60)


async def test_a_lost_listener_is_replaced_and_wakes_at_once(
    listening: ChangeFeed, stores: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    waiting = asyncio.create_task(listening.wait(60))
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name = 'retrieval-changes' AND datname = current_database()"
    )
    async with soon():
        await waiting
        waiting = asyncio.create_task(listening.wait(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        await upsert(stores, collection, "a")
        await waiting


async def test_a_listener_that_fell_silent_is_replaced(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the network drops an idle connection and tells nobody."""
    monkeypatch.setattr(wakeups, "PULSE_S", 0.1)
    database = Database(url, Settings())
    connect, opened = database.dedicated, []

    async def dedicated(application_name: str) -> Any:
        opened.append(await connect(application_name))
        return opened[-1]

    monkeypatch.setattr(database, "dedicated", dedicated)
    feed = PostgresChanges(database)
    async with soon():
        await feed.wait(60)
        opened[0]._transport.pause_reading()
        await feed.wait(60)
    assert len(opened) == 2
    await feed.stop()


async def test_waiting_without_a_database_is_waiting(tmp_path: Path) -> None:
    feed = PostgresChanges(Database(f"postgresql:///postgres?host={tmp_path}", Settings()))
    assert not await woken(feed, 0.3)
    with pytest.raises(UnavailableError):
        async with feed.snapshot():
            pass
    await feed.stop()


async def test_the_identity_is_the_databases(url: str, feed: ChangeFeed, database_url: str) -> None:
    identity = await feed.identity()
    assert re.fullmatch(r"[A-Za-z0-9-]+", identity)
    for where, same in ((url, True), (database_url, False)):
        adapter = PostgresAdapter(Settings(database_url=where))
        with pytest.raises(UnavailableError):
            _ = adapter.changes
        await adapter.open(migrate=True)
        assert (await adapter.changes.identity() == identity) is same
        await adapter.close()


async def test_positions_read_back_as_they_were_written(
    feed: ChangeFeed, stores: Stores, follower: Follower, connection: asyncpg.Connection, url: str
) -> None:
    assert feed.position(str(follower.position)) == follower.position
    other = await asyncpg.connect(url)
    async with other.transaction():
        running = await other.fetchval("SELECT pg_current_xact_id()")
        await stores.items.token()
        await follower.step()
        written = await connection.fetchval("SELECT pg_current_snapshot()::text")
        assert isinstance(follower.position, SnapshotPosition)
        assert running in follower.position.running
        assert str(follower.position) == written
        assert feed.position(written) == follower.position
    await other.close()


@given(st.integers(1, 2**64 - 1), st.lists(st.integers(0, 2**63), max_size=5))
def test_any_position_reads_back(xmin: int, offsets: list[int]) -> None:
    running = frozenset(min(xmin + o, 2**64 - 2) for o in offsets if xmin < 2**64 - 1)
    position = SnapshotPosition(xmin, max(running, default=xmin - 1) + 1, running)
    assert SnapshotPosition.parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    ["", "x", "1:2", "1:2:3:4", "2:1:", "1:5:5", "3:5:2", "1:5:3,2", "1:5:2,2", "1:5:2,", "1:5: 2", "01:5:", "1:5:\n",
     "-1:5:", "\u0661:5:", "1:99999999999999999999:", "1:18446744073709551616:"],
)  # fmt: skip
def test_malformed_positions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a position"):
        SnapshotPosition.parse(text)


async def test_a_position_of_another_store_is_refused(feed: ChangeFeed) -> None:
    other: Any = object()
    async with feed.snapshot() as look:
        with pytest.raises(TypeError):
            await look.changes(other)
