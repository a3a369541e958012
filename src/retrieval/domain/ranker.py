"""What the learned blend looks at, the same in training and in service."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.domain.co_engagement import AFFINITIES, DAY_US, log_shares, top

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from retrieval.domain.co_engagement import CoEngagement, Past

TREND_WINDOWS_S = (7 * 86_400, 30 * 86_400, 90 * 86_400)
"""Windows whose trends are features. The half-life within a window is a third of it."""
FEATURES = (*AFFINITIES, "trend_7d", "trend_30d", "trend_90d", "popularity", "history", "absence")
"""Columns of a feature matrix. `history`: log1p of engagements; `absence`: log1p of days since the latest."""
DRAWN = 200
"""Candidates drawn by each column but the last two: more are rarely among the first hundred of a blend."""


class Crowd(NamedTuple):
    """What everybody does: `columns` (4, n) float32, log shares of the three trends and of popularity by item.

    `leaders`: for each column, the greatest 1,000 positions, so that a draw need not look at all items.
    """

    columns: NDArray[np.float32]
    leaders: list[NDArray[np.int64]]


def crowd(model: CoEngagement, trends: Mapping[int, NDArray[np.float32]]) -> Crowd:
    """The crowd for a model: `trends` gives (n,) float32 by window in seconds; a window without one is flat."""
    flat = np.zeros(len(model), np.float32)
    masses = [*(trends.get(window, flat) for window in TREND_WINDOWS_S), model.popularity]
    columns = np.stack([log_shares(mass) for mass in masses])
    return Crowd(columns, [top(column, 1000) for column in columns])


class Draw(NamedTuple):
    """Candidates of one user: `items` (c,) int64 positions in the model, ascending; `features` (c, d) float32.

    `lists`: by source, positions best first, of what the source drew by itself.
    """

    items: NDArray[np.int64]
    features: NDArray[np.float32]
    lists: dict[str, NDArray[np.int64]]


def draw(model: CoEngagement, everybody: Crowd, past: Past, seen: NDArray[np.bool_], now_us: int) -> Draw:
    """What the model and the crowd propose to a user with `past` who has `seen` (n,) bool, and what they say of it."""
    affinities = model.affinities(past)
    usable = (~seen).nonzero()[0]
    lists: dict[str, NDArray[np.int64]] = {}
    if len(past.items):
        for name, column in zip(AFFINITIES, affinities, strict=True):
            lists[name] = usable[top(column[usable], DRAWN)]
    for name, leaders in zip(FEATURES[len(AFFINITIES) :], everybody.leaders, strict=False):
        lists[name] = leaders[~seen[leaders]][:DRAWN]
    chosen = np.zeros(len(model), bool)
    for positions in lists.values():
        chosen[positions] = True
    items = chosen.nonzero()[0]
    features = np.empty((len(items), len(FEATURES)), np.float32)
    features[:, : len(AFFINITIES)] = affinities[:, items].T
    features[:, len(AFFINITIES) : -2] = everybody.columns[:, items].T
    absent_days = max(0, now_us - int(past.times[-1])) / DAY_US if len(past.times) else 365.0
    features[:, -2] = np.log1p(len(past.items))
    features[:, -1] = np.log1p(absent_days)
    return Draw(items, features, lists)
