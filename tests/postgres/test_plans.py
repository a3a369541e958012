"""EXPLAIN of the statements that searches run: the index by name, and never a sequential scan."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from retrieval.domain.filters import Exists, Filter, ItemIdIn, MatchAny, Range, TypedValue
from retrieval.domain.model import ANONYMOUS, AttributeType, Viewer
from retrieval.domain.search import IndexQuery, IndexScope, Predicate, SearchParams, Source, Stage
from retrieval.postgres.names import attribute_index, hnsw_index, ivfflat_index, partition, popular_index
from retrieval.postgres.search_sql import EXACT_PROFILE, exact_statement, index_profile, index_statement, rank_statement
from retrieval.postgres.sql_files import fill, queries
from tests.catalogue import DataSet, make

if TYPE_CHECKING:
    from collections.abc import Iterator

    import asyncpg

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection
    from retrieval.postgres.adapter import PostgresAdapter
    from retrieval.postgres.search_connections import Profile
    from retrieval.postgres.search_sql import Statement
    from tests.conftest import Loader

VIEWER = Viewer("owner-3", ("group-1", "group-2"))
FILTER = Filter(
    must=(
        MatchAny("genre", (TypedValue(AttributeType.KEYWORD, "jazz"),)),
        Range("rank", lt=TypedValue(AttributeType.INT64, 300)),
    ),
    should=(Exists("price"), MatchAny("labels", (TypedValue(AttributeType.KEYWORD, "new"),))),
    must_not=(MatchAny("in_stock", (TypedValue(AttributeType.BOOL, True),)),),
)
EXCLUDED = tuple(f"item-{n:05d}" for n in range(0, 2000, 3))
PREDICATES = {
    "bare": Predicate(viewer=Viewer(unrestricted=True)),
    "anonymous": Predicate(viewer=ANONYMOUS),
    "viewer": Predicate(viewer=VIEWER),
    "filter": Predicate(FILTER),
    "ids": Predicate(Filter(must=(ItemIdIn(EXCLUDED),))),
    "tags and owner": Predicate(
        Filter(
            must=(
                MatchAny("tags", (TypedValue(AttributeType.KEYWORD, "loud"),)),
                MatchAny("owner_id", (TypedValue(AttributeType.KEYWORD, "owner-3"),)),
            )
        )
    ),
    "exclusions": Predicate(excluded_item_ids=EXCLUDED, excluded_owner_ids=("owner-1", "owner-2")),
    "everything": Predicate(FILTER, VIEWER, EXCLUDED, ("owner-1",)),
}
SHAPES: dict[str, tuple[Source, IndexScope, tuple[Stage, ...]]] = {
    "hnsw": (Source.HNSW, IndexScope.FULL, (Stage(64, 10),)),
    "prefix": (Source.HNSW, IndexScope.FULL, (Stage(16, 10),)),
    "funnel": (Source.HNSW, IndexScope.FULL, (Stage(16, 100), Stage(64, 10))),
    "long funnel": (Source.HNSW, IndexScope.FULL, (Stage(16, 200), Stage(32, 100), Stage(64, 10))),
    "popular": (Source.HNSW, IndexScope.POPULAR, (Stage(64, 10),)),
    "ivfflat": (Source.IVFFLAT, IndexScope.FULL, (Stage(64, 10),)),
}


@pytest.fixture(scope="module")
async def data(loader: Loader) -> DataSet:
    return await loader(make("plans", 2000, resolutions=(16, 32)))


@pytest.fixture
async def collection(data: DataSet, postgres: Stores) -> Collection:
    return await postgres.collections.get(data.name)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def literal(value: object) -> str:
    """A parameter's value as an SQL literal of unknown type."""
    match value:
        case np.ndarray():
            text = f"[{','.join(str(float(v)) for v in value)}]"
        case list():
            text = "{" + ",".join(f'"{v}"' for v in value) + "}"
        case _:
            text = str(value)
    return "'" + text.replace("'", "''") + "'"


async def explain(
    adapter: PostgresAdapter, statement: Statement, profile: Profile, *, walled: bool = False
) -> list[dict[str, Any]]:
    """Plan nodes of the statement, in a session set up as for a search.

    Prepared first, as asyncpg does: a plain EXPLAIN would show a plan for these very values, where searches run
    a generic one.
    """
    database = adapter._database
    assert database is not None
    values = ", ".join(literal(v) for v in statement.values)
    async with database.searching(profile, walled=walled) as connection:
        await connection.execute(f"PREPARE explained AS {statement.sql}")
        try:
            text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE explained({values})")
        finally:
            await connection.execute("DEALLOCATE explained")
    return list(nodes(json.loads(text)[0]["Plan"]))


def query(
    collection: Collection, scope: IndexScope, stages: tuple[Stage, ...], predicate: Predicate, *, wide: bool
) -> IndexQuery:
    vector = np.linspace(-1, 1, 64).astype(np.float16)
    params = SearchParams(scope=scope)
    return IndexQuery(collection, collection.active, vector, stages, predicate, params, wide, wide)


def used(plan: list[dict[str, Any]]) -> set[str]:
    return {n["Index Name"] for n in plan if "Index Name" in n}


@pytest.mark.parametrize("walled", [False, True], ids=["bare", "walled"])
@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "with vectors"])
@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=PREDICATES.keys())
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
async def test_searches_use_their_index(
    adapter: PostgresAdapter,
    collection: Collection,
    shape: tuple[Source, IndexScope, tuple[Stage, ...]],
    predicate: Predicate,
    wide: bool,
    walled: bool,
) -> None:
    source, scope, stages = shape
    version_id = collection.active.version_id
    expected = hnsw_index(version_id, stages[0].dimension)
    if scope is IndexScope.POPULAR:
        expected = popular_index(version_id)
    elif source is Source.IVFFLAT:
        expected = ivfflat_index(version_id)
    statement = index_statement(query(collection, scope, stages, predicate, wide=wide), source, walled=walled)
    plan = await explain(adapter, statement, index_profile(source, 100), walled=walled)
    assert used(plan) == {expected}
    assert "Seq Scan" not in {n["Node Type"] for n in plan}
    scans = [n for n in plan if n.get("Index Name")]
    assert [n["Node Type"] for n in scans] == ["Index Scan"]
    assert "Order By" in scans[0]


@pytest.mark.parametrize(
    ("tree", "attribute"),
    [
        (Filter(must=(Range("rank", lt=TypedValue(AttributeType.INT64, 3)),)), "rank"),
        (Filter(must=(MatchAny("rank", (TypedValue(AttributeType.INT64, 3),)),)), "rank"),
        (Filter(must=(Range("price", lt=TypedValue(AttributeType.DOUBLE, 0.2)),)), "price"),
        (Filter(must=(MatchAny("genre", (TypedValue(AttributeType.KEYWORD, "none"),)),)), "genre"),
        (Filter(must=(MatchAny("labels", (TypedValue(AttributeType.KEYWORD, "rare"),)),)), "labels"),
        (Filter(must=(MatchAny("owner_id", (TypedValue(AttributeType.KEYWORD, "owner-3"),)),)), "owner_id"),
    ],
    ids=["range", "int64", "double", "keyword", "keyword list", "owner"],
)
async def test_an_exact_search_with_a_selective_filter_uses_the_attribute_index(
    adapter: PostgresAdapter, collection: Collection, tree: Filter, attribute: str
) -> None:
    asked = query(collection, IndexScope.FULL, (Stage(64, 10),), Predicate(tree), wide=False)
    plan = await explain(adapter, exact_statement(asked), EXACT_PROFILE)
    assert used(plan) == {attribute_index(collection.active.version_id, attribute)}
    assert "Seq Scan" not in {n["Node Type"] for n in plan}


@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=PREDICATES.keys())
async def test_an_exact_search_never_uses_a_vector_index(
    adapter: PostgresAdapter, collection: Collection, predicate: Predicate
) -> None:
    asked = query(collection, IndexScope.FULL, (Stage(64, 10),), predicate, wide=True)
    plan = await explain(adapter, exact_statement(asked), EXACT_PROFILE)
    assert not {n for n in used(plan) if "hnsw" in n or "ivfflat" in n or "popular" in n}


@pytest.mark.parametrize("walled", [False, True], ids=["bare", "walled"])
@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=PREDICATES.keys())
@pytest.mark.parametrize(
    "profile",
    [EXACT_PROFILE, index_profile(Source.HNSW, 100), index_profile(Source.IVFFLAT, 10)],
    ids=["exact", "hnsw", "ivfflat"],
)
async def test_ranking_reads_by_primary_key(
    adapter: PostgresAdapter, collection: Collection, profile: Profile, predicate: Predicate, walled: bool
) -> None:
    """Whatever settings the session has from the search before."""
    asked = query(collection, IndexScope.FULL, (Stage(64, 20),), predicate, wide=False)
    statement = rank_statement(asked, [f"item-{n:05d}" for n in range(20)], walled=walled)
    plan = await explain(adapter, statement, profile, walled=walled)
    # Where the planner sees the values, it may take a selective attribute index along.
    assert f"{partition(collection.active.version_id)}_pkey" in used(plan)
    assert "Seq Scan" not in {n["Node Type"] for n in plan}


async def test_the_popular_index_answers_for_its_own_thresholds_only(
    adapter: PostgresAdapter, collection: Collection
) -> None:
    """The predicate is matched by its text: other numbers must not use an index of fewer rows."""
    stricter = replace(collection, popular=replace(collection.popular, min_rating_value=3.0))
    asked = query(stricter, IndexScope.POPULAR, (Stage(64, 10),), Predicate(), wide=False)
    plan = await explain(adapter, index_statement(asked, Source.HNSW), index_profile(Source.HNSW, 100))
    assert popular_index(collection.active.version_id) not in used(plan)


async def explain_following(adapter: PostgresAdapter, sql: str, *values: object) -> list[dict[str, Any]]:
    """Plan nodes of a follower's statement, in a session of a follower's."""
    database = adapter._database
    assert database is not None
    arguments = f"({', '.join(map(literal, values))})" if values else ""
    async with database.following() as connection:
        await connection.execute(f"PREPARE explained AS {sql}")
        try:
            text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE explained{arguments}")
        finally:
            await connection.execute("DEALLOCATE explained")
    return list(nodes(json.loads(text)[0]["Plan"]))


@pytest.mark.parametrize("analyzed", [False, True])
async def test_changes_are_read_by_transaction(
    adapter: PostgresAdapter, connection: asyncpg.Connection, collection: Collection, analyzed: bool
) -> None:
    """With the statistics of a log that was empty, and with those of a long one."""
    async with connection.transaction():
        newest = await connection.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())")
        await connection.execute("SET LOCAL client_min_messages = error")
        if analyzed:
            await connection.execute(
                "INSERT INTO retrieval.change_log (transaction_id, collection_id, item_ids) "
                "SELECT n::text::xid8, 0, '{}' FROM generate_series(1, 20000) AS n"
            )
            await connection.execute("ANALYZE retrieval.change_log")
    try:
        plan = await explain_following(adapter, queries("changes")["changes"], newest, [newest - 3, newest - 5])
    finally:
        await connection.execute("DELETE FROM retrieval.change_log WHERE collection_id = 0")
    scans = [n["Node Type"] for n in plan if "Relation Name" in n]
    assert scans == ["Index Scan", "Index Scan"]
    assert used(plan) == {"change_log_by_transaction"}


@pytest.mark.parametrize("items", [None, ["item-00001", "item-00500"]], ids=["all", "some"])
async def test_rows_are_read_in_the_order_of_the_primary_key(
    adapter: PostgresAdapter, collection: Collection, items: list[str] | None
) -> None:
    """Nothing is sorted, so that the first batch comes at once and memory is bounded."""
    version_id = collection.active.version_id
    condition = "" if items is None else " AND item_id = ANY($1::text[])"
    sql = fill(queries("changes")["rows"], partition=partition(version_id), version_id=version_id, items=condition)
    plan = await explain_following(adapter, sql, *([] if items is None else [items]))
    assert used(plan) == {f"{partition(version_id)}_pkey"}
    assert items is not None or [n["Node Type"] for n in plan] == ["Index Scan"]
