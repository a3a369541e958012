"""Finds the cheapest way to search a segment for each recall, on queries that are not in it.

Recall of the funnel follows from one coarse search: the exact top ten come out of a shortlist exactly when they are in
it, since the shortlist is compared on all components. So one pass an `ef_search` measures every shortlist length.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.faiss_cache.bitmap import Bitmap
from retrieval.faiss_cache.manifest import Plan
from retrieval.faiss_cache.quantized import LANES, as_codes, decoded, nearest_of_all, prefixes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from retrieval.domain.model import Metric
    from retrieval.faiss_cache.funnel import Funnel

TARGETS = (0.90, 0.95, 0.99, 0.999)
HITS = 10
"""Recall is calibrated for this many hits; longer pages get a shortlist that is longer in proportion."""
QUERIES = 500
EFFORTS = (10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024, 2048)
SELECTIVITIES = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01)
FILTERED_QUERIES = 100
DEVIATIONS = 2.0
"""A plan must reach its target with the mean recall less this many standard errors: the sample is not the traffic."""
DOUBT = 0.25
"""But with no more of a margin than this part of what the target lets a search miss: so close to 1 the sample is too
small to be sure, and comparing every row instead takes ten times as long."""

_TIMED_QUERIES = 50
_CHOOSING_QUERIES = 250
_PREFIXES = (64, 128, 256, 512, 1024)
_PROMISING_SHORTLIST = 200
_LONGEST_SHORTLIST = 512
_WORTH_A_LONGER_PREFIX = 1.1
"""A shorter prefix is taken unless it costs this many times what a longer one does: it takes less memory, and at full
size less of the processor's cache, of which the sample shows nothing."""


def choose_dimension(
    vectors: NDArray[np.float16],
    queries: NDArray[np.float32],
    resolutions: Sequence[int],
    metric: Metric,
    build: Callable[[NDArray[np.float16], int], Funnel],
) -> int:
    """The prefix on which a search to the recalls 0.95 and 0.99 is cheapest; the full dimension where none is better.

    `vectors`: (n, dim) float16 sampled rows; `queries`: (m, dim) float32, none of them among the rows. Prefixes whose
    own top 200 holds 99 % of the exact top ten are tried: `build` makes a funnel of the rows for each, and it is timed.
    """
    dimension = int(vectors.shape[1])
    queries = np.ascontiguousarray(queries[:_CHOOSING_QUERIES])
    truth = nearest_of_all(as_codes(vectors), queries, HITS, metric)[1]
    best, least = dimension, _cost(build(vectors, dimension), queries, truth)
    for prefix in sorted({*resolutions, *_PREFIXES}, reverse=True):
        if prefix >= dimension or prefix % LANES:
            continue
        cut = prefixes(decoded(as_codes(vectors)), prefix, metric).astype(np.float16)
        near = nearest_of_all(as_codes(cut), prefixes(queries, prefix, metric), _PROMISING_SHORTLIST, metric)[1]
        if _held(near, truth).sum() < 0.99 * truth.size:
            break  # shorter ones tell less still
        cost = _cost(build(vectors, prefix), queries, truth)
        if cost < least * _WORTH_A_LONGER_PREFIX:
            best, least = prefix, min(cost, least)
    return best


def _cost(funnel: Funnel, queries: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    trials = _trials(funnel, queries, truth, None, np.inf, until=0.996)
    return float(sum(_cheapest(trials, target, 1e6).microseconds for target in (0.95, 0.99)))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Plans without and with filters, and what comparing one scattered row costs on prefix and all components."""

    frontier: tuple[Plan, ...]
    filtered: tuple[Plan, ...]
    exact_row_us: tuple[float, float]


def calibrate(funnel: Funnel, queries: NDArray[np.float32], rng: np.random.Generator) -> Calibration:
    """Measure the funnel with `queries`, (n, full dimension) float32, none of which is among its rows."""
    queries = np.ascontiguousarray(queries[:QUERIES])
    truth = nearest_of_all(funnel.codes, queries, HITS, funnel.metric)[1]
    scan_us = _microseconds(lambda q: funnel.scan(q, HITS), queries[:8])
    row_us = _row_costs(funnel, queries, rng)
    trials = _trials(funnel, queries, truth, None, scan_us)
    frontier = tuple(_cheapest(trials, target, scan_us) for target in TARGETS)
    filtered = []
    for selectivity in SELECTIVITIES if funnel.rows >= 10_000 else ():
        mask = rng.random(funnel.rows) < selectivity
        allowed = np.flatnonzero(mask)
        few = np.ascontiguousarray(queries[:FILTERED_QUERIES])
        exact_us = len(allowed) * row_us[0]
        among = Bitmap.of(mask)
        near = allowed[nearest_of_all(funnel.codes[allowed], few, HITS, funnel.metric)[1]]
        trials = _trials(funnel, few, near, among, 4 * exact_us)
        filtered += [_cheapest(trials, target, exact_us, selectivity) for target in TARGETS]
    return Calibration(frontier, tuple(filtered), row_us)


@dataclass(frozen=True, slots=True)
class _Trial:
    ef_search: int
    shortlist: int
    recall: float
    error: float
    microseconds: float


def _trials(
    funnel: Funnel,
    queries: NDArray[np.float32],
    truth: NDArray[np.int64],
    among: Bitmap | None,
    limit_us: float,
    until: float = 0.9999,
) -> list[_Trial]:
    """Every effort with every shortlist, until one reaches the recall `until` or takes longer than `limit_us`."""
    trials: list[_Trial] = []
    refines = funnel.dimension < funnel.full_dimension
    wanted = (truth >= 0).sum(axis=1).clip(1)
    timed = np.ascontiguousarray(queries[:_TIMED_QUERIES])
    row_us = _refined_row_us(funnel, timed) if refines else 0.0
    for ef in EFFORTS:
        if ef > funnel.rows:
            break
        near = funnel.shortlist(queries, ef, ef, among)
        shares = _held(near, truth).cumsum(axis=1) / wanted[:, np.newaxis]
        took = _microseconds(lambda q, ef=ef: funnel.search(q, HITS, ef, HITS, among), timed)
        # Without a shortlist to refine, the first ten are the answer.
        for length in [e for e in EFFORTS if e <= min(ef, _LONGEST_SHORTLIST)] if refines else [HITS]:
            share = shares[:, length - 1]
            error = float(share.std() / np.sqrt(len(share)))
            trials.append(_Trial(ef, length, float(share.mean()), error, took + (length - HITS) * row_us))
            if share.mean() >= until:
                break
        if trials[-1].recall >= until or took > limit_us:
            break
    return trials


def _held(near: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of `near`, (n, m) rows, are among `truth`, (n, k) rows."""
    return np.stack([np.isin(found, wanted[wanted >= 0]) for found, wanted in zip(near, truth, strict=True)])


def _refined_row_us(funnel: Funnel, queries: NDArray[np.float32]) -> float:
    """Microseconds that a row more on the shortlist costs, from two lengths at the same effort."""
    short, long = HITS, 128
    took = [_microseconds(lambda q, c=c: funnel.search(q, HITS, long, c), queries) for c in (short, long)]
    return max(0.0, (took[1] - took[0]) / (long - short))


def _cheapest(trials: Sequence[_Trial], target: float, scan_us: float, selectivity: float = 1.0) -> Plan:
    """The cheapest trial that reaches the target for sure; comparing every row where none does, or none is cheaper."""
    most = DOUBT * (1.0 - target)
    enough = [t for t in trials if t.recall - min(DEVIATIONS * t.error, most) >= target and t.microseconds < scan_us]
    if not enough:
        return Plan(target, 0, 0, 1.0, scan_us, selectivity)
    best = min(enough, key=lambda t: t.microseconds)
    return Plan(target, best.ef_search, best.shortlist, best.recall, best.microseconds, selectivity)


def _row_costs(funnel: Funnel, queries: NDArray[np.float32], rng: np.random.Generator) -> tuple[float, float]:
    """Microseconds a row of an exact search among scattered rows: on the coarse dimension, on all components."""
    many = np.sort(rng.choice(funnel.rows, min(funnel.rows, 10_000), replace=False))
    few = many[: max(1, len(many) // 5)]
    coarse = _microseconds(lambda q: funnel.exact(q, HITS, 40, many), queries[:8]) / len(many)
    return coarse, _microseconds(lambda q: funnel.exact(q, HITS, len(few), few), queries[:8]) / len(few)


def _microseconds(search: Any, queries: NDArray[np.float32]) -> float:
    """Median time of one query, each by itself as they come in service."""
    singles = [np.ascontiguousarray(q[np.newaxis]) for q in queries]
    search(singles[0])
    times = []
    for query in singles:
        started = time.perf_counter()
        search(query)
        times.append(time.perf_counter() - started)
    return float(np.median(times) * 1e6)
