"""Text and vector together: each arm proposes a shortlist, the shortlists are fused, and the usual pipeline goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.application.hybrid_arms import Arms
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.filters import check_filter
from retrieval.domain.funnel import MAX_CANDIDATES
from retrieval.domain.hybrid import Fusion, HybridMode
from retrieval.domain.search import SearchOptions, SearchResult, Shortfall
from retrieval.domain.text_query import NO_TEXT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.application.hybrid_ports import SnippetStyle
    from retrieval.application.ports import Stores
    from retrieval.application.query_embedder import QueryEmbedder
    from retrieval.application.search import Scope, SearchPipeline
    from retrieval.domain.search import Hit
    from retrieval.domain.text_query import TextQuery

TEXT_WEIGHT, VECTOR_WEIGHT = 0.6, 0.4
"""Measured with fusion by scores on four judged sets and WordLlama's vectors, see docs/hybrid.md: the mean nDCG@10 is
highest, and the same, at 0.6 and 0.7 for the text."""


@dataclass(frozen=True, slots=True)
class Hybrid:
    """A checked request. `vector`: (n,) float32, of any length until the collection is known.

    The candidates of an arm are None where the service decides.
    """

    collection: str
    words: TextQuery = NO_TEXT
    vector: NDArray[np.float32] | None = None
    mode: HybridMode = HybridMode.HYBRID
    fusion: Fusion = Fusion.SCORES
    text_weight: float = TEXT_WEIGHT
    vector_weight: float = VECTOR_WEIGHT
    text_candidates: int | None = None
    vector_candidates: int | None = None
    snippets: SnippetStyle | None = None
    options: SearchOptions = field(default_factory=SearchOptions)

    @property
    def uses_text(self) -> bool:
        """Whether the text proposes."""
        return self.mode is not HybridMode.VECTOR and self.text_weight > 0

    @property
    def uses_vector(self) -> bool:
        """Whether the vector proposes."""
        return self.mode is not HybridMode.TEXT and self.vector_weight > 0


async def search_hybrid(
    stores: Stores, pipeline: SearchPipeline, embedder: QueryEmbedder, request: Hybrid
) -> SearchResult:
    """Items by text, vector or both.

    Raises: InvalidArgumentError for a vector that the version does not take, or (NO_QUERY_VECTOR) a text of which there
    is no vector where nothing else is asked for; FailedPreconditionError (NO_QUERY_EMBEDDER, TEXT_EXTRA_MISSING).
    """
    scope = await pipeline.scope(request.collection, request.options)
    check_filter(request.options.filter, scope.collection, "options.filter")
    vector = await _query_vector(pipeline, embedder, scope, request) if request.uses_vector else None
    arms = Arms(stores, scope, request, vector, pipeline.predicate(scope))
    hits, report = await pipeline.collect(scope, arms.ask, ceiling=_ceiling(request), rescore=arms.scores)
    arms.explain(hits)
    report.sources = arms.reports()
    if report.shortfall is Shortfall.COLLECTION_TOO_SMALL and (vector is None or request.words.binding):
        report.shortfall = Shortfall.FILTER_EXHAUSTED
    if request.uses_vector and vector is None:
        report.degraded_reason = report.degraded_reason or "NO_QUERY_VECTOR"
    if request.snippets is not None:
        await _add_snippets(stores, scope, request, request.snippets, hits)
        report.timings_s = scope.watch.laps()
    return SearchResult(hits, report)


async def _query_vector(
    pipeline: SearchPipeline, embedder: QueryEmbedder, scope: Scope, request: Hybrid
) -> NDArray[np.float16] | None:
    vector = request.vector
    if vector is None:
        # What is to be excluded says nothing of what is wanted.
        vector = await embedder.embed(scope.version, " ".join(request.words.wanted))
        scope.watch.lap("embed")
        if vector is None:
            if request.mode is HybridMode.VECTOR:
                raise InvalidArgumentError.of(
                    "text", "has no word that the embedding model knows; use other words", reason="NO_QUERY_VECTOR"
                )
            return None
    return await pipeline.query(scope, vector, "vector")


def _ceiling(request: Hybrid) -> int:
    """Rows that can come at all where the caller chose the candidates."""
    chosen = [
        count
        for count, used in (
            (request.text_candidates, request.uses_text),
            (request.vector_candidates, request.uses_vector),
        )
        if used
    ]
    return sum(count or MAX_CANDIDATES for count in chosen)


async def _add_snippets(stores: Stores, scope: Scope, request: Hybrid, style: SnippetStyle, hits: list[Hit]) -> None:
    found = await stores.text.snippets(
        scope.collection, request.words, [hit.item_id for hit in hits], scope.viewer, style
    )
    for hit in hits:
        hit.snippet = found.get(hit.item_id, "")
    scope.watch.lap("snippets")
