"""Coarse first, exact at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application.matryoshka import Matryoshka, search_matryoshka
from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError
from retrieval.domain.search import IndexScope, SearchOptions, SearchParams, Shortfall, Source, Stage
from tests.backends import assert_not_ready

if TYPE_CHECKING:
    from tests.backends import Agreement, Backend, Oracle
    from tests.catalogue import DataSet

FUNNELS = [
    (Stage(16, 200), Stage(64, 10)),
    (Stage(32, 100), Stage(64, 20)),
    (Stage(16, 400), Stage(32, 100), Stage(64, 10)),
    (Stage(16, 300), Stage(40, 100), Stage(64, 10)),
    (Stage(64, 10),),
]


async def test_default_stages(agreement: Agreement, catalogue: DataSet) -> None:
    for query in agreement.queries(catalogue):
        result = await agreement.of(catalogue, Matryoshka(catalogue.name, query))
        assert len(result.hits) == 10
        if agreement.backend.source is Source.FAISS:
            assert result.report.stages[-1] == Stage(64, 10), "the cache is free to choose what comes before"
            continue
        assert result.report.stages == (Stage(64, 10),), "64 components are too few for a coarse stage"


async def test_default_stages_of_long_vectors(agreement: Agreement, long_vectors: DataSet) -> None:
    if agreement.backend.source is Source.IVFFLAT:
        await assert_not_ready(agreement.backend, Matryoshka(long_vectors.name, long_vectors.queries[0]))
        return
    for query in agreement.queries(long_vectors):
        result = await agreement.of(long_vectors, Matryoshka(long_vectors.name, query))
        assert len(result.hits) == 10
        if agreement.backend.source is Source.FAISS:
            assert result.report.stages[-1] == Stage(256, 10)
        else:
            assert result.report.stages == (Stage(128, 40), Stage(256, 10))


@pytest.mark.parametrize("stages", FUNNELS, ids=lambda s: "-".join(str(stage.dimension) for stage in s))
async def test_explicit_stages(agreement: Agreement, catalogue: DataSet, stages: tuple[Stage, ...]) -> None:
    if agreement.backend.source is Source.IVFFLAT and stages[0].dimension != catalogue.dimension:
        await assert_not_ready(agreement.backend, Matryoshka(catalogue.name, catalogue.queries[0], stages))
        return
    for query in agreement.queries(catalogue):
        result = await agreement.of(catalogue, Matryoshka(catalogue.name, query, stages))
        assert len(result.hits) == 10
        assert result.report.stages == stages


async def test_a_funnel_may_end_on_a_prefix(agreement: Agreement, catalogue: DataSet) -> None:
    """Distances are then those of the prefix, normalised."""
    if agreement.backend.source is Source.IVFFLAT:
        await assert_not_ready(agreement.backend, Matryoshka(catalogue.name, catalogue.queries[0], (Stage(16, 10),)))
        return
    for query in agreement.queries(catalogue):
        await agreement.of(catalogue, Matryoshka(catalogue.name, query, (Stage(16, 200), Stage(32, 10))))
        await agreement.of(catalogue, Matryoshka(catalogue.name, query, (Stage(16, 10),)))


@pytest.mark.parametrize(
    ("stages", "field"),
    [
        ((Stage(20, 100), Stage(64, 10)), "stages[0].dimension"),
        ((Stage(32, 100), Stage(16, 10)), "stages[1].dimension"),
        ((Stage(32, 100), Stage(32, 10)), "stages[1].dimension"),
        ((Stage(16, 100), Stage(65, 10)), "stages[1].dimension"),
        ((Stage(0, 100), Stage(64, 10)), "stages[0].dimension"),
        ((Stage(16, 100), Stage(64, 101)), "stages[1].candidate_count"),
        ((Stage(16, 100), Stage(64, 9)), "stages[1].candidate_count"),
        ((Stage(16, 10_001), Stage(64, 10)), "stages[0].candidate_count"),
        ((Stage(16, 0), Stage(64, 10)), "stages[0].candidate_count"),
        (tuple(Stage(16 + n, 100) for n in range(9)), "stages"),
    ],
)
async def test_bad_stages_are_refused(
    backend: Backend, catalogue: DataSet, stages: tuple[Stage, ...], field: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await backend.search(Matryoshka(catalogue.name, catalogue.queries[0], stages))
    assert caught.value.reason == "BAD_STAGES"
    assert [v.field for v in caught.value.violations] == [field]


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        (np.ones(63, np.float32), "DIMENSION_MISMATCH"),
        (np.zeros(0, np.float32), "DIMENSION_MISMATCH"),
        (np.zeros(64, np.float32), "VECTOR_ZERO"),
        (np.full(64, np.nan, np.float32), "VECTOR_NOT_FINITE"),
        (np.array([np.inf, *[0.0] * 63], np.float32), "VECTOR_NOT_FINITE"),
    ],
)
async def test_bad_vectors_are_refused(backend: Backend, catalogue: DataSet, vector: object, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await backend.search(Matryoshka(catalogue.name, vector))
    assert caught.value.reason == reason
    assert [v.field for v in caught.value.violations] == ["vector"]


async def test_popular_items_only(agreement: Agreement, catalogue: DataSet) -> None:
    options = SearchOptions(params=SearchParams(scope=IndexScope.POPULAR))
    request = Matryoshka(catalogue.name, catalogue.queries[0], options=options)
    if agreement.backend.source is Source.IVFFLAT:
        await assert_not_ready(agreement.backend, request)
        return
    for query in agreement.queries(catalogue):
        result = await agreement.of(catalogue, Matryoshka(catalogue.name, query, options=options))
        assert len(result.hits) == 10
        for hit in result.hits:
            item = catalogue.items[hit.item_id]
            assert item.rating_value is not None
            assert item.rating_value >= 4.0
            assert item.rating_count >= 100


async def test_asking_for_all_of_a_small_scope_says_that_nothing_is_left(
    agreement: Agreement, catalogue: DataSet
) -> None:
    options = SearchOptions(limit=1000, params=SearchParams(scope=IndexScope.POPULAR))
    request = Matryoshka(catalogue.name, catalogue.queries[0], options=options)
    if agreement.backend.source is Source.IVFFLAT:
        await assert_not_ready(agreement.backend, request)
        return
    result = await agreement.of(catalogue, request)
    assert 100 < len(result.hits) < 1000
    assert result.report.shortfall is Shortfall.FILTER_EXHAUSTED


async def test_a_source_without_an_index_is_refused(oracle: Oracle, catalogue: DataSet) -> None:
    for source in (Source.HNSW, Source.IVFFLAT):
        options = SearchOptions(params=SearchParams(source))
        request = Matryoshka(catalogue.name, catalogue.queries[0], options=options)
        with pytest.raises(FailedPreconditionError) as caught:
            await search_matryoshka(oracle.backend.pipeline, request)
        assert caught.value.reason == "INDEX_NOT_READY"
