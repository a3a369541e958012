"""Nearest items to a vector: coarse on a prefix first, exact at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.domain.filters import check_filter
from retrieval.domain.funnel import check_stages, default_stages
from retrieval.domain.search import IndexScope, SearchOptions, SearchResult, Stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.application.search import SearchPipeline


@dataclass(frozen=True, slots=True)
class Matryoshka:
    """A checked request. `vector`: (n,) float32, of any length until the collection is known."""

    collection: str
    vector: NDArray[np.float32]
    stages: tuple[Stage, ...] = ()
    options: SearchOptions = field(default_factory=SearchOptions)


async def search_matryoshka(pipeline: SearchPipeline, request: Matryoshka) -> SearchResult:
    """Run the request's funnel, or the version's default one.

    Raises: InvalidArgumentError for a vector or stages that the version does not take.
    """
    scope = await pipeline.scope(request.collection, request.options)
    check_filter(request.options.filter, scope.collection, "options.filter")
    query = await pipeline.query(scope, request.vector, "vector")
    if request.stages:
        check_stages(request.stages, scope.version, scope.options.limit)
    stages = request.stages
    if not stages and request.options.params.scope is IndexScope.FULL:
        stages = default_stages(scope.version, scope.options.limit)
    return await pipeline.run(scope, query, pipeline.predicate(scope), stages, stages_chosen=bool(request.stages))
