"""Scores a list of items that the caller already has."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.user_profile import profile_vector
from retrieval.domain.errors import FailedPreconditionError, NotFoundError
from retrieval.domain.filters import check_filter
from retrieval.domain.search import IndexAnswer, IndexQuery, SearchOptions, SearchResult, Stage
from retrieval.domain.vectors import combine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from retrieval.application.search import Scope, SearchPipeline


@dataclass(frozen=True, slots=True)
class RankItems:
    """A checked request; exactly one of `vector`, `seed_item_id` and `user_id` is set."""

    collection: str
    item_ids: tuple[str, ...]
    vector: NDArray[np.float32] | None = None
    seed_item_id: str = ""
    user_id: str = ""
    options: SearchOptions = field(default_factory=SearchOptions)


async def rank_items(stores: Stores, pipeline: SearchPipeline, request: RankItems) -> SearchResult:
    """Order the items by exact score. Those that do not exist, or are hidden, are reported as missing.

    Raises: NotFoundError (SEEDS_NOT_FOUND), FailedPreconditionError (NO_PROFILE).
    """
    scope = await pipeline.scope(request.collection, request.options)
    check_filter(request.options.filter, scope.collection, "options.filter")
    query = await _query(stores, pipeline, scope, request)
    ids = tuple(dict.fromkeys(request.item_ids))
    index_query = IndexQuery(
        scope.collection,
        replace(scope.version, max_chunks=1),
        query,
        (Stage(scope.version.dimension, len(ids)),),
        pipeline.predicate(scope),
        with_owners=scope.options.diversity.by_owner,
        with_vectors=scope.options.diversity.by_vector,
        with_facts=not scope.options.boosts.empty,
    )

    unranked = dict.fromkeys(ids)

    async def ask(_count: int) -> IndexAnswer:
        answer = await stores.index.rank(index_query, ids)
        for item_id in answer.item_ids:
            unranked.pop(item_id, None)
        return answer

    hits, report = await pipeline.collect(scope, ask)
    if unranked:
        # What filter or exclusions held back is there all the same; the rest is missing.
        present = await stores.index.vectors(
            scope.version, tuple(unranked), scope.viewer, scope.options.min_consistency_token
        )
        report.missing_item_ids = tuple(i for i in unranked if i not in present)
    return SearchResult(hits, report)


async def _query(stores: Stores, pipeline: SearchPipeline, scope: Scope, request: RankItems) -> NDArray[np.float16]:
    metric = scope.collection.metric
    if request.vector is not None:
        return await pipeline.query(scope, request.vector, "vector")
    if request.seed_item_id:
        seeds = await stores.index.vectors(
            scope.version, [request.seed_item_id], scope.viewer, scope.options.min_consistency_token
        )
        scope.watch.lap("seeds")
        query = combine(seeds[request.seed_item_id], None, None, metric) if seeds else None
        if query is None:
            raise NotFoundError(
                f"seed item {request.seed_item_id!r} does not exist with an embedding in this version "
                "(or the viewer may not see it)",
                reason="SEEDS_NOT_FOUND",
            )
        return query.astype(np.float16)
    profile = await profile_vector(stores, scope, request.user_id)
    scope.watch.lap("profile")
    if profile is None:
        raise FailedPreconditionError(
            f"user {request.user_id!r} has no events with items that attract; record some or rank by vector or seed",
            reason="NO_PROFILE",
        )
    return profile.astype(np.float16)
