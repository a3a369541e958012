"""How good ranked lists are: hit rate, nDCG, coverage, novelty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.co_engagement import top

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LISTED = 100


@dataclass(frozen=True)
class Ranking:
    """Means over all questions, each with one right answer.

    `hr_k`: share of the lists that have it among the first k. `ndcg_k`: 1 / log2(rank + 1) where it is, else 0
    (Järvelin and Kekäläinen, ACM TOIS 20, 2002, with one relevant item). `coverage`: share of the catalogue that is in
    any list. `novelty`: mean of -log2 of the share of users who engaged with a listed item (Vargas and Castells, RecSys
    2011), in bits.
    """

    hr_10: float
    hr_100: float
    ndcg_10: float
    ndcg_100: float
    coverage: float = 0.0
    novelty: float = 0.0


def best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The positions of the greatest finite scores, greatest first, lower positions first among equals."""
    found = top(scores, count)
    return found[np.isfinite(scores[found])]


def measured(
    lists: Sequence[NDArray[np.int64]],
    right: NDArray[np.int64],
    users_of: NDArray[np.float64] | None = None,
    users: int = 0,
) -> Ranking:
    """Of `lists` with the `right` answers (q,). `users_of` (items,): how many of all `users` engaged with each item."""
    ranks = np.zeros(len(lists))
    for number, (listed, answer) in enumerate(zip(lists, right.tolist(), strict=True)):
        places = np.flatnonzero(listed[:LISTED] == answer)
        ranks[number] = places[0] + 1 if len(places) else np.inf
    gains = 1.0 / np.log2(ranks + 1.0)
    coverage = novelty = 0.0
    if users_of is not None:
        shown = np.concatenate([listed[:LISTED] for listed in lists])
        coverage = len(np.unique(shown)) / len(users_of)
        novelty = float(np.mean(-np.log2((users_of[shown] + 1.0) / (users + 1.0))))
    return Ranking(
        float((ranks <= 10).mean()),
        float((ranks <= LISTED).mean()),
        float(np.where(ranks <= 10, gains, 0.0).mean()),
        float(np.where(ranks <= LISTED, gains, 0.0).mean()),
        coverage,
        novelty,
    )
