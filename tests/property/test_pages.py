"""Pages of any search: as long as asked for where there is enough, best first, without repeats."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.application.ingest import ListItems, list_items
from retrieval.application.matryoshka import Matryoshka
from retrieval.application.search import widen
from retrieval.domain.filters import Filter, ItemIdIn
from retrieval.domain.model import Viewer
from retrieval.domain.search import Diversity, SearchOptions, Stage
from tests.backends import exact_backend
from tests.catalogue import DataSet, load, make

if TYPE_CHECKING:
    from retrieval.application.ports import Stores

EVERYTHING = Viewer(unrestricted=True)


@pytest.fixture(scope="module")
async def small(reference: Stores) -> DataSet:
    data = make("pages", 60, dimension=8, max_chunks=3)
    await load(reference, data)
    return data


@settings(max_examples=150)
@given(
    limit=st.integers(1, 100),
    query=st.integers(0, 59),
    threshold=st.none() | st.floats(-1, 1),
    mmr_lambda=st.none() | st.floats(0, 1),
    cap=st.integers(0, 3),
    excluded=st.lists(st.integers(0, 59), max_size=60, unique=True),
)
async def test_pages(
    reference: Stores,
    small: DataSet,
    limit: int,
    query: int,
    threshold: float | None,
    mmr_lambda: float | None,
    cap: int,
    excluded: list[int],
) -> None:
    left_out = tuple(f"item-{n:05d}" for n in excluded)
    options = SearchOptions(
        limit, threshold, exclude_item_ids=left_out, viewer=EVERYTHING, diversity=Diversity(mmr_lambda, cap)
    )
    result = await exact_backend(reference).search(Matryoshka(small.name, small.queries[query], options=options))
    ids = [h.item_id for h in result.hits]
    assert len(ids) <= limit
    assert len(set(ids)) == len(ids)
    assert not set(ids) & set(left_out)
    scores = [h.score for h in result.hits]
    if mmr_lambda is None:
        assert scores == sorted(scores, reverse=True)
    if threshold is not None:
        assert all(s >= threshold for s in scores)
    if threshold is None and not cap:
        assert len(ids) == min(limit, 60 - len(left_out))
    assert (result.report.shortfall is None) == (len(ids) == limit)


@pytest.fixture(scope="module")
async def listing(stores: Stores) -> DataSet:
    data = make("listing", 60, dimension=4)
    await load(stores, data)
    return data


@given(size=st.integers(1, 70), wanted=st.sets(st.integers(0, 70), max_size=70))
async def test_listing_page_by_page_misses_nothing(
    stores: Stores, listing: DataSet, size: int, wanted: set[int]
) -> None:
    ids = {f"item-{n:05d}" for n in wanted}
    tree = Filter(must=(ItemIdIn(tuple(ids)),))
    found: list[str] = []
    after = ""
    while True:
        page, after = await list_items(stores, ListItems(listing.name, size, after, tree, EVERYTHING))
        assert len(page) <= size
        found += [i.item_id for i in page]
        if not after:
            break
        assert len(page) == size
    assert found == sorted(ids & set(listing.items))


@given(
    counts=st.lists(st.integers(1, 1000), min_size=1, max_size=4),
    count=st.integers(1, 2000),
)
def test_a_widened_funnel_is_a_funnel(counts: list[int], count: int) -> None:
    stages = tuple(Stage(8 * (n + 1), c) for n, c in enumerate(sorted(counts, reverse=True)))
    wider = widen(stages, count)
    assert wider[-1].candidate_count == count
    assert [s.dimension for s in wider] == [s.dimension for s in stages]
    assert all(a.candidate_count >= b.candidate_count for a, b in pairwise(wider))
