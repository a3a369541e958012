"""Relationships are read by index from both ends, and writers who meet do not fail."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from retrieval.domain.model import Viewer
from retrieval.domain.relationships import FIRST_EDGES, MAX_DEPTH, Direction, Relationship, RelationshipKind, Walk
from retrieval.domain.search import Predicate
from retrieval.postgres.relationships import neighbours_statement, walk_statement
from retrieval.postgres.search_sql import EXACT_PROFILE, Statement
from retrieval.postgres.sql_files import queries
from tests.postgres.test_plans import explain, literal, used
from tests.relations import public, related_world

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection
    from retrieval.postgres.adapter import PostgresAdapter

NAMES = [f"item-{n:05d}" for n in range(5000)]
OUTGOING, INCOMING, ITEMS = "relationships_outgoing", "relationships_incoming", "items_pkey"
VIEWERS = {"anonymous": Viewer(), "viewer": Viewer("ann", ("red",)), "bare": Viewer(unrestricted=True)}


@pytest.fixture(scope="module")
async def collection(postgres: Stores) -> Collection:
    """5,000 items, each with relationships to five others, and one hub."""
    made = await related_world(postgres, "relationship-plans", public(*NAMES[:1000]))
    for start in range(0, len(NAMES), 1000):
        names = NAMES[start : start + 1000]
        await postgres.items.upsert(made, made.active, public(*names), "", b"")
        for k in range(1, 6):
            edges = [
                Relationship(name, NAMES[(7 * (start + n) + 131 * k + 1) % len(NAMES)], RelationshipKind.CITED, 1 / k)
                for n, name in enumerate(names)
            ]
            await postgres.relationships.upsert(made, [e for e in edges if e.item_id != e.related_item_id])
        hub = [Relationship("item-00000", name, RelationshipKind.SEQUEL) for name in names if name != "item-00000"]
        await postgres.relationships.upsert(made, hub)
    return made


@pytest.mark.parametrize("walled", [False, True], ids=["bare", "walled"])
@pytest.mark.parametrize("viewer", VIEWERS.values(), ids=VIEWERS.keys())
@pytest.mark.parametrize("direction", Direction)
async def test_walks_read_by_index(
    adapter: PostgresAdapter,
    collection: Collection,
    connection: asyncpg.Connection,
    viewer: Viewer,
    direction: Direction,
    walled: bool,
) -> None:
    await connection.execute("ANALYZE retrieval.relationships, retrieval.items")
    walk = Walk("item-00000", direction=direction, depth=MAX_DEPTH)
    sql, parameters = walk_statement(collection, walk, Predicate(viewer=viewer), None, 50, walled=walled)
    plan = await explain(adapter, Statement(sql, parameters.values), EXACT_PROFILE, walled=walled)
    assert used(plan) == {OUTGOING, INCOMING, ITEMS}
    assert "Seq Scan" not in {n["Node Type"] for n in plan}
    # In the order of the index: nothing is sorted before the limit ends the scan of a hub.
    ends = {OUTGOING, INCOMING}
    ways = [n for n in plan if n["Node Type"] == "Limit" and len(used(below(n)) & ends) == 1]
    assert len(ways) == 2
    assert not [s for way in ways for s in below(way) if "Sort" in s["Node Type"]]


def below(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for child in node.get("Plans", ()) for each in (child, *below(child))]


async def test_neighbours_are_read_by_index(
    adapter: PostgresAdapter, collection: Collection, connection: asyncpg.Connection
) -> None:
    await connection.execute("ANALYZE retrieval.relationships, retrieval.items")
    viewer = Viewer("ann", ("red",))
    sql, parameters = neighbours_statement(collection, ["item-00000", "item-00001"], viewer, 100, walled=True)
    plan = await explain(adapter, Statement(sql, parameters.values), EXACT_PROFILE, walled=True)
    assert used(plan) == {OUTGOING, INCOMING, ITEMS}
    assert "Seq Scan" not in {n["Node Type"] for n in plan}


async def test_a_hub_is_not_read_whole(collection: Collection, connection: asyncpg.Connection) -> None:
    """As many rows as are followed, whatever else there is."""
    sql, parameters = walk_statement(collection, Walk("item-00000"), Predicate(), None, 10)
    for number in range(len(parameters.values), 0, -1):
        sql = sql.replace(f"${number}", literal(parameters.values[number - 1]))
    plan = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}"))[0]["Plan"]
    scans = [n for n in below(plan) if n.get("Index Name") == OUTGOING]
    assert scans
    assert all(n["Actual Rows"] <= FIRST_EDGES for n in scans)


async def test_writing_uses_the_primary_key(connection: asyncpg.Connection, collection: Collection) -> None:
    await connection.execute("ANALYZE retrieval.relationships")
    await connection.execute("SET enable_seqscan = off")
    sql = queries("relationships")
    ours = collection.collection_id
    for name, arguments, indexes in (
        ("delete_relationships", f"{ours}, '{{a}}', '{{b}}', '{{cited}}'", {"relationships_pkey"}),
        ("lock_relationships", f"{ours}, '{{a}}', '{{b}}', '{{cited}}'", {"relationships_pkey"}),
        ("forget_items", f"{ours}, '{{a}}'", {INCOMING}),
        ("any_relationship", f"{ours}", set()),
    ):
        await connection.execute(f"PREPARE asked AS {sql[name]}")
        plan = "\n".join(r[0] for r in await connection.fetch(f"EXPLAIN EXECUTE asked({arguments})"))
        await connection.execute("DEALLOCATE asked")
        assert all(index in plan for index in indexes), plan
        assert "Seq Scan" not in plan, plan


async def test_writers_who_meet_do_not_fail(postgres: Stores, name: str) -> None:
    """Upserts, deletions and items that go, of the same few items, in any order."""
    ids = [f"i{n}" for n in range(8)]
    made = await related_world(postgres, name, public(*ids))
    edges = [Relationship(a, b, kind) for a in ids for b in ids if a != b for kind in list(RelationshipKind)[:3]]

    async def act(chooser: Random) -> None:
        for _ in range(15):
            some = {e.key: e for e in chooser.sample(edges, 40)}
            match chooser.randrange(3):
                case 0:
                    await postgres.relationships.upsert(made, list(some.values()))
                case 1:
                    await postgres.relationships.delete(made, list(some))
                case 2:
                    gone = chooser.sample(ids, 3)
                    await postgres.items.delete(made, gone, "", b"")
                    await postgres.items.upsert(made, made.active, public(*gone), "", b"")

    await asyncio.gather(*(act(Random(seed)) for seed in range(6)))


async def test_a_write_is_whole_or_nothing(postgres: Stores, name: str, connection: asyncpg.Connection) -> None:
    made = await related_world(postgres, name, public("a", "b"))
    good, bad = Relationship("a", "b", RelationshipKind.CITED), Relationship("b", "a", RelationshipKind.CITED, 2.0)
    with pytest.raises(asyncpg.CheckViolationError):
        await postgres.relationships.upsert(made, [good, bad])
    count = "SELECT count(*) FROM retrieval.relationships WHERE collection_id = $1"
    assert await connection.fetchval(count, made.collection_id) == 0
    await postgres.relationships.upsert(made, [good])
    await postgres.collections.delete(name)
    assert await connection.fetchval(count, made.collection_id) == 0
