"""Chunks as rows: what reads them, what stays in them, and versions that are not known to have several yet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.domain.model import Chunk, Collection, EmbeddingVersion, Item
from retrieval.domain.search import IndexQuery, IndexScope, Predicate, SearchParams, Source, Stage
from retrieval.postgres.names import hnsw_index, ivfflat_index, partition, popular_index
from retrieval.postgres.search_sql import EXACT_PROFILE, exact_statement, index_profile, index_statement
from tests.catalogue import crowd, make
from tests.postgres.test_plans import FILTER, VIEWER, explain, used

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.postgres.adapter import PostgresAdapter
    from tests.catalogue import DataSet
    from tests.conftest import Loader

ROWS = 40


@pytest.fixture(scope="module")
async def data(loader: Loader) -> DataSet:
    return await loader(crowd(make("chunk-rows", 150, dimension=16, resolutions=(8,)), seed=3))


@pytest.fixture
async def collection(data: DataSet, postgres: Stores) -> Collection:
    return await postgres.collections.get(data.name)


def query(collection: Collection, data: DataSet, stages: tuple[Stage, ...], predicate: Predicate) -> IndexQuery:
    vector = data.queries[0].astype(np.float16)
    return IndexQuery(
        collection, collection.active, vector, stages, predicate, with_vectors=True, with_owners=True, with_facts=True
    )


@pytest.mark.parametrize("walled", [False, True], ids=["bare", "walled"])
@pytest.mark.parametrize("predicate", [Predicate(), Predicate(FILTER, VIEWER)], ids=["anonymous", "filter"])
@pytest.mark.parametrize(
    ("source", "scope", "stages"),
    [
        (Source.HNSW, IndexScope.FULL, (Stage(16, 10),)),
        (Source.HNSW, IndexScope.FULL, (Stage(8, 100), Stage(16, 10))),
        (Source.HNSW, IndexScope.POPULAR, (Stage(16, 10),)),
        (Source.IVFFLAT, IndexScope.FULL, (Stage(16, 10),)),
    ],
    ids=["hnsw", "funnel", "popular", "ivfflat"],
)
async def test_items_are_found_by_the_index_and_compared_again_by_key(
    adapter: PostgresAdapter,
    collection: Collection,
    data: DataSet,
    source: Source,
    scope: IndexScope,
    stages: tuple[Stage, ...],
    predicate: Predicate,
    walled: bool,
) -> None:
    asked = replace(query(collection, data, stages, predicate), params=SearchParams(scope=scope))
    version_id = collection.active.version_id
    expected = hnsw_index(version_id, stages[0].dimension)
    if scope is IndexScope.POPULAR:
        expected = popular_index(version_id)
    elif source is Source.IVFFLAT:
        expected = ivfflat_index(version_id)
    plan = await explain(
        adapter, index_statement(asked, source, ROWS, walled=walled), index_profile(source, 100), walled=walled
    )
    assert used(plan) == {expected, f"{partition(version_id)}_pkey"}
    assert "Seq Scan" not in {n["Node Type"] for n in plan}
    (compared,) = [n for n in plan if n.get("Index Name", "").endswith("_pkey")]
    assert "item_id" in compared["Index Cond"]
    assert "Order By" not in compared


async def test_an_exact_search_for_items_uses_no_vector_index(
    adapter: PostgresAdapter, collection: Collection, data: DataSet
) -> None:
    asked = query(collection, data, (Stage(16, 10),), Predicate())
    plan = await explain(adapter, exact_statement(asked, ROWS), EXACT_PROFILE)
    assert not {n for n in used(plan) if "hnsw" in n or "ivfflat" in n}


@pytest.mark.parametrize("source", [Source.AUTO, Source.EXACT, Source.HNSW, Source.IVFFLAT])
async def test_a_version_read_before_its_first_chunks_counts_items_all_the_same(
    postgres: Stores, collection: Collection, data: DataSet, source: Source
) -> None:
    asked = replace(query(collection, data, (Stage(16, 30),), Predicate()), params=SearchParams(source))
    known = await postgres.index.search(asked)
    stale = await postgres.index.search(replace(asked, version=replace(asked.version, max_chunks=1)))
    assert len(set(stale.item_ids)) == len(stale.item_ids) == 30
    assert (stale.item_ids, stale.chunk_indexes) == (known.item_ids, known.chunk_indexes)


async def test_a_long_text_leaves_the_row_before_the_vector_does(
    postgres: Stores, adapter: PostgresAdapter, name: str
) -> None:
    dimension = 2000
    made = await postgres.collections.create(Collection(0, name), EmbeddingVersion(0, 0, "model", dimension))
    rng = np.random.default_rng(5)
    vector = rng.standard_normal(dimension).astype(np.float16)
    # The vector is the largest value of a row that is longer than a page; none of them can be compressed much.
    own = "".join(map(chr, rng.integers(0x4E00, 0x9000, 1_300)))
    tags = tuple("".join(map(chr, rng.integers(97, 123, 250))) for _ in range(10))
    await postgres.items.upsert(made, made.active, [Item("i", (Chunk(0, vector, text=own),), tags=tags)], "", b"")
    assert adapter._database is not None
    async with adapter._database.connection() as connection:
        toast = await connection.fetchval(
            "SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = to_regclass($1)",
            f"retrieval.{partition(made.active.version_id)}",
        )
        sizes = [r[0] for r in await connection.fetch(f"SELECT sum(length(chunk_data)) FROM {toast} GROUP BY chunk_id")]
    assert sizes, "something had to leave the row"
    assert 4 + 2 * dimension not in sizes
    found = await postgres.items.get(made, made.active, ["i"], VIEWER, with_chunks=True)
    assert found["i"].chunks[0].text == own
