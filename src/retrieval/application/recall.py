"""Measures recall against exact search on vectors sampled from the collection."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from retrieval.application.search import pick_version
from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.model import Viewer
from retrieval.domain.search import IndexQuery, Predicate, SearchParams, Source, Stage

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.model import EmbeddingVersion

_EVERYTHING = Predicate(viewer=Viewer(unrestricted=True))


@dataclass(frozen=True, slots=True)
class Recall:
    """Mean and lowest recall over the sampled queries, and who answered."""

    mean: float
    lowest: float
    sample_size: int
    source: Source


@dataclass(frozen=True, slots=True)
class MeasuredRecall:
    """A measurement that is remembered. `target_recall` 0: none was asked for; `measured_at`: microseconds."""

    recall: Recall
    target_recall: float
    measured_at: int


class RecallHistory:
    """The latest measurement of each embedding version, in this process."""

    def __init__(self) -> None:
        self._latest: dict[int, MeasuredRecall] = {}

    def latest(self, version: EmbeddingVersion) -> MeasuredRecall | None:
        """What was measured last of the version; None where nothing was."""
        return self._latest.get(version.version_id)

    def record(self, version: EmbeddingVersion, recall: Recall, target_recall: float) -> None:
        """Remember a measurement."""
        self._latest[version.version_id] = MeasuredRecall(recall, target_recall, time.time_ns() // 1000)


async def evaluate_recall(
    stores: Stores,
    history: RecallHistory,
    collection_name: str,
    embedding_version: int,
    sample_size: int,
    limit: int,
    params: SearchParams,
) -> Recall:
    """Share of the exact `limit` nearest items that the search with `params` finds, over `sample_size` stored vectors.

    Distances decide, not ids: an item as near as the exact last one counts, so that ties do not lower recall.

    Raises: FailedPreconditionError (VERSION_EMPTY).
    """
    collection = await stores.collections.get(collection_name)
    version = pick_version(collection, embedding_version)
    samples = await stores.index.sample(version, sample_size)
    if not len(samples):
        raise FailedPreconditionError(f"embedding version {version.version} holds no rows yet", reason="VERSION_EMPTY")
    shares: list[float] = []
    source = params.source
    for vector in samples:
        query = IndexQuery(collection, version, vector, (Stage(version.dimension, limit),), _EVERYTHING, params)
        exact_query = replace(query, params=SearchParams(Source.EXACT, params.scope))
        exact, found = await asyncio.gather(stores.index.search(exact_query), stores.index.search(query))
        source = found.source
        if not len(exact.distances):
            continue
        await asyncio.sleep(0)  # what is in memory is searched without a pause
        bound = float(exact.distances[-1]) + 1e-6
        shares.append(min(1.0, sum(d <= bound for d in found.distances.tolist()) / len(exact.distances)))
    if not shares:
        raise FailedPreconditionError("no row can be searched with these params", reason="VERSION_EMPTY")
    recall = Recall(sum(shares) / len(shares), min(shares), len(shares), source)
    history.record(version, recall, params.target_recall or 0.0)
    return recall
