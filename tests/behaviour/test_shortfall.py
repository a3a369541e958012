"""Why an answer is short, where the reason is not the data alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from retrieval.application.deadline import set_remaining_s
from retrieval.application.limits import Limits
from retrieval.application.matryoshka import Matryoshka, search_matryoshka
from retrieval.application.search import SearchPipeline
from retrieval.domain.model import Viewer
from retrieval.domain.search import Diversity, SearchOptions, Shortfall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.backends import Backend
    from tests.catalogue import DataSet


@pytest.fixture
def almost_out_of_time() -> Iterator[None]:
    set_remaining_s(Limits().widen_reserve_s / 2)
    yield
    set_remaining_s(None)


@pytest.mark.usefixtures("almost_out_of_time")
async def test_no_time_to_widen(backend: Backend, chunked: DataSet) -> None:
    options = SearchOptions(limit=100, viewer=Viewer(unrestricted=True), diversity=Diversity(max_per_owner=1))
    result = await backend.search(Matryoshka(chunked.name, chunked.queries[0], options=options))
    assert 0 < len(result.hits) < 100
    assert result.report.shortfall is Shortfall.DEADLINE


async def test_chunks_use_up_nothing_of_what_may_be_fetched(backend: Backend, chunked: DataSet) -> None:
    options = SearchOptions(limit=10, params=backend.params)
    pipeline = SearchPipeline(backend.stores, Limits(max_pool_rows=10))
    for query in chunked.queries[:20]:
        result = await search_matryoshka(pipeline, Matryoshka(chunked.name, query, options=options))
        assert (len(result.hits), result.report.shortfall) == (10, None)


async def test_the_pool_has_an_end(backend: Backend, chunked: DataSet) -> None:
    options = SearchOptions(limit=50, diversity=Diversity(max_per_owner=1), params=backend.params)
    pipeline = SearchPipeline(backend.stores, Limits(max_pool_rows=60))
    result = await search_matryoshka(pipeline, Matryoshka(chunked.name, chunked.queries[0], options=options))
    assert len(result.hits) < 50
    assert result.report.shortfall is Shortfall.OWNER_CAP
