"""Examples for the blend: what users chose next, beside what they could have been shown.

Two kinds. *As of a cut*: the model sees only engagements before the cut, and the label is the first that a user chose
after it: what a service is asked in its daily life. *Left out*: the model sees everything but each user's last choice,
which is the label, and now is the end of the log: users as they come back after an absence. The blend sees the absence,
so that one set of weights serves both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.domain.co_engagement import DAY_US, Past
from retrieval.domain.ranker import TREND_WINDOWS_S, crowd, draw
from retrieval.training.fit import fit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from retrieval.domain.co_engagement import CoEngagement
    from retrieval.training.log import EngagementLog

CUTS = (0.5, 0.7, 0.85)
"""Where the log is cut, as shares of its engagements by time."""
HORIZON_US = 14 * DAY_US
EXAMPLES_A_KIND = 6000
"""Users sampled for each kind."""
SEED = 0


class Example(NamedTuple):
    """One user's candidates: `features` (c, d) float32, and the row of the one chosen, -1 where it was not drawn.

    `lists`: rank of the chosen item in each source's own list, from 1, 0 where it is not in it.
    """

    features: NDArray[np.float32]
    chosen: int
    ranks: dict[str, int]


def trends(log: EngagementLog, now_us: int) -> dict[int, NDArray[np.float32]]:
    """(n,) float32 by window: engagement that fades by half every third of the window, nothing before it."""
    found = {}
    for window_s in TREND_WINDOWS_S:
        age_s = (now_us - log.times) / 1e6
        inside = (age_s >= 0) & (age_s < window_s)
        weight = log.weights[inside] * np.exp2(-age_s[inside] / (window_s / 3))
        found[window_s] = np.bincount(log.items[inside], weight, len(log.item_ids)).astype(np.float32)
    return found


class _Label(NamedTuple):
    """The row of the log to guess, and the rows that are the user's past, from `first` up to it."""

    first: int
    row: int


def _left_out(log: EngagementLog, rng: np.random.Generator) -> list[_Label]:
    """Each user's last choice, for users with a choice before it."""
    bounds = log.bounds()
    labels = []
    for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        rows = np.flatnonzero(log.chosen[first:end])
        if len(rows) >= 2:
            labels.append(_Label(first, first + int(rows[-1])))
    return _sampled(labels, EXAMPLES_A_KIND, rng)


def _after(log: EngagementLog, cut_us: int, end_us: int, most: int, rng: np.random.Generator) -> list[_Label]:
    """Each user's first choice in (cut, end], for users with an engagement before it."""
    bounds = log.bounds()
    within = log.chosen & (log.times > cut_us) & (log.times <= end_us)
    rows = np.flatnonzero(within)
    users, where = np.unique(log.users[rows], return_index=True)
    labels = [
        _Label(int(bounds[user]), int(row))
        for user, row in zip(users.tolist(), rows[where].tolist(), strict=True)
        if row > bounds[user]
    ]
    return _sampled(labels, most, rng)


def _sampled(labels: Sequence[_Label], most: int, rng: np.random.Generator) -> list[_Label]:
    if len(labels) <= most:
        return list(labels)
    return [labels[i] for i in np.sort(rng.choice(len(labels), most, replace=False)).tolist()]


def _examples(
    log: EngagementLog, model: CoEngagement, known: EngagementLog, labels: Sequence[_Label], now_us: int | None
) -> Iterator[Example]:
    """An example for each label. `known`: what the crowd's trends see; `now_us` None: the moment of the label."""
    everybody = crowd(model, trends(known, now_us if now_us is not None else int(known.times.max())))
    for label in labels:
        rows = slice(label.first, label.row)
        moment_us = now_us if now_us is not None else int(log.times[label.row])
        # What was engaged with more strongly after the moment counted for less at it.
        weights = np.where(log.risen_at[rows] <= moment_us, log.weights[rows], log.first_weights[rows])
        past = Past(log.items[rows], weights, log.times[rows])
        seen = np.zeros(len(model), bool)
        seen[past.items] = True
        drawn = draw(model, everybody, past, seen, moment_us)
        target = int(log.items[label.row])
        place = int(np.searchsorted(drawn.items, target))
        hit = place < len(drawn.items) and drawn.items[place] == target
        ranks = {
            name: int(np.flatnonzero(items == target)[0]) + 1 for name, items in drawn.lists.items() if target in items
        }
        yield Example(drawn.features, place if hit else -1, ranks)


class Kind(NamedTuple):
    """A kind of examples: labels, what the model and the crowd see, and the moment; None: that of each label."""

    name: str
    labels: list[_Label]
    known: EngagementLog
    now_us: int | None


def kinds_of(log: EngagementLog) -> list[Kind]:
    """Left out, then as of each cut."""
    rng = np.random.default_rng(SEED)
    if not len(log):
        return []
    labels = _left_out(log, rng)
    hidden = np.ones(len(log), bool)
    hidden[[label.row for label in labels]] = False
    kinds = [Kind("left out", labels, log.part(hidden), int(log.times.max()))]
    by_time = np.sort(log.times)
    cuts = [int(by_time[int(share * (len(by_time) - 1))]) for share in CUTS]
    for number, (cut, end) in enumerate(zip(cuts, [*cuts[1:], int(by_time[-1])], strict=True), start=1):
        # A label soon after the cut: the further away, the staler the model it is judged with.
        labels = _after(log, cut, min(end, cut + HORIZON_US), EXAMPLES_A_KIND // len(cuts), rng)
        if labels:
            kinds.append(Kind(f"as of cut {number}", labels, log.as_of(cut), None))
    return kinds


def make_examples(log: EngagementLog, kind: Kind, threads: int = 0) -> list[Example]:
    """The examples of a kind."""
    if not kind.labels:
        return []
    return list(_examples(log, fit(kind.known, threads), kind.known, kind.labels, kind.now_us))
