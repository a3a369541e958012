"""The vector index in front of Postgres: answers from memory where it may, and hands on what it may not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.bounded_cache import size_of
from retrieval.application.cache_ports import HitColumns, HitLists, InstantHits
from retrieval.application.deadline import remaining_s
from retrieval.application.worker_threads import in_thread
from retrieval.domain.errors import FailedPreconditionError, UnavailableError
from retrieval.domain.search import IndexAnswer, Source
from retrieval.domain.vectors import rounded_rows, scores_of
from retrieval.faiss_cache.budget import Residency
from retrieval.faiss_cache.whole_items import LOOKS, refine_items, search_items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retrieval.application.cache_ports import CacheReport
    from retrieval.application.candidate_ports import ItemFacts
    from retrieval.application.ports import VectorIndex
    from retrieval.application.projection_ports import ProjectionStore
    from retrieval.domain.model import Collection, EmbeddingVersion, Viewer
    from retrieval.domain.search import IndexQuery, Predicate, SearchOptions
    from retrieval.faiss_cache.answers import Rows
    from retrieval.faiss_cache.cache import FaissCache
    from retrieval.faiss_cache.view import View as CacheView
    from retrieval.faiss_cache.whole_items import Look

TOKEN_SHARE = 0.5
"""Part of the remaining time that a search spends waiting for a token before it turns to Postgres."""
TIME_SHARE = 0.5
"""Part of the remaining time that a search may take by its calibration: what is left is for the way back."""
TOKEN_WAIT_S = 1.0
"""At most so long: Postgres answers in a few milliseconds."""
NAMED_WAIT_S = 3600.0
"""At most so long where FAISS was asked for by name and the call has no deadline: timers take no infinity."""
FEW_HITS = 64
"""Up to so many hits, one after the other in Python takes less time than all at once in NumPy."""
LONG_LOOK_ROWS = 4_000
"""Comparing all chunks of the items that so many rows belong to takes some milliseconds."""
LONG_COUNT = 500
SHORT_PREDICATE_BYTES = 32 * 2**10
"""A larger predicate has some hundred values or more."""
_OVERSAMPLED = 4


class CachedIndex:
    """Implements `VectorIndex` over the cache, with `store` for everything else."""

    def __init__(self, cache: FaissCache, store: VectorIndex, projections: ProjectionStore) -> None:
        self._cache = cache
        self._store = store
        self._projections = projections

    async def search(self, query: IndexQuery) -> IndexAnswer:
        """See `VectorIndex`."""
        source = query.params.source
        if source not in {Source.AUTO, Source.FAISS}:
            return await self._store.search(query)
        view = await self._view(query)
        if view is None:
            if source is Source.FAISS:
                raise FailedPreconditionError(
                    "this version is not in the FAISS cache (it is being built, too large for the memory budget, or "
                    "not the active one): see GetIndexStats, or ask for SOURCE_AUTO",
                    reason="INDEX_NOT_READY",
                )
            return await self._store.search(query)
        if view.residency is Residency.COARSE:
            return await self._refined_by_store(view, query)
        if view.has_chunks:
            return await _by_items(view, query)
        if view.scans(query.params) or _is_long(query):
            # Other searches must not wait for it on the event loop.
            return await in_thread(answer, view, query)
        return answer(view, query)

    async def rank(self, query: IndexQuery, item_ids: Sequence[str]) -> IndexAnswer:
        """See `VectorIndex`."""
        return await self._store.rank(query, item_ids)

    async def vectors(
        self, version: EmbeddingVersion, item_ids: Sequence[str], viewer: Viewer, min_consistency_token: str = ""
    ) -> dict[str, NDArray[np.float16]]:
        """See `VectorIndex`."""
        resident = self._cache.resident(version.version_id)
        view = None if resident is None else self._cache.view(resident.collection.name)
        if view is None or view.residency is not Residency.FULL or not self._cache.reflects(min_consistency_token):
            return await self._store.vectors(version, item_ids, viewer)
        rows = view.rows_of(item_ids, viewer)
        found: dict[str, list[NDArray[np.float16]]] = {}
        for item_id, vector in zip(view.item_ids(rows), view.vectors(rows), strict=True):
            found.setdefault(item_id, []).append(vector)
        return {item_id: np.stack(chunks) for item_id, chunks in found.items()}

    async def admitted(
        self,
        collection: Collection,
        version: EmbeddingVersion,
        item_ids: Sequence[str],
        predicate: Predicate,
        min_consistency_token: str = "",
    ) -> dict[str, ItemFacts]:
        """See `VectorIndex`; the store is asked for what has no embedding."""
        view = self._cache.view(collection.name, version.version)
        if (
            view is None
            or view.version.version_id != version.version_id
            or view.residency is not Residency.FULL
            or not self._cache.reflects(min_consistency_token)
        ):
            return await self._store.admitted(collection, version, item_ids, predicate)
        known, found = view.facts(item_ids, predicate)
        unknown = [item_id for item_id in item_ids if item_id not in known]
        if unknown:
            found |= await self._store.admitted(collection, version, unknown, predicate)
        return found

    async def sample(self, version: EmbeddingVersion, count: int) -> NDArray[np.float16]:
        """See `VectorIndex`."""
        return await self._store.sample(version, count)

    def search_now(self, collection: str, vectors: NDArray[np.float32], options: SearchOptions) -> InstantHits | None:
        """See `VectorCache`."""
        view = self._cache.view(collection, options.embedding_version)
        # The catalogue as the usual way sees it: a collection may just have been deleted, or have another version.
        known = self._cache.collections.peek(collection)
        if (
            view is None
            or known is None
            or known.active.version_id != view.version.version_id
            or not self._cache.reflects(options.min_consistency_token)
        ):
            return None
        settled = view.settle(options)
        metric = view.collection.metric
        taken = None if settled is None else self._taken(view.version, vectors)
        queries = None if taken is None else rounded_rows(taken, metric)
        if queries is None or settled is None:
            return None
        wanted = len(queries) * options.limit
        hits: HitLists | HitColumns
        if wanted <= FEW_HITS:
            rows, distances = view.search_few(queries, options.limit, settled, options.params)
            if len(rows) < wanted:
                return None
            hits = HitLists(view.encoded_item_ids(rows), [scores_of(d, metric) for d in distances], distances)
        else:
            found = view.search(queries, options.limit, settled.admitted, options.params)
            away = found.distances.ravel()
            hits = HitColumns(view.joined_item_ids(found.rows.ravel()), scores_of(away, metric), away)
        version = view.version.version
        return InstantHits(options.limit, hits, version, view.generation, settled.effort.ef_search, settled.stages)

    def _taken(self, version: EmbeddingVersion, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Vectors in the version's space, (n, dim) float32; None where the usual way is to say or do more."""
        length = vectors.shape[1]
        if length == version.dimension:
            return vectors
        projection = self._projections.peek(version) if length == version.input_dimension else None
        # Of what is not finite `rounded_rows` makes nothing, and a projection leaves it so.
        return None if projection is None else projection.project(vectors)

    async def reflect(self, collection: Collection, token: str) -> None:
        """See `VectorCache`."""
        await self._cache.reflect(collection, token)

    def report(self, version: EmbeddingVersion) -> CacheReport:
        """See `VectorCache`."""
        return self._cache.report(version)

    def generation(self, version: EmbeddingVersion) -> int:
        """See `VectorCache`."""
        resident = self._cache.resident(version.version_id)
        view = None if resident is None else self._cache.view(resident.collection.name, version.version)
        return 0 if view is None else view.generation

    def prewarm(self, version: EmbeddingVersion) -> None:
        """See `VectorCache`."""
        self._cache.prewarm(version)

    async def _view(self, query: IndexQuery) -> CacheView | None:
        """The view that may answer: held, fresh, and reflecting the query's token."""
        view = self._held(query)
        token = query.min_consistency_token
        if view is None or self._cache.reflects(token):
            return view
        named = query.params.source is Source.FAISS
        most_s = min(remaining_s(), NAMED_WAIT_S) if named else min(TOKEN_SHARE * remaining_s(), TOKEN_WAIT_S)
        if await self._cache.wait_for(token, most_s):
            return self._held(query)
        if named:
            raise UnavailableError(
                "the FAISS cache has not caught up with the token; try again, or ask for SOURCE_AUTO",
                reason="CACHE_BEHIND",
            )
        return None

    def _held(self, query: IndexQuery) -> CacheView | None:
        """The view of just the version that the query is about, where it is held and fresh."""
        view = self._cache.view(query.collection.name, query.version.version)
        return view if view is not None and view.version.version_id == query.version.version_id else None

    async def _refined_by_store(self, view: CacheView, query: IndexQuery) -> IndexAnswer:
        """The coarse index proposes, Postgres compares and applies the predicate, by id."""
        wide = max(_OVERSAMPLED * query.count, 100)
        vector = query.vector[np.newaxis].astype(np.float32)
        for per_item in LOOKS:
            asked = wide * per_item // LOOKS[0]
            rows = view.proposed(vector, asked)
            item_ids = list(dict.fromkeys(view.item_ids(rows)))
            # Where items have several rows, few may have filled the look.
            if len(item_ids) >= query.count or len(rows) < asked:
                break
        found = await self._store.rank(query, item_ids)
        short = len(found.item_ids) < query.count
        if short and query.params.source is Source.AUTO:
            return await self._store.search(query)  # too much of what was proposed is filtered out
        cut = slice(query.count)
        return replace(
            found,
            item_ids=found.item_ids[cut],
            chunk_indexes=found.chunk_indexes[cut],
            distances=found.distances[cut],
            owner_ids=found.owner_ids[cut],
            vectors=None if found.vectors is None else found.vectors[cut],
            created_at=None if found.created_at is None else found.created_at[cut],
            rating_counts=None if found.rating_counts is None else found.rating_counts[cut],
            source=Source.FAISS,
            exhausted=False,
            scan_limited=short,
            effort=wide,
            generation=view.generation,
        )


def _is_long(query: IndexQuery) -> bool:
    """Whether it takes milliseconds to find the rows that the predicate admits, or to take so many hits out."""
    return query.count > LONG_COUNT or size_of(query.predicate, SHORT_PREDICATE_BYTES) is None


async def _by_items(view: CacheView, query: IndexQuery) -> IndexAnswer:
    """What the view answers where items have several rows."""
    scans = view.scans(query.params)
    for number, per_item in enumerate(LOOKS):
        # Usually the first look is all, and takes little time; on the event loop other searches wait for it.
        apart = scans or number > 0 or _is_long(query) or query.stages[0].candidate_count * per_item > LONG_LOOK_ROWS
        look = await in_thread(_look, view, query, per_item) if apart else _look(view, query, per_item)
        if not look.short:
            break
    return replace(_row_answer(view, query, look.found), exhausted=look.exhausted, scan_limited=look.short)


def _look(view: CacheView, query: IndexQuery, per_item: int) -> Look:
    admitted = view.admitted(query.predicate, query.params.scope)
    vector = query.vector[np.newaxis].astype(np.float32)
    if query.stages_chosen:
        return refine_items(view, vector, query.stages, admitted, query.params, per_item)
    time_us = TIME_SHARE * remaining_s() * 1e6
    return search_items(view, vector, query.count, admitted, query.params, per_item, time_us)


def answer(view: CacheView, query: IndexQuery) -> IndexAnswer:
    """What the view answers; safe in any thread."""
    admitted = view.admitted(query.predicate, query.params.scope)
    vector = query.vector[np.newaxis].astype(np.float32)
    if query.stages_chosen:
        found = view.refine(vector, query.stages, admitted, query.params)
    else:
        found = view.search(vector, query.count, admitted, query.params, TIME_SHARE * remaining_s() * 1e6)
    return _row_answer(view, query, found)


def _row_answer(view: CacheView, query: IndexQuery, found: Rows) -> IndexAnswer:
    rows = found.rows[0]
    rows = rows[rows >= 0]
    return IndexAnswer(
        view.item_ids(rows),
        view.chunk_indexes(rows),
        found.distances[0, : len(rows)],
        Source.FAISS,
        view.owner_ids(rows) if query.with_owners else [],
        view.vectors(rows) if query.with_vectors else None,
        exhausted=len(rows) >= found.admitted,
        effort=found.effort,
        generation=view.generation,
        stages=() if query.stages_chosen else found.stages,
        degraded_reason="DEADLINE" if found.reduced else "",
        created_at=view.numbers("created_at", rows) if query.with_facts else None,
        rating_counts=view.numbers("rating_count", rows) if query.with_facts else None,
    )
