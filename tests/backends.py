"""What the behavioural suite runs on, and how an answer is held against the reference's."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from retrieval.application.candidates.catalogue import MODEL_TYPE
from retrieval.application.candidates.engine import CandidateEngine, UserCandidates
from retrieval.application.hybrid import Hybrid, search_hybrid
from retrieval.application.limits import Limits
from retrieval.application.matryoshka import Matryoshka, search_matryoshka
from retrieval.application.query_embedder import no_embedder
from retrieval.application.rank_items import RankItems, rank_items
from retrieval.application.search import SearchPipeline
from retrieval.application.similar_items import SeedStrategy, SimilarItems, search_similar_items
from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.filters import matches
from retrieval.domain.model import ANONYMOUS
from retrieval.domain.search import SearchOptions, SearchParams, SearchResult, Source
from retrieval.domain.visibility import can_see
from tests.caches import caught_up

if TYPE_CHECKING:
    from collections.abc import Collection as AbstractCollection

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from tests.catalogue import DataSet

Request = SimilarItems | Matryoshka | UserCandidates | RankItems | Hybrid

APPROXIMATE_FLOOR = 0.95


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to answer searches. `floor`: recall it must reach on average; 1.0 means the same hits in the same order.

    `answers`: the source that reports have to name.
    """

    name: str
    stores: Stores
    source: Source
    answers: Source
    floor: float

    @property
    def exact(self) -> bool:
        return self.floor == 1.0

    @property
    def params(self) -> SearchParams:
        return SearchParams(source=self.source)

    @property
    def pipeline(self) -> SearchPipeline:
        return SearchPipeline(self.stores, Limits())

    async def search(self, request: Request) -> SearchResult:
        """Run a use case with this backend's source; a cache has seen all that was written before."""
        if self.answers is Source.FAISS:
            await caught_up(self.stores, request.collection)
        options = request.options
        asked = replace(request, options=replace(options, params=replace(options.params, source=self.source)))
        match asked:
            case SimilarItems():
                return await search_similar_items(self.stores, self.pipeline, asked)
            case Matryoshka():
                return await search_matryoshka(self.pipeline, asked)
            case UserCandidates():
                return await CandidateEngine(self.stores, self.pipeline).search(asked)
            case Hybrid():
                return await search_hybrid(self.stores, self.pipeline, no_embedder(), asked)
            case RankItems():
                return await rank_items(self.stores, self.pipeline, asked)


def make_backend(name: str, stores: Stores) -> Backend:
    match name:
        case "reference":
            return Backend(name, stores, Source.AUTO, Source.EXACT, 1.0)
        case "exact":
            return Backend(name, stores, Source.EXACT, Source.EXACT, 1.0)
        case "hnsw":
            return Backend(name, stores, Source.HNSW, Source.HNSW, APPROXIMATE_FLOOR)
        case "ivfflat":
            return Backend(name, stores, Source.IVFFLAT, Source.IVFFLAT, APPROXIMATE_FLOOR)
        case "faiss" | "faiss_delta":
            return Backend(name, stores, Source.FAISS, Source.FAISS, APPROXIMATE_FLOOR)
        case _:
            raise ValueError(name)


def exact_backend(stores: Stores) -> Backend:
    """Exact searches of any stores: for what does not depend on an index."""
    return Backend("exact", stores, Source.EXACT, Source.EXACT, 1.0)


async def assert_not_ready(backend: Backend, request: Request) -> None:
    """The backend has no index that could answer, and says so."""
    with pytest.raises(FailedPreconditionError) as caught:
        await backend.search(request)
    assert caught.value.reason == "INDEX_NOT_READY"


BACKENDS = ("reference", "exact", "hnsw", "ivfflat", "faiss", "faiss_delta")


class Oracle:
    """The reference. Answers that rest on no user's state are kept until something is written, for the next backend."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._known: dict[bytes, SearchResult] = {}

    async def search(self, request: Request) -> SearchResult:
        if isinstance(request, Hybrid | RankItems) or (isinstance(request, UserCandidates) and request.user_id):
            return await self.backend.search(request)
        stores = self.backend.stores
        collection = await stores.collections.get(request.collection)
        model = await stores.models.active(collection, MODEL_TYPE)
        key = pickle.dumps((request, await stores.items.token(), collection, model))
        if key not in self._known:
            self._known[key] = await self.backend.search(request)
        return self._known[key]


@dataclass(slots=True)
class Agreement:
    """Runs requests on a backend and on the reference; at its end the backend's mean recall is held to its floor."""

    backend: Backend
    oracle: Oracle
    recalls: list[float] = field(default_factory=list)

    def queries(self, data: DataSet) -> NDArray[np.float32]:
        """(n, dimension) queries: a few prove an exact source, a mean recall takes more."""
        return data.queries[: 6 if self.backend.exact else 30]

    async def of(
        self, data: DataSet, request: Request, *, excluded: AbstractCollection[str] = (), answers: Source | None = None
    ) -> SearchResult:
        """The backend's result, checked against the reference's. `excluded`: ids that must not be returned."""
        expected = await self.oracle.search(request)
        got = await self.backend.search(request)
        assert got.report.source is (answers or self.backend.answers)
        self._check_admission(data, request.options, got, excluded)
        ids = [h.item_id for h in got.hits]
        assert len(set(ids)) == len(ids), "an item was returned twice"
        if self.backend.exact or answers is Source.EXACT:
            self._check_same(got, expected)
        else:
            wanted = {h.item_id for h in expected.hits}
            self.recalls.append(len(wanted.intersection(ids)) / len(wanted) if wanted else float(not ids))
            several = isinstance(request, SimilarItems) and request.strategy is SeedStrategy.BEST_SCORE
            truth = {h.item_id: h for h in expected.hits}
            for hit in got.hits:
                best = truth.get(hit.item_id)
                if best is not None and hit.chunk_index == best.chunk_index and not several:
                    assert hit.distance == pytest.approx(best.distance, abs=2e-3)
                elif best is not None:  # the index missed the best chunk, or it from the best seed: this one is farther
                    assert hit.distance >= best.distance - 2e-3
        return got

    def settle(self) -> None:
        if self.recalls:
            mean = sum(self.recalls) / len(self.recalls)
            assert mean >= self.backend.floor, f"mean recall {mean:.3f} of {self.backend.name} is below its floor"

    @staticmethod
    def _check_same(got: SearchResult, expected: SearchResult) -> None:
        assert [(h.item_id, h.chunk_index) for h in got.hits] == [(h.item_id, h.chunk_index) for h in expected.hits]
        for ours, theirs in zip(got.hits, expected.hits, strict=True):
            assert ours.distance == pytest.approx(theirs.distance, abs=2e-3)
            assert ours.score == pytest.approx(theirs.score, abs=2e-3)
        assert got.report.shortfall is expected.report.shortfall
        assert got.report.missing_item_ids == expected.report.missing_item_ids
        assert got.report.degraded_reason == expected.report.degraded_reason

    @staticmethod
    def _check_admission(
        data: DataSet, options: SearchOptions, got: SearchResult, excluded: AbstractCollection[str]
    ) -> None:
        forbidden = {*excluded, *options.exclude_item_ids}
        for hit in got.hits:
            item = data.items[hit.item_id]
            assert hit.item_id not in forbidden
            assert can_see(item, options.viewer or ANONYMOUS), f"{hit.item_id} is hidden from the viewer"
            assert matches(options.filter, item), f"{hit.item_id} does not satisfy the filter"
