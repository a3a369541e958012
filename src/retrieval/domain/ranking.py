"""Turning rows of an index into ranked items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def best_chunks(item_ids: Sequence[str]) -> list[int]:
    """Indexes of the first, that is nearest, row of each item; `item_ids` are in order of distance."""
    seen: set[str] = set()
    kept = []
    for index, item_id in enumerate(item_ids):
        if item_id not in seen:
            seen.add(item_id)
            kept.append(index)
    return kept


def best_score(positive: NDArray[np.float64], negative: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Scores of n candidates by their best positive and best negative example.

    `positive`: (n, seeds) scores, `negative`: (n, negatives) scores or None. Returns (n,) float64: the best positive
    score p where it is at least the best negative score q, else min(p) - (q - p): what is nearer to a negative ranks
    below everything that is not. The idea is Qdrant's `best_score` strategy (Qdrant
    documentation, "Recommendation"), with the metric's own scores kept readable instead of a sigmoid.
    """
    best = positive.max(axis=1)
    if negative is None or negative.shape[1] == 0:
        return np.asarray(best)
    worst = negative.max(axis=1)
    repelled = worst > best
    if not repelled.any():
        return np.asarray(best)
    floor = float(best.min())
    return np.asarray(np.where(repelled, floor - (worst - best), best))
