"""What training does to the tables: the index each statement takes, and what others hear and find."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from retrieval.domain.model_registry import ModelVersion
from retrieval.domain.training import ENGAGING_TYPES, HISTORY_EXCLUDES, SEEN_TYPES
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.times import to_moment
from tests.patience import PATIENCE_S
from tests.postgres.test_plans import literal, nodes
from tests.training import END_US, START_US, event, generate, item, run_of, shelf

if TYPE_CHECKING:
    import asyncpg

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection
    from retrieval.postgres.adapter import PostgresAdapter

START, END = to_moment(START_US), to_moment(END_US)


@pytest.fixture(scope="module")
async def films(postgres: Stores, adapter: PostgresAdapter) -> Collection:
    """200 users with 60 events each over two months, and the statistics of that."""
    chooser = Random(3)
    made = await shelf(postgres, f"films-{uuid4().hex[:8]}", [item(f"i{n}") for n in range(300)])
    for user in range(200):
        own = [
            event(f"user-{user:03d}", f"i{n}", chooser.choice(("view", "like")), chooser.uniform(0, 1000))
            for n in chooser.sample(range(300), 60)
        ]
        await postgres.events.record(made, own)
    await generate(postgres, made, max_users=60)
    assert adapter._database is not None
    async with adapter._database.connection() as connection:
        await connection.execute("ANALYZE retrieval.events; ANALYZE retrieval.training_pairs")
    return made


async def indexes(adapter: PostgresAdapter, sql: str, *values: object) -> tuple[set[str], set[str]]:
    """(indexes that a statement reads, tables that it scans), prepared as the adapter does."""
    name = f"training_{uuid4().hex[:8]}"
    assert adapter._database is not None
    async with adapter._database.connection() as connection:
        await connection.execute(f"PREPARE {name} AS {sql}")
        try:
            given = ", ".join("NULL" if v is None else literal(v) for v in values)
            text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {name}({given})")
        finally:
            await connection.execute(f"DEALLOCATE {name}")
    found: list[dict[str, Any]] = list(nodes(json.loads(text)[0]["Plan"]))
    return {n["Index Name"] for n in found if "Index Name" in n}, {
        n["Relation Name"] for n in found if n["Node Type"] == "Seq Scan"
    }


ENGAGING, SEEN = list(ENGAGING_TYPES), list(SEEN_TYPES)
STATEMENTS = {
    "users_after": (("user-050", START, END, 20), "events_pkey"),
    "window": (("user-050", START, END, 100), "events_pkey"),
    "before": (("user-050", END, 50, HISTORY_EXCLUDES), "events_pkey"),
    "engaged_before": (("user-050", ["i1", "i2"], END, ENGAGING, 2.5), "events_pkey"),
    "counts": ((["i1", "i2"], [START, END], 10_000, ENGAGING, 2.5, SEEN), "events_by_item"),
}
BUSY_MONTHS = {"events_2023_11", "events_2023_12"}
PARENTS = """
SELECT child.relname, parent.relname FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid JOIN pg_class AS parent ON parent.oid = inhparent
WHERE parent.relkind = 'I'
"""


@pytest.mark.parametrize("name", STATEMENTS)
async def test_events_are_read_by_index(
    adapter: PostgresAdapter, films: Collection, connection: asyncpg.Connection, name: str
) -> None:
    values, index = STATEMENTS[name]
    used, scanned = await indexes(adapter, queries("interactions")[name], films.collection_id, *values)
    assert not scanned & BUSY_MONTHS
    parents = dict(tuple(row) for row in await connection.fetch(PARENTS))
    busy = {u for u in used if u.startswith(tuple(BUSY_MONTHS))}
    assert len(busy) == 2
    assert {parents[u] for u in busy} == {index}


async def test_pairs_are_read_in_order(adapter: PostgresAdapter, films: Collection) -> None:
    values = (films.collection_id, "two-tower-1", None, None, 100)
    used, scanned = await indexes(adapter, fill(queries("pairs")["list_pairs"], after=""), *values)
    assert (used, scanned) == ({"training_pairs_by_model"}, set())
    after = " AND (user_id, item_id, interaction_at) > ($6, $7, $8)"
    used, scanned = await indexes(
        adapter, fill(queries("pairs")["list_pairs"], after=after), *values, "user-010", "i1", START
    )
    assert (used, scanned) == ({"training_pairs_by_model"}, set())


async def test_erasure_is_by_index(adapter: PostgresAdapter, films: Collection) -> None:
    used, scanned = await indexes(adapter, queries("pairs")["erase_user"], films.collection_id, "user-010")
    assert (used, scanned) == ({"training_pairs_pkey"}, set())


async def test_an_activation_is_heard(postgres: Stores, connection: asyncpg.Connection, name: str) -> None:
    """By whoever follows the change log, as a change of the catalogue; not where nothing changed."""
    films = await shelf(postgres, name, [])
    for version in ("1", "2"):
        await postgres.models.register(films, ModelVersion(0, films.collection_id, "ranker", version))

    async def logged() -> int:
        return await connection.fetchval(
            "SELECT count(*) FROM retrieval.change_log WHERE collection_id = $1 AND catalogue", films.collection_id
        )

    before = await logged()
    heard: list[str] = []
    await connection.add_listener("retrieval_changes", lambda *_: heard.append("x"))
    await postgres.models.activate(films, "ranker", "1")
    await postgres.models.activate(films, "ranker", "2")
    assert await logged() == before + 2
    await postgres.models.activate(films, "ranker", "2")
    assert await logged() == before + 2
    await postgres.models.rollback(films, "ranker")
    assert await logged() == before + 3
    await connection.fetchval("SELECT 1")
    assert heard


async def test_nothing_of_a_deleted_collection_stays(
    postgres: Stores, connection: asyncpg.Connection, name: str
) -> None:
    films = await shelf(postgres, name, [item("i0")])
    await postgres.events.record(films, [event("ann", "i0", "like", 1)])
    await generate(postgres, films)
    run = ModelVersion(0, films.collection_id, "ranker", "1", training_run_ids=(run_of().run_id,))
    await postgres.models.register(films, run)
    tables = ("training_pairs", "training_runs", "model_versions")

    async def left() -> list[int]:
        return [
            await connection.fetchval(
                f"SELECT count(*) FROM retrieval.{table} WHERE collection_id = $1", films.collection_id
            )
            for table in tables
        ]

    assert await left() == [1, 1, 1]
    await postgres.collections.delete(name)
    assert await left() == [0, 0, 0]


async def test_an_erasure_waits_for_pairs_that_are_being_stored(
    postgres: Stores, connection: asyncpg.Connection, name: str
) -> None:
    films = await shelf(postgres, name, [item("i0")])
    await postgres.events.record(films, [event("ann", "i0", "like", 1)])
    await generate(postgres, films)
    async with connection.transaction():
        await connection.execute(queries("pairs")["hold_users"], films.collection_id, ["ann"])
        erasing = asyncio.create_task(postgres.pairs.erase_user(films, "ann"))
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
        async with asyncio.timeout(PATIENCE_S):
            while not await connection.fetchval(waits):
                await asyncio.sleep(0.01)
        assert not erasing.done()
    assert await erasing == 1
