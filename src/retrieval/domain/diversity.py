"""Spreading results: maximal marginal relevance and caps per owner."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def mmr_order(relevance: NDArray[np.float64], vectors: NDArray[np.float16], mmr_lambda: float, count: int) -> list[int]:
    """Indexes of `count` results in maximal-marginal-relevance order.

    Greedy argmax of  lambda * relevance - (1 - lambda) * max cosine to what is chosen  (Carbonell and Goldstein,
    SIGIR 1998). `relevance`: (n,) float64, scaled here to [0, 1] so that both terms weigh alike under any metric;
    `vectors`: (n, dim). Ties go to the earlier row. O(count * n * dim).
    """
    n = len(relevance)
    spread = float(relevance.max() - relevance.min()) if n else 0.0
    scaled = (relevance - relevance.min()) / spread if spread > 0 else np.ones(n)
    rows = vectors.astype(np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
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
