"""Asking the cache and holding it against the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from retrieval.application.limits import Limits
from retrieval.application.matryoshka import Matryoshka, search_matryoshka
from retrieval.application.search import SearchPipeline
from retrieval.domain.filters import matches
from retrieval.domain.model import ANONYMOUS
from retrieval.domain.search import SearchOptions, SearchParams, Source
from retrieval.domain.visibility import can_see

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.search import SearchResult
    from tests.catalogue import DataSet
    from tests.faiss_cache.conftest import Cached

THOROUGH = SearchParams(ef_search=1000)
"""On a few hundred rows: as good as exact."""


async def ask(
    stores: Stores, data: DataSet, query: int = 0, options: SearchOptions | None = None, source: Source = Source.AUTO
) -> SearchResult:
    """Search with one of the data set's queries."""
    options = options or SearchOptions(params=THOROUGH)
    options = replace(options, params=replace(options.params, source=source))
    request = Matryoshka(data.name, data.queries[query], options=options)
    return await search_matryoshka(SearchPipeline(stores, Limits()), request)


async def assert_right(
    cached: Cached, data: DataSet, options: SearchOptions | None = None, source: Source = Source.FAISS, queries: int = 5
) -> None:
    """Answers come from `source` and are what Postgres finds exactly."""
    options = options or SearchOptions(params=THOROUGH)
    for query in range(queries):
        got = await ask(cached.stores, data, query, options)
        assert got.report.source is source
        expected = await ask(cached.truth.stores, data, query, options, Source.EXACT)
        assert [h.item_id for h in got.hits] == [h.item_id for h in expected.hits]
        assert [h.distance for h in got.hits] == pytest.approx([h.distance for h in expected.hits], abs=2e-3)
        for hit in got.hits:
            if hit.item_id in data.items:
                assert can_see(data.items[hit.item_id], options.viewer or ANONYMOUS)
                assert matches(options.filter, data.items[hit.item_id])
