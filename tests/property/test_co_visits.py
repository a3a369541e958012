"""Walks over the latest events: what a matrix says, and each part for the evidence that it rests on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.domain import co_visits
from retrieval.domain.co_visits import (
    CROWD_PATHS,
    MOST_SPECIFIC,
    SEEDS,
    SPECIFIC_ITEMS,
    SPECIFIC_PATHS,
    CoVisits,
    Engagements,
)

DAY_US = 86_400_000_000
OLD = 5000
"""Days: no trend has anything to say of it."""


def visits(rows: list[tuple[int, int, float]], items: int, weights: list[float] | None = None) -> CoVisits:
    """Of (user, item, days ago)."""
    table = np.array([(u, i) for u, i, _ in rows], np.int64).reshape(-1, 2)
    times = np.array([(100_000 - days) * DAY_US for _, _, days in rows], np.float64).astype(np.int64)
    given_weights = np.ones(len(rows)) if weights is None else np.array(weights)
    return CoVisits.of([str(n) for n in range(items)], Engagements(table[:, 0], table[:, 1], times, given_weights))


def ranked(found: CoVisits, seeds: list[int], away_days: float = 0.0, count: int = 100) -> list[int]:
    gone = np.zeros(len(found.item_ids), bool)
    gone[seeds] = True
    return found.ranked(np.array(seeds, np.int64), away_days, gone, count).items.tolist()


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 11)), min_size=1), st.lists(st.integers(0, 11), unique=True))
def test_the_walk_is_that_of_the_matrix(pairs: set[tuple[int, int]], seeds: list[int]) -> None:
    """Scores of every item from dense matrices; nobody's engagements are so old or new that a trend says anything."""
    found = visits([(user, item, OLD) for user, item in sorted(pairs)] + [(8, 0, 0.0)], 12)
    pairs = pairs | {(8, 0)}
    matrix = np.zeros((9, 12))
    for user, item in pairs:
        matrix[user, item] = 1.0
    degree, active = matrix.sum(axis=0), matrix.sum(axis=1)
    gone = np.zeros(12, bool)
    gone[seeds] = True
    led = [s for s in seeds if degree[s] > 1]
    flow = np.zeros(12)
    for seed in led:
        for user in np.flatnonzero(matrix[:, seed]):
            flow += matrix[user] / degree[seed] / active[user]
    flow[gone] = 0.0
    paths = len(led) ** 2 / sum(1.0 / (degree[s] - 1) for s in led) if led and flow.sum() > 0 else 0.0
    flow = flow / flow.sum() if flow.sum() > 0 else np.zeros(12)
    crowd = degree / degree.sum()
    known = len(seeds) / (len(seeds) + SPECIFIC_ITEMS) * paths / (paths + SPECIFIC_PATHS)
    scores = paths * flow + CROWD_PATHS * crowd
    scores /= np.maximum(crowd, 1.0 / degree.sum()) ** (MOST_SPECIFIC * known)
    scores[gone] = 0.0
    got = found.ranked(np.array(seeds, np.int64), 1e9, gone, 12)
    assert got.paths == pytest.approx(paths)
    assert set(got.items.tolist()) == set(np.flatnonzero(scores > 0).tolist())
    assert scores[got.items] == pytest.approx(np.sort(scores[scores > 0])[::-1])


def test_communities() -> None:
    """Forty users of each half of the items; those of one half come first for who knows two of it."""
    rows = [
        (user, item, OLD)
        for user in range(80)
        for item in range(20)
        if (user < 40) == (item < 10) and user % 10 != item
    ]
    found = visits(rows, 20)
    assert set(ranked(found, [0, 1])[:8]) == set(range(2, 10))
    assert set(ranked(found, [10, 11])[:8]) == set(range(12, 20))


def test_nothing_known_is_what_all_engage_with() -> None:
    rows = [(user, item, OLD) for item in range(10) for user in range(10 - item)]
    assert ranked(visits(rows, 10), []) == list(range(10))
    assert ranked(visits(rows, 10), [], count=3) == [0, 1, 2]
    # One that nobody else knows says nothing more.
    assert ranked(visits([*rows, (50, 10, OLD)], 11), [10]) == list(range(10))


@pytest.mark.parametrize(("late", "away_days", "first"), [(3, 0.0, 0), (300, 0.0, 1), (300, 365.0, 0)])
def test_a_trend_counts_where_there_is_traffic_and_the_user_is_here(late: int, away_days: float, first: int) -> None:
    """Three users of late prove nothing, three hundred do; not so to who has been away for a year."""
    rows = [(user, 0, OLD) for user in range(400)] + [(1000 + user, 1, user % 5) for user in range(late)]
    found = visits(rows, 2)
    assert ranked(found, [], away_days)[0] == first
    assert found.trend_users == late


def test_what_is_hardly_positive_is_not_counted() -> None:
    """Less than half of the median engagement; and a pair counts once, however often it comes."""
    found = visits([(0, 0, 1), (1, 0, 2), (2, 1, 3), (0, 0, 9)], 3, [1.0, 0.9, 0.2, 1.0])
    assert found.popularity.tolist() == [2.0, 0.0, 0.0]
    assert found.users == 2
    assert ranked(found, []) == [0]
    assert visits([], 0).users == 0
    assert visits([], 0).evidence == 0.0


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an item that all engage with, and of users who engage with all, the latest are looked at."""
    monkeypatch.setattr(co_visits, "USERS_AN_ITEM", 3)
    monkeypatch.setattr(co_visits, "ITEMS_A_USER", 2)
    rows = [(user, item, OLD + 10 * user + item) for user in range(50) for item in range(SEEDS + 50)]
    found = visits(rows, SEEDS + 50)
    steps = []
    step = co_visits._step

    def noted(*given: object) -> object:
        made = step(*given)  # type: ignore[arg-type]
        steps.append(len(made[0]))
        return made

    monkeypatch.setattr(co_visits, "_step", noted)
    ranked(found, list(range(SEEDS + 20)))
    assert steps == [SEEDS * 3, 3 * 2]


def test_evidence_grows_with_users() -> None:
    shares = [visits([(user, 0, 0.0) for user in range(count)], 1).evidence for count in (1, 20, 30, 1000)]
    assert shares == pytest.approx([0.0, 0.0, 0.5, 980 / 990])
