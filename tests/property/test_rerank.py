"""Boosts, diversity and owners' shares: rules that hold for any pool."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from retrieval.domain.boosts import (
    Boosts,
    FreshnessBoost,
    PopularityBoost,
    RelatedBoost,
    boosted,
    freshness_factors,
    popularity_factors,
    related_factors,
    unit_scaled,
)
from retrieval.domain.diversity import cap_owners, dpp_order, mmr_order, owner_decay_order
from retrieval.domain.rerank import RerankPool, rerank
from retrieval.domain.search import Diversity

NOW_US = 1_900_000_000_000_000
DAY_US = 86_400_000_000
COUNTS = st.integers(0, 10**9)
WEIGHTS = st.floats(0.01, 100.0)
FRESHNESS = st.builds(FreshnessBoost, st.integers(DAY_US, 1000 * DAY_US), WEIGHTS)
POPULARITY = st.builds(PopularityBoost, WEIGHTS)
RELATED = st.builds(RelatedBoost, st.just(("a",)), WEIGHTS)
BOOSTS = st.builds(Boosts, st.none() | FRESHNESS, st.none() | POPULARITY, st.none() | RELATED)
DIVERSITIES = st.builds(
    lambda vectors, cap, decay: Diversity(vectors[0], cap, vectors[1], decay),
    st.just((None, None))
    | st.tuples(st.floats(0, 1), st.none())
    | st.tuples(st.none(), st.floats(0, 1, exclude_max=True)),
    st.integers(0, 3),
    st.none() | st.floats(0.05, 1.0),
)


@st.composite
def pools(draw: st.DrawFn) -> RerankPool:
    n = draw(st.integers(0, 24))
    # The rows of an index are in order of score.
    relevance = sorted(draw(st.lists(st.floats(-5, 5), min_size=n, max_size=n)), reverse=True)
    return RerankPool(
        np.array(relevance, dtype=np.float64),
        draw(st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=n, max_size=n)),
        np.array(draw(st.lists(st.integers(0, NOW_US + DAY_US), min_size=n, max_size=n)), dtype=np.int64),
        np.array(draw(st.lists(COUNTS, min_size=n, max_size=n)), dtype=np.int64),
        draw(arrays.arrays(np.float16, (n, 3), elements=st.floats(-4, 4, width=16))),
        np.array(draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)), dtype=np.float64),
    )


@given(pool=pools(), boosts=BOOSTS, diversity=DIVERSITIES, count=st.integers(1, 30))
def test_any_rerank(pool: RerankPool, boosts: Boosts, diversity: Diversity, count: int) -> None:
    """No row twice, none lost without need, no owner too often, and each stage told of in order."""
    ran: list[str] = []
    order = rerank(pool, boosts, diversity, NOW_US, count, ran.append)
    n = len(pool.relevance)
    cap = diversity.max_per_owner
    assert len(set(order)) == len(order)
    assert set(order) <= set(range(n))
    assert len(order) == min(count, len(cap_owners(pool.owner_ids, cap)) if cap else n)
    if cap:
        assert all(times <= cap for owner, times in Counter(pool.owner_ids[i] for i in order).items() if owner)
    asked = {
        "boosts": not boosts.empty,
        "diversity": diversity.by_vector,
        "owner_decay": diversity.owner_decay is not None,
        "owner_cap": cap > 0,
    }
    assert ran == [stage for stage, wanted in asked.items() if wanted]


@given(pool=pools(), count=st.integers(1, 30))
def test_neutral_settings_change_nothing(pool: RerankPool, count: int) -> None:
    usual = list(range(len(pool.relevance)))[:count]
    assert rerank(pool, Boosts(), Diversity(), NOW_US, count) == usual
    assert rerank(pool, Boosts(), Diversity(owner_decay=1.0), NOW_US, count) == usual
    assert rerank(pool, Boosts(), Diversity(mmr_lambda=1.0), NOW_US, count) == usual
    assert rerank(pool, Boosts(), Diversity(max_per_owner=30), NOW_US, count) == usual


@given(pool=pools(), boosts=BOOSTS, decay=st.floats(0.05, 1.0), cap=st.integers(1, 3))
def test_stages_follow_one_another(pool: RerankPool, boosts: Boosts, decay: float, cap: int) -> None:
    """Boosts first, then decay, then the cap; each by the function of its name."""
    n = len(pool.relevance)
    relevance, order = pool.relevance, list(range(n))
    if not boosts.empty:
        relevance = boosted(pool.relevance, boosts, pool.created_at, pool.rating_counts, pool.strengths, NOW_US)
        order = sorted(range(n), key=lambda i: -relevance[i])
    assert rerank(pool, boosts, Diversity(), NOW_US, n or 1) == order
    decayed = owner_decay_order(relevance[order], [pool.owner_ids[i] for i in order], decay)
    order = [order[i] for i in decayed]
    assert rerank(pool, boosts, Diversity(owner_decay=decay), NOW_US, n or 1) == order
    order = [order[i] for i in cap_owners([pool.owner_ids[i] for i in order], cap)]
    assert rerank(pool, boosts, Diversity(None, cap, None, decay), NOW_US, n or 1) == order


@given(pool=pools(), theta=st.floats(0, 1, exclude_max=True), mmr_lambda=st.floats(0, 1), count=st.integers(1, 30))
def test_variety_alone_is_that_of_its_function(pool: RerankPool, theta: float, mmr_lambda: float, count: int) -> None:
    relevance, vectors = pool.relevance, pool.vectors
    assert rerank(pool, Boosts(), Diversity(dpp_theta=theta), NOW_US, count) == dpp_order(
        relevance, vectors, theta, count
    )
    assert rerank(pool, Boosts(), Diversity(mmr_lambda), NOW_US, count) == mmr_order(
        relevance, vectors, mmr_lambda, count
    )


@given(relevance=arrays.arrays(np.float64, st.integers(0, 20), elements=st.floats(-1e6, 1e6)))
def test_scaled_relevance(relevance: np.ndarray) -> None:
    scaled = unit_scaled(relevance)
    assert ((scaled >= 0) & (scaled <= 1)).all()
    assert (np.diff(scaled[np.argsort(relevance)]) >= 0).all()


@given(ages=st.lists(st.integers(-DAY_US, 10_000 * DAY_US), min_size=2, max_size=10), boost=FRESHNESS)
def test_freshness(ages: list[int], boost: FreshnessBoost) -> None:
    factors = freshness_factors(NOW_US - np.array(ages, dtype=np.int64), boost, NOW_US)
    assert ((factors >= 1.0) & (factors <= 1.0 + boost.weight)).all()
    assert (np.diff(factors[np.argsort(ages)]) <= 0).all(), "older is never fresher"
    at = np.array([NOW_US, NOW_US - boost.half_life_us, NOW_US - 2 * boost.half_life_us, NOW_US + 7], dtype=np.int64)
    expected = 1.0 + boost.weight * np.array([1.0, 0.5, 0.25, 1.0])
    np.testing.assert_allclose(freshness_factors(at, boost, NOW_US), expected)


@given(counts=st.lists(COUNTS, min_size=1, max_size=10), boost=POPULARITY)
def test_popularity(counts: list[int], boost: PopularityBoost) -> None:
    rated = np.array(counts, dtype=np.int64)
    factors = popularity_factors(rated, boost)
    assert (np.diff(factors[np.argsort(rated)]) >= 0).all()
    assert factors[rated == 0] == pytest.approx(1.0)
    assert factors.max() == pytest.approx(1.0 + boost.weight if rated.max() else 1.0)
    middle = popularity_factors(np.array([0, 9, 99], dtype=np.int64), boost)
    np.testing.assert_allclose(middle, 1.0 + boost.weight * np.array([0.0, 0.5, 1.0]))


@given(strengths=st.lists(st.floats(0, 1), min_size=1, max_size=9), weight=WEIGHTS)
def test_related_factors(strengths: list[float], weight: float) -> None:
    """From 1 for what is not related to 1 + weight for what is related for sure, in proportion."""
    factors = related_factors(np.array(strengths), RelatedBoost(("a",), weight))
    np.testing.assert_allclose((factors - 1.0) / weight, strengths, atol=1e-12)
    pool = RerankPool(np.array([2.0, 1.5, 1.0, 0.0]), strengths=np.array([0.0, 0.0, 1.0, 1.0]))
    # Relevance 1, 0.75, 0.5, 0: the third counts 2.5 times, the last stays the last.
    assert rerank(pool, Boosts(related_to=RelatedBoost(("a",), 1.5)), Diversity(), NOW_US, 4) == [2, 0, 1, 3]


def test_boosts_lift_what_has_negative_scores() -> None:
    """A factor on a negative score would push the fresh item down."""
    pool = RerankPool(
        np.array([-1.0, -1.1, -9.0]),
        created_at=np.array([NOW_US - 900 * DAY_US, NOW_US, NOW_US], dtype=np.int64),
        rating_counts=np.zeros(3, dtype=np.int64),
    )
    assert rerank(pool, Boosts(FreshnessBoost(30 * DAY_US, 0.5)), Diversity(), NOW_US, 3) == [1, 0, 2]


def objectives(relevance: np.ndarray, vectors: np.ndarray, theta: float, chosen: list[int]) -> list[float]:
    """What each row would bring the set to, by the determinant itself; -inf for those that are in it."""
    rows = vectors.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    kernel = (1.0 + rows @ rows.T) / 2.0
    scaled = unit_scaled(relevance)
    found = []
    for i in range(len(rows)):
        members = [*chosen, i]
        log_det = np.linalg.slogdet(kernel[np.ix_(members, members)])[1]
        found.append(-np.inf if i in chosen else theta * scaled[members].sum() + (1.0 - theta) * log_det)
    return found


@given(seed=st.integers(0, 10**6), theta=st.floats(0, 0.99), n=st.integers(1, 9), count=st.integers(1, 6))
def test_dpp_is_greedy_on_the_determinant(seed: int, theta: float, n: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, 8)).astype(np.float16)
    relevance = rng.standard_normal(n)
    order = dpp_order(relevance, vectors, theta, count)
    for step, chosen in enumerate(order):
        found = objectives(relevance, vectors, theta, order[:step])
        assert found[chosen] == pytest.approx(max(found), abs=1e-9)


@given(seed=st.integers(0, 10**6))
def test_dpp_without_relevance_begins_with_the_first_row(seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((9, 8)).astype(np.float16)
    assert dpp_order(np.arange(9.0), vectors, 0.0, 3)[0] == 0


@given(
    vectors=arrays.arrays(np.float16, st.tuples(st.integers(1, 12), st.just(2)), elements=st.sampled_from([-1, 0, 1])),
    theta=st.floats(0, 1, exclude_max=True),
    count=st.integers(0, 15),
    data=st.data(),
)
def test_dpp_survives_duplicates_and_zeros(vectors: np.ndarray, theta: float, count: int, data: st.DataObject) -> None:
    """More rows than the space has dimensions, many of them alike."""
    n = len(vectors)
    relevance = np.array(data.draw(st.lists(st.floats(-5, 5), min_size=n, max_size=n)))
    order = dpp_order(relevance, vectors, theta, count)
    assert len(order) == len(set(order)) == min(count, n)
    assert set(order) <= set(range(n))


def test_dpp_puts_duplicates_last_by_relevance() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], dtype=np.float16)
    relevance = np.array([1.0, 0.8, 0.1, 0.9])
    assert dpp_order(relevance, vectors, 0.5, 4) == [0, 2, 3, 1]
    assert dpp_order(relevance, vectors, 0.9999999, 3) == [0, 2, 3]


@given(
    rows=st.lists(st.tuples(st.integers(-5, 5), st.sampled_from(["", "a", "b"])), max_size=20),
    decay=st.floats(0.05, 1.0),
)
def test_owner_decay(rows: list[tuple[int, str]], decay: float) -> None:
    relevance = np.array([r for r, _ in rows], dtype=np.float64)
    owners = [o for _, o in rows]
    order = owner_decay_order(relevance, owners, decay)
    assert sorted(order) == list(range(len(rows)))
    by_relevance = sorted(range(len(rows)), key=lambda i: (-relevance[i], i))
    for owner in ("a", "b", ""):
        own = [i for i in order if owners[i] == owner]
        assert own == [i for i in by_relevance if owners[i] == owner]
    if not any(owners):
        assert order == by_relevance


def test_owner_decay_counts_from_the_most_relevant() -> None:
    # Scaled 1, 0.9, 0.8, 0.5, 0; of "a": 1, 0.45, 0.2.
    relevance = np.array([10.0, 9.0, 8.0, 5.0, 0.0])
    assert owner_decay_order(relevance, ["a", "a", "a", "", "b"], 0.5) == [0, 3, 1, 2, 4]
    assert owner_decay_order(relevance, [""] * 5, 0.5) == [0, 1, 2, 3, 4]
