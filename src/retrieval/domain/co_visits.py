"""What people with such a history went on to, straight from the latest events: no training comes before it.

A walk of three steps from the user's items to others who engaged with them, and on to what those engaged with, is as
good as many a trained model (Paudel, Christoffel, Newell and Bernstein, "Updatable, accurate, diverse, and scalable
recommendations for interactive applications", ACM TiiS 7, 2017: RP3-beta). Where few paths lead anywhere it says
little; what all engage with, and what they do of late, then says more. So each counts for its evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.domain.co_engagement import DAY_US, Graph
from retrieval.domain.decay import halved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

STRONG_SHARE = 0.5
"""An engagement counts where it weighs at least this part of the median one, as training has it for what was chosen."""
SEEDS = 100
"""Latest positives of the user that a walk begins at."""
USERS_AN_ITEM = 200
"""Latest others that it goes on to from each."""
ITEMS_A_USER = 200
"""Latest items that it comes to from each of those: 4,000,000 steps at most."""
CROWD_PATHS = 350.0
"""As many paths as this count as much as what everybody engages with."""
MOST_SPECIFIC, SPECIFIC_ITEMS, SPECIFIC_PATHS = 0.7, 15.0, 200.0
"""The exponent by which popularity is discounted in the end, and how many seeds, and how many paths, make half of
that: the better a taste is known, the less does it help that all like an item."""
TREND_DAYS = 30
"""Engagements as old as this make a trend; one counts half after a third of the days, as in `domain.trending`."""
MOST_TREND, TREND_USERS = 0.6, 300.0
"""The share of a trend among what everybody does, and how many users make half of it: few prove nothing."""
AWAY_DAYS = 30.0
"""A trend counts half for a user who was away for so long when it came up."""
FEW_USERS, ENOUGH_USERS = 20, 10
"""So many users say nothing of others; as many more than that as the second say half of what there is to say."""


class Engagements(NamedTuple):
    """Positive engagements in any order: `users`, `items` (e,) int64 numbers from 0, `times` (e,) int64 microseconds.

    `weights`: (e,) float64, as `engagement.fresh_weight` has them.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times: NDArray[np.int64]
    weights: NDArray[np.float64]


class Ranked(NamedTuple):
    """Positions in `CoVisits.item_ids`, (r,) int64, best first; `paths`: how many effective ones led there."""

    items: NDArray[np.int64]
    paths: float


@dataclass(frozen=True, slots=True, eq=False)
class CoVisits:
    """Who engaged with what, newest first, with no name of anybody: `of_item` leads to users, `of_user` to items.

    `popularity`: (n,) float64, engagements by item. `trend`: (n,) float64, those of late by age, by `trend_users`.
    `newest_at`: the latest engagement, in microseconds. `users`: how many there are.
    """

    item_ids: list[str]
    of_item: Graph
    of_user: Graph
    popularity: NDArray[np.float64]
    trend: NDArray[np.float64]
    trend_users: int
    newest_at: int
    users: int
    numbers: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, item_ids: list[str], given: Engagements) -> CoVisits:
        """From engagements, each pair of user and item by its latest."""
        strong = given.weights >= STRONG_SHARE * np.median(given.weights) if len(given.weights) else np.empty(0, bool)
        latest = np.flatnonzero(strong)[np.argsort(-given.times[strong], kind="stable")]
        n = len(item_ids)
        _, first = np.unique(given.users[latest] * max(n, 1) + given.items[latest], return_index=True)
        rows = latest[np.sort(first)]
        users, items, times = given.users[rows], given.items[rows], given.times[rows]
        newest = int(times.max(initial=0))
        age = (newest - times) / DAY_US
        late = age <= TREND_DAYS
        count = int(users.max(initial=-1)) + 1
        return cls(
            item_ids,
            _grouped(items, users, n),
            _grouped(users, items, count),
            np.bincount(items, minlength=n).astype(np.float64),
            np.bincount(items[late], np.exp2(-3.0 * age[late] / TREND_DAYS), n).astype(np.float64),
            len(np.unique(users[late])),
            newest,
            len(np.unique(users)),
            {item_id: number for number, item_id in enumerate(item_ids)},
        )

    @property
    def evidence(self) -> float:
        """How far the engagements of so many users speak for others, in [0, 1); 0 of a few."""
        more = max(0, self.users - FEW_USERS)
        return more / (more + ENOUGH_USERS)

    @property
    def traffic(self) -> float:
        """How far so many users make a trend, in [0, 1)."""
        return self.trend_users / (self.trend_users + TREND_USERS)

    @property
    def size_bytes(self) -> int:
        """Bytes of the arrays, and about 150 an item of its id and its place in a table."""
        arrays = (*self.of_item, *self.of_user, self.popularity, self.trend)
        return sum(array.nbytes for array in arrays) + 150 * len(self.item_ids)

    def ranked(self, seeds: NDArray[np.int64], away_days: float, gone: NDArray[np.bool_], count: int) -> Ranked:
        """At most `count` items for a user with `seeds` (s,), latest last, who was away for so long; none `gone` (n,).

        score = (paths x walk + CROWD_PATHS x crowd) / popularity^b, where walk and crowd are shares, crowd mixes what
        all engaged with and what trends, and b grows with what is known of the user.
        """
        seeds = seeds[-SEEDS:]
        flow, paths = self._walk(seeds, gone)
        crowd = self._crowd(away_days)
        total = max(1.0, float(self.popularity.sum()))
        known = len(seeds) / (len(seeds) + SPECIFIC_ITEMS) * paths / (paths + SPECIFIC_PATHS)
        scores = (paths * flow + CROWD_PATHS * crowd) / np.maximum(self.popularity / total, 1.0 / total) ** (
            MOST_SPECIFIC * known
        )
        scores[gone] = 0.0
        kept = np.flatnonzero(scores > 0)
        if len(kept) > count:
            border = np.partition(scores[kept], len(kept) - count)[len(kept) - count]
            kept = kept[scores[kept] >= border]
        return Ranked(kept[np.argsort(-scores[kept], kind="stable")][:count], paths)

    def _crowd(self, away_days: float) -> NDArray[np.float64]:
        """(n,) shares of what everybody engages with, and of late so far as there is traffic and the user was here."""
        all_time = self.popularity / max(1.0, float(self.popularity.sum()))
        late = float(self.trend.sum())
        if late <= 0:
            return all_time
        share = MOST_TREND * self.traffic * halved(away_days, AWAY_DAYS)
        return np.asarray((1.0 - share) * all_time + share * self.trend / late)

    def _walk(self, seeds: NDArray[np.int64], gone: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
        """(n,) shares of where the paths end, and the effective number of paths: (sum x)^2 / sum x^2 of their masses.

        The user's own engagements lead back to what is gone; of those of each seed one is taken for the user's.
        """
        others = np.minimum(self.of_item.offsets[seeds + 1] - self.of_item.offsets[seeds], USERS_AN_ITEM)
        seeds, others = seeds[others > 1], others[others > 1]
        if len(seeds) == 0:
            return np.zeros(len(self.item_ids)), 0.0
        users, mass = _step(self.of_item, seeds, np.ones(len(seeds)), USERS_AN_ITEM)
        met, at = np.unique(users, return_inverse=True)
        items, ends = _step(self.of_user, met, np.bincount(at, mass).astype(np.float64), ITEMS_A_USER)
        flow = np.bincount(items, ends, len(self.item_ids))
        flow[gone] = 0.0
        total = float(flow.sum())
        if total <= 0:
            return np.zeros(len(self.item_ids)), 0.0
        return flow / total, len(seeds) ** 2 / float((1.0 / (others - 1)).sum())


def _grouped(groups: NDArray[np.int64], members: NDArray[np.int64], count: int) -> Graph:
    """Members by group, in the order given."""
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(groups, minlength=count), out=offsets[1:])
    ordered = members[np.argsort(groups, kind="stable")].astype(np.int32)
    return Graph(offsets, ordered, np.empty(0, np.float32))


def _step(
    graph: Graph, sources: NDArray[np.int64], mass: NDArray[np.float64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The ends of at most `most` edges from each of `sources` (s,), and what of its `mass` (s,) flows along each."""
    first = graph.offsets[sources]
    lengths = np.minimum(graph.offsets[sources + 1] - first, most)
    before = np.cumsum(lengths) - lengths
    edges = np.arange(int(lengths.sum())) + np.repeat(first - before, lengths)
    return graph.items[edges].astype(np.int64), np.repeat(mass / np.maximum(lengths, 1), lengths)
