"""A collection's positive engagements as arrays, and parts of them as of a moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRONG_SHARE = 0.5
"""An engagement counts as chosen where it weighs at least this part of the median one."""


@dataclass(frozen=True, slots=True)
class EngagementLog:
    """Positive engagements by user, then time, one an item: `users`, `items` (e,) int64 numbers from 0.

    `times` (e,) int64 microseconds; `weights` (e,) float32 in (0, 1], 1 at the median, `unit`, and above. `chosen` (e,)
    bool: those strong enough to learn an order from. A repeated engagement weighs as its strongest from `risen_at` (e,)
    int64 on, and before that as its first, `first_weights` (e,) float32.
    """

    item_ids: list[str]
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times: NDArray[np.int64]
    weights: NDArray[np.float32]
    chosen: NDArray[np.bool_]
    first_weights: NDArray[np.float32]
    risen_at: NDArray[np.int64]
    unit: float

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def of(
        cls,
        item_ids: list[str],
        users: NDArray[np.int64],
        items: NDArray[np.int64],
        times: NDArray[np.int64],
        weights: NDArray[np.float32],
    ) -> EngagementLog:
        """From engagements in any order with raw weights; repeated ones of a user and an item become their first.

        The first, not the latest: a model of what comes next is to learn when the item came.
        """
        order = np.lexsort((times, items, users))
        first = np.ones(len(order), bool)
        first[1:] = (np.diff(users[order]) != 0) | (np.diff(items[order]) != 0)
        starts = np.flatnonzero(first)
        strongest = np.maximum.reduceat(weights[order], starts) if len(order) else weights
        engagement = np.cumsum(first) - 1
        peaks = np.flatnonzero(weights[order] == strongest[engagement])
        risen = order[peaks[np.unique(engagement[peaks], return_index=True)[1]]]
        kept = order[first]
        by_time = np.lexsort((items[kept], times[kept], users[kept]))
        rows, strength = kept[by_time], strongest[by_time]
        median = float(np.median(strength)) if len(strength) else 1.0
        return cls(
            item_ids,
            users[rows],
            items[rows],
            times[rows],
            _shares(strength, median),
            strength >= STRONG_SHARE * median,
            _shares(weights[rows], median),
            times[risen[by_time]],
            median,
        )

    def part(self, kept: NDArray[np.bool_]) -> EngagementLog:
        """The engagements for which `kept` (e,) bool holds."""
        return EngagementLog(
            self.item_ids,
            self.users[kept],
            self.items[kept],
            self.times[kept],
            self.weights[kept],
            self.chosen[kept],
            self.first_weights[kept],
            self.risen_at[kept],
            self.unit,
        )

    def as_of(self, moment_us: int) -> EngagementLog:
        """What had happened by then, with the weights that it had by then."""
        part = self.part(self.times <= moment_us)
        return replace(part, weights=np.where(part.risen_at <= moment_us, part.weights, part.first_weights))

    def bounds(self) -> NDArray[np.int64]:
        """(users + 1,) int64: the engagements of user u are those from bounds[u] to bounds[u + 1]."""
        count = int(self.users[-1]) + 1 if len(self) else 0
        return np.searchsorted(self.users, np.arange(count + 1)).astype(np.int64)


def _shares(strength: NDArray[np.float32], median: float) -> NDArray[np.float32]:
    return np.asarray(np.minimum(strength / np.float32(median), 1.0), np.float32)
