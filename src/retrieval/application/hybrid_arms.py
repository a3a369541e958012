"""The arms of a hybrid search, asked at the same time, and what they say as one answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.application.hybrid_ports import TextSearch
from retrieval.application.reranking import first_vectors
from retrieval.domain.funnel import default_stages
from retrieval.domain.hybrid import TEXT, VECTOR, Arm, HybridMode, fuse_arms, single
from retrieval.domain.search import (
    NO_CHUNK,
    IndexAnswer,
    IndexQuery,
    IndexScope,
    Predicate,
    Source,
    SourceReport,
    Stage,
)
from retrieval.domain.vectors import scores_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retrieval.application.hybrid import Hybrid
    from retrieval.application.hybrid_ports import TextAnswer
    from retrieval.application.ports import Stores
    from retrieval.application.search import Scope
    from retrieval.domain.hybrid import Fused
    from retrieval.domain.search import Hit

SHORTLIST = 100
"""Candidates of an arm by default. On the sets of docs/hybrid.md 50 and 200 gave the same nDCG@10 within 0.006."""


class _Row(NamedTuple):
    """What is known of an item beside its fused score."""

    chunk_index: int
    distance: float
    owner_id: str
    created_at: int
    rating_count: int
    vector: NDArray[np.float16] | None


class Arms:
    """One search's arms. What an arm said is kept until more is wanted of it."""

    def __init__(
        self, stores: Stores, scope: Scope, request: Hybrid, vector: NDArray[np.float16] | None, predicate: Predicate
    ) -> None:
        self._stores = stores
        self._scope = scope
        self._request = request
        self._vector = vector
        self._predicate = predicate
        self._texts: TextAnswer | None = None
        self._nearest: IndexAnswer | None = None
        self._fused: dict[str, Fused] = {}
        self._reports: dict[str, SourceReport] = {}

    async def ask(self, count: int) -> IndexAnswer:
        """At most `count` items of the fused list."""
        try:
            async with asyncio.TaskGroup() as group:
                if self._request.uses_text:
                    group.create_task(self._ask_text(self._request.text_candidates or max(SHORTLIST, count)))
                if self._vector is not None:
                    depth = self._request.vector_candidates or max(SHORTLIST, count)
                    group.create_task(self._ask_vector(self._vector, depth))
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        fused = self._fuse()
        page = [f.item_id for f in fused[:count]]
        self._fused = {f.item_id: f for f in fused}
        return await self._answer(page, whole=len(page) == len(fused))

    def scores(self, answer: IndexAnswer) -> NDArray[np.float64]:
        """Fused scores of an answer's rows, (n,) float64."""
        return np.array([self._fused[item_id].score for item_id in answer.item_ids], dtype=np.float64)

    def explain(self, hits: Sequence[Hit]) -> None:
        """Tell each hit where it comes from."""
        for hit in hits:
            hit.contributions = self._fused[hit.item_id].contributions

    def reports(self) -> tuple[SourceReport, ...]:
        """What each arm proposed."""
        return tuple(self._reports[name] for name in (TEXT, VECTOR) if name in self._reports)

    async def _ask_text(self, depth: int) -> None:
        if self._texts is not None and (self._texts.exhausted or len(self._texts.item_ids) >= depth):
            return
        started = time.perf_counter()
        scope = self._scope
        self._texts = await self._stores.text.search(
            TextSearch(scope.collection, self._request.words, depth, self._predicate, scope.options.params.scope)
        )
        self._report(TEXT, depth, len(self._texts.item_ids), started)

    async def _ask_vector(self, vector: NDArray[np.float16], depth: int) -> None:
        before = self._reports.get(VECTOR)
        if self._nearest is not None and (self._nearest.exhausted or (before is not None and before.quota >= depth)):
            return
        started = time.perf_counter()
        scope = self._scope
        whole = scope.options.params.scope is IndexScope.FULL
        stages = default_stages(scope.version, depth) if whole else (Stage(scope.version.dimension, depth),)
        answer = await self._stores.index.search(self._index_query(vector, stages, self._predicate))
        kept = list(range(len(answer.item_ids)))
        if self._request.words.binding:
            complying = await self._stores.text.complying(
                scope.collection, self._request.words, [answer.item_ids[i] for i in kept]
            )
            kept = [i for i in kept if answer.item_ids[i] in complying]
        self._nearest = replace(_taken(answer, kept[:depth]), exhausted=answer.exhausted and len(kept) <= depth)
        self._report(VECTOR, depth, len(self._nearest.item_ids), started)

    def _report(self, name: str, quota: int, returned: int, started: float) -> None:
        self._reports[name] = SourceReport(name, quota, returned, time.perf_counter() - started)

    def _index_query(self, vector: NDArray[np.float16], stages: tuple[Stage, ...], predicate: Predicate) -> IndexQuery:
        options = self._scope.options
        return IndexQuery(
            self._scope.collection,
            self._scope.version,
            vector,
            stages,
            predicate,
            options.params,
            with_owners=options.diversity.by_owner,
            with_vectors=options.diversity.by_vector,
            min_consistency_token=options.min_consistency_token,
            with_facts=not options.boosts.empty,
        )

    def _fuse(self) -> list[Fused]:
        arms = []
        if self._texts is not None:
            arms.append(Arm(TEXT, self._texts.item_ids, self._texts.scores, self._request.text_weight))
        if self._nearest is not None:
            scores = scores_of(self._nearest.distances, self._scope.collection.metric).tolist()
            arms.append(Arm(VECTOR, self._nearest.item_ids, scores, self._request.vector_weight))
        if self._request.mode is not HybridMode.HYBRID:
            return single(arms[0])
        return fuse_arms(arms, self._request.fusion)

    async def _answer(self, page: list[str], *, whole: bool) -> IndexAnswer:
        known = {} if self._nearest is None else _rows(self._nearest)
        missing = [item_id for item_id in page if item_id not in known]
        known |= await self._complete(missing)
        rows = [known[item_id] for item_id in page]
        texts, nearest = self._texts, self._nearest
        exhausted = whole and (texts is None or texts.exhausted) and (nearest is None or nearest.exhausted)
        told = nearest or IndexAnswer([], [], np.zeros(0), Source.TEXT)
        wordless = texts is not None and not texts.searchable
        dimension = self._scope.version.dimension
        by_vector = self._scope.options.diversity.by_vector
        none = np.zeros(dimension, dtype=np.float16)
        return replace(
            told,
            item_ids=page,
            chunk_indexes=[r.chunk_index for r in rows],
            distances=np.array([r.distance for r in rows], dtype=np.float64),
            owner_ids=[r.owner_id for r in rows],
            vectors=np.array([none if r.vector is None else r.vector for r in rows], dtype=np.float16).reshape(
                len(rows), dimension
            )
            if by_vector
            else None,
            created_at=np.array([r.created_at for r in rows], dtype=np.int64),
            rating_counts=np.array([r.rating_count for r in rows], dtype=np.int64),
            exhausted=exhausted,
            degraded_reason=told.degraded_reason or ("NO_WORDS" if wordless else ""),
        )

    async def _complete(self, item_ids: list[str]) -> dict[str, _Row]:
        """Rows of items that the text alone proposed: with a distance where there is a query vector to compare with."""
        if not item_ids or self._texts is None:
            return {}
        texts = self._texts
        facts = dict(
            zip(
                texts.item_ids,
                zip(texts.owner_ids, texts.created_at.tolist(), texts.rating_counts.tolist(), strict=True),
                strict=True,
            )
        )
        rows = {i: _Row(NO_CHUNK, 0.0, *facts[i], None) for i in item_ids}
        scope = self._scope
        if self._vector is not None:
            # The text's predicate has been applied; what else is known of an item comes from the text, too.
            query = self._index_query(
                self._vector, (Stage(scope.version.dimension, len(item_ids)),), Predicate(viewer=scope.viewer)
            )
            ranked = await self._stores.index.rank(query, item_ids)
            for number, item_id in enumerate(ranked.item_ids):
                rows[item_id] = rows[item_id]._replace(
                    chunk_index=ranked.chunk_indexes[number],
                    distance=float(ranked.distances[number]),
                    vector=None if ranked.vectors is None else ranked.vectors[number],
                )
        elif scope.options.diversity.by_vector:
            for item_id, vector in (await first_vectors(self._stores, scope, item_ids)).items():
                rows[item_id] = rows[item_id]._replace(vector=vector)
        return rows


def _taken(answer: IndexAnswer, kept: Sequence[int]) -> IndexAnswer:
    """The answer's rows at `kept`."""
    rows = list(kept)
    return replace(
        answer,
        item_ids=[answer.item_ids[i] for i in rows],
        chunk_indexes=[answer.chunk_indexes[i] for i in rows],
        distances=answer.distances[rows],
        owner_ids=[answer.owner_ids[i] for i in rows] if answer.owner_ids else [],
        vectors=None if answer.vectors is None else answer.vectors[rows],
        created_at=None if answer.created_at is None else answer.created_at[rows],
        rating_counts=None if answer.rating_counts is None else answer.rating_counts[rows],
    )


def _rows(answer: IndexAnswer) -> dict[str, _Row]:
    return {
        item_id: _Row(
            answer.chunk_indexes[number],
            float(answer.distances[number]),
            answer.owner_ids[number] if answer.owner_ids else "",
            0 if answer.created_at is None else int(answer.created_at[number]),
            0 if answer.rating_counts is None else int(answer.rating_counts[number]),
            None if answer.vectors is None else answer.vectors[number],
        )
        for number, item_id in enumerate(answer.item_ids)
    }
