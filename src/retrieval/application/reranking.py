"""From a pool of candidates to the order that they are shown in: the step that all searches share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.related_items import strengths_for_boost
from retrieval.application.worker_threads import in_thread
from retrieval.domain.rerank import rerank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from retrieval.application.search import Scope
    from retrieval.domain.rerank import RerankPool
    from retrieval.domain.search import SearchOptions

POOL_PER_HIT = 4
"""A rerank chooses from this many candidates a hit: enough to find variety, few enough to stay relevant."""
LONG_SPREAD = 5_000_000
"""Spreading by vectors that multiplies more numbers than this takes some 5 ms and more: other calls must not wait."""
VECTORS_AT_ONCE = 128
"""Items whose chunks are read at a time: few enough that neither they nor taking them apart is much."""


def pool_per_hit(options: SearchOptions) -> int:
    """How many candidates a hit the options choose from; a cap an owner thins out, and does not reorder."""
    diversity = options.diversity
    if diversity.by_vector or diversity.owner_decay is not None or not options.boosts.empty:
        return POOL_PER_HIT
    return 2 if diversity.max_per_owner else 1


async def first_vectors(stores: Stores, scope: Scope, item_ids: Sequence[str]) -> dict[str, NDArray[np.float16]]:
    """The vector of the first chunk, (dim,), of those items that have one and that the viewer may see."""
    found: dict[str, NDArray[np.float16]] = {}
    for start in range(0, len(item_ids), VECTORS_AT_ONCE):
        part = item_ids[start : start + VECTORS_AT_ONCE]
        token = scope.options.min_consistency_token
        chunks = await stores.index.vectors(scope.version, part, scope.viewer, token)
        found |= {item_id: of_item[0].copy() for item_id, of_item in chunks.items()}
        await asyncio.sleep(0)  # what is in memory is read without a pause
    return found


async def reranked(stores: Stores, scope: Scope, item_ids: Sequence[str], pool: RerankPool) -> list[int]:
    """Rows of the pool in the order of `rerank`, by the options of the scope; `item_ids` names the rows.

    What takes long runs in a thread: numpy lets go of the interpreter there, and the event loop goes on.
    """
    options = scope.options
    strengths = await strengths_for_boost(stores, scope)
    if strengths:
        pool = replace(pool, strengths=np.array([strengths.get(item_id, 0.0) for item_id in item_ids]))
    now_us = time.time_ns() // 1000
    work = pool, options.boosts, options.diversity, now_us, options.limit, scope.watch.lap
    if options.diversity.by_vector and pool.vectors is not None:
        rows, dimension = pool.vectors.shape
        if rows * options.limit * (dimension + options.limit) > LONG_SPREAD:
            return await in_thread(rerank, *work)
    return rerank(*work)
