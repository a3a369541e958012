"""Sums are added up exactly once whatever ends in between; months go whole; other processes hear of changes."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.config import Settings, SettingsError
from retrieval.domain.engagement import EVENT_TYPES, HOUR_US, ItemCounts, user_hash
from retrieval.domain.model import Event, Item
from retrieval.domain.owner_edges import EdgeKind, OwnerEdge, OwnerEdges
from retrieval.domain.trending import DAY_S, WINDOWS_S
from retrieval.postgres import folding
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.database import Database
from retrieval.postgres.folding import EventFolder
from retrieval.postgres.migrate import Migrator, available
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.times import to_moment
from retrieval.postgres.trending import TrendingLists
from retrieval.postgres.user_feed import HASHES_PER_PAYLOAD, PostgresUserFeed, payloads, read_payload
from tests.catalogue import load, make
from tests.postgres.conftest import scratch_database
from tests.postgres.feed.follower import soon, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

NOW_US = time.time_ns() // 1000
DAY_US = 24 * HOUR_US


@pytest.fixture(scope="module")
async def url(database_url: str) -> AsyncIterator[str]:
    """URL of a database where nobody adds up but the test."""
    async with scratch_database(database_url) as url:
        yield url


@pytest.fixture(scope="module")
async def stores(url: str) -> AsyncIterator[Stores]:
    adapter = PostgresAdapter(Settings(database_url=url))
    yield await adapter.open(migrate=True, chores=False)
    await adapter.close()


@pytest.fixture(scope="module")
async def database(url: str, stores: Stores) -> AsyncIterator[Database]:
    """Another process."""
    database = Database(url, Settings())
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def connection(url: str, stores: Stores) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@pytest.fixture
async def collection(stores: Stores, name: str) -> Collection:
    return await load(stores, make(name, 10, dimension=4))


def views(count: int, *, item: str = "a", user: str = "ann", at: int = NOW_US - HOUR_US) -> list[Event]:
    return [Event(user, item, "view", at - n, f"e{n}") for n in range(count)]


async def counted(stores: Stores, collection: Collection) -> int:
    return (await stores.engagement.counts(collection, ["a"])).get("a", ItemCounts()).view_count


async def test_a_write_updates_no_row_of_another(
    stores: Stores, collection: Collection, database: Database, connection: asyncpg.Connection
) -> None:
    """Two writes of the same item at once: neither waits for the other, nor for who adds up."""
    async with connection.transaction():
        await connection.execute("LOCK TABLE retrieval.item_counts, retrieval.item_engagement IN EXCLUSIVE MODE")
        async with soon():
            await asyncio.gather(*(stores.events.record(collection, views(3, user=f"u{n}")) for n in range(20)))
    assert await counted(stores, collection) == 0
    await EventFolder(database).fold_now()
    assert await counted(stores, collection) == 60


async def test_what_is_cut_off_in_between_is_added_up_once(
    stores: Stores, collection: Collection, database: Database, connection: asyncpg.Connection
) -> None:
    await stores.events.record(collection, views(5))
    transaction = connection.transaction()
    await transaction.start()
    assert await connection.fetchval(queries("engagement")["fold"], 100, None, []) >= 1
    # The process dies after it added up, before it could commit.
    await connection.close()
    assert await counted(stores, collection) == 0
    for _ in range(3):
        await EventFolder(database).fold()
    assert await counted(stores, collection) == 5


async def test_two_who_add_up_do_not_count_twice(
    stores: Stores, collection: Collection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "ROUND_BATCHES", 3)
    for n in range(40):
        await stores.events.record(collection, views(2, user=f"u{n}"))
    await asyncio.gather(*(EventFolder(database).fold() for _ in range(4)), EventFolder(database).fold_now())
    assert await counted(stores, collection) == 80


async def test_the_statement_alone_counts_once_too(
    stores: Stores, collection: Collection, url: str, connection: asyncpg.Connection
) -> None:
    """Even without the lock that keeps others away: rows that one takes are passed over by the other."""
    for n in range(4):
        await stores.events.record(collection, views(1, user=f"u{n}"))
    fold = queries("engagement")["fold"]
    async with connection.transaction():
        assert await connection.fetchval(fold, 2, None, []) == 2
        other = await asyncpg.connect(url)
        second = asyncio.create_task(other.fetchval(fold, 2, None, []))
        await until(other_view := await asyncpg.connect(url), "SELECT count(*) FROM pg_locks WHERE NOT granted", 1)
    assert await second == 2
    await other.close()
    await other_view.close()
    assert await counted(stores, collection) == 4


async def test_sums_of_a_deleted_collection_are_dropped(
    stores: Stores, collection: Collection, database: Database, connection: asyncpg.Connection
) -> None:
    await stores.events.record(collection, views(5))
    await stores.engagement.set_edges(collection, "ann", [OwnerEdge("o", EdgeKind.FOLLOW)], [])
    await stores.engagement.refresh_trending(collection)
    await stores.events.record(collection, views(5, user="bob"))
    await stores.collections.delete(collection.name)
    # Written by a process that does not know yet.
    await stores.events.record(collection, views(5, user="cid"))
    await EventFolder(database).fold_now()
    tables = "event_batches", "item_engagement", "item_counts", "collection_engagement", "trending_items", "owner_edges"
    for table in tables:
        left = f"SELECT count(*) FROM retrieval.{table} WHERE collection_id = $1"
        assert await connection.fetchval(left, collection.collection_id) == 0, table


async def test_lists_are_made_anew_only_where_something_was_added(
    stores: Stores, collection: Collection, database: Database, connection: asyncpg.Connection
) -> None:
    made = "SELECT array_agg(xmin::text ORDER BY window_s) FROM retrieval.trending_items WHERE collection_id = $1"
    await stores.events.record(collection, views(2))
    folder = EventFolder(database)
    await folder.fold_now()
    await TrendingLists(database).refresh_stale()
    first = await connection.fetchval(made, collection.collection_id)
    assert len(first) == len(WINDOWS_S)
    await TrendingLists(database).refresh_stale()
    assert await connection.fetchval(made, collection.collection_id) == first
    await stores.events.record(collection, views(2, item="b"))
    await folder.fold_now()
    await TrendingLists(database).refresh_stale()
    assert not set(first) & set(await connection.fetchval(made, collection.collection_id))
    assert {i for i, _ in await stores.engagement.trending(collection, DAY_S, 10)} == {"a", "b"}


async def test_readers_see_a_whole_list_while_the_next_is_made(
    stores: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    await stores.events.record(collection, views(2))
    await stores.engagement.refresh_trending(collection)
    async with connection.transaction():
        sql = queries("engagement")["refresh_trending"]
        await connection.execute(sql, collection.collection_id, DAY_S, 0, to_moment(NOW_US), 0.0)
        async with soon():
            assert [i for i, _ in await stores.engagement.trending(collection, DAY_S, 10)] == ["a"]


async def test_months_older_than_the_retention_go_whole(
    stores: Stores, collection: Collection, database: Database, connection: asyncpg.Connection, url: str
) -> None:
    month = "SELECT to_regclass('retrieval.events_2011_03') IS NOT NULL"
    old = int(datetime(2011, 3, 31, 23, 59, tzinfo=UTC).timestamp()) * 1_000_000
    await stores.events.record(collection, [*views(3, item="b", at=old), *views(4)])
    await stores.engagement.refresh_trending(collection)
    before = NOW_US - 100 * DAY_US
    await stores.engagement.prune_events(before)
    assert await connection.fetchval(month), "it was recorded just now"
    assert len(await stores.events.history(collection, "ann", 10)) == 7
    await connection.execute("UPDATE retrieval.events SET recorded_at = $1", datetime.now(UTC) - timedelta(days=101))
    async with connection.transaction():
        await connection.execute("SELECT FROM retrieval.events LIMIT 1")
        assert await stores.engagement.prune_events(before) == 0, "somebody reads"
    assert await stores.engagement.prune_events(old - 31 * DAY_US) == 0
    assert await stores.engagement.prune_events(before) == 1
    assert not await connection.fetchval(month)
    assert [e.item_id for e in await stores.events.history(collection, "ann", 10)] == ["a"] * 4
    left = "SELECT array_agg(item_id) FROM retrieval.item_engagement WHERE collection_id = $1"
    assert await connection.fetchval(left, collection.collection_id) == ["a"]
    assert await stores.engagement.counts(collection, ["b"]) == {"b": ItemCounts(3, 0)}
    # This process made the month, and another one dropped it: it is made again.
    assert (await stores.events.record(collection, views(1, item="c", at=old))).recorded == 1


async def test_engagement_of_an_archive_stays_as_long(
    stores: Stores, collection: Collection, database: Database
) -> None:
    """Its age counts from its newest event."""
    newest = NOW_US - 1000 * DAY_US
    await stores.events.record(collection, [*views(1, at=newest), *views(1, item="b", at=newest - 150 * DAY_US)])
    await stores.engagement.refresh_trending(collection)
    await stores.engagement.prune_events(NOW_US - 100 * DAY_US)
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT item_id FROM retrieval.item_engagement WHERE collection_id = $1", collection.collection_id
        )
    assert [r[0] for r in rows] == ["a"]


def test_retention_settings() -> None:
    assert Settings(event_retention_days=0).event_retention_days == 0
    assert Settings(event_retention_days=90).event_retention_days == 90
    for days in (89, -1):
        with pytest.raises(SettingsError, match="RETRIEVAL_EVENT_RETENTION_DAYS must be 0"):
            Settings(event_retention_days=days)
    with pytest.raises(SettingsError, match="RETRIEVAL_TRENDING_REFRESH_S"):
        Settings(trending_refresh_s=0)


def test_payloads_read_back() -> None:
    hashes = frozenset(user_hash(f"user-{n}") for n in range(2 * HASHES_PER_PAYLOAD + 1))
    sent = payloads(2**62, hashes)
    assert len(sent) == 3
    assert all(len(p) < 8000 for p in sent)
    assert {read_payload(p)[0] for p in sent} == {2**62}
    assert frozenset().union(*(read_payload(p)[1] for p in sent)) == hashes
    for malformed in ("", "1", "x:AAAA", "1:AAA", "1:AAAA", "1:*"):
        with pytest.raises(ValueError, match="is no notification"):
            read_payload(malformed)


async def test_other_processes_hear_who_changed(
    stores: Stores, collection: Collection, database: Database, connection: asyncpg.Connection
) -> None:
    feed = PostgresUserFeed(database, TaskSupervisor())
    heard: asyncio.Queue[tuple[int | None, frozenset[int]]] = asyncio.Queue()
    feed.subscribe(lambda *change: heard.put_nowait(change))

    def failing(*_: object) -> None:
        raise RuntimeError("a subscriber that fails does not keep it from the others")

    feed.subscribe(failing)
    ours = collection.collection_id
    async with soon():
        assert await heard.get() == (None, frozenset()), "what was sent before was missed"
        events = [*views(1), *views(1, user="bob")]
        await stores.events.record(collection, events)
        assert await heard.get() == (ours, {user_hash("ann"), user_hash("bob")})
        await stores.events.record(collection, events)  # nothing new, nobody is told
        await stores.engagement.set_edges(collection, "cid", [OwnerEdge("o", EdgeKind.BLOCK)], [])
        assert await heard.get() == (ours, {user_hash("cid")})
        await stores.engagement.erase_user(collection, "ann")
        assert await heard.get() == (ours, {user_hash("ann")})
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'retrieval-users' AND datname = current_database()"
        )
        assert await heard.get() == (None, frozenset())
        await connection.execute("SELECT pg_notify('retrieval_users', 'nonsense')")
        assert await heard.get() == (None, frozenset())
    await feed.stop()


async def test_a_user_leaves_no_row_behind(
    stores: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    await stores.events.record(collection, views(2, user="eva"))
    await stores.engagement.set_edges(collection, "eva", [OwnerEdge("o", EdgeKind.FOLLOW)], [])
    older = await stores.collections.create_version(collection.name, collection.active)
    for version in (collection.active, older):
        await connection.execute(
            "INSERT INTO retrieval.user_profiles VALUES ($1, 'eva', 0, '[1,0]', 1), ($1, 'bob', 0, '[1,0]', 1)",
            version.version_id,
        )
    await connection.execute(
        "INSERT INTO retrieval.training_pairs (collection_id, user_id, item_id, interaction_at, label) "
        "VALUES ($1, 'eva', 'a', now(), true)",
        collection.collection_id,
    )
    erased = await stores.engagement.erase_user(collection, "eva")
    assert (erased.events, erased.edges, erased.profiles, erased.other) == (2, 1, 2, 1)
    tables = await connection.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'retrieval'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname = 'user_id'"
    )
    assert {r[0] for r in tables} >= {"events", "owner_edges", "user_profiles", "training_pairs"}
    for (table,) in tables:
        assert await connection.fetchval(f"SELECT count(*) FROM retrieval.{table} WHERE user_id = 'eva'") == 0, table
    assert await connection.fetchval("SELECT count(*) FROM retrieval.user_profiles WHERE user_id = 'bob'") >= 2
    assert await stores.engagement.edges(collection, "eva") == OwnerEdges()


async def test_statements_use_their_indexes(
    stores: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    await connection.execute("SET enable_seqscan = off")
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    sql = queries("engagement")
    for name, index, values in (
        ("newest_items", "items_by_time", "1, 10"),
        ("newest_items_of", "items_by_owner", "1, 10, '{a,b}'"),
        ("refresh_trending", "item_engagement_pkey", "1, 3600, 10, now(), 1e-100"),
        ("counts", "item_counts_pkey", "1, '{a,b}'"),
        ("edges", "owner_edges_pkey", "1, 'a', '{follow,mute}', '{1,2}'"),
        ("prune_engagement", "item_engagement_pkey", "now(), now(), 10"),
        ("fold", "event_batches_pkey", "100, NULL, '{}'"),
    ):
        await connection.execute(f"PREPARE asked AS {sql[name]}")
        plan = "\n".join(r[0] for r in await connection.fetch(f"EXPLAIN EXECUTE asked({values})"))
        await connection.execute("DEALLOCATE asked")
        assert index in plan, name
        assert "Seq Scan" not in plan, name


async def test_items_are_read_by_key_in_order(
    stores: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    """The counters beside them change nothing of that, and are read for the items of the page alone."""
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    transaction = connection.transaction()
    await transaction.start()
    for table, columns, rest in (
        ("items", "visibility, status, created_at, updated_at", "'public', 'approved', now(), now()"),
        ("item_counts", "view_count, repost_count", "1, 1"),
    ):
        await connection.execute(
            f"INSERT INTO retrieval.{table} (collection_id, item_id, {columns}) "
            f"SELECT 1000000, n::text, {rest} FROM generate_series(1, 20000) AS n"
        )
        await connection.execute(f"ANALYZE retrieval.{table}")
    for name, values in (("get_items", "1000000, '{a,b}'"), ("list_items", "1000000, 'a', 10")):
        sql = fill(queries("items")[name], predicate="listed", payload="")
        await connection.execute(f"PREPARE asked AS {sql}")
        plan = "\n".join(r[0] for r in await connection.fetch(f"EXPLAIN EXECUTE asked({values})"))
        await connection.execute("DEALLOCATE asked")
        assert "using items_pkey" in plan
        assert "using item_counts_pkey" in plan
        assert "Seq Scan" not in plan
        assert "Sort" not in plan
    await transaction.rollback()


async def test_a_migration_counts_what_was_there(empty_database: str) -> None:
    await Migrator(empty_database).up()
    adapter = PostgresAdapter(Settings(database_url=empty_database))
    stores = await adapter.open(migrate=False, chores=False)
    data = make("before", 1, dimension=4)
    collection = await stores.collections.create(data.collection(), data.version())
    await stores.items.upsert(collection, collection.active, [Item("a", owner_id="o")], "", b"")
    rest = [("repost", None, None), ("rating", 4.5, None), ("rating", 1.0, None), ("dwell", None, 9000)]
    kinds = [*rest, ("dwell", None, None), *((kind, None, None) for kind in EVENT_TYPES if kind != "rating")]
    events = [Event("ann", "a", k, NOW_US - n * 1000, "e", v, d) for n, (k, v, d) in enumerate(kinds)]
    await stores.events.record(collection, [*events, *views(3, item="b")])
    await stores.engagement.refresh_trending(collection)

    async def known() -> tuple[object, ...]:
        held = stores.engagement
        return (
            dict(await held.counts(collection, ["a", "b"])),
            {i: pytest.approx(s) for i, s in await held.trending(collection, DAY_S, 10)},
            await held.newest_event_at(collection),
            await held.edges(collection, "ann"),
        )

    before = await known()
    assert before[3] == OwnerEdges(("o",), frozenset({"o"}), frozenset({"o"}))
    migrator = Migrator(empty_database)
    steps = 1 + [m.number for m in reversed(available())].index(4)
    await migrator.down(steps)
    await migrator.up()
    await adapter.close()
    adapter = PostgresAdapter(Settings(database_url=empty_database))
    stores = await adapter.open(migrate=False, chores=False)
    await stores.engagement.refresh_trending(collection)
    assert await known() == before
    await adapter.close()
