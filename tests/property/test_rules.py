"""Rules of the domain that hold for any input."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from retrieval.domain.diversity import cap_owners, mmr_order
from retrieval.domain.engagement import EVENT_TYPES, read_history
from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError
from retrieval.domain.funnel import MAX_CANDIDATES, check_stages, default_stages
from retrieval.domain.model import EmbeddingVersion, Event, Metric
from retrieval.domain.planning import MAX_EF_SEARCH, choose
from retrieval.domain.ranking import best_chunks, best_score
from retrieval.domain.search import IndexScope, SearchParams, Source, Stage
from retrieval.domain.vectors import HALF_MAX, combine, distances, rounded_rows, scores_of, to_half, to_half_rows
from tests.property.strategies import EVENTS

VERSION = EmbeddingVersion(1, 1, "m", 64, (8, 16, 32))
STAGES = st.lists(st.builds(Stage, st.integers(-1, 70), st.integers(-1, 12_000)), min_size=1, max_size=9).map(tuple)


@given(stages=STAGES, limit=st.integers(1, 1000))
def test_stages_pass_the_check_exactly_when_they_are_a_funnel(stages: tuple[Stage, ...], limit: int) -> None:
    dimensions = [s.dimension for s in stages]
    counts = [s.candidate_count for s in stages]
    funnel = (
        len(stages) <= 8
        and dimensions[0] in (8, 16, 32, 64)
        and dimensions[-1] <= 64
        and dimensions == sorted(set(dimensions))
        and counts == sorted(counts, reverse=True)
        and max(counts) <= MAX_CANDIDATES
        and min(counts) >= 1
        and counts[-1] >= limit
    )
    if funnel:
        check_stages(stages, VERSION, limit)
        return
    with pytest.raises(InvalidArgumentError) as caught:
        check_stages(stages, VERSION, limit)
    assert caught.value.reason == "BAD_STAGES"


@given(
    dimension=st.integers(1, 4000),
    resolutions=st.lists(st.integers(1, 4000), max_size=5, unique=True),
    limit=st.integers(1, 1000),
)
def test_default_stages_are_a_funnel(dimension: int, resolutions: list[int], limit: int) -> None:
    version = EmbeddingVersion(1, 1, "m", dimension, tuple(r for r in resolutions if r < dimension))
    stages = default_stages(version, limit)
    check_stages(stages, version, limit)
    assert stages[-1] == Stage(dimension, limit)


@given(
    source=st.sampled_from([s for s in Source if s is not Source.FAISS]),
    scope=st.sampled_from(IndexScope),
    ef_search=st.none() | st.integers(1, 1000),
    nprobe=st.none() | st.integers(1, 40_000),
    target_recall=st.none() | st.floats(0.5, 1.0),
    ready=st.sets(st.sampled_from([Source.HNSW, Source.IVFFLAT])),
    rows=st.integers(0, 10_000_000),
    selectivity=st.floats(1e-6, 1.0),
    count=st.integers(1, 10_000),
    lists=st.integers(0, 3000),
)
def test_plans(
    source: Source,
    scope: IndexScope,
    ef_search: int | None,
    nprobe: int | None,
    target_recall: float | None,
    ready: set[Source],
    rows: int,
    selectivity: float,
    count: int,
    lists: int,
) -> None:
    params = SearchParams(source, scope, ef_search, nprobe, target_recall)
    known = {"rows": rows, "selectivity": selectivity, "count": count, "lists": lists, "default_ef_search": 100}
    if source not in (Source.AUTO, Source.EXACT) and source not in ready:
        with pytest.raises(FailedPreconditionError) as caught:
            choose(params, ready=ready, **known)
        assert caught.value.reason == "INDEX_NOT_READY"
        return
    plan = choose(params, ready=ready, **known)
    assert plan.source in {*ready, Source.EXACT}
    assert source in (Source.AUTO, plan.source)
    match plan.source:
        case Source.EXACT:
            assert plan.effort == 0
        case Source.HNSW:
            assert min(count, MAX_EF_SEARCH) <= plan.effort <= MAX_EF_SEARCH
            if ef_search is not None:
                assert plan.effort == min(max(ef_search, count), MAX_EF_SEARCH)
        case _:
            assert 1 <= plan.effort <= max(lists, 1)
            if nprobe is not None:
                assert plan.effort == min(nprobe, max(lists, 1))
    if target_recall is not None and plan.source is Source.HNSW and ef_search is None:
        lower = choose(replace(params, target_recall=target_recall / 2), ready=ready, **known)
        assert lower.effort <= plan.effort, "less recall never costs more"


def test_plans_prefer_the_index_where_it_saves_work() -> None:
    known = {"ready": {Source.HNSW}, "count": 10, "lists": 0, "default_ef_search": 100}
    assert choose(SearchParams(), rows=100_000, selectivity=1.0, **known).source is Source.HNSW
    assert choose(SearchParams(), rows=100_000, selectivity=0.001, **known).source is Source.EXACT
    assert choose(SearchParams(), rows=500, selectivity=1.0, **known).source is Source.EXACT


VECTORS = arrays.arrays(np.float16, st.tuples(st.integers(1, 20), st.just(4)), elements=st.floats(-8, 8, width=16))


@given(vectors=VECTORS, mmr_lambda=st.floats(0, 1), count=st.integers(0, 30), data=st.data())
def test_mmr_returns_each_row_at_most_once(
    vectors: np.ndarray, mmr_lambda: float, count: int, data: st.DataObject
) -> None:
    n = len(vectors)
    relevance = np.array(data.draw(st.lists(st.floats(-5, 5), min_size=n, max_size=n)))
    order = mmr_order(relevance, vectors, mmr_lambda, count)
    assert len(order) == min(count, n)
    assert len(set(order)) == len(order)
    assert set(order) <= set(range(n))
    if order and mmr_lambda > 0.5:
        # Nothing is chosen yet, so relevance alone decides.
        assert relevance[order[0]] == pytest.approx(relevance.max(), abs=1e-9)


@given(vectors=VECTORS, data=st.data())
def test_mmr_with_lambda_one_is_the_order_of_relevance(vectors: np.ndarray, data: st.DataObject) -> None:
    n = len(vectors)
    relevance = np.array(data.draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n)), dtype=np.float64)
    expected = sorted(range(n), key=lambda i: (-relevance[i], i))
    assert mmr_order(relevance, vectors, 1.0, n) == expected


def test_mmr_prefers_what_is_different() -> None:
    vectors = np.array([[1, 0], [1, 0.01], [0, 1]], dtype=np.float16)
    assert mmr_order(np.array([1.0, 0.99, 0.5]), vectors, 0.5, 3) == [0, 2, 1]


@given(owners=st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=30), cap=st.integers(1, 5))
def test_owner_caps(owners: list[str], cap: int) -> None:
    kept = cap_owners(owners, cap)
    counts = Counter(owners[i] for i in kept)
    assert kept == sorted(set(kept))
    for owner, count in Counter(owners).items():
        assert counts[owner] == (min(count, cap) if owner else count)
        firsts = [i for i, o in enumerate(owners) if o == owner][: counts[owner]]
        assert [i for i in kept if owners[i] == owner] == firsts


@given(ids=st.lists(st.sampled_from("abcdef"), max_size=30))
def test_best_chunks_keep_the_first_of_each(ids: list[str]) -> None:
    assert [ids[i] for i in best_chunks(ids)] == list(dict.fromkeys(ids))


SCORES = st.integers(1, 8).flatmap(
    lambda n: st.tuples(
        arrays.arrays(np.float64, (n, 3), elements=st.floats(-1, 1)),
        st.integers(0, 2).flatmap(lambda m: arrays.arrays(np.float64, (n, m), elements=st.floats(-1, 1))),
    )
)


@given(scores=SCORES)
def test_best_score_ranks_the_repelled_last(scores: tuple[np.ndarray, np.ndarray]) -> None:
    positive, negative = scores
    got = best_score(positive, negative)
    best = positive.max(axis=1)
    worst = negative.max(axis=1) if negative.shape[1] else np.full(len(best), -np.inf)
    attracted = best >= worst
    np.testing.assert_array_equal(got[attracted], best[attracted])
    if attracted.any() and not attracted.all():
        assert got[~attracted].max() <= got[attracted].min()
    np.testing.assert_array_equal(best_score(positive, None), best)


@given(vectors=VECTORS, metric=st.sampled_from(Metric))
def test_combine(vectors: np.ndarray, metric: Metric) -> None:
    got = combine(vectors, None, None, metric)
    mean = vectors.astype(np.float64).mean(axis=0)
    if got is None:
        assert metric is Metric.COSINE
        assert np.linalg.norm(mean) < 1e-6
        return
    if metric is Metric.COSINE:
        assert np.linalg.norm(got) == pytest.approx(1.0, abs=1e-5)
        assert float(got @ mean) > 0
    else:
        np.testing.assert_allclose(got, mean, atol=1e-5)
    weighted = combine(vectors, None, np.full(len(vectors), 2.5, np.float32), metric)
    assert weighted is not None
    np.testing.assert_allclose(weighted, got, atol=1e-5)
    away = combine(vectors, vectors, None, metric)
    assert away is not None
    np.testing.assert_allclose(away, got, atol=1e-4)


@given(
    vector=arrays.arrays(np.float32, 4, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    metric=st.sampled_from(Metric),
)
def test_stored_vectors_are_finite(vector: np.ndarray, metric: Metric) -> None:
    reason = None
    if metric is Metric.COSINE:
        reason = None if vector.any() else "VECTOR_ZERO"
    elif np.abs(vector).max() > HALF_MAX:
        reason = "VECTOR_OUT_OF_RANGE"
    if reason is not None:
        with pytest.raises(InvalidArgumentError) as caught:
            to_half(vector, 4, metric, "v")
        assert caught.value.reason == reason
        return
    half = to_half(vector, 4, metric, "v")
    assert half.dtype == np.float16
    assert np.isfinite(half).all()
    if metric is Metric.COSINE:
        assert np.linalg.norm(half.astype(np.float64)) == pytest.approx(1.0, abs=2e-3)


HALF_TIES = st.builds(
    lambda bits, sign: float(
        np.array([(bits & ~0x1FFF | 0x1000) & 0x3FFFFFFF | sign << 31], np.uint32).view(np.float32)[0]
    ),
    st.integers(0, 2**30 - 1),
    st.integers(0, 1),
)
"""Values just between two halves, subnormal ones among them."""
FLOATS = st.floats(width=32) | st.floats(-1.0, 1.0, width=32) | st.floats(-(2.0**-13), 2.0**-13, width=32) | HALF_TIES


@settings(max_examples=500)
@given(
    vectors=arrays.arrays(np.float32, st.tuples(st.integers(1, 3), st.just(8)), elements=FLOATS),
    metric=st.sampled_from(Metric),
)
def test_rounding_is_that_of_the_processor(vectors: np.ndarray, metric: Metric) -> None:
    vectors = np.tile(vectors, (1, 512))  # few components go the processor's way
    half, rounded = to_half_rows(vectors, metric), rounded_rows(vectors, metric)
    if half is None:
        assert rounded is None
    else:
        assert rounded is not None
        assert rounded.dtype == np.float32
        np.testing.assert_array_equal(rounded, half.astype(np.float32))


@given(vectors=VECTORS, metric=st.sampled_from(Metric), prefix=st.integers(1, 4))
def test_nearer_scores_higher(vectors: np.ndarray, metric: Metric, prefix: int) -> None:
    found = distances(vectors[0], vectors, metric, prefix)
    assert np.isfinite(found).all()
    scores = scores_of(np.sort(found), metric).tolist()
    assert scores == sorted(scores, reverse=True)


NOW_US = 1_900_000_000_000_000


@given(events=st.lists(EVENTS, max_size=20), data=st.data())
def test_histories(events: list[Event], data: st.DataObject) -> None:
    read = read_history(events, 5.0, NOW_US)
    assert read.seen == {e.item_id for e in events}
    assert read.repelling_owner_items == {e.item_id for e in events if e.event_type in ("block_author", "mute_author")}
    for event in events:
        low_rating = event.event_type == "rating" and event.value is not None and event.value < 2.4
        explicit = EVENT_TYPES[event.event_type].weight < 0
        # A weight that has decayed to nothing says nothing; half-lives of 14 days end so after decades.
        young = max(e.occurred_at for e in events) - event.occurred_at < 200 * 86_400_000_000
        if young and (low_rating or explicit):
            assert event.item_id in read.repelling
    assert not read.repelling & set(read.attracting)
    weights = list(read.attracting.values())
    assert all(w > 0 for w in weights)
    assert weights == sorted(weights, reverse=True)
    shuffled = data.draw(st.permutations(events))
    again = read_history(shuffled, 5.0, NOW_US)
    assert again.attracting == pytest.approx(read.attracting)
    assert (again.seen, again.repelling) == (read.seen, read.repelling)


@given(views=st.integers(1, 500), kind=st.sampled_from(["not_interested", "report", "block_author"]))
def test_views_never_drown_a_negative(views: int, kind: str) -> None:
    history = [Event("u", "i", "view", NOW_US - n, f"v{n}") for n in range(views)]
    history.append(Event("u", "i", kind, NOW_US - 1000, "n"))
    read = read_history(history, 5.0, NOW_US)
    assert "i" in read.repelling
    assert "i" not in read.attracting


@given(events=st.lists(EVENTS, min_size=1, max_size=10), later_us=st.integers(0, 10**15))
def test_a_pause_changes_nothing(events: list[Event], later_us: int) -> None:
    newest = max(e.occurred_at for e in events)
    assert read_history(events, 5.0, newest) == read_history(events, 5.0, newest + later_us)
