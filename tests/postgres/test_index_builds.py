"""Index builds: reported, retried, resumed, and never in the way of searches."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest

from retrieval.application.matryoshka import Matryoshka
from retrieval.application.ports import BuildSpec, IndexKind, IndexState
from retrieval.config import Settings
from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.model import AttributeType, PopularThresholds, Viewer
from retrieval.domain.search import IndexScope, SearchOptions, SearchParams, Shortfall, Source
from retrieval.postgres import search_sql
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.indexes import default_lists, preset
from retrieval.postgres.names import hnsw_index, ivfflat_index, popular_index
from tests.backends import Backend
from tests.catalogue import DataSet, load, make
from tests.patience import PATIENCE_S
from tests.postgres.conftest import scratch_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import IndexReport, Stores
    from retrieval.domain.model import Collection

HNSW = BuildSpec(frozenset({IndexKind.HNSW}))


@pytest.fixture
def data(name: str) -> DataSet:
    return make(name, 1500, dimension=16, resolutions=(8,))


@pytest.fixture
async def collection(postgres: Stores, data: DataSet) -> Collection:
    return await load(postgres, data)


async def reports(stores: Stores, collection: Collection) -> dict[str, IndexReport]:
    report = await stores.builder.report(collection, collection.active)
    return {i.name: i for i in report.indexes}


def searching(stores: Stores, source: Source) -> Backend:
    return Backend(source.value, stores, source, source, 0.95)


async def test_a_build_is_queued_done_and_reported(postgres: Stores, collection: Collection, data: DataSet) -> None:
    version_id = collection.active.version_id
    names = await postgres.builder.build(collection, collection.active, BuildSpec(frozenset(IndexKind)))
    assert {hnsw_index(version_id, 8), hnsw_index(version_id, 16), ivfflat_index(version_id)} <= set(names)
    during = await reports(postgres, collection)
    assert set(during) == set(names)
    assert all(0.0 <= r.progress <= 1.0 for r in during.values())
    await postgres.builder.wait_idle()
    after = await reports(postgres, collection)
    for report in after.values():
        assert (report.state, report.progress, report.error, report.generation) == (IndexState.READY, 1.0, "", 1)
        assert report.size_bytes > 0
    full = after[hnsw_index(version_id, 16)]
    assert (full.dimension, full.m, full.ef_construction) == (16, *preset(16, collection.active))
    assert after[ivfflat_index(version_id)].lists == default_lists(1500) == 1
    report = await postgres.builder.report(collection, collection.active)
    # An estimate: what the load reports to the statistics may come in after ANALYZE has counted, and be added to it.
    assert report.row_count in {1500, 3000}
    assert report.table_bytes > 1500 * 16 * 2
    assert await postgres.builder.build(collection, collection.active, BuildSpec(frozenset(IndexKind))) == []


async def test_ivfflat_needs_rows(postgres: Stores, name: str) -> None:
    collection = await load(postgres, make(name, 999, dimension=4))
    with pytest.raises(FailedPreconditionError, match="1000 rows") as caught:
        await postgres.builder.build(collection, collection.active, BuildSpec(frozenset({IndexKind.IVFFLAT})))
    assert caught.value.reason == "TOO_FEW_ROWS"


async def test_two_processes_take_turns(
    adapter: PostgresAdapter,
    postgres: Stores,
    database_url: str,
    collection: Collection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "retrieval.postgres.indexes")
    other = PostgresAdapter(Settings(database_url=database_url, maintenance_work_mem_mb=128))
    connection = await asyncpg.connect(database_url)
    try:
        # An old transaction holds up the build, longer than Postgres takes to look for a deadlock.
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("SELECT count(*) FROM retrieval.items")
            names = await postgres.builder.build(collection, collection.active, HNSW)
            async with asyncio.timeout(PATIENCE_S):
                while not any(r.state is IndexState.BUILDING for r in (await reports(postgres, collection)).values()):
                    await asyncio.sleep(0.02)
            await other.open(migrate=False)
            await asyncio.sleep(1.5)
        async with asyncio.timeout(PATIENCE_S):
            await postgres.builder.wait_idle()
    finally:
        await other.close()
        await connection.close()
    after = await reports(postgres, collection)
    assert {after[name].state for name in names} == {IndexState.READY}
    assert {after[name].generation for name in names} == {1}
    for name in names:
        assert caplog.text.count(f"building index {name}") == 1


async def test_progress_is_reported_while_a_build_runs(
    postgres: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    """A writer that has not committed yet holds the concurrent build up, long enough to look at it."""
    async with connection.transaction():
        await connection.execute(
            "UPDATE retrieval.embeddings SET rating_count = 0 WHERE version_id = $1", collection.active.version_id
        )
        await postgres.builder.build(collection, collection.active, HNSW)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = await reports(postgres, collection)
                running = [r for r in found.values() if r.state is IndexState.BUILDING and r.phase]
                if running:
                    break
                await asyncio.sleep(0.02)
        assert running[0].progress < 1.0
        assert {r.state for r in found.values()} == {IndexState.BUILDING, IndexState.QUEUED}
    await postgres.builder.wait_idle()
    assert {r.state for r in (await reports(postgres, collection)).values()} == {IndexState.READY}


async def test_a_failed_build_is_reported_and_can_be_retried(
    postgres: Stores, collection: Collection, connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """An attribute declared with another type than what is stored cannot be indexed until the data fits."""
    await postgres.collections.update(collection.name, {"year": AttributeType.INT64}, None, None)
    collection = await postgres.collections.get(collection.name)
    table = f"retrieval.embeddings_v{collection.active.version_id}"
    await connection.execute(
        f"""UPDATE {table} SET attributes = attributes || '{{"year": "soon"}}' WHERE item_id = 'item-00003'"""
    )
    spec = BuildSpec(frozenset({IndexKind.ATTRIBUTE}))
    await postgres.builder.build(collection, collection.active, spec)
    await postgres.builder.wait_idle()
    found = await reports(postgres, collection)
    (failed,) = [r for r in found.values() if r.state is IndexState.FAILED]
    assert failed.name.endswith("_a_year")
    assert "22P02" in failed.error
    assert "soon" not in failed.error, "data and library messages stay in the log"
    assert {r.state for r in found.values() if r is not failed} == {IndexState.READY}, "the others go on"

    await connection.execute(f"UPDATE {table} SET attributes = attributes - 'year' WHERE item_id = 'item-00003'")
    assert await postgres.builder.build(collection, collection.active, spec) == [failed.name]
    await postgres.builder.wait_idle()
    again = (await reports(postgres, collection))[failed.name]
    assert (again.state, again.error) == (IndexState.READY, "")


@pytest.fixture
async def own_database(database_url: str) -> AsyncIterator[str]:
    async with scratch_database(database_url) as url:
        yield url


async def test_a_build_is_resumed_after_a_restart(own_database: str, data: DataSet) -> None:
    settings = Settings(database_url=own_database, maintenance_work_mem_mb=64)
    first = PostgresAdapter(settings)
    stores = await first.open(migrate=True)
    collection = await load(stores, data)
    names = await stores.builder.build(collection, collection.active, HNSW)
    await stores.builder.wait_idle()
    await first.close()

    # As a process leaves it that ends in the middle: one build under way with its half-made index, one queued.
    connection = await asyncpg.connect(own_database)
    await connection.execute("UPDATE retrieval.index_builds SET state = 'building', generation = 0 WHERE dimension = 8")
    await connection.execute("UPDATE retrieval.index_builds SET state = 'queued', generation = 0 WHERE dimension = 16")
    for name in names:
        await connection.execute(f"ALTER INDEX retrieval.{name} RENAME TO {name}_new")
        await connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::text::regclass", f"retrieval.{name}_new"
        )
    await connection.close()

    second = PostgresAdapter(settings)
    stores = await second.open(migrate=False)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await stores.builder.wait_idle()
        collection = await stores.collections.get(data.name)
        found = await reports(stores, collection)
        assert {n: r.state for n, r in found.items()} == dict.fromkeys(names, IndexState.READY)
        result = await searching(stores, Source.HNSW).search(Matryoshka(data.name, data.queries[0]))
        assert result.report.source is Source.HNSW
        assert len(result.hits) == 10
    finally:
        await second.close()


async def test_a_rebuild_keeps_answering(postgres: Stores, collection: Collection, data: DataSet) -> None:
    await postgres.builder.build(collection, collection.active, HNSW)
    await postgres.builder.wait_idle()
    backend = searching(postgres, Source.HNSW)
    rebuild = replace(HNSW, rebuild=True, m=12, ef_construction=40)
    assert len(await postgres.builder.build(collection, collection.active, rebuild)) == 2
    building = asyncio.create_task(postgres.builder.wait_idle())
    answers = 0
    while not building.done() or not answers:
        result = await backend.search(Matryoshka(data.name, data.queries[answers % 60]))
        assert result.report.source is Source.HNSW
        assert len(result.hits) == 10
        answers += 1
    await building
    full = (await reports(postgres, collection))[hnsw_index(collection.active.version_id, 16)]
    assert (full.generation, full.m, full.ef_construction) == (2, 12, 40)


async def test_changed_thresholds_drop_the_popular_index(
    postgres: Stores, collection: Collection, data: DataSet, connection: asyncpg.Connection
) -> None:
    spec = BuildSpec(frozenset({IndexKind.POPULAR_HNSW}))
    await postgres.builder.build(collection, collection.active, spec)
    await postgres.builder.wait_idle()
    options = SearchOptions(limit=500, params=SearchParams(scope=IndexScope.POPULAR))
    request = Matryoshka(data.name, data.queries[0], options=options)
    backend = searching(postgres, Source.HNSW)
    before = await backend.search(request)
    await postgres.collections.update(data.name, {}, PopularThresholds(2.0, 10), None)
    index = popular_index(collection.active.version_id)
    assert index not in await reports(postgres, collection)
    assert await connection.fetchval("SELECT to_regclass($1)", f"retrieval.{index}") is None
    with pytest.raises(FailedPreconditionError):
        await backend.search(request)
    wider = await searching(postgres, Source.AUTO).search(request)
    assert wider.report.source is Source.EXACT
    assert len(wider.hits) > len(before.hits)


async def test_a_scan_that_gives_up_says_so(
    postgres: Stores, collection: Collection, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUTO finishes what the scan could not; a source asked for by name answers short, with the reason."""
    from retrieval.domain.filters import Filter, Range, TypedValue

    await postgres.builder.build(collection, collection.active, HNSW)
    await postgres.builder.wait_idle()
    monkeypatch.setattr(search_sql, "MAX_SCAN_TUPLES", 1)
    tree = Filter(must=(Range("rank", lt=TypedValue(AttributeType.INT64, 10)),))
    params = SearchParams(ef_search=10)
    options = SearchOptions(limit=8, filter=tree, viewer=Viewer(unrestricted=True), params=params)
    short = 0
    for query in data.queries[:20]:
        request = Matryoshka(data.name, query, options=options)
        named = await searching(postgres, Source.HNSW).search(request)
        assert named.report.source is Source.HNSW
        if len(named.hits) < 8:
            short += 1
            assert named.report.shortfall is Shortfall.SCAN_LIMIT
        assert len((await searching(postgres, Source.AUTO).search(request)).hits) == 8
    assert short
