"""The queue in Postgres: the library's own view of its tables, writers that meet workers, and what is cleaned up."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from retrieval.domain.embedding_jobs import CompleteOutcome, JobFailure
from retrieval.domain.model import Item
from retrieval.postgres import embedding_backfill, embedding_queue
from retrieval.postgres.sql_files import fill, queries
from tests.embedding_jobs import add_version, check_texts, chunk, complete, create, lease, work_off, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import Stores


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    made = await asyncpg.connect(database_url)
    yield made
    await made.close()


async def test_the_library_finds_its_schema_complete(postgres: Stores, connection: Any) -> None:
    queue = embedding_queue.queue_on(connection)
    assert await queue.schema_is_installed()
    plan = await queue.plan_upgrade()
    assert (list(plan.statements), list(plan.notes)) == ([], [])
    assert {(t.table_name, t.persistence) for t in await queue.schema_info()} == {
        (name, "LOGGED") for name in ("pgqueuer", "pgqueuer_log", "pgqueuer_schedules", "pgqueuer_statistics")
    }


def test_the_environment_does_not_move_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    before = embedding_queue.SETTINGS.model_dump()
    for field in before:
        monkeypatch.setenv(f"PGQUEUER_{field.upper()}", "other")
        monkeypatch.setenv(field.upper(), "other")
    monkeypatch.setenv("PGQUEUER_SCHEMA", "other")
    given = {name: getattr(embedding_queue.SETTINGS, name) for name in embedding_queue.SETTINGS.model_fields_set}
    assert embedding_queue.SETTINGS.model_fields_set == set(before), "what is not given is read from the environment"
    assert type(embedding_queue.SETTINGS)(**given).model_dump() == before


async def test_a_writer_that_is_under_way_is_waited_for(postgres: Stores, connection: Any, name: str) -> None:
    """A worker that completes while the item is being replaced writes nothing of the old text."""
    collection = await create(postgres, name)
    version = collection.active
    await write(postgres, collection, Item("a", text="one"))
    lease_id, jobs = await lease(postgres, collection, version)
    transaction = connection.transaction()
    await transaction.start()
    sql = queries("items")
    await connection.fetchrow(sql["write_together"], collection.collection_id)
    await connection.fetch(fill(sql["remove_items"], text=""), collection.collection_id, ["a"])
    await connection.execute(
        "INSERT INTO retrieval.items (collection_id, item_id, visibility, status, text, created_at, updated_at) "
        "VALUES ($1, 'a', 'public', 'approved', 'two', now(), now())",
        collection.collection_id,
    )
    completing = asyncio.create_task(complete(postgres, collection, version, lease_id, jobs))
    await _until_blocked(connection)
    await transaction.commit()
    assert await completing == [CompleteOutcome.TEXT_CHANGED]
    assert await work_off(postgres, collection, version) == ["two"]
    await check_texts(postgres, collection, version, {"a": "two"})


async def _until_blocked(connection: Any) -> None:
    """Until somebody waits for a lock of this connection."""
    while not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
    ):
        await asyncio.sleep(0.01)


async def test_writers_and_workers_side_by_side(postgres: Stores, name: str) -> None:
    """Whatever the order in which they meet, the last text is the one that is embedded."""
    collection = await create(postgres, name)
    version = collection.active
    ids = [f"i{n:02d}" for n in range(20)]
    stop = asyncio.Event()

    async def keep_writing(writer: int) -> None:
        for turn in range(15):
            items = [Item(i, text=f"{writer} {turn} {i}") for i in (ids if turn % 2 else ids[::-1])]
            await write(postgres, collection, *items)

    async def keep_working() -> None:
        while not stop.is_set():
            await work_off_if_held(postgres)

    async def work_off_if_held(stores: Stores) -> None:
        lease_id, jobs = await lease(stores, collection, version, count=7)
        if jobs:
            await complete(stores, collection, version, lease_id, jobs)
        await asyncio.sleep(0)

    workers = [asyncio.create_task(keep_working()) for _ in range(3)]
    await asyncio.gather(*(keep_writing(writer) for writer in range(3)))
    stop.set()
    await asyncio.gather(*workers)
    await work_off(postgres, collection, version)
    items = await postgres.items.list_after(collection, version, "", 100, _everything(), with_chunks=False)
    await check_texts(postgres, collection, version, {i.item_id: i.text for i in items})
    counts = await postgres.embedding_jobs.counts(collection, version)
    assert (counts.queued, counts.leased, counts.dead, counts.embedded) == (0, 0, 0, 20)


def _everything() -> Any:
    from retrieval.domain.model import EVERYTHING
    from retrieval.domain.search import NO_FILTER, Predicate

    return Predicate(NO_FILTER, EVERYTHING)


async def test_queueing_what_is_there_goes_on_where_it_was(
    postgres: Stores, connection: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, each with its jobs in one transaction: what a process leaves undone another one does."""
    monkeypatch.setattr(embedding_backfill, "BACKFILL_ITEMS", 10)
    collection = await create(postgres, name, embeds_text=False)
    await write(postgres, collection, *(Item(f"i{n:02d}", text=f"t{n}") for n in range(35)))
    # Another page size leaves the last page full or empty: neither may lose or repeat anything.
    collection, made = await add_version(postgres, name)
    left = "SELECT backfill_after FROM retrieval.embedding_versions WHERE version_id = $1"
    assert await connection.fetchval(left, made.version_id) is None
    counts = await postgres.embedding_jobs.counts(collection, made)
    assert (counts.queued, counts.outstanding) == (35, 35)
    await connection.execute(
        "UPDATE retrieval.embedding_versions SET backfill_after = 'i04' WHERE version_id = $1", made.version_id
    )
    await connection.execute("DELETE FROM retrieval.pgqueuer WHERE entrypoint = $1", f"embed:{made.version_id}")
    while await connection.fetchval(left, made.version_id) is not None:
        await postgres.embedding_jobs.backfill()
    counts = await postgres.embedding_jobs.counts(collection, made)
    assert (counts.queued, counts.outstanding) == (30, 35)


async def test_a_writer_of_another_process_knows_the_new_version_at_once(postgres: Stores, name: str) -> None:
    collection = await create(postgres, name, embeds_text=False)
    made = (await add_version(postgres, name))[1]
    await write(postgres, collection, Item("a", (chunk("x"),), text="one"))  # `collection` is as it was before
    lease_id, jobs = await lease(postgres, await postgres.collections.get(name), made)
    assert [j.text for j in jobs] == ["one"]
    await postgres.embedding_jobs.release(collection, made, lease_id)


async def test_the_record_of_jobs_is_pruned(postgres: Stores, connection: Any, name: str) -> None:
    collection = await create(postgres, name)
    version = collection.active
    await write(postgres, collection, Item("a", text="one"), Item("b", text="two"))
    lease_id, jobs = await lease(postgres, collection, version)
    await complete(postgres, collection, version, lease_id, jobs[:1])
    await postgres.embedding_jobs.fail(
        collection,
        version,
        lease_id,
        [JobFailure(jobs[1].job_id, "bad", permanent=True)],
    )
    logged = "SELECT status::text FROM retrieval.pgqueuer_log WHERE entrypoint = $1 ORDER BY id"
    name_of_jobs = f"embed:{version.version_id}"
    rows = [r["status"] for r in await connection.fetch(logged, name_of_jobs)]
    assert sorted(rows) == ["failed", "picked", "picked", "queued", "queued", "successful"]
    assert await postgres.embedding_jobs.prune_embedding_jobs(2**52) >= len(rows) + 1
    assert await connection.fetch(logged, name_of_jobs) == []


MANY_JOBS = """
INSERT INTO retrieval.pgqueuer (priority, status, entrypoint, dedupe_key, payload)
SELECT
    n % 3, (ARRAY['queued', 'picked', 'failed'])[1 + n % 3]::retrieval.pgqueuer_status, 'embed:' || n % 50,
    'plan:' || n, ''
FROM generate_series(1, 6000) AS n
"""
PLANS = (
    ("due", (), {"pgqueuer_ep_ea_idx"}),
    ("end_jobs", (["1:a"],), {"pgqueuer_unique_dedupe_key", "embedding_jobs_dead_by_key"}),
    ("list_dead", ("embed:1", 0, 10), {"embedding_jobs_dead_by_version"}),
)


@pytest.mark.parametrize(("statement", "values", "expected"), PLANS, ids=[p[0] for p in PLANS])
async def test_statements_use_the_indexes_that_they_name(
    postgres: Stores, connection: Any, statement: str, values: tuple[Any, ...], expected: set[str]
) -> None:
    sql = queries("embedding_jobs")[statement]
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SET LOCAL enable_seqscan = off")
    await connection.execute(MANY_JOBS)
    await connection.execute("ANALYZE retrieval.pgqueuer")
    text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *values)
    await transaction.rollback()

    def indexes(node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(indexes, node))
        if isinstance(node, dict):
            own = {node["Index Name"]} if "Index Name" in node else set()
            return own.union(*map(indexes, node.values()))
        return set()

    assert expected <= indexes(json.loads(text))
