"""The limit counts items, never chunks, and the chunk that is named is the item's best, whoever answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.application.candidates.engine import UserCandidates
from retrieval.application.hybrid import Hybrid
from retrieval.application.matryoshka import Matryoshka
from retrieval.application.rank_items import RankItems
from retrieval.application.similar_items import SeedStrategy, SimilarItems
from retrieval.domain.filters import Filter, MatchAny, Range, TypedValue
from retrieval.domain.hybrid import HybridMode
from retrieval.domain.model import AttributeType, Chunk, Viewer
from retrieval.domain.search import Diversity, IndexScope, SearchOptions, SearchParams, Shortfall, Source, Stage
from retrieval.domain.text_query import NO_TEXT
from retrieval.domain.vectors import distances, to_half
from tests.backends import assert_not_ready, exact_backend
from tests.catalogue import crowd, load, make

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.search import SearchResult
    from tests.backends import Agreement, Backend, Oracle, Request
    from tests.catalogue import DataSet

EVERYTHING = Viewer(unrestricted=True)
JAZZ = Filter(must=(MatchAny("genre", (TypedValue(AttributeType.KEYWORD, "jazz"),)),))
FEW = Filter(must=(Range("rank", lt=TypedValue(AttributeType.INT64, 20)),))
NONE = Filter(must=(Range("rank", lt=TypedValue(AttributeType.INT64, 0)),))
STAGES: tuple[tuple[Stage, ...], ...] = ((), (Stage(8, 150), Stage(16, 150)), (Stage(16, 150),))


def check(got: SearchResult, expected: SearchResult, backend: Backend) -> None:
    """As many items as the reference, each once; the same items where the source is exact; their best chunks."""
    ids = [h.item_id for h in got.hits]
    assert len(set(ids)) == len(ids)
    if got.report.shortfall is Shortfall.SCAN_LIMIT:
        assert backend.name in {"hnsw", "ivfflat"}, "only a scan that stops early may say that it did"
        assert len(ids) < len(expected.hits)
    else:
        assert len(ids) == len(expected.hits)
        assert got.report.shortfall is expected.report.shortfall
    if backend.exact:
        assert ids == [h.item_id for h in expected.hits]
    best = {h.item_id: h for h in expected.hits}
    for hit in got.hits:
        if hit.item_id in best:
            assert hit.chunk_index == best[hit.item_id].chunk_index
            assert hit.distance == pytest.approx(best[hit.item_id].distance, abs=2e-3)


@settings(max_examples=25)
@given(
    limit=st.sampled_from((1, 2, 7, 10, 40, 100, 150, 200)),
    query=st.integers(0, 59),
    stages=st.sampled_from(STAGES),
    tree=st.sampled_from((Filter(), JAZZ, FEW, NONE)),
    viewer=st.sampled_from((EVERYTHING, None)),
    excluded=st.integers(0, 4),
    threshold=st.none() | st.sampled_from((0.5, 0.9, 0.995)),
    cap=st.sampled_from((0, 0, 1, 3)),
)
async def test_pages_among_crowds(
    backend: Backend,
    oracle: Oracle,
    crowded: DataSet,
    limit: int,
    query: int,
    stages: tuple[Stage, ...],
    tree: Filter,
    viewer: Viewer | None,
    excluded: int,
    threshold: float | None,
    cap: int,
) -> None:
    if backend.name == "ivfflat" and stages:
        stages = STAGES[-1]  # there is no such index of a prefix
    options = SearchOptions(
        limit=limit if not stages else min(limit, 150),
        score_threshold=threshold,
        filter=tree,
        # Those with the most chunks go first.
        exclude_item_ids=tuple(f"item-{10 * n + 2:05d}" for n in range(3 * excluded)),
        viewer=viewer,
        diversity=Diversity(max_per_owner=cap),
    )
    request = Matryoshka(crowded.name, crowded.queries[query], stages, options)
    got, expected = await backend.search(request), await oracle.search(request)
    if cap or threshold is not None:
        # What an approximate source misses decides which items a cap or threshold leaves; the limit holds all the same.
        assert len({h.item_id for h in got.hits}) == len(got.hits) <= options.limit
        if backend.exact:
            check(got, expected, backend)
    else:
        check(got, expected, backend)


async def test_recall_among_crowds(agreement: Agreement, crowded: DataSet) -> None:
    for query in agreement.queries(crowded):
        for limit in (10, 100):
            options = SearchOptions(limit=limit, viewer=EVERYTHING)
            await agreement.of(crowded, Matryoshka(crowded.name, query, options=options))


async def test_the_best_chunk_is_the_nearest_of_all(backend: Backend, crowded: DataSet) -> None:
    """By brute force over the data themselves."""
    for number in range(5):
        query = to_half(crowded.queries[number], crowded.dimension, crowded.metric, "vector")
        away = {
            item_id: distances(query, np.stack([c.vector for c in item.chunks]), crowded.metric)
            for item_id, item in crowded.items.items()
        }
        nearest = sorted(away, key=lambda i: (float(away[i].min()), i))
        options = SearchOptions(limit=30, viewer=EVERYTHING)
        hits = (await backend.search(Matryoshka(crowded.name, crowded.queries[number], options=options))).hits
        assert len(hits) == 30
        if backend.exact:
            assert [h.item_id for h in hits] == nearest[:30]
        for hit in hits:
            chunks = [c.chunk_index for c in crowded.items[hit.item_id].chunks]
            assert hit.chunk_index == chunks[int(away[hit.item_id].argmin())]


def requests(data: DataSet, limit: int) -> dict[str, Request]:
    options = SearchOptions(limit=limit, viewer=EVERYTHING)
    query, ids = data.queries[0], tuple(data.items)
    popular = SearchOptions(limit=limit, viewer=EVERYTHING, params=SearchParams(scope=IndexScope.POPULAR))
    return {
        "popular": Matryoshka(data.name, query, options=popular),
        "hybrid": Hybrid(data.name, NO_TEXT, query, HybridMode.VECTOR, options=options),
        "rank": RankItems(data.name, ids, query, options=options),
        "similar": SimilarItems(data.name, ids[:1], options=options),
        "best score": SimilarItems(data.name, ids[:1], strategy=SeedStrategy.BEST_SCORE, options=options),
        "spread": Matryoshka(
            data.name, query, options=SearchOptions(limit=limit, viewer=EVERYTHING, diversity=Diversity(mmr_lambda=1.0))
        ),
    }


@pytest.mark.parametrize("limit", [10, 120])
@pytest.mark.parametrize("kind", ["popular", "hybrid", "rank", "similar", "best score", "spread"])
async def test_every_way_to_search_counts_items(
    backend: Backend, oracle: Oracle, crowded: DataSet, kind: str, limit: int
) -> None:
    request = requests(crowded, limit)[kind]
    if kind == "popular" and backend.name == "ivfflat":  # the popular index is an HNSW one
        await assert_not_ready(backend, request)
        return
    expected, got = await oracle.search(request), await backend.search(request)
    assert len({h.item_id for h in got.hits}) == len(got.hits)
    if got.report.shortfall is not Shortfall.SCAN_LIMIT:
        assert len(got.hits) == len(expected.hits)
    if kind != "popular":
        assert len(got.hits) == limit or backend.name in {"hnsw", "ivfflat"}
    if kind not in {"similar", "best score"}:  # an approximate source may name another best seed
        check(got, expected, backend)


async def test_candidates_count_items(stores: Stores, crowded: DataSet) -> None:
    backend = exact_backend(stores)
    request = UserCandidates(crowded.name, "nobody", user_vector=crowded.queries[0], options=SearchOptions(limit=60))
    result = await backend.search(request)
    assert len({h.item_id for h in result.hits}) == len(result.hits) == 60


@settings(max_examples=12)
@given(seed=st.integers(0, 2**16), limit=st.integers(1, 60), most=st.sampled_from((2, 8, 64, 256)))
async def test_any_numbers_of_chunks(stores: Stores, seed: int, limit: int, most: int) -> None:
    """New data each time: the exact scan of both stores finds the items that brute force finds."""
    data = crowd(make("any", 40, dimension=8, seed=seed), seed, most_chunks=most, crowds=1 + seed % 4)
    await load(stores, data)
    query = to_half(data.queries[0], data.dimension, data.metric, "vector")
    away = {
        item_id: float(distances(query, np.stack([c.vector for c in item.chunks]), data.metric).min())
        for item_id, item in data.items.items()
    }
    options = SearchOptions(limit=limit, viewer=EVERYTHING, params=SearchParams(source=Source.EXACT))
    result = await exact_backend(stores).search(Matryoshka(data.name, data.queries[0], options=options))
    assert len(result.hits) == min(limit, 40)
    assert [h.distance for h in result.hits] == pytest.approx(sorted(away.values())[:limit], abs=2e-3)
    assert {h.item_id for h in result.hits} <= set(away)


async def test_more_chunks_than_any_pool_holds(stores: Stores, name: str) -> None:
    """30 items of 256 chunks stand between the query and the others."""
    data = make(name, 60, dimension=4, seed=31)
    rng = np.random.default_rng(37)
    centre = np.array([1.0, 0, 0, 0])
    items = {}
    for number, item in enumerate(data.items.values()):
        near = number < 30
        rows = centre + (0.01 * rng.standard_normal((256, 4)) if near else np.array([[0, 1, 0, 0]]))
        chunks = (Chunk(n, to_half(r.astype(np.float32), 4, data.metric, "vector")) for n, r in enumerate(rows))
        items[item.item_id] = replace(item, chunks=tuple(chunks))
    await load(stores, replace(data, items=items))
    options = SearchOptions(limit=40, viewer=EVERYTHING)
    result = await exact_backend(stores).search(Matryoshka(data.name, centre.astype(np.float32), options=options))
    assert (len(result.hits), result.report.shortfall) == (40, None)
    assert {h.item_id for h in result.hits[:30]} == set(list(items)[:30])
