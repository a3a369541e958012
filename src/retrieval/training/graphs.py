"""Item graphs from engagements: pairs that the same user engaged with, weighted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from retrieval.domain.co_engagement import DAY_US, Graph

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from retrieval.training.log import EngagementLog

NEIGHBOURS = 200
"""Kept of each item, the strongest."""
RECENT_TAU_DAYS = 14.0
"""Half-life of a pair by the time between its two engagements, in the graph of the present mood."""
SEQUENCE_STEPS = 20
SEQUENCE_STEP_FADE = 0.9
BACKWARD = 0.5
"""What a step back counts of a step forward: what people saw before an item suits those who liked it, less so."""
LINEAR_ITEMS = 6000
"""The autoencoder inverts a matrix of this many items at most: 6,000 take 150 MB and a few seconds."""
LINEAR_PENALTY = 200.0
_PAIRS_HELD = 25_000_000
"""Pairs in memory at a time, and, over the whole, how many steps apart the engagements of a pair may be."""


def _steps_apart(events: int) -> int:
    return int(max(10, min(200, _PAIRS_HELD // max(events, 1))))


def pair_graphs(log: EngagementLog) -> tuple[Graph, Graph, Graph]:
    """The graphs `co_visited`, `recent` and `sequence` of a co-engagement model.

    A user of many engagements says less by each pair: pairs weigh 1 / log2(1 + the user's engagements), as in the
    inverse user frequency of Breese, Heckerman and Kadie (UAI 1998).
    """
    engagements = np.bincount(log.users)[log.users] if len(log) else log.users
    share = (1.0 / np.log2(1.0 + engagements)).astype(np.float32)

    def anyhow(_gap: int, early: NDArray[np.int64], late: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.asarray(share[early] * log.weights[early] * log.weights[late], np.float32)

    def soon(gap: int, early: NDArray[np.int64], late: NDArray[np.int64]) -> NDArray[np.float32]:
        days = (log.times[late] - log.times[early]) / DAY_US
        return anyhow(gap, early, late) * np.exp2(-days / RECENT_TAU_DAYS).astype(np.float32)

    def step(gap: int, early: NDArray[np.int64], late: NDArray[np.int64]) -> NDArray[np.float32]:
        fade = np.float32(SEQUENCE_STEP_FADE ** (gap - 1))
        return fade * log.weights[early] * log.weights[late]

    far = _steps_apart(len(log))
    return (
        _graph(log, anyhow, far, 1.0),
        _graph(log, soon, far, 1.0),
        _graph(log, step, min(SEQUENCE_STEPS, far), BACKWARD),
    )


def _graph(
    log: EngagementLog,
    weigh: Callable[[int, NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]],
    farthest: int,
    backward: float,
) -> Graph:
    n = len(log.item_ids)
    total = sparse.csr_matrix((n, n), dtype=np.float32)
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float32]] = []
    held = 0
    for gap in range(1, farthest + 1):
        early = np.flatnonzero(log.users[:-gap] == log.users[gap:])
        if len(early) == 0:
            break
        late = early + gap
        weight = weigh(gap, early, late)
        rows += [log.items[early], log.items[late]]
        columns += [log.items[late], log.items[early]]
        weights += [weight, weight * np.float32(backward)]
        held += 2 * len(early)
        if held > _PAIRS_HELD // 4:
            total = total + _summed(rows, columns, weights, n)
            rows, columns, weights, held = [], [], [], 0
    if rows:
        total = total + _summed(rows, columns, weights, n)
    return strongest(total, NEIGHBOURS)


def _summed(
    rows: list[NDArray[np.int64]], columns: list[NDArray[np.int64]], weights: list[NDArray[np.float32]], n: int
) -> sparse.csr_matrix:
    where = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix((np.concatenate(weights), where), (n, n), dtype=np.float32)


def strongest(matrix: sparse.csr_matrix, count: int) -> Graph:
    """The graph of `matrix` (n, n), with at most `count` edges an item: those of the greatest absolute weight."""
    row_of = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -np.abs(matrix.data), row_of))
    rank = np.arange(len(order)) - matrix.indptr[row_of[order]]
    kept = order[(rank < count) & (matrix.data[order] != 0)]
    lengths = np.bincount(row_of[kept], minlength=matrix.shape[0])
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return Graph(offsets, matrix.indices[kept].astype(np.int32), matrix.data[kept].astype(np.float32))


def linear_graph(log: EngagementLog, popularity: NDArray[np.float32]) -> Graph:
    """The graph `linear`: EASE, the linear autoencoder without a diagonal (Steck, WWW 2019), in closed form.

    With G = X'X and P = (G + penalty I)^-1, the weights are -P_ij / P_jj. Among the most popular items only, since the
    inverse is dense.
    """
    n = len(log.item_ids)
    active = np.flatnonzero(popularity >= 2.0)
    kept = active[np.argsort(-popularity[active], kind="stable")][:LINEAR_ITEMS]
    if len(kept) < 2:
        return Graph(np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    users = int(log.users.max()) + 1
    ones = sparse.csr_matrix((np.ones(len(log), np.float32), (log.users, log.items)), (users, n))[:, kept]
    gram = (ones.T @ ones).toarray(order="F")
    gram[np.diag_indices(len(kept))] += np.float32(LINEAR_PENALTY)
    # The penalty keeps the matrix far from singular: single precision gives the same weights to seven digits.
    lower, _ = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, _ = lapack.spotri(lower, lower=1, overwrite_c=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    lengths = np.zeros(n, np.int64)
    count = min(NEIGHBOURS, len(kept) - 1)
    lengths[kept] = count
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    items = np.empty(len(kept) * count, np.int32)
    values = np.empty(len(kept) * count, np.float32)
    # Rows of `weights` stand in the order of `kept`, those of the graph by item.
    for place, row in enumerate(np.argsort(kept, kind="stable").tolist()):
        nearest = np.argpartition(-np.abs(weights[row]), count - 1)[:count]
        items[place * count : (place + 1) * count] = kept[nearest]
        values[place * count : (place + 1) * count] = weights[row, nearest]
    return Graph(offsets, items, values)
