"""The order in which a pool of candidates is shown: boosts, then variety, then fairness between owners.

Every stage is optional and pure. Stages change the order alone; scores stay those of the metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.boosts import Boosts, boosted
from retrieval.domain.diversity import cap_owners, dpp_order, mmr_order, owner_decay_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from retrieval.domain.search import Diversity

SPREAD_PER_HIT = 2
"""Where owners thin out what was spread, so many rows a hit are spread: all would take time with their square."""


@dataclass(frozen=True, slots=True)
class RerankPool:
    """Candidates, one row each, n in all; what no stage asks for may be empty.

    `relevance`: (n,) float64, higher is better. `owner_ids`: empty for no owner. `created_at`: (n,) int64 microseconds.
    `rating_counts`: (n,) int64. `vectors`: (n, dim) float16. `strengths`: (n,) float64 in [0, 1], as for
    `related_factors`.
    """

    relevance: NDArray[np.float64]
    owner_ids: Sequence[str] = ()
    created_at: NDArray[np.int64] | None = None
    rating_counts: NDArray[np.int64] | None = None
    vectors: NDArray[np.float16] | None = None
    strengths: NDArray[np.float64] | None = None


def rerank(
    pool: RerankPool,
    boosts: Boosts,
    diversity: Diversity,
    now_us: int,
    count: int,
    after: Callable[[str], None] = lambda _stage: None,
) -> list[int]:
    """Indexes of at most `count` candidates, best first; fewer than there are only where the cap per owner says so.

    Without options the order is that of the rows. Each stage works on the order that the one before left:

    - boosts: by boosted relevance (`boosted`);
    - diversity: MMR or DPP choose from the top; what they do not get to follows as it was;
    - owner_decay: on relevance, or, after MMR or DPP, on what their order says of it: evenly less from 1 on;
    - owner_cap: no owner more often than allowed.

    `after` is told the name of each stage that ran.
    """
    n = len(pool.relevance)
    order = np.arange(n)
    relevance = pool.relevance
    if not boosts.empty:
        none = np.zeros(n, dtype=np.int64)
        relevance = boosted(
            relevance,
            boosts,
            none if pool.created_at is None else pool.created_at,
            none if pool.rating_counts is None else pool.rating_counts,
            np.zeros(n) if pool.strengths is None else pool.strengths,
            now_us,
        )
        order = np.argsort(-relevance, kind="stable")
        after("boosts")
    owners = pool.owner_ids
    if diversity.by_vector and pool.vectors is not None:
        spread = min(n, count * SPREAD_PER_HIT if diversity.by_owner else count)
        chosen = _spread(relevance[order], pool.vectors[order], diversity, spread)
        rest = np.ones(n, dtype=bool)
        rest[chosen] = False
        order = np.concatenate([order[chosen], order[rest]])
        relevance = np.empty(n)
        relevance[order] = 1.0 - np.arange(n) / max(n, 1)
        after("diversity")
    if diversity.owner_decay is not None:
        order = order[owner_decay_order(relevance[order], [owners[i] for i in order.tolist()], diversity.owner_decay)]
        after("owner_decay")
    if diversity.max_per_owner:
        order = order[cap_owners([owners[i] for i in order.tolist()], diversity.max_per_owner)]
        after("owner_cap")
    return [int(i) for i in order[:count]]


def _spread(
    relevance: NDArray[np.float64], vectors: NDArray[np.float16], diversity: Diversity, count: int
) -> list[int]:
    if diversity.dpp_theta is not None:
        return dpp_order(relevance, vectors, diversity.dpp_theta, count)
    return mmr_order(relevance, vectors, 1.0 if diversity.mmr_lambda is None else diversity.mmr_lambda, count)
