"""Index types of FAISS beside each other, in this process and one query at a time: `python -m benchmarks index-types`.

What is compared holds the same rows and answers the same held-out queries. Each index is searched along its efforts;
the cheapest setting for each recall is then timed again, all of them in turns, so that what else the machine does falls
on all alike.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from rich.table import Table

from benchmarks import datasets
from benchmarks.index_plot import plot
from benchmarks.truth import recall
from retrieval.domain.model import Metric
from retrieval.faiss_cache.quantized import (
    as_codes,
    half_index,
    on_prefix,
    padded,
    padded_dimension,
    prefixes,
    searched,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.console import Console

    from benchmarks.datasets import Dataset

K = 10
TARGETS = (0.90, 0.95, 0.99, 0.999)
BASELINE = "hnsw-fp16"
BASELINE_PARAMETERS = "m16-efc100"
ROUNDS = 5
ROUND_QUERIES = 100
EFFORTS = {
    "graph": (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048),
    "lists": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
}
SHORTLISTS = (10, 20, 40, 80, 160, 320)
SLOWEST_US = 1_500.0
"""An index that takes longer than this is not searched any harder."""
SWEPT_QUERIES = 500


@dataclass(frozen=True)
class Contender:
    """An index by FAISS's name for it (wiki, "The index factory").

    `dimension`: of the prefix that it is over. `refine`: its shortlist is compared on the float16 rows. `rotated`:
    behind a random rotation, which RaBitQ rests on (Gao and Long, SIGMOD 2024). Unit vectors have the same neighbours
    under both metrics, and some types know only L2.
    """

    name: str
    factory: str
    dimension: int
    refine: bool = False
    rotated: bool = False
    metric: Metric = Metric.COSINE
    ef_construction: int = 100

    @property
    def efforts(self) -> tuple[int, ...]:
        """The values of ef_search or nprobe to try."""
        return EFFORTS["lists" if self.factory.startswith("IVF") else "graph"]


def contenders(dim: int, rows: int) -> list[Contender]:
    """What is compared on rows of that many components."""
    lists = f"IVF{1 << round(np.log2(3 * rows**0.5))}"
    pairs = dim // 2 if dim <= 256 else dim // 4
    rotated = min(dim, 512)
    l2 = Metric.L2
    found = [
        Contender(BASELINE, "HNSW16_SQfp16", dim),
        Contender("hnsw-fp16-m32", "HNSW32_SQfp16", dim),
        Contender("hnsw-bf16", "HNSW16_SQbf16", dim),
        Contender("hnsw-fp32", "HNSW16,Flat", dim),
        Contender("hnsw-sq8", "HNSW16_SQ8", dim),
        Contender("hnsw-sq8+fp16", "HNSW16_SQ8", dim, refine=True),
        Contender("hnsw-panorama", "HNSW16_FlatPanorama8", dim, metric=l2),
        Contender("hnsw-rabitq4+fp16", "HNSW16,RaBitQ4", rotated, refine=True, rotated=True, metric=l2),
        Contender("nsg-fp32", "NSG32,Flat", dim, metric=l2),
        Contender("ivf-fp16", f"{lists},SQfp16", dim),
        Contender("ivf-sq8+fp16", f"{lists},SQ8", dim, refine=True),
        Contender("ivf-fastscan+fp16", f"{lists},PQ{pairs}x4fs", dim, refine=True),
        Contender("ivf-rabitq+fp16", f"{lists},RaBitQ", rotated, refine=True, rotated=True, metric=l2),
        Contender("ivf-rabitq-fastscan+fp16", f"{lists},RaBitQfs", rotated, refine=True, rotated=True, metric=l2),
        Contender("ivf-panorama", f"{lists},FlatPanorama8", dim, metric=l2),
    ]
    for prefix in (64, 128, 256):
        if prefix < dim:
            found.append(Contender(f"hnsw-fp16@{prefix}+fp16", "HNSW16_SQfp16", prefix, refine=True))
            found.append(Contender(f"hnsw-sq8@{prefix}+fp16", "HNSW16_SQ8", prefix, refine=True))
    return found


def graph_parameters(dim: int, dimension: int) -> list[Contender]:
    """Graphs of other M and efConstruction, on the first `dimension` of `dim` components."""
    return [
        Contender(f"m{m}-efc{ef}", f"HNSW{m}_SQfp16", dimension, refine=dimension < dim, ef_construction=ef)
        for m in (12, 16, 24, 32)
        for ef in (64, 100, 200)
    ]


@dataclass(frozen=True)
class Setting:
    """One way to search an index.

    `build_s`: of one core. `microseconds`: median of single queries. `target`: the recall that it is the cheapest for,
    None on the way there.
    """

    dataset: str
    n: int
    dim: int
    index: str
    dimension: int
    build_s: float
    bytes_a_vector: float
    effort: int
    shortlist: int
    recall: float
    microseconds: float
    target: float | None = None
    to_baseline: float | None = None
    """Time over that of the baseline at the same target, in the same rounds."""


class Searcher:
    """A built index and the rows to refine on."""

    def __init__(self, contender: Contender, base: NDArray[np.float32]) -> None:
        self.contender = contender
        started = time.process_time()  # other work on the machine does not count
        self._index = _built(contender, base)
        self.build_s = time.process_time() - started
        size = len(faiss.serialize_index(self._index))
        if contender.refine:
            self._vectors = half_index(base.shape[1], contender.metric)
            self._vectors.add_sa_codes(as_codes(base.astype(np.float16)))
            size += self._vectors.ntotal * self._vectors.code_size
            self._index = faiss.IndexRefine(self._index, self._vectors)
        self.bytes_a_vector = size / len(base)

    def run(
        self, queries: NDArray[np.float32], effort: int, shortlist: int
    ) -> tuple[list[list[int]], NDArray[np.float64]]:
        """Rows found for each query, and the microseconds each took."""
        parameters = self._parameters(effort, shortlist)
        found, times = [], []
        for query in queries:
            single = query[np.newaxis]
            started = time.perf_counter()
            rows = searched(self._index, single, K, parameters)[1]
            times.append(time.perf_counter() - started)
            found.append(rows[0].tolist())
        return found, np.array(times) * 1e6

    def _parameters(self, effort: int, shortlist: int) -> Any:
        if hasattr(self._index, "nsg"):
            self._index.nsg.search_L = effort  # it takes no parameters with a search
            return None
        coarse = self._coarse_parameters(max(effort, shortlist), effort)
        if self.contender.rotated or self.contender.dimension < self._index.d:
            coarse = faiss.SearchParametersPreTransform(index_params=coarse)
        if not self.contender.refine:
            return coarse
        return faiss.IndexRefineSearchParameters(k_factor=(shortlist + 0.5) / K, base_index_params=coarse)

    def _coarse_parameters(self, ef_search: int, nprobe: int) -> Any:
        factory = self.contender.factory
        if "RaBitQ" in factory and factory.startswith("IVF"):
            return faiss.IVFRaBitQSearchParameters(nprobe=nprobe)
        if factory.startswith("IVF"):
            return faiss.IVFSearchParameters(nprobe=nprobe)
        return faiss.SearchParametersHNSW(efSearch=ef_search)


def _built(contender: Contender, base: NDArray[np.float32]) -> Any:
    dim, metric = contender.dimension, contender.metric
    kind = faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT
    index: Any = faiss.index_factory(dim, contender.factory, kind)
    if hasattr(index, "hnsw"):
        index.hnsw.efConstruction = contender.ef_construction
    if hasattr(index, "build_type"):
        index.build_type = 1  # neighbours by NN-descent; comparing all rows takes minutes
    if hasattr(index, "cp"):
        index.cp.max_points_per_centroid, index.cp.niter = 40, 10
    rows = prefixes(base, dim, Metric.COSINE)
    if contender.rotated:
        rotation = faiss.RandomRotationMatrix(dim, dim)
        rotation.init(1)
        rows = rotation.apply(rows)
    index.train(rows)
    index.add(rows)
    if dim == base.shape[1] and not contender.rotated:
        return index
    whole = on_prefix(index, base.shape[1], Metric.COSINE) if dim < base.shape[1] else faiss.IndexPreTransform(index)
    if contender.rotated:
        whole.chain.push_back(rotation)
        whole.referenced_objects = [*getattr(whole, "referenced_objects", []), rotation]
    return whole


def compare(dataset: Dataset, chosen: Sequence[Contender], console: Console) -> list[Setting]:
    """Every setting that was tried, and for each target the cheapest, timed again in turns."""
    base, queries = padded(np.ascontiguousarray(dataset.base)), padded(np.ascontiguousarray(dataset.queries))
    answers = dataset.answers(K)
    searchers: dict[str, Searcher] = {}
    tried: list[Setting] = []
    for contender in chosen:
        searcher = searchers[contender.name] = Searcher(contender, base)
        found = _swept(searcher, dataset, queries[:SWEPT_QUERIES], answers[:SWEPT_QUERIES])
        tried += found
        best = max(found, key=lambda s: s.recall)
        reached = f"recall {best.recall:.4f} in {best.microseconds:.0f} µs"
        console.print(f"{contender.name}: built in {searcher.build_s:.1f} s, {reached}")
    return tried + _timed_again(_cheapest(tried), searchers, queries)


def _swept(
    searcher: Searcher, dataset: Dataset, queries: NDArray[np.float32], answers: list[frozenset[int]]
) -> list[Setting]:
    found: list[Setting] = []
    contender = searcher.contender
    for effort in contender.efforts:
        by_list = contender.factory.startswith("IVF")
        shortlists = [s for s in SHORTLISTS if by_list or s <= effort] if contender.refine else [K]
        for shortlist in shortlists:
            rows, times = searcher.run(queries, effort, shortlist)
            found.append(
                Setting(
                    dataset.name,
                    dataset.rows,
                    dataset.dim,
                    contender.name,
                    contender.dimension,
                    searcher.build_s,
                    searcher.bytes_a_vector,
                    effort,
                    shortlist,
                    recall(rows, answers, K),
                    float(np.median(times)),
                )
            )
            before = [s.recall for s in found if s.effort == effort][:-1]
            if before and found[-1].recall - before[-1] < 2e-4:
                break  # what it lacks is not on any shortlist
        last = found[-1]
        if last.recall >= TARGETS[-1] + 2e-4 or last.microseconds > SLOWEST_US or (effort >= 64 and last.recall < 0.7):
            break
    return found


def _cheapest(tried: Sequence[Setting]) -> list[Setting]:
    chosen = []
    for name in dict.fromkeys(s.index for s in tried):
        for target in TARGETS:
            enough = [s for s in tried if s.index == name and s.recall >= target]
            if enough:
                chosen.append(Setting(**{**asdict(min(enough, key=lambda s: s.microseconds)), "target": target}))
    return chosen


def _timed_again(
    chosen: Sequence[Setting], searchers: dict[str, Searcher], queries: NDArray[np.float32]
) -> list[Setting]:
    rounds: list[list[float]] = [[] for _ in chosen]
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        few = np.ascontiguousarray(queries[rng.choice(len(queries), min(ROUND_QUERIES, len(queries)), replace=False)])
        for setting, times in zip(chosen, rounds, strict=True):
            took = searchers[setting.index].run(few, setting.effort, setting.shortlist)[1]
            times.append(float(np.median(took[len(took) // 5 :])))  # the first ones warm the caches
    figures = [float(np.median(times)) for times in rounds]
    baseline = {
        s.target: us for s, us in zip(chosen, figures, strict=True) if s.index in {BASELINE, BASELINE_PARAMETERS}
    }
    return [
        Setting(
            **{
                **asdict(setting),
                "microseconds": us,
                "to_baseline": us / baseline[setting.target] if setting.target in baseline else None,
            }
        )
        for setting, us in zip(chosen, figures, strict=True)
    ]


def run(
    names: Sequence[str],
    rows: int | None,
    indexes: Sequence[str],
    out: Path,
    console: Console,
    parameters_on: int | None = None,
) -> None:
    """Compares on every data set that is there; writes `index-types-<data set>.json` and `.png`.

    `parameters_on`: compare M and efConstruction of the graph on so many components instead, in `graph-parameters-…`.
    """
    kind = "index-types" if parameters_on is None else "graph-parameters"
    for name in names:
        try:
            dataset = datasets.load(name, rows)
        except datasets.DatasetMissingError as missing:
            console.print(f"[yellow]skipped[/] {name}: {missing}", highlight=False)
            continue
        console.rule(f"{name}: {dataset.rows:,} x {dataset.dim}")
        dim = padded_dimension(dataset.dim)
        if parameters_on is None:
            offered = contenders(dim, dataset.rows)
        else:
            offered = graph_parameters(dim, min(parameters_on, dim))
        settings = compare(dataset, [c for c in offered if not indexes or c.name in indexes], console)
        _print(console, settings)
        path = out / f"{kind}-{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([_as_json(s) for s in settings], indent=1) + "\n", encoding="utf-8")
        if parameters_on is None:
            plot(path.with_suffix(".png"), settings)


def _as_json(setting: Setting) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(setting).items()}


def _print(console: Console, settings: Sequence[Setting]) -> None:
    table = Table(title="µs a query, and times the baseline", title_justify="left")
    table.add_column("index", no_wrap=True)
    for name in ("build s", "bytes", *(f"≥ {target}" for target in TARGETS), "best recall"):
        table.add_column(name, justify="right", no_wrap=True)
    for index in dict.fromkeys(s.index for s in settings):
        own = [s for s in settings if s.index == index]
        by_target = {s.target: s for s in own if s.target}
        cells = [
            f"{s.microseconds:.0f} ({s.to_baseline or float('nan'):.2f})" if (s := by_target.get(t)) else "-"
            for t in TARGETS
        ]
        best = f"{max(s.recall for s in own):.4f}"
        table.add_row(index, f"{own[0].build_s:.1f}", f"{own[0].bytes_a_vector:,.0f}", *cells, best)
    console.print(table)
