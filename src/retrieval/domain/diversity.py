"""Spreading results: maximal marginal relevance, determinantal point processes, decay and caps per owner."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from retrieval.domain.boosts import unit_scaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


Float = TypeVar("Float", np.float32, np.float64)

NO_VOLUME = 1e-10
"""A squared distance to the span of what is chosen that is below this is rounding: the row is in it already."""


def mmr_order(relevance: NDArray[np.float64], vectors: NDArray[np.float16], mmr_lambda: float, count: int) -> list[int]:
    """Indexes of `count` results in maximal-marginal-relevance order.

    Greedy argmax of  lambda * relevance - (1 - lambda) * max cosine to what is chosen  (Carbonell and Goldstein,
    SIGIR 1998). `relevance`: (n,) float64, scaled here to [0, 1] so that both terms weigh alike under any metric;
    `vectors`: (n, dim). Ties go to the earlier row. O(count * n * dim).
    """
    n = len(relevance)
    scaled = unit_scaled(relevance)
    rows = _unit_rows(vectors.astype(np.float32))
    nearest_chosen = np.zeros(n)
    free = np.ones(n, dtype=bool)
    order: list[int] = []
    for _ in range(min(count, n)):
        gain = np.where(free, mmr_lambda * scaled - (1.0 - mmr_lambda) * nearest_chosen, -np.inf)
        best = int(np.argmax(gain))
        similarity = rows @ rows[best]
        nearest_chosen = np.maximum(nearest_chosen, similarity) if order else similarity.astype(np.float64)
        free[best] = False
        order.append(best)
    return order


def dpp_order(relevance: NDArray[np.float64], vectors: NDArray[np.float16], theta: float, count: int) -> list[int]:
    """Indexes of `count` results by greedy MAP inference of a determinantal point process.

    The kernel is L = Diag(q) S Diag(q) with q = exp(theta / (2 (1 - theta)) * relevance): the chosen set maximises
    theta * sum of relevance + (1 - theta) * log det S  (Chen, Zhang and Zhou, "Fast greedy MAP inference for
    determinantal point process to improve recommendation diversity", NeurIPS 2018, equations 9 to 11 and algorithm 1).
    S_ij = (1 + cosine) / 2, as there: opposite is as different as can be. `relevance`: (n,) float64, scaled here to
    [0, 1]; `vectors`: (n, dim); `theta` in [0, 1).

    The Cholesky factor of L is Diag(q) times that of S, so only the latter is kept, a row a step, and q enters as its
    logarithm: nothing overflows as theta nears 1. Rows that add no volume, as duplicates do, come last, by relevance.
    Ties go to the earlier row. O(count * n * (count + dim)).
    """
    n = len(relevance)
    count = min(count, n)
    scaled = unit_scaled(relevance)
    rows = _unit_rows(vectors.astype(np.float64))
    # Exactly 1 of any row but the zero vector: rounding would break ties at random.
    volume = np.where(rows.any(axis=1), 1.0, 0.5)
    factor = np.empty((count, n))
    free = np.ones(n, dtype=bool)
    order: list[int] = []
    while len(order) < count:
        eligible = free & (volume > NO_VOLUME)
        if not eligible.any():
            break
        logs = np.log(volume, out=np.full(n, -np.inf), where=eligible)
        best = int(np.argmax(np.where(eligible, theta * scaled + (1.0 - theta) * logs, -np.inf)))
        step = len(order)
        similarity = (1.0 + rows @ rows[best]) / 2.0
        factor[step] = (similarity - factor[:step, best] @ factor[:step]) / np.sqrt(volume[best])
        volume = volume - factor[step] ** 2
        free[best] = False
        order.append(best)
    left = np.flatnonzero(free)
    return order + [int(i) for i in left[np.argsort(-scaled[left], kind="stable")][: count - len(order)]]


def owner_decay_order(relevance: NDArray[np.float64], owner_ids: Sequence[str], decay: float) -> list[int]:
    """All indexes by relevance * decay^k, where k rows of the same owner come before by relevance alone.

    The author diversity of the recommendation algorithm that Twitter published (twitter/the-algorithm, home-mixer,
    "AuthorBasedListwiseRescoringProvider"), without its floor. `relevance`: (n,) float64, scaled here to [0, 1], since
    a factor would raise what is negative; rows without an owner keep theirs. Ties go to the earlier row.
    """
    before: Counter[str] = Counter()
    factors = np.ones(len(owner_ids))
    for index in np.argsort(-relevance, kind="stable").tolist():
        owner = owner_ids[index]
        if owner:
            factors[index] = decay ** before[owner]
            before[owner] += 1
    return [int(i) for i in np.argsort(-(unit_scaled(relevance) * factors), kind="stable")]


def cap_owners(owner_ids: Sequence[str], max_per_owner: int) -> list[int]:
    """Indexes that stay when no owner may appear more than `max_per_owner` times; rows without an owner all stay."""
    seen: Counter[str] = Counter()
    kept = []
    for index, owner in enumerate(owner_ids):
        if owner:
            seen[owner] += 1
            if seen[owner] > max_per_owner:
                continue
        kept.append(index)
    return kept


def _unit_rows(rows: NDArray[Float]) -> NDArray[Float]:
    """The rows scaled to unit L2; zero rows stay."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0))
