"""The one pipeline behind every search: ask the index, thin out, widen if short, order, hydrate.

Use cases differ in how they come to a query vector; from there on they all go through `SearchPipeline.run`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.deadline import remaining_s
from retrieval.application.projections import settled_vector
from retrieval.application.reranking import pool_per_hit, reranked
from retrieval.application.worker_threads import in_thread
from retrieval.domain.diversity import cap_owners
from retrieval.domain.errors import NotFoundError
from retrieval.domain.funnel import MAX_CANDIDATES
from retrieval.domain.model import ANONYMOUS, ChunkPlace
from retrieval.domain.ranking import best_chunks
from retrieval.domain.rerank import RerankPool
from retrieval.domain.search import (
    NO_CHUNK,
    Hit,
    IndexQuery,
    IndexScope,
    Predicate,
    SearchReport,
    SearchResult,
    Shortfall,
    Stage,
    View,
)
from retrieval.domain.vectors import scores_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from numpy.typing import NDArray

    from retrieval.application.limits import Limits
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection, EmbeddingVersion, Viewer
    from retrieval.domain.search import IndexAnswer, SearchOptions


LONG_RESCORE = 500
"""Rows that take some milliseconds to score anew."""


class Stopwatch:
    """Collects (stage, seconds); repeated stages add up."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Book the time since the last lap under `stage`."""
        now = time.perf_counter()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._since
        self._since = now

    def laps(self) -> list[tuple[str, float]]:
        """(stage, seconds) in the order the stages began."""
        return list(self._seconds.items())


@dataclass(slots=True)
class Scope:
    """Where a search looks and on whose behalf."""

    collection: Collection
    version: EmbeddingVersion
    options: SearchOptions
    watch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def viewer(self) -> Viewer:
        """The viewer of the options; anonymous where there is none."""
        return self.options.viewer or ANONYMOUS


@dataclass(slots=True)
class Draft:
    """Rows on their way to hits: parallel lists, best first."""

    item_ids: list[str]
    chunk_indexes: list[int]
    distances: NDArray[np.float64]
    scores: NDArray[np.float64]
    owner_ids: list[str]
    vectors: NDArray[np.float16] | None
    created_at: NDArray[np.int64] | None
    rating_counts: NDArray[np.int64] | None

    def take(self, indexes: Sequence[int]) -> Draft:
        """The rows at `indexes`, in that order."""
        rows = list(indexes)
        return Draft(
            [self.item_ids[i] for i in rows],
            [self.chunk_indexes[i] for i in rows],
            self.distances[rows],
            self.scores[rows],
            [self.owner_ids[i] for i in rows] if self.owner_ids else [],
            None if self.vectors is None else self.vectors[rows],
            None if self.created_at is None else self.created_at[rows],
            None if self.rating_counts is None else self.rating_counts[rows],
        )


def pick_version(collection: Collection, number: int) -> EmbeddingVersion:
    """The version of that number, or the active one for 0. Raises: NotFoundError (EMBEDDING_VERSION_NOT_FOUND)."""
    if number == 0:
        return collection.active
    for version in collection.versions:
        if version.version == number:
            return version
    raise NotFoundError(
        f"collection {collection.name!r} has no embedding version {number}; GetCollection lists them",
        reason="EMBEDDING_VERSION_NOT_FOUND",
    )


class SearchPipeline:
    """Runs a query against the index and makes hits of its rows."""

    def __init__(self, stores: Stores, limits: Limits) -> None:
        self._stores = stores
        self._limits = limits

    async def scope(self, collection_name: str, options: SearchOptions) -> Scope:
        """Resolve collection and version, and wait for the caller's consistency token."""
        watch = Stopwatch()
        if options.min_consistency_token:
            await self._stores.items.wait_for(options.min_consistency_token)
        collection = await self._stores.collections.get(collection_name)
        scope = Scope(collection, pick_version(collection, options.embedding_version), options, watch)
        watch.lap("resolve")
        return scope

    async def query(self, scope: Scope, vector: NDArray[np.float32], field: str) -> NDArray[np.float16]:
        """A caller's query vector, (n,) float32, in stored form: see `settled_vector`."""
        return await settled_vector(self._stores, scope.collection, scope.version, vector, field)

    def predicate(
        self, scope: Scope, also_excluded: Sequence[str] = (), excluded_owners: Sequence[str] = ()
    ) -> Predicate:
        """What the options, and the use case, leave out."""
        options = scope.options
        return Predicate(
            options.filter,
            scope.viewer,
            tuple(dict.fromkeys((*options.exclude_item_ids, *also_excluded))),
            tuple(excluded_owners),
        )

    async def run(
        self,
        scope: Scope,
        vector: NDArray[np.float16],
        predicate: Predicate,
        stages: tuple[Stage, ...] = (),
        *,
        stages_chosen: bool = False,
    ) -> SearchResult:
        """Search with one vector: the usual case. `stages`: none for the full dimension alone.

        `stages_chosen`: the caller named them, and no index is to have others.
        """
        full = stages or (Stage(scope.version.dimension, scope.options.limit),)
        options = scope.options

        async def ask(count: int) -> IndexAnswer:
            return await self._stores.index.search(
                IndexQuery(
                    scope.collection,
                    scope.version,
                    vector,
                    widen(full, count),
                    predicate,
                    options.params,
                    with_owners=options.diversity.by_owner,
                    with_vectors=options.diversity.by_vector,
                    stages_chosen=stages_chosen,
                    min_consistency_token=options.min_consistency_token,
                    with_facts=not options.boosts.empty,
                )
            )

        # Counts the caller chose bound the search; default ones grow with need.
        ceiling = full[-1].candidate_count if stages_chosen else MAX_CANDIDATES
        hits, report = await self.collect(scope, ask, ceiling=max(ceiling, options.limit))
        report.stages = report.stages or full
        return SearchResult(hits, report)

    async def collect(
        self,
        scope: Scope,
        ask: Callable[[int], Awaitable[IndexAnswer]],
        *,
        ceiling: int = MAX_CANDIDATES,
        rescore: Callable[[IndexAnswer], NDArray[np.float64]] | None = None,
    ) -> tuple[list[Hit], SearchReport]:
        """Ask for items, widening until the page is full, none is left, or `ceiling` were asked for.

        `rescore` gives scores, (n,) float64, in place of those by distance; an item then may have several rows.
        """
        options = scope.options
        count = self._first_count(scope)
        ceiling = min(max(ceiling, count), max(self._limits.max_pool_rows, options.limit))
        out_of_time = False
        while True:
            answer = await ask(count)
            thinning = scope, answer, rescore
            long = rescore is not None and len(answer.item_ids) > LONG_RESCORE
            draft, left, thinned_by = await in_thread(self._thin, *thinning) if long else self._thin(*thinning)
            scope.watch.lap("search")
            full = left >= options.limit or thinned_by is Shortfall.THRESHOLD
            if full or answer.exhausted or answer.scan_limited or len(answer.item_ids) < count or count >= ceiling:
                break
            if remaining_s() < self._limits.widen_reserve_s:
                out_of_time = True
                break
            count = min(count * 4, ceiling)
        pool = RerankPool(draft.scores, draft.owner_ids, draft.created_at, draft.rating_counts, draft.vectors)
        draft = draft.take(await reranked(self._stores, scope, draft.item_ids, pool))
        report = SearchReport(
            answer.source,
            scope.version.version,
            options.limit,
            answer.generation,
            answer.effort,
            stages=answer.stages,
            degraded_reason=answer.degraded_reason,
        )
        if len(draft.item_ids) < options.limit:
            report.shortfall = (
                Shortfall.DEADLINE if out_of_time else thinned_by or self._shortfall(scope, answer, count, ceiling)
            )
        hits = [
            Hit(item_id, float(score), float(distance), chunk)
            for item_id, score, distance, chunk in zip(
                draft.item_ids, draft.scores, draft.distances, draft.chunk_indexes, strict=True
            )
        ]
        await self.hydrate(scope, hits)
        report.timings_s = scope.watch.laps()
        return hits, report

    async def hydrate(self, scope: Scope, hits: list[Hit]) -> None:
        """Attach items and places by view; a hit whose item went away meanwhile, or out of sight, is dropped."""
        if scope.options.view is View.ID_SCORE or not hits:
            return
        store = self._stores.items
        full = scope.options.view is View.FULL
        if full or not scope.version.has_places:
            ids = [h.item_id for h in hits]
            items = await store.get(scope.collection, scope.version, ids, scope.viewer, with_chunks=full)
            for hit in hits:
                hit.item = items.get(hit.item_id)
                chunks = hit.item.chunks if full and hit.item is not None else ()
                hit.place = next((c.place for c in chunks if c.chunk_index == hit.chunk_index), None)
                if not full and hit.chunk_index != NO_CHUNK:
                    hit.place = ChunkPlace(hit.chunk_index)
        else:
            matched = {h.item_id: h.chunk_index for h in hits}
            placed = await store.get_placed(scope.collection, scope.version, matched, scope.viewer)
            for hit in hits:
                hit.item, hit.place = placed.get(hit.item_id, (None, None))
        hits[:] = [h for h in hits if h.item is not None]
        scope.watch.lap("hydrate")

    def _first_count(self, scope: Scope) -> int:
        """Items to ask for at first, so that a usual page needs one round."""
        options = scope.options
        return min(options.limit * pool_per_hit(options), max(self._limits.max_pool_rows, options.limit))

    @staticmethod
    def _thin(
        scope: Scope, answer: IndexAnswer, rescore: Callable[[IndexAnswer], NDArray[np.float64]] | None
    ) -> tuple[Draft, int, Shortfall | None]:
        """Scores, best first, and threshold; with the rows that the owner cap will leave, whichever come first, and the
        reason if threshold or cap remove anything.
        """
        metric = scope.collection.metric
        scores = rescore(answer) if rescore is not None else scores_of(answer.distances, metric)
        draft = Draft(
            answer.item_ids,
            answer.chunk_indexes,
            answer.distances,
            scores,
            answer.owner_ids,
            answer.vectors,
            answer.created_at,
            answer.rating_counts,
        )
        if rescore is not None:
            draft = draft.take(sorted(range(len(scores)), key=lambda i: (-scores[i], answer.item_ids[i])))
            draft = draft.take(best_chunks(draft.item_ids))
        reason = None
        threshold = scope.options.score_threshold
        if threshold is not None:
            kept = np.flatnonzero(draft.scores >= threshold).tolist()
            if len(kept) < len(draft.item_ids):
                reason = Shortfall.THRESHOLD
                draft = draft.take(kept)
        cap = scope.options.diversity.max_per_owner
        left = len(cap_owners(draft.owner_ids, cap)) if cap else len(draft.item_ids)
        if left < len(draft.item_ids):
            reason = reason or Shortfall.OWNER_CAP
        return draft, left, reason

    @staticmethod
    def _shortfall(scope: Scope, answer: IndexAnswer, count: int, ceiling: int) -> Shortfall:
        if answer.scan_limited:
            return Shortfall.SCAN_LIMIT
        if not answer.exhausted and count >= ceiling:
            return Shortfall.CANDIDATES_EXHAUSTED
        options = scope.options
        whole = options.filter.empty and not options.exclude_item_ids and options.params.scope is IndexScope.FULL
        return Shortfall.COLLECTION_TOO_SMALL if whole else Shortfall.FILTER_EXHAUSTED


def widen(stages: tuple[Stage, ...], count: int) -> tuple[Stage, ...]:
    """The same funnel with at least `count` rows out of every stage."""
    last = len(stages) - 1
    return tuple(
        s._replace(candidate_count=count if i == last else max(s.candidate_count, count)) for i, s in enumerate(stages)
    )
