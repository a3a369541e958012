"""The vector index over Postgres: HNSW, IVFFlat and exact scans."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.domain.funnel import MAX_CANDIDATES
from retrieval.domain.model import MAX_CHUNKS, Metric
from retrieval.domain.planning import choose
from retrieval.domain.search import IndexAnswer, IndexScope, Source
from retrieval.postgres.items import admitted_items
from retrieval.postgres.names import partition
from retrieval.postgres.predicate import Parameters, compile_visibility
from retrieval.postgres.search_sql import (
    EXACT_PROFILE,
    MAX_SCAN_TUPLES,
    exact_statement,
    index_profile,
    index_statement,
    rank_statement,
)
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.times import to_micros

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from numpy.typing import NDArray

    from retrieval.application.candidate_ports import ItemFacts
    from retrieval.domain.model import Collection, EmbeddingVersion, Viewer
    from retrieval.domain.planning import Plan
    from retrieval.domain.search import IndexQuery, Predicate
    from retrieval.postgres.database import Database
    from retrieval.postgres.facts import FactsCache, VersionFacts

ROWS_PER_ITEM = 4
"""Rows looked at first for each item wanted; items with more chunks near the query take another look."""
ROWS_GROW = 8
MAX_EXACT_ROWS = MAX_CANDIDATES * MAX_CHUNKS
"""So many rows hold the items of any search, even if those with the most chunks are the nearest."""
WIDER_SAMPLE = 4
"""A sample that came out too small is drawn again from so many times the share."""
PARALLEL_PAGES = 1024
"""Smaller tables are read by one process (PostgreSQL's default of `min_parallel_table_scan_size`, 8 MB)."""


class PostgresIndex:
    """Answers vector searches; implements `VectorIndex`."""

    def __init__(self, database: Database, facts: FactsCache, default_ef_search: int) -> None:
        self._database = database
        self._facts = facts
        self._default_ef_search = default_ef_search

    async def search(self, query: IndexQuery) -> IndexAnswer:
        """Plan, run, and finish what an approximate scan could not: see `VectorIndex`."""
        answer = await self._search(query)
        if query.version.max_chunks == 1 and len(set(answer.item_ids)) < len(answer.item_ids):
            # Chunks were written since the version was read, which goes through a cache.
            answer = await self._search(replace(query, version=replace(query.version, max_chunks=ROWS_PER_ITEM)))
        return answer

    async def _search(self, query: IndexQuery) -> IndexAnswer:
        query = _telling(query)
        facts = await self._facts.facts(query.version)
        plan = await self._plan(query, facts)
        if plan.source is Source.EXACT:
            return await self._exact(query, facts)
        answer = await self._by_index(query, plan, facts)
        if len(answer.item_ids) >= query.count:
            return answer
        # The scan gave up, or nothing is left: looking at every admitted row tells. AUTO answers with what that finds;
        # whoever named the source gets that source's answer, and the reason why it is short.
        exact = await self._exact(query, facts)
        if query.params.source is Source.AUTO:
            return exact
        complete = len(answer.item_ids) == len(exact.item_ids)
        return replace(answer, exhausted=complete, scan_limited=not complete)

    async def rank(self, query: IndexQuery, item_ids: Sequence[str]) -> IndexAnswer:
        """Exact scores of the caller's items: see `VectorIndex`."""
        walled = self._database.walls(query.predicate.viewer)
        statement = rank_statement(query, item_ids, walled=walled)
        async with self._database.searching(None, walled=walled) as connection:
            rows = await connection.fetch(statement.sql, *statement.values)
        return replace(_answer(rows, query, Source.EXACT), exhausted=True)

    async def vectors(
        self,
        version: EmbeddingVersion,
        item_ids: Sequence[str],
        viewer: Viewer,
        min_consistency_token: str = "",  # noqa: ARG002  # reads reflect every commit
    ) -> dict[str, NDArray[np.float16]]:
        """Chunk vectors by item: see `VectorIndex`."""
        walled = self._database.walls(viewer)
        parameters = Parameters(list(item_ids), walled=walled)
        sql = fill(
            queries("search")["vectors"],
            partition=partition(version.version_id),
            version_id=version.version_id,
            item_ids="$1",
            predicate=compile_visibility(viewer, parameters),
        )
        async with self._database.searching(None, walled=walled) as connection:
            rows = await connection.fetch(sql, *parameters.values)
        chunks: dict[str, list[NDArray[np.float16]]] = {}
        for item_id, embedding in rows:
            chunks.setdefault(item_id, []).append(embedding.to_numpy())
        return {item_id: np.stack(found) for item_id, found in chunks.items()}

    async def admitted(
        self,
        collection: Collection,
        version: EmbeddingVersion,  # noqa: ARG002  # items are admitted whether they have an embedding or not
        item_ids: Sequence[str],
        predicate: Predicate,
        min_consistency_token: str = "",  # noqa: ARG002  # reads reflect every commit
    ) -> dict[str, ItemFacts]:
        """Facts of admitted items: see `VectorIndex`."""
        return await admitted_items(self._database, collection, item_ids, predicate)

    async def sample(self, version: EmbeddingVersion, count: int) -> NDArray[np.float16]:
        """Random vectors: see `VectorIndex`."""
        facts = await self._facts.facts(version)
        percent = min(100.0, 150.0 * count / max(facts.rows, 1) + 0.01)
        while True:
            sql = fill(
                queries("search")["sample"],
                partition=partition(version.version_id),
                percent=f"{percent:.6f}",
                count=count,
            )
            async with self._database.searching(EXACT_PROFILE) as connection:
                rows = await connection.fetch(sql)
            if len(rows) >= count or percent >= 100.0:
                return _matrix([r["embedding"] for r in rows], version.dimension)
            # Chance, or fewer rows than the statistics said.
            percent = min(100.0, percent * WIDER_SAMPLE)

    async def _plan(self, query: IndexQuery, facts: VersionFacts) -> Plan:
        first = query.stages[0].candidate_count * (_first_rows(query) or query.count) // query.count
        ready = {Source.HNSW} if _index_key(query, Source.HNSW) in facts.indexes else set()
        lists = 0
        inverted = facts.indexes.get(_index_key(query, Source.IVFFLAT))
        if inverted is not None and query.params.scope is IndexScope.FULL:
            ready.add(Source.IVFFLAT)
            lists = inverted.lists
        selectivity = 1.0
        # The popular index holds popular rows only: nothing has to be searched for among others.
        if ready and query.params.source is not Source.EXACT and query.params.scope is IndexScope.FULL:
            selectivity = await self._facts.selectivity(query, facts)
        return choose(
            query.params,
            ready=ready,
            rows=facts.rows,
            selectivity=selectivity,
            count=first,
            lists=lists,
            default_ef_search=self._default_ef_search,
            refined=len(query.stages) > 1,
        )

    async def _by_index(self, query: IndexQuery, plan: Plan, facts: VersionFacts) -> IndexAnswer:
        walled = self._database.walls(query.predicate.viewer)
        async with self._database.searching(index_profile(plan.source, plan.effort), walled=walled) as connection:

            async def run(rows: int) -> Sequence[Any]:
                statement = index_statement(query, plan.source, rows, walled=walled)
                found: Sequence[Any] = await connection.fetch(statement.sql, *statement.values)
                return found

            answer = _answer(await _by_items(query, run, MAX_SCAN_TUPLES), query, plan.source)
        found = facts.indexes.get(_index_key(query, plan.source))
        return replace(answer, effort=plan.effort, generation=found.generation if found else 0)

    async def _exact(self, query: IndexQuery, facts: VersionFacts) -> IndexAnswer:
        # Behind the wall an attribute index could not answer: its functions are not leakproof, and Postgres evaluates
        # policies before what might tell of the rows they hide. Nor could workers, who may not change settings.
        free = query.predicate.filter.empty and facts.pages < PARALLEL_PAGES
        walled = free and self._database.walls(query.predicate.viewer)
        async with self._database.searching(EXACT_PROFILE, walled=walled) as connection:

            async def run(rows: int) -> Sequence[Any]:
                statement = exact_statement(query, rows, walled=walled)
                found: Sequence[Any] = await connection.fetch(statement.sql, *statement.values)
                return found

            found = await _by_items(query, run, MAX_EXACT_ROWS)
        return replace(_answer(found, query, Source.EXACT), exhausted=len(found) < query.count)


def _telling(query: IndexQuery) -> IndexQuery:
    """The query without the stages before the last in which its prefix is zero: by cosine that is as near to all."""
    if query.collection.metric is not Metric.COSINE:
        return query
    told = tuple(stage for stage in query.stages[:-1] if query.vector[: stage.dimension].any())
    query = replace(query, stages=(*told, query.stages[-1]))
    if not query.vector[: query.stages[-1].dimension].any() and query.params.source is Source.AUTO:
        return replace(query, params=replace(query.params, source=Source.EXACT))
    return query


def _first_rows(query: IndexQuery) -> int:
    """Rows to look at first for the query's items; 0 where a row is an item."""
    chunks = query.version.max_chunks
    return 0 if chunks == 1 else query.count * min(chunks, ROWS_PER_ITEM)


async def _by_items(query: IndexQuery, run: Callable[[int], Awaitable[Sequence[Any]]], most: int) -> Sequence[Any]:
    """What `run` finds in so many rows, more and more of them until they hold the query's items or are all there are.

    `most`: rows to look at in the end.
    """
    rows = _first_rows(query)
    while True:
        found = await run(rows)
        if len(found) >= query.count or not found or not rows or found[0]["scanned"] < rows or rows >= most:
            return found
        rows = min(rows * ROWS_GROW, max(most, rows))


def _index_key(query: IndexQuery, source: Source) -> tuple[str, int]:
    """Key in `VersionFacts.indexes` of the index by which `source` would answer."""
    popular = source is Source.HNSW and query.params.scope is IndexScope.POPULAR
    return "popular_hnsw" if popular else source.value, query.stages[0].dimension


def _answer(rows: Sequence[Any], query: IndexQuery, source: Source) -> IndexAnswer:
    return IndexAnswer(
        [r[0] for r in rows],
        [r[1] for r in rows],
        np.array([r["distance"] for r in rows], dtype=np.float64),
        source,
        [r["owner_id"] for r in rows] if query.with_owners else [],
        _matrix([r["embedding"] for r in rows], query.version.dimension) if query.with_vectors else None,
        created_at=np.array([to_micros(r["created_at"]) for r in rows], dtype=np.int64) if query.with_facts else None,
        rating_counts=np.array([r["rating_count"] for r in rows], dtype=np.int64) if query.with_facts else None,
    )


def _matrix(embeddings: Sequence[Any], dimension: int) -> NDArray[np.float16]:
    """(n, dimension) float16 of pgvector half vectors."""
    if not embeddings:
        return np.zeros((0, dimension), dtype=np.float16)
    return np.stack([e.to_numpy() for e in embeddings])
