"""Recall of the FAISS cache: at every calibrated target, and down the ladder of ever narrower filters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.bars import Bar
from benchmarks.load import interleave
from benchmarks.measure import FILTERS
from benchmarks.peers.own import TARGETS
from benchmarks.peers.peer import found_by
from benchmarks.rows import Row, figures
from benchmarks.searches import Search, WiredTarget
from benchmarks.truth import recall

if TYPE_CHECKING:
    from benchmarks.datasets import Dataset
    from benchmarks.load import LoadGenerator

LADDER_TARGET = 0.95
CLOSE = 0.01
"""A target may be missed by so much: the queries of a benchmark are not those of the calibration."""
SLOWEST = 3.0
"""A filtered search may take so many times the unfiltered one."""


@dataclass
class Ladder:
    """What was found on one data set. `reached`: measured recall by calibrated target, over every query."""

    dataset: Dataset
    reached: dict[float, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)


def climb(dataset: Dataset, address: str, generator: LoadGenerator, seconds: float, k: int) -> Ladder:
    """Measures one data set that is in the cache of the service at `address`, one request in flight."""

    def wired(search: Search) -> WiredTarget:
        return WiredTarget(address, search.requests(dataset, dataset.key, k))

    found = Ladder(dataset)
    for target in TARGETS:
        ids = found_by(wired(Search("faiss", target_recall=target)), len(dataset.queries))
        found.reached[target] = recall(ids, dataset.answers(k), k)
    steps = (None, *FILTERS)
    targets = [wired(Search("faiss", bucket_below=below, target_recall=LADDER_TARGET)) for below in steps]
    results = interleave(generator, targets, 1, seconds)
    for below, result in zip(steps, results, strict=True):
        allowed = None if below is None else frozenset(dataset.allowed(below).tolist())
        found.rows.append(
            Row(
                "retrieval",
                "faiss",
                "native",
                dataset=dataset.name,
                n=dataset.rows,
                dim=dataset.dim,
                k=k,
                **figures(result, result.recall(dataset.answers(k, below), k)),
                bucket_below=below,
                short=result.check(dataset.rows, k, allowed),
                wanted_recall=LADDER_TARGET,
            )
        )
    return found


def judge_ladder(found: Ladder) -> list[Bar]:
    """The bars of one data set; they bind on every one."""
    name = found.dataset.name
    missed = {target: reached for target, reached in found.reached.items() if reached < target - CLOSE}
    reached = ", ".join(f"{target:g}: {value:.4f}" for target, value in found.reached.items())
    bars = [Bar(f"{name}: measured recall within {CLOSE} of every calibrated target", not missed, reached)]
    whole = found.rows[0]
    for row in found.rows:
        share = 100.0 if row.bucket_below is None else row.bucket_below / 10
        holds = (row.recall or 0.0) >= LADDER_TARGET and row.short == 0 and row.p50_ms <= SLOWEST * whole.p50_ms
        evidence = f"{row.recall:.4f}, {row.short} short, {row.p50_ms / whole.p50_ms:.2f} x ({row.p50_ms:.3f} ms)"
        promise = f"{name}, {share:g} % of the rows: recall >= {LADDER_TARGET}, every hit, p50 <= {SLOWEST:g} x"
        bars.append(Bar(promise, holds, evidence))
    return bars
