"""A model of which items are engaged with together, and what it says about a user from the user's own history.

Trained by `retrieval.training`, held in memory, read without I/O. Items are numbers here: positions in `item_ids`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from retrieval.domain.blend import Blend

CO_VISITED_HALF_LIFE_DAYS = 60.0
"""How fast an engagement fades where tastes are looked for."""
RECENT_HALF_LIFE_DAYS = 7.0
"""How fast it fades where the present mood is."""
SEQUENCE_FADE = 0.85
"""What an engagement counts of the one that came after it, where the next step is looked for."""
HISTORY_ITEMS = 300
"""Latest engagements that are read: what lies before changes little."""
DAY_US = 86_400_000_000


class Graph(NamedTuple):
    """Weighted neighbours of every item: those of item i are `items[offsets[i]:offsets[i + 1]]`.

    `offsets` (n + 1,) int64, `items` (m,) int32, `weights` (m,) float32.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]

    def spread(self, sources: NDArray[np.int64], mass: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """(count,) float32: what flows from `sources` (s,), each with `mass` (s,), along the edges."""
        first = self.offsets[sources]
        lengths = self.offsets[sources + 1] - first
        total = int(lengths.sum())
        if total == 0:
            return np.zeros(count, np.float32)
        ends = np.cumsum(lengths)
        edges = np.arange(total) + np.repeat(first - (ends - lengths), lengths)
        weights = self.weights[edges] * np.repeat(mass, lengths)
        return np.bincount(self.items[edges], weights, count).astype(np.float32)


class Past(NamedTuple):
    """A user's positive engagements with items of a model, oldest first.

    `items` (h,) int64, `weights` (h,) float32 in (0, 1], `times` (h,) int64 microseconds.
    """

    items: NDArray[np.int64]
    weights: NDArray[np.float32]
    times: NDArray[np.int64]

    def latest(self, count: int) -> Past:
        """The latest `count` of them."""
        return Past(self.items[-count:], self.weights[-count:], self.times[-count:])


@dataclass(frozen=True, slots=True)
class CoEngagement:
    """The model. `popularity` (n,) float32: weight of all positive engagements by item.

    Graphs: `co_visited` engagements of the same user, however far apart; `recent` the same, fading with the time
    between them; `sequence` what comes soon after what; `linear` the weights of a linear autoencoder. `factors` (n, f)
    float32: item vectors of a matrix factorisation, `gram` (f, f) float32 their inner products, regularised;
    `confidence` is what an engagement weighs there. `unit`: the raw weight of an engagement that counts as 1.
    `trained_at`: the newest engagement seen, in microseconds.
    """

    item_ids: list[str]
    popularity: NDArray[np.float32]
    co_visited: Graph
    recent: Graph
    sequence: Graph
    linear: Graph
    factors: NDArray[np.float32]
    gram: NDArray[np.float32]
    confidence: float
    unit: float
    trained_at: int
    blend: Blend | None = None
    version: str = ""
    numbers: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.item_ids)

    def user_vector(self, past: Past) -> NDArray[np.float32]:
        """(f,) float32: the user's side of the factorisation, folded in from the history as training would have it.

        The user half of alternating least squares for implicit feedback (Hu, Koren, Volinsky, ICDM 2008): with
        C = 1 + confidence * weight on what was engaged with,  x = (Y'Y + Y'(C - I)Y + l I)^-1 Y' C p.
        """
        if len(past.items) == 0:
            return np.zeros(self.factors.shape[1], np.float32)
        rows = self.factors[past.items]
        extra = self.confidence * past.weights
        left = self.gram + (rows * extra[:, None]).T @ rows
        right = rows.T @ (1.0 + extra)
        return np.linalg.solve(left, right).astype(np.float32)

    def affinities(self, past: Past) -> NDArray[np.float32]:
        """(6, n) float32, higher is closer: what each part of the model says, in the order of `AFFINITIES`.

        The graphs give the logarithm of the share of what flows from the history, so that a blend adds evidence; the
        factorisation and the autoencoder give their predictions as they are.
        """
        past = past.latest(HISTORY_ITEMS)
        n = len(self)
        out = np.empty((len(AFFINITIES), n), np.float32)
        if len(past.items) == 0:
            out[:4] = np.log(_FLOOR)
            out[4:] = 0.0
            return out
        age_days = ((past.times[-1] - past.times) / DAY_US).astype(np.float32)
        fade = past.weights * np.exp2(-age_days / np.float32(CO_VISITED_HALF_LIFE_DAYS))
        flow = self.co_visited.spread(past.items, fade, n)
        out[0] = log_shares(flow)
        mood = past.weights * np.exp2(-age_days / np.float32(RECENT_HALF_LIFE_DAYS))
        out[1] = log_shares(self.recent.spread(past.items, mood, n))
        steps = np.arange(len(past.items) - 1, -1, -1)
        out[2] = log_shares(
            self.sequence.spread(past.items, (SEQUENCE_FADE**steps).astype(np.float32) * past.weights, n)
        )
        # What is co-visited with everything says little about one: popularity counts by its fourth root only.
        specific = flow * np.maximum(self.popularity, np.float32(1.0)) ** np.float32(-0.25)
        out[3] = log_shares(specific.astype(np.float32))
        out[4] = self.linear.spread(past.items, np.ones(len(past.items), np.float32), n)
        out[5] = self.factors @ self.user_vector(past)
        return out


AFFINITIES = ("co_visited", "recent", "sequence", "specific", "linear", "co_engagement")
"""What `CoEngagement.affinities` gives, in order."""

_FLOOR = np.float32(1e-5)


def log_shares(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) log of each item's share of the whole, floored: what nothing flows to is unlikely, not impossible."""
    total = float(flow.sum())
    return np.asarray(np.log(flow / np.float32(total if total > 0 else 1.0) + _FLOOR), np.float32)


def top(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """(<= count,) the positions of the greatest of `values`, greatest first; equal ones by position."""
    n = len(values)
    if count < n:
        # The one at the border and all above it, so that ties there go by position too.
        border = np.partition(values, n - count)[n - count]
        rows = np.flatnonzero(values >= border)
    else:
        rows = np.arange(n)
    return rows[np.argsort(-values[rows], kind="stable")][:count].astype(np.int64)
