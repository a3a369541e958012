"""Whether a segment keeps what its calibration promises: `python -m benchmarks calibrated`.

Builds a segment of each data set as the service does, without a database, and searches it with queries that are not in
it: without a filter, and under filters that admit rows at random, around one row, or far from the queries.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from benchmarks import datasets
from benchmarks.truth import brute_force, recall
from retrieval.application.cache_ports import RowBatch
from retrieval.domain.model import Collection, EmbeddingVersion, Item
from retrieval.domain.search import SearchParams
from retrieval.domain.vectors import to_half_rows
from retrieval.faiss_cache.bitmap import Bitmap
from retrieval.faiss_cache.build import SegmentBuild
from retrieval.faiss_cache.calibration import TARGETS
from retrieval.faiss_cache.delta import Delta
from retrieval.faiss_cache.segment import Segment, open_segment
from retrieval.faiss_cache.segment_files import SegmentFolder
from retrieval.faiss_cache.view import Admitted, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from rich.console import Console

    from benchmarks.datasets import Dataset

LIMITS = (1, 10, 100)
SHARES = (0.5, 0.2, 0.1, 0.01, 0.001)
ANCHORS = 4
QUERIES_AN_ANCHOR = 100
ADDED_AT_ONCE = 5_000
SHORTFALL = 0.01
"""A plan keeps its word where the measured recall is at most this much below its target."""


@dataclass(frozen=True)
class Trial:
    """Queries under a filter. `rows`: the rows it admits, None for all of them."""

    filter: str
    share: float
    limit: int
    queries: NDArray[np.float32]
    rows: NDArray[np.int64] | None


@dataclass(frozen=True)
class Measured:
    """Recall of one target. `ef_search` 0: every admitted row was compared."""

    dataset: str
    dimension: int
    filter: str
    share: float
    limit: int
    target: float
    recall: float
    ef_search: int


def run(names: Sequence[str], rows: int | None, cores: int, out: Path, console: Console) -> bool:
    """Measures every data set that is there, writes `calibrated-<data set>.json`; whether every target was kept."""
    kept = True
    for name in names:
        try:
            dataset = datasets.load(name, rows)
        except datasets.DatasetMissingError as missing:
            console.print(f"[yellow]skipped[/] {name}: {missing}", highlight=False)
            continue
        with tempfile.TemporaryDirectory() as folder:
            view = _built(dataset, Path(folder), cores)
            found = _measured(dataset, view)
        _print(console, dataset, view, found)
        out.mkdir(parents=True, exist_ok=True)
        (out / f"calibrated-{name}.json").write_text(
            json.dumps([_as_json(m) for m in found], indent=1) + "\n", encoding="utf-8"
        )
        kept = kept and all(m.recall >= m.target - SHORTFALL for m in found)
    return kept


def _built(dataset: Dataset, folder: Path, cores: int) -> View:
    version = EmbeddingVersion(1, 1, dataset.name, dataset.dim, dataset.resolutions)
    collection = Collection(1, dataset.name, versions=(version,))
    build = SegmentBuild(collection, version)
    for start in range(0, dataset.rows, ADDED_AT_ONCE):
        vectors = to_half_rows(np.asarray(dataset.base[start : start + ADDED_AT_ONCE]), collection.metric)
        assert vectors is not None, "rows of a data set are unit vectors"
        items = [Item(str(start + i)) for i in range(len(vectors))]
        build.add(RowBatch(items, [0] * len(items), vectors))
    files = SegmentFolder(folder, "benchmark", 1)
    manifest = build.finish(files, "benchmark", "", cores=cores)
    segment = open_segment(files.at(manifest.generation), manifest)
    # A view wants a position only to say it: nothing here follows a store.
    return View(collection, version, segment, None, Delta(collection, version).view(), position=None)  # type: ignore[arg-type]


def _trials(dataset: Dataset) -> Iterator[Trial]:
    rng = np.random.default_rng(1)
    base, queries = np.asarray(dataset.base), np.asarray(dataset.queries)
    for limit in LIMITS:
        yield Trial("none", 1.0, limit, queries, None)
    anchors = base[rng.choice(len(base), ANCHORS, replace=False)]
    for share in SHARES:
        count = max(1, round(share * len(base)))
        everywhere = queries[rng.choice(len(queries), ANCHORS * QUERIES_AN_ANCHOR)]
        yield Trial("random", share, 10, everywhere, np.sort(rng.choice(len(base), count, replace=False)))
        for anchor in anchors:
            order = np.argsort(base @ anchor)
            near, far = np.sort(order[-count:]), np.sort(order[:count])
            close = queries[np.argsort(queries @ anchor)[-QUERIES_AN_ANCHOR:]]
            some = queries[rng.choice(len(queries), QUERIES_AN_ANCHOR, replace=False)]
            yield Trial("around a row", share, 10, some, near)
            yield Trial("around a row, queries too", share, 10, close, near)
            yield Trial("far from the queries", share, 10, close, far)


def _measured(dataset: Dataset, view: View) -> list[Measured]:
    assert view.segment is not None
    columns, count = view.segment.columns, view.segment.manifest.rows
    places = np.empty(count, np.int64)  # of the data set's rows in the segment, which samples some to the end
    places[np.array(columns.item_ids.ids_at(np.arange(count)), np.int64)] = np.arange(count)
    numbers = np.argsort(places)
    found: dict[tuple[str, float, int, float], list[tuple[float, int]]] = {}
    for trial in _trials(dataset):
        truth = brute_force(dataset.base, trial.queries, trial.rows)
        answers = truth.answers(trial.limit)
        bitmap = None
        if trial.rows is not None:
            mask = np.zeros(count, np.bool_)
            mask[places[trial.rows]] = True
            bitmap = Bitmap.of(mask)
        admitted = Admitted(
            bitmap, count if bitmap is None else bitmap.count, Bitmap.full(0), 0, selective=bitmap is not None
        )
        half = to_half_rows(trial.queries, view.collection.metric)
        assert half is not None
        for target in TARGETS:
            answer = view.search(half.astype(np.float32), trial.limit, admitted, SearchParams(target_recall=target))
            ids = [[int(numbers[r]) for r in rows if r >= 0] for rows in answer.rows.tolist()]
            key = trial.filter, trial.share, trial.limit, target
            found.setdefault(key, []).append((recall(ids, answers, trial.limit), answer.effort))
    dimension = view.segment.manifest.dimension
    return [
        Measured(dataset.name, dimension, *key, float(np.mean([r for r, _ in got])), max(e for _, e in got))
        for key, got in found.items()
    ]


def _as_json(measured: Measured) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(measured).items()}


def _print(console: Console, dataset: Dataset, view: View, found: Sequence[Measured]) -> None:
    assert isinstance(view.segment, Segment)
    manifest = view.segment.manifest
    table = Table(
        title=f"{dataset.name}, {dataset.rows:,} x {dataset.dim}: graph on {manifest.dimension} components, built in "
        f"{manifest.build_ms / 1000:.0f} s; recall for each target (ef)",
        title_justify="left",
    )
    for name in ("filter", "share", "limit", *(str(t) for t in TARGETS)):
        table.add_column(name, justify="left" if name == "filter" else "right", no_wrap=True)
    for key in dict.fromkeys((m.filter, m.share, m.limit) for m in found):
        row = [m for m in found if (m.filter, m.share, m.limit) == key]
        cells = [
            f"{'[red]' if m.recall < m.target - SHORTFALL else ''}{m.recall:.4f} ({m.ef_search or 'all'})" for m in row
        ]
        table.add_row(key[0], f"{key[1]:.1%}", str(key[2]), *cells)
    console.print(table)
    for plan in manifest.frontier:
        console.print(
            f"target {plan.target_recall}: ef {plan.ef_search}, shortlist {plan.shortlist}, calibrated "
            f"{plan.recall:.4f} in {plan.microseconds:.0f} µs"
        )
