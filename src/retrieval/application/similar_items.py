"""Items similar to seed items, away from negative ones."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.worker_threads import in_thread
from retrieval.domain.errors import FailedPreconditionError, NotFoundError
from retrieval.domain.filters import check_filter
from retrieval.domain.ranking import best_score
from retrieval.domain.search import IndexAnswer, IndexQuery, SearchOptions, SearchResult, Stage
from retrieval.domain.vectors import combine, distances, scores_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from retrieval.application.search import Scope, SearchPipeline
    from retrieval.domain.model import Metric
    from retrieval.domain.search import Predicate


LONG_UNION = 2000
"""Rows of several answers that take some milliseconds to put together."""


class SeedStrategy(Enum):
    """How several seeds become one search."""

    AVERAGE_VECTOR = "average_vector"
    BEST_SCORE = "best_score"


@dataclass(frozen=True, slots=True)
class SimilarItems:
    """A checked request."""

    collection: str
    item_ids: tuple[str, ...]
    negative_item_ids: tuple[str, ...] = ()
    strategy: SeedStrategy = SeedStrategy.AVERAGE_VECTOR
    options: SearchOptions = field(default_factory=SearchOptions)


async def search_similar_items(stores: Stores, pipeline: SearchPipeline, request: SimilarItems) -> SearchResult:
    """Search by the strategy of the request; neither seeds nor negatives are returned.

    Raises: NotFoundError (SEEDS_NOT_FOUND) when no seed can be used; FailedPreconditionError (SEEDS_CANCEL_OUT) when
    seeds and negatives add up to the zero vector under cosine.
    """
    scope = await pipeline.scope(request.collection, request.options)
    check_filter(request.options.filter, scope.collection, "options.filter")
    wanted = tuple(dict.fromkeys((*request.item_ids, *request.negative_item_ids)))
    vectors = await stores.index.vectors(scope.version, wanted, scope.viewer, scope.options.min_consistency_token)
    scope.watch.lap("seeds")
    missing = tuple(i for i in wanted if i not in vectors)
    positives = [vectors[i] for i in dict.fromkeys(request.item_ids) if i in vectors]
    negatives = [vectors[i] for i in dict.fromkeys(request.negative_item_ids) if i in vectors]
    if not positives:
        raise NotFoundError(
            "none of the seed items exists with an embedding in this version (or the viewer may not see them): "
            + ", ".join(repr(i) for i in request.item_ids[:10]),
            reason="SEEDS_NOT_FOUND",
        )
    predicate = pipeline.predicate(scope, also_excluded=wanted)
    if request.strategy is SeedStrategy.AVERAGE_VECTOR:
        result = await _by_average(pipeline, scope, positives, negatives, predicate)
    else:
        result = await _by_best_score(stores, pipeline, scope, np.concatenate(positives), negatives, predicate)
    result.report.missing_item_ids = missing
    return result


async def _by_average(
    pipeline: SearchPipeline,
    scope: Scope,
    positives: list[NDArray[np.float16]],
    negatives: list[NDArray[np.float16]],
    predicate: Predicate,
) -> SearchResult:
    query = combine(_means(positives), _means(negatives) if negatives else None, None, scope.collection.metric)
    if query is None:
        raise FailedPreconditionError(
            "the seeds and negatives cancel out to the zero vector; use SEED_STRATEGY_BEST_SCORE or other seeds",
            reason="SEEDS_CANCEL_OUT",
        )
    return await pipeline.run(scope, query.astype(np.float16), predicate)


async def _by_best_score(
    stores: Stores,
    pipeline: SearchPipeline,
    scope: Scope,
    positives: NDArray[np.float16],
    negatives: list[NDArray[np.float16]],
    predicate: Predicate,
) -> SearchResult:
    against = np.concatenate(negatives) if negatives else None
    metric = scope.collection.metric

    async def ask(count: int) -> IndexAnswer:
        query = IndexQuery(
            scope.collection,
            scope.version,
            positives[0],
            (Stage(scope.version.dimension, count),),
            predicate,
            scope.options.params,
            with_owners=scope.options.diversity.by_owner,
            with_vectors=True,
            min_consistency_token=scope.options.min_consistency_token,
            with_facts=not scope.options.boosts.empty,
        )
        answers = await asyncio.gather(*(stores.index.search(replace(query, vector=p)) for p in positives))
        many = sum(len(answer.item_ids) for answer in answers) > LONG_UNION
        return await in_thread(_union, answers) if many else _union(answers)

    def rescore(answer: IndexAnswer) -> NDArray[np.float64]:
        rows = answer.vectors
        if rows is None or not len(rows):
            return np.zeros(0)
        toward = _scores(positives, rows, metric)
        return best_score(toward, None if against is None else _scores(against, rows, metric))

    hits, report = await pipeline.collect(scope, ask, rescore=rescore)
    return SearchResult(hits, report)


def _means(chunks_by_item: list[NDArray[np.float16]]) -> NDArray[np.float16]:
    """One row an item: its only chunk, or the mean of its chunks."""
    return np.stack(
        [c[0] if len(c) == 1 else c.astype(np.float32).mean(axis=0).astype(np.float16) for c in chunks_by_item]
    )


def _scores(queries: NDArray[np.float16], rows: NDArray[np.float16], metric: Metric) -> NDArray[np.float64]:
    """(n rows, n queries) scores."""
    return np.stack([scores_of(distances(q, rows, metric), metric) for q in queries], axis=1)


def _union(answers: Sequence[IndexAnswer]) -> IndexAnswer:
    """All rows of several answers, each (item, chunk) once with its smallest distance, nearest first."""
    best: dict[tuple[str, int], tuple[float, IndexAnswer, int]] = {}
    for answer in answers:
        for row, key in enumerate(zip(answer.item_ids, answer.chunk_indexes, strict=True)):
            distance = float(answer.distances[row])
            if key not in best or distance < best[key][0]:
                best[key] = (distance, answer, row)
    ordered = sorted(best.items(), key=lambda pair: (pair[1][0], pair[0]))
    rows = [(answer, row) for _, (_, answer, row) in ordered]
    vectors = [a.vectors[row] for a, row in rows if a.vectors is not None]
    created_at = [int(a.created_at[row]) for a, row in rows if a.created_at is not None]
    rating_counts = [int(a.rating_counts[row]) for a, row in rows if a.rating_counts is not None]
    return replace(
        answers[0],
        item_ids=[key[0] for key, _ in ordered],
        chunk_indexes=[key[1] for key, _ in ordered],
        distances=np.array([d for _, (d, _, _) in ordered], dtype=np.float64),
        owner_ids=[a.owner_ids[row] for a, row in rows if a.owner_ids],
        vectors=np.stack(vectors) if vectors else None,
        exhausted=all(a.exhausted for a in answers),
        scan_limited=any(a.scan_limited for a in answers),
        effort=max(a.effort for a in answers),
        created_at=np.array(created_at, dtype=np.int64) if created_at else None,
        rating_counts=np.array(rating_counts, dtype=np.int64) if rating_counts else None,
    )
