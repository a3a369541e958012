"""Graphs of items, against sums done by hand and the closed form of the autoencoder."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from retrieval.domain.co_engagement import Graph, Past, top
from retrieval.training import graphs
from retrieval.training.fit import CONFIDENCE, fit
from retrieval.training.graphs import LINEAR_PENALTY, linear_graph, pair_graphs, strongest
from retrieval.training.log import EngagementLog
from tests.models import DAY_US, START_US, two_communities

# User 0 took a, b and c, a week apart each; user 1 took b, then a, on one day; user 2 took only d.
ROWS = ((0, 0, 0), (0, 1, 7), (0, 2, 14), (1, 1, 3), (1, 0, 3), (2, 3, 1))


def by_hand() -> EngagementLog:
    users, items = (np.array([row[n] for row in ROWS], np.int64) for n in (0, 1))
    # An hour apart within a day, so that their order is that of the rows.
    times = np.array([START_US + row[2] * DAY_US + n for n, row in enumerate(ROWS)], np.int64)
    return EngagementLog.of(list("abcd"), users, items, times, np.ones(len(ROWS), np.float32))


def dense(graph: Graph) -> np.ndarray:
    n = len(graph.offsets) - 1
    out = np.zeros((n, n))
    for item in range(n):
        rows = slice(graph.offsets[item], graph.offsets[item + 1])
        out[item, graph.items[rows]] = graph.weights[rows]
    return out


def test_pairs_of_four_items() -> None:
    co_visited, recent, sequence = (dense(graph) for graph in pair_graphs(by_hand()))
    three, two = 1 / math.log2(4), 1 / math.log2(3)  # what a pair of each user's counts
    expected = np.zeros((4, 4))
    expected[0, 1] = three + two
    expected[0, 2] = expected[1, 2] = three
    assert co_visited == pytest.approx(expected + expected.T, rel=1e-6)
    # Half after two weeks: a week apart counts by the root of that.
    expected[0, 1] = three * 0.5**0.5 + two
    expected[0, 2], expected[1, 2] = three * 0.5, three * 0.5**0.5
    assert recent == pytest.approx(expected + expected.T, rel=1e-6)
    # a to b and c, b to c, and for user 1 b to a; the way back counts half, two steps count 0.9.
    steps = np.zeros((4, 4))
    steps[0, 1], steps[1, 0] = 1 + 0.5, 0.5 + 1
    steps[0, 2], steps[2, 0] = 0.9, 0.45
    steps[1, 2], steps[2, 1] = 1.0, 0.5
    assert sequence == pytest.approx(steps, rel=1e-6)


def test_sums_do_not_depend_on_how_much_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    log = two_communities([f"i{n}" for n in range(30)], 20, 9)
    whole = [dense(graph) for graph in pair_graphs(log)]
    monkeypatch.setattr(graphs, "_PAIRS_HELD", 2000)
    parts = [dense(graph) for graph in pair_graphs(log)]
    for ours, theirs in zip(whole, parts, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_the_strongest_edges_are_kept() -> None:
    matrix = sparse.csr_matrix(np.array([[0, 3, -9, 2], [0, 0, 0, 0], [5, 0, 0, 5], [0, 1, 0, 0]], np.float32))
    graph = strongest(matrix, 2)
    assert graph.offsets.tolist() == [0, 2, 2, 4, 5]
    assert graph.items.tolist() == [2, 1, 0, 3, 1]
    assert graph.weights.tolist() == [-9, 3, 5, 5, 1]


def test_the_autoencoder_is_its_closed_form() -> None:
    log = by_hand()
    popularity = np.bincount(log.items, log.weights, 4).astype(np.float32)
    found = dense(linear_graph(log, popularity))
    # Only a and b have two engagements. Both users who took either took both: G = [[2, 2], [2, 2]].
    inverse = np.linalg.inv(np.array([[2.0, 2.0], [2.0, 2.0]]) + LINEAR_PENALTY * np.eye(2))
    expected = np.zeros((4, 4))
    expected[0, 1] = -inverse[0, 1] / inverse[1, 1]
    expected[1, 0] = -inverse[1, 0] / inverse[0, 0]
    assert found == pytest.approx(expected, rel=1e-5)
    assert expected[0, 1] == pytest.approx(2 / (2 + LINEAR_PENALTY))
    # It is the minimum of |X - XB|^2 + penalty |B|^2 over B without a diagonal: nothing near is lower.
    x = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])

    def loss(b: np.ndarray) -> float:
        return float(((x - x @ b) ** 2).sum() + LINEAR_PENALTY * (b**2).sum())

    best = expected[:2, :2]
    for row, column in ((0, 1), (1, 0)):
        for step in (-1e-3, 1e-3):
            moved = best.copy()
            moved[row, column] += step
            assert loss(moved) > loss(best)


def test_larger_autoencoders_map_back_to_their_items() -> None:
    log = two_communities([f"i{n}" for n in range(12)], 14, 4, seed=3)
    popularity = np.bincount(log.items, log.weights, 12).astype(np.float32)
    x = np.zeros((14, 12))
    x[log.users, log.items] = 1.0
    kept = np.flatnonzero(popularity >= 2)
    inverse = np.linalg.inv(x[:, kept].T @ x[:, kept] + LINEAR_PENALTY * np.eye(len(kept)))
    expected = np.zeros((12, 12))
    expected[np.ix_(kept, kept)] = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    assert dense(linear_graph(log, popularity)) == pytest.approx(expected, abs=1e-7)


def test_what_flows_along_edges() -> None:
    graph = strongest(sparse.csr_matrix(np.array([[0, 1, 2], [0, 0, 4], [8, 0, 0]], np.float32)), 9)
    mass = graph.spread(np.array([0, 1, 1]), np.array([1.0, 0.5, 0.5], np.float32), 3)
    assert mass.tolist() == [0.0, 1.0, 6.0]
    assert graph.spread(np.array([], np.int64), np.array([], np.float32), 3).tolist() == [0, 0, 0]


def test_a_folded_in_user_solves_the_users_side() -> None:
    model = fit(two_communities([f"i{n}" for n in range(20)], 16, 5), threads=1)
    past = Past(np.array([1, 4, 7]), np.array([1.0, 0.5, 0.2], np.float32), np.arange(3) * DAY_US)
    y = model.factors.astype(np.float64)
    confidence = np.ones(20)
    confidence[past.items] += CONFIDENCE * past.weights
    chosen = np.zeros(20)
    chosen[past.items] = 1.0
    left = y.T @ (confidence[:, None] * y) + 0.05 * np.eye(y.shape[1])
    assert model.user_vector(past) == pytest.approx(np.linalg.solve(left, y.T @ (confidence * chosen)), abs=1e-3)


def test_communities_are_told_apart() -> None:
    """Every part of the model puts a community's items before the other's."""
    model = fit(two_communities([f"i{n:02d}" for n in range(40)], 200, 8), threads=1)
    past = Past(np.array([2, 5, 9]), np.ones(3, np.float32), START_US + np.arange(3) * DAY_US)
    for column in model.affinities(past):
        own = column[:20][~np.isin(np.arange(20), past.items)]
        assert own.mean() > column[20:].mean()
        assert np.isin(top(column, 10), np.arange(20)).mean() >= 0.8
