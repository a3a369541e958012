"""Which plan a search runs, from the manifest alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.domain.search import SearchParams
from retrieval.faiss_cache.manifest import Manifest, Plan
from retrieval.faiss_cache.plans import Effort, choose_effort

FRONTIER = (Plan(0.9, 16, 10, 0.92, 30.0), Plan(0.95, 32, 20, 0.96, 50.0), Plan(0.99, 96, 40, 0.992, 120.0))
FILTERED = tuple(
    Plan(target, ef, ef // 2, target, us, share)
    for share, scale in ((0.5, 1), (0.1, 4), (0.01, 20))
    for target, ef, us in ((0.9, 20 * scale, 40.0 * scale), (0.95, 40 * scale, 80.0 * scale))
)


def manifest(kind: str = "hnsw", rows: int = 100_000) -> Manifest:
    flat = kind == "flat"
    frontier = tuple(Plan(p.target_recall, 0, 0, 1.0, 10.0) for p in FRONTIER) if flat else FRONTIER
    filtered = () if flat else FILTERED
    return Manifest(
        "id", 1, "m", "cosine", 64, 1, "1:1:", rows, kind, 16, 16, frontier, filtered, (0.05, 0.1), 0, 0, ()
    )


@pytest.mark.parametrize(
    ("params", "count", "admitted", "effort"),
    [
        (SearchParams(), 10, 100_000, Effort(32, 20)),
        (SearchParams(target_recall=0.5), 10, 100_000, Effort(16, 10)),
        (SearchParams(target_recall=0.95), 10, 91_000, Effort(32, 20)),
        (SearchParams(target_recall=0.96), 10, 100_000, Effort(96, 40)),
        (SearchParams(target_recall=1.0), 10, 100_000, Effort(96, 40)),
        # Longer pages in proportion, shorter ones as ten hits.
        (SearchParams(), 1, 100_000, Effort(32, 20)),
        (SearchParams(), 30, 100_000, Effort(96, 60)),
        (SearchParams(), 1000, 100_000, Effort(3200, 2000)),
        # The caller's ef stands, but for a page that is longer.
        (SearchParams(ef_search=64), 10, 100_000, Effort(64, 64)),
        (SearchParams(ef_search=64), 10, 50, Effort(64, 64)),
        (SearchParams(ef_search=64), 200, 100_000, Effort(200, 200)),
        # Filtered: by the plan of the share just below, unless comparing all is cheap.
        (SearchParams(), 10, 60_000, Effort(40, 20)),
        (SearchParams(), 10, 20_000, Effort(160, 80)),
        (SearchParams(), 20, 60_000, Effort(80, 40)),
    ],
)
def test_efforts(params: SearchParams, count: int, admitted: int, effort: Effort) -> None:
    assert choose_effort(manifest(), params, count, admitted) == effort


@pytest.mark.parametrize("admitted", [0, 1, 500, 999, 2_000, 3_000])
def test_few_rows_are_all_compared(admitted: int) -> None:
    effort = choose_effort(manifest(), SearchParams(), 10, admitted)
    assert effort.exact
    assert effort.shortlist >= 100


def test_a_flat_segment_compares_all_rows() -> None:
    for params in (SearchParams(), SearchParams(ef_search=50), SearchParams(target_recall=0.9)):
        for admitted in (1, 1_000, 1_900, 2_000):
            assert choose_effort(manifest("flat", 2_000), params, 10, admitted).exact


@given(
    count=st.integers(1, 4000),
    admitted=st.integers(0, 100_000),
    recall=st.none() | st.floats(0.5, 1.0),
    ef=st.none() | st.integers(1, 1000),
)
def test_a_page_always_fits(count: int, admitted: int, recall: float | None, ef: int | None) -> None:
    effort = choose_effort(manifest(), SearchParams(ef_search=ef, target_recall=recall), count, admitted)
    assert effort.shortlist >= count
    assert effort.exact or effort.ef_search >= max(count, ef or 0)
    if ef is None and recall is not None and recall <= 0.9:
        more = choose_effort(manifest(), SearchParams(target_recall=0.99), count, admitted)
        assert more.exact or effort.exact or effort.ef_search <= more.ef_search
