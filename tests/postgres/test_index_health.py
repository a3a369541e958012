"""Tables of vectors and their indexes are looked after, and searches go on meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest

from retrieval.application.maintenance_ports import RunOutcome
from retrieval.application.matryoshka import Matryoshka
from retrieval.application.ports import BuildSpec, IndexKind
from retrieval.config import Settings
from retrieval.domain.search import Source
from retrieval.postgres import index_health
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.names import hnsw_index, ivfflat_index, partition
from tests.backends import Backend
from tests.catalogue import DataSet, load, make
from tests.postgres.conftest import scratch_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.maintenance_ports import JobRun
    from retrieval.application.ports import IndexReport, Stores, VersionReport
    from retrieval.domain.model import Collection

YESTERDAY = "UPDATE retrieval.index_builds SET queued_at = queued_at - interval '25 hours'"


@pytest.fixture(scope="module")
async def url(database_url: str) -> AsyncIterator[str]:
    async with scratch_database(database_url) as url:
        yield url


@pytest.fixture(scope="module")
async def stores(url: str) -> AsyncIterator[Stores]:
    adapter = PostgresAdapter(Settings(database_url=url, maintenance_work_mem_mb=128))
    yield await adapter.open(migrate=True)
    await adapter.close()


@pytest.fixture
async def connection(url: str, stores: Stores) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@pytest.fixture
def data(name: str) -> DataSet:
    return make(name, 4000, dimension=16)


@pytest.fixture
async def collection(stores: Stores, data: DataSet, connection: asyncpg.Connection) -> AsyncIterator[Collection]:
    """The first 1200 of the items; nobody but the job vacuums."""
    collection = await load(stores, data, list(data.items.values())[:1200])
    await connection.execute(
        f"ALTER TABLE retrieval.{partition(collection.active.version_id)} SET (autovacuum_enabled = off)"
    )
    yield collection
    await stores.collections.delete(data.name)


async def build(stores: Stores, collection: Collection, kind: IndexKind, lists: int | None = None) -> None:
    await stores.builder.build(collection, collection.active, BuildSpec(frozenset({kind}), lists=lists))
    await stores.builder.wait_idle()


async def care(stores: Stores) -> JobRun:
    run = await stores.maintenance.run("index-care")
    assert run.outcome is RunOutcome.SUCCEEDED, run.error
    return run


async def version_report(stores: Stores, collection: Collection) -> VersionReport:
    return await stores.builder.report(collection, collection.active)


async def index(stores: Stores, collection: Collection, name: str) -> IndexReport:
    return next(i for i in (await version_report(stores, collection)).indexes if i.name == name)


async def grow(stores: Stores, collection: Collection, data: DataSet) -> None:
    """All items; what is asked next is asked with statistics that know of them."""
    items = list(data.items.values())
    for start in range(1200, len(items), 700):
        await stores.items.upsert(collection, collection.active, items[start : start + 700], "", b"")
    while (await version_report(stores, collection)).row_count < len(items):
        await asyncio.sleep(0.05)


async def test_lists_follow_the_rows_and_searches_go_on(
    stores: Stores, collection: Collection, data: DataSet, connection: asyncpg.Connection
) -> None:
    name = ivfflat_index(collection.active.version_id)
    await build(stores, collection, IndexKind.IVFFLAT)
    assert ((await index(stores, collection, name)).lists, (await index(stores, collection, name)).built_rows) == (
        1,
        1200,
    )
    await connection.execute(YESTERDAY)
    assert (await care(stores)).affected == 0
    await grow(stores, collection, data)
    before = await index(stores, collection, name)
    # An estimate, in which rows may count twice that were written while the index was built.
    assert (before.lists, before.lists_wanted in {4, 5}) == (1, True)
    backend = Backend("ivfflat", stores, Source.IVFFLAT, Source.IVFFLAT, 0.95)
    run = await care(stores)
    assert run.affected == 1
    assert run.detail == f"rebuilding {name}, lists 1 to 4 for 4000 rows"
    building = asyncio.create_task(stores.builder.wait_idle())
    answers = 0
    while not building.done() or not answers:
        result = await backend.search(Matryoshka(data.name, data.queries[answers % 60]))
        assert result.report.source is Source.IVFFLAT
        assert len(result.hits) == 10
        answers += 1
    await building
    after = await index(stores, collection, name)
    assert (after.lists, after.generation, after.built_rows) == (4, 2, 4000)
    options = await connection.fetchval("SELECT reloptions FROM pg_class WHERE relname = $1", name)
    assert options == ["lists=4"]
    assert len((await backend.search(Matryoshka(data.name, data.queries[0]))).hits) == 10


async def test_an_index_is_not_rebuilt_twice_a_day(
    stores: Stores, collection: Collection, data: DataSet, connection: asyncpg.Connection
) -> None:
    await build(stores, collection, IndexKind.IVFFLAT)
    await grow(stores, collection, data)
    assert (await care(stores)).affected == 0
    await connection.execute(YESTERDAY)
    assert (await care(stores)).affected == 1
    await stores.builder.wait_idle()


async def test_lists_that_were_asked_for_stay(
    stores: Stores, collection: Collection, data: DataSet, connection: asyncpg.Connection
) -> None:
    name = ivfflat_index(collection.active.version_id)
    await build(stores, collection, IndexKind.IVFFLAT, lists=40)
    await connection.execute(YESTERDAY)
    assert (await care(stores)).affected == 0
    await grow(stores, collection, data)
    assert (await care(stores)).detail == f"rebuilding {name}, lists 40 to 40 for 4000 rows"
    await stores.builder.wait_idle()
    assert ((await index(stores, collection, name)).lists, (await index(stores, collection, name)).generation) == (
        40,
        2,
    )


async def test_a_graph_of_which_much_was_replaced_is_built_anew(
    stores: Stores,
    collection: Collection,
    data: DataSet,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_health, "MIN_CHURNED_ROWS", 100)
    name = hnsw_index(collection.active.version_id, 16)
    await build(stores, collection, IndexKind.HNSW)
    await connection.execute(YESTERDAY)
    items = [replace(item, text="new") for item in list(data.items.values())[:600]]
    churn = (
        "SELECT n_tup_del + n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = "
        f"'{partition(collection.active.version_id)}'"
    )

    async def replaced(count: int, so_far: int) -> None:
        await stores.items.upsert(collection, collection.active, items[:count], "", b"")
        while await connection.fetchval(churn) < so_far:
            await asyncio.sleep(0.05)

    await replaced(300, 300)
    assert (await care(stores)).affected == 0, "a quarter"
    await replaced(200, 500)
    assert (await care(stores)).detail == f"rebuilding {name}, 500 rows replaced"
    await stores.builder.wait_idle()
    assert (await index(stores, collection, name)).generation == 2
    await connection.execute(YESTERDAY)
    assert (await care(stores)).affected == 0, "they count from the build on"


async def test_a_table_with_many_dead_rows_is_vacuumed(
    stores: Stores, collection: Collection, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_health, "DEAD_ROWS", 350)
    await stores.items.delete(collection, list(data.items)[:300], "", b"")
    while (await version_report(stores, collection)).dead_row_count < 300:
        await asyncio.sleep(0.05)
    assert (await care(stores)).affected == 0, "too few"
    await stores.items.delete(collection, list(data.items)[300:400], "", b"")
    while (await version_report(stores, collection)).dead_row_count < 400:
        await asyncio.sleep(0.05)
    assert (await care(stores)).detail == f"vacuumed {partition(collection.active.version_id)}"
    while (await version_report(stores, collection)).dead_row_count:
        await asyncio.sleep(0.05)


async def test_what_failed_builds_left_is_dropped(
    stores: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    await build(stores, collection, IndexKind.HNSW)
    table, name = partition(collection.active.version_id), hnsw_index(collection.active.version_id, 16)
    for left, valid in (
        (f"{name}_new", False),
        (f"{name}_ccnew1", False),
        ("mine_new", False),
        (f"{name}_b_new", True),
    ):
        await connection.execute(f"CREATE INDEX {left} ON retrieval.{table} (owner_id)")
        await connection.execute(
            "UPDATE pg_index SET indisvalid = $2 WHERE indexrelid = to_regclass($1)", f"retrieval.{left}", valid
        )
    await connection.execute("SELECT pg_advisory_lock($1)", index_health.BUILD_LOCK)
    assert (await care(stores)).affected == 0, "somebody builds"
    await connection.execute("SELECT pg_advisory_unlock($1)", index_health.BUILD_LOCK)
    assert (await care(stores)).detail == f"dropped {name}_ccnew1; dropped {name}_new"
    left = await connection.fetch("SELECT indexname FROM pg_indexes WHERE tablename = $1", table)
    assert {"mine_new", f"{name}_b_new", name} <= {row[0] for row in left}
    assert not {f"{name}_new", f"{name}_ccnew1"} & {row[0] for row in left}


async def test_indexes_of_an_earlier_release_count_from_now_on(
    stores: Stores, collection: Collection, data: DataSet, connection: asyncpg.Connection
) -> None:
    name = ivfflat_index(collection.active.version_id)
    await build(stores, collection, IndexKind.IVFFLAT)
    await connection.execute(YESTERDAY)
    await connection.execute("UPDATE retrieval.index_builds SET built_rows = NULL")
    assert (await care(stores)).affected == 0
    assert (await index(stores, collection, name)).built_rows >= 1200
    await grow(stores, collection, data)
    assert (await care(stores)).affected == 1
    await stores.builder.wait_idle()
