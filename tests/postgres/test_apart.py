"""What fails for one collection, version or table does not keep the others, and is named."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import asyncpg
import pytest

from retrieval.application.maintenance_ports import JobResult, MaintenanceJob, RunOutcome
from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.config import Settings
from retrieval.domain.engagement import HOUR_US, ItemCounts
from retrieval.domain.errors import UnavailableError
from retrieval.domain.model import EmbeddingVersion, Event
from retrieval.domain.trending import DAY_S, WINDOWS_S
from retrieval.postgres import embedding_backfill
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.apart import Apart, PartlyFailedError
from retrieval.postgres.database import Database
from retrieval.postgres.embedding_backfill import Backfill
from retrieval.postgres.folding import EventFolder
from retrieval.postgres.index_health import IndexHealth
from retrieval.postgres.maintenance import PostgresMaintenance
from retrieval.postgres.retention import Retention
from retrieval.postgres.trending import TrendingLists
from tests.catalogue import load, make
from tests.postgres.conftest import scratch_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

NOW_US = time.time_ns() // 1000
HUGE = 1.7e308
"""Two of these are more than a float64 holds."""


@pytest.fixture(scope="module")
async def url(database_url: str) -> AsyncIterator[str]:
    """URL of a database where nobody works but the test."""
    async with scratch_database(database_url) as url:
        yield url


@pytest.fixture(scope="module")
async def stores(url: str) -> AsyncIterator[Stores]:
    adapter = PostgresAdapter(Settings(database_url=url))
    yield await adapter.open(migrate=True, chores=False)
    await adapter.close()


@pytest.fixture
async def database(url: str, stores: Stores) -> AsyncIterator[Database]:
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
async def collections(stores: Stores, name: str) -> AsyncIterator[list[Collection]]:
    made = [await load(stores, make(f"{name}-{n}", 10, dimension=4)) for n in range(3)]
    yield made
    for collection in made:
        await stores.collections.delete(collection.name)


async def view(stores: Stores, collection: Collection, user: str) -> None:
    await stores.events.record(collection, [Event(user, "a", "view", NOW_US - HOUR_US, "e")])


async def trends(stores: Stores, collections: Sequence[Collection]) -> list[list[str]]:
    return [[i for i, _ in await stores.engagement.trending(c, DAY_S, 10)] for c in collections]


async def test_adding_up(
    stores: Stores, database: Database, connection: asyncpg.Connection, collections: list[Collection]
) -> None:
    for collection in collections:
        await view(stores, collection, "ann")
    await connection.execute(
        "UPDATE retrieval.event_batches SET item_ids = '{a,a}', hours = hours || hours, views = '{1,1}', "
        "reposts = '{0,0}', engagement = ARRAY[$2::float8, $2] WHERE collection_id = $1",
        collections[0].collection_id,
        HUGE,
    )
    folder = EventFolder(database)
    with pytest.raises(PartlyFailedError, match=f"collection {collections[0].collection_id} failed"):
        await folder.fold()

    async def counted() -> list[int]:
        return [(await stores.engagement.counts(c, ["a"])).get("a", ItemCounts()).view_count for c in collections]

    assert await counted() == [0, 1, 1]
    # It rests, so that the others go on at their full pace.
    await view(stores, collections[1], "bob")
    await folder.fold()
    assert await counted() == [0, 2, 1]
    # Whoever wants all of another collection added up now has it.
    await view(stores, collections[2], "bob")
    await EventFolder(database).fold_now()
    assert await counted() == [0, 2, 2]


async def test_lists_of_what_trends(
    stores: Stores, database: Database, connection: asyncpg.Connection, collections: list[Collection]
) -> None:
    for collection in collections:
        await view(stores, collection, "ann")
    await EventFolder(database).fold()
    add = (
        "INSERT INTO retrieval.item_engagement (collection_id, hour, item_id, views, reposts, engagement) "
        "SELECT collection_id, hour - $2::integer * interval '1 hour', 'z', 0, 0, $3::float8 "
        "FROM retrieval.item_engagement WHERE collection_id = $1 AND item_id = 'a'"
    )
    for hours in (0, 1):
        await connection.execute(add, collections[0].collection_id, hours, HUGE)
    # As an earlier release stored it.
    await connection.execute(add, collections[1].collection_id, 3, 5e-324)
    lists = TrendingLists(database)
    with pytest.raises(PartlyFailedError) as failed:
        await lists.refresh_stale()
    assert f"collection {collections[0].collection_id}, {WINDOWS_S[-1]} s" in failed.value.message
    assert f"collection {collections[1].collection_id}" not in failed.value.message
    assert await trends(stores, collections) == [[], ["a"], ["a"]]


async def test_queueing_texts(stores: Stores, database: Database, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for number in range(2):
        collection = await load(stores, make(f"{name}-{number}", 10, dimension=4))
        version = await stores.collections.create_version(
            collection.name, EmbeddingVersion(0, 0, "texts", 4, embeds_text=True)
        )
        made.append(version.version_id)
    enqueue = embedding_backfill.enqueue

    async def failing(connection: object, version_id: int, *more: object) -> object:
        if version_id == made[0]:
            raise ValueError("no")
        return await enqueue(connection, version_id, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(embedding_backfill, "enqueue", failing)
    backfill = Backfill(database)
    with pytest.raises(PartlyFailedError, match=f"embedding version {made[0]} failed"):
        await backfill.all()
    async with database.connection() as connection:
        waiting = "SELECT version_id FROM retrieval.embedding_versions WHERE backfill_after IS NOT NULL"
        assert [r[0] for r in await connection.fetch(waiting)] == made[:1]
    await backfill.all()  # it rests
    monkeypatch.undo()
    await Backfill(database).all()
    async with database.connection() as connection:
        assert not await connection.fetch(waiting)


async def test_care_for_tables(
    stores: Stores, database: Database, collections: list[Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that cannot be looked after; the run says which one, and counts as failed."""
    cared: list[str] = []

    async def caring(_self: object, _connection: object, table: dict[str, str]) -> list[str]:
        if not cared:
            cared.append("")
            raise ValueError(table["partition"])
        cared.append(table["partition"])
        return []

    monkeypatch.setattr(IndexHealth, "_care_for", caring)
    health = IndexHealth(database, stores.builder)  # type: ignore[arg-type]
    job = MaintenanceJob("care", 3600.0, health.care)
    run = await PostgresMaintenance(database, [job], TaskSupervisor(), 5.0).run("care")
    assert run.outcome is RunOutcome.FAILED
    assert run.error.startswith("failed for embeddings_")
    assert len(cared) >= len(collections)


async def test_dropping_months(stores: Stores, database: Database, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = await load(stores, make(name, 10, dimension=4))
    old = [Event("ann", "a", "view", 1_000_000_000_000_000 + n * 40 * 24 * HOUR_US, "e") for n in range(3)]
    await stores.events.record(collection, old)
    drop, asked = Retention._drop, []

    async def failing(self: Retention, month: str, moment: object) -> bool:
        asked.append(month)
        if len(asked) == 1:
            raise ValueError(month)
        return await drop(self, month, moment)  # type: ignore[arg-type]

    monkeypatch.setattr(Retention, "_drop", failing)
    retention = Retention(database, 0)

    async def work() -> JobResult:
        return JobResult(await retention.prune(NOW_US - 3650 * 24 * HOUR_US))

    run = await PostgresMaintenance(database, [MaintenanceJob("prune", 60.0, work)], TaskSupervisor(), 5.0).run("prune")
    assert (len(asked), run.outcome) == (3, RunOutcome.FAILED)
    assert f"{asked[0]} failed" in run.error


async def test_what_all_would_meet_ends_at_once() -> None:
    apart = Apart("something")
    with pytest.raises(UnavailableError), apart.step("one"):
        raise UnavailableError("gone")
    apart.settle()
