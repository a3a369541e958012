"""Which calibrated plan a search runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf
from typing import TYPE_CHECKING

from retrieval.faiss_cache.calibration import HITS
from retrieval.faiss_cache.funnel import FULLY_COMPARED_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.search import SearchParams
    from retrieval.faiss_cache.manifest import Manifest, Plan

DEFAULT_RECALL = 0.95
"""Recall that a search asks for when it does not say."""
EXACT_PREFERENCE = 2.0
"""Comparing every admitted row may take this many times as long as the graph and is still preferred: it cannot miss,
while plans under filters were calibrated with random rows, which real filters are not."""
PROBED_PAGES = 2
"""Before a filtered graph search, so many rows nearest of all are looked at that they would hold so many times the hits
asked for, if the filter were random."""
_UNFILTERED = 0.9
_SHORTLIST_ROOM = 4


@dataclass(frozen=True, slots=True)
class Effort:
    """How to search a segment. `ef_search` 0: compare every admitted row. `reduced`: for want of time."""

    ef_search: int
    shortlist: int
    reduced: bool = False

    @property
    def exact(self) -> bool:
        """Whether no graph is used."""
        return self.ef_search == 0


def choose_effort(manifest: Manifest, params: SearchParams, count: int, admitted: int, time_us: float = inf) -> Effort:
    """The cheapest effort for `count` hits among `admitted` rows that reaches the recall asked for.

    Where that takes more than `time_us`: the graph's best that does not, or its cheapest.
    """
    if params.ef_search is not None and manifest.kind == "hnsw":
        # The caller's ef is kept; everything it finds is worth comparing.
        return Effort(max(params.ef_search, count), max(params.ef_search, count))
    target = DEFAULT_RECALL if params.target_recall is None else params.target_recall
    if target > manifest.frontier[-1].target_recall:  # more than any graph is calibrated for: compare
        return Effort(0, _long(manifest, target, count))
    share = admitted / max(manifest.rows, 1)
    if share >= _UNFILTERED:
        return _within_time(manifest.frontier, _reaching(manifest.frontier, target), count, time_us)
    on_prefix, on_all = manifest.exact_row_us
    exact_us = admitted * (on_all if admitted <= FULLY_COMPARED_ROWS else on_prefix)
    reachable = [p for p in manifest.filtered if p.selectivity <= share]
    if not reachable:
        return Effort(0, _long(manifest, target, count))
    nearest = max(p.selectivity for p in reachable)
    plans = [p for p in reachable if p.selectivity == nearest]
    plan = _reaching(plans, target)
    if plan.ef_search == 0 or exact_us <= EXACT_PREFERENCE * plan.microseconds * max(1.0, count / HITS):
        return Effort(0, _long(manifest, target, count))
    # Where the filter admits all that is near, it is as hard to tell apart as without one.
    effort, least = _within_time(plans, plan, count, time_us), _scaled(_reaching(manifest.frontier, target), count)
    if effort.reduced:
        return effort
    return Effort(max(effort.ef_search, least.ef_search), max(effort.shortlist, least.shortlist))


def probe_rows(count: int, admitted: int, rows: int) -> int:
    """How many of the nearest rows, admitted or not, must hold `count` admitted ones before a graph search is believed.

    Plans under filters were calibrated with random rows. What lies far from the query is beyond where their walk over
    the graph goes, and what it meets of it is not the nearest. 0 where nearly everything is admitted.
    """
    return 0 if admitted >= _UNFILTERED * rows else min(rows, ceil(PROBED_PAGES * count * rows / admitted))


def _within_time(plans: Sequence[Plan], wanted: Plan, count: int, time_us: float) -> Effort:
    time_us /= max(1.0, count / HITS)
    if wanted.microseconds <= time_us:
        return _scaled(wanted, count)
    graph = [p for p in plans if p.ef_search]
    if not graph:
        return _scaled(wanted, count)
    fitting = [p for p in graph if p.microseconds <= time_us]
    return replace(_scaled(fitting[-1] if fitting else graph[0], count), reduced=True)


def _reaching(plans: Sequence[Plan], target: float) -> Plan:
    """The plan of the least calibrated recall that is enough; of the highest where none is."""
    return next((p for p in plans if p.target_recall >= target - 1e-9), plans[-1])


def _scaled(plan: Plan, count: int) -> Effort:
    """Plans are for ten hits; longer pages need more in proportion."""
    factor = max(1.0, count / HITS)
    shortlist = max(count, ceil(plan.shortlist * factor))
    return Effort(0 if plan.ef_search == 0 else max(shortlist, ceil(plan.ef_search * factor)), shortlist)


def _long(manifest: Manifest, target: float, count: int) -> int:
    return long_shortlist(_scaled(_reaching(manifest.frontier, target), count).shortlist)


def long_shortlist(shortlist: int) -> int:
    """Shortlist of an exact search on the prefix: well beyond what the graph needs, since the filter may be far off."""
    return max(100, _SHORTLIST_ROOM * shortlist)
