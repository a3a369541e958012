"""Builds a segment from rows: collects, chooses, links, calibrates, writes. Runs in a process or thread of its own."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.faiss_cache.arrangement import by_neighbourhood
from retrieval.faiss_cache.arrays import write_arrays
from retrieval.faiss_cache.calibration import TARGETS, Calibration, calibrate, choose_dimension
from retrieval.faiss_cache.columns import GrowingColumns
from retrieval.faiss_cache.funnel import Funnel
from retrieval.faiss_cache.manifest import Manifest, Plan
from retrieval.faiss_cache.quantized import (
    as_codes,
    codes_of,
    decoded,
    graph_of,
    half_graph,
    half_index,
    on_prefix,
    padded,
    padded_dimension,
    prefixes,
    storage_of,
    threads,
    write_index,
)
from retrieval.faiss_cache.segment_files import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from retrieval.application.cache_ports import RowBatch
    from retrieval.domain.model import Collection, EmbeddingVersion, Item
    from retrieval.faiss_cache.segment_files import SegmentFolder

COARSE = "coarse.faiss"
VECTORS = "vectors.faiss"
COLUMNS = "columns.bin"
NORMS = "norms.bin"

FLAT_ROWS = 2_000
"""Up to so many rows are all compared: as fast as a graph, and exact."""
HELD_OUT_ROWS = 1_000
M = 16
EF_CONSTRUCTION = 100
"""Links a node and candidates while building; see docs/index-types.md for the measurements."""

_SAMPLED_ROWS = 10_000
_FLAT_ROW_US = 0.1
_ADDED_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Progress of a build: what it does, and which part of it is done, in [0, 1]."""

    phase: str
    done: float


class SegmentBuild:
    """Takes in the rows of an embedding version, then writes them as a segment.

    A uniform sample of the rows goes in last: until then they are queries that the index does not hold, and it is
    calibrated with them.
    """

    def __init__(self, collection: Collection, version: EmbeddingVersion, seed: int = 0) -> None:
        self._collection = collection
        self._version = version
        self._columns = GrowingColumns(collection.attributes)
        self._vectors: Any = half_index(padded_dimension(version.dimension), collection.metric)
        self._rng = np.random.default_rng(seed)
        self._seen = 0
        self._held: list[tuple[Item, int, NDArray[np.float16]]] = []
        self._started = time.monotonic()

    @property
    def rows(self) -> int:
        """Rows taken in."""
        return self._seen

    def add(self, batch: RowBatch) -> None:
        """Take in rows. Which are held back is decided by reservoir sampling (Vitter 1985, algorithm R)."""
        count = len(batch.items)
        numbers = np.arange(self._seen, self._seen + count)
        slots = np.where(numbers < HELD_OUT_ROWS, numbers, self._rng.integers(0, numbers + 1))
        going = slots >= HELD_OUT_ROWS
        evicted = []
        for i in np.flatnonzero(~going).tolist():
            row = (batch.items[i], batch.chunk_indexes[i], batch.vectors[i].copy())
            slot = int(slots[i])
            if slot < len(self._held):
                evicted.append(self._held[slot])
                self._held[slot] = row
            else:
                self._held.append(row)
        places = np.flatnonzero(going).tolist()
        self._append([batch.items[i] for i in places], [batch.chunk_indexes[i] for i in places], batch.vectors[going])
        self._append_held(evicted)
        self._seen += count

    def _append_held(self, rows: list[tuple[Item, int, NDArray[np.float16]]]) -> None:
        if rows:
            self._append([r[0] for r in rows], [r[1] for r in rows], np.stack([r[2] for r in rows]))

    def _append(self, items: list[Item], chunk_indexes: list[int], vectors: NDArray[np.float16]) -> None:
        if items:
            self._columns.append(items, chunk_indexes)
            self._vectors.add_sa_codes(as_codes(padded(vectors)))

    def finish(
        self,
        folder: SegmentFolder,
        identity: str,
        position: str,
        report: Callable[[BuildReport], None] = lambda _: None,
        cores: int = 1,
    ) -> Manifest:
        """Write the segment and return its manifest. `position`: of the snapshot that the rows came from.

        `cores`: threads of the build. Raises: OSError when the disk is full; nothing is left behind then, and earlier
        generations stay.
        """
        with threads(cores):  # searches of single queries, which are timed, use one all the same
            return self._finish(folder, identity, position, report)

    def _finish(
        self, folder: SegmentFolder, identity: str, position: str, report: Callable[[BuildReport], None]
    ) -> Manifest:
        spare = min(len(self._held), self._seen // 10)
        self._append_held(self._held[spare:])
        held = self._held[:spare]
        if self._seen <= FLAT_ROWS:
            coarse: Any = None
            m = 0
            arranged = np.arange(0)
            self._append_held(held)
            calibration = _flat(Funnel(None, self._vectors, self._collection.metric))
        else:
            m = M
            queries = decoded(as_codes(padded(np.stack([r[2] for r in held]))))
            report(BuildReport("choosing a prefix", 0.0))
            dimension = self._choose(queries)
            graph = self._link(dimension, report)
            report(BuildReport("arranging", 0.0))
            arranged = self._arrange(graph)
            report(BuildReport("calibrating", 0.0))
            calibration = calibrate(self._funnel(self._behind_prefix(graph)), queries, self._rng)
            self._append_held(held)
            graph.add(prefixes(queries, dimension, self._collection.metric))
            coarse = self._behind_prefix(graph)  # it counts the rows once, when it is made
        report(BuildReport("writing", 0.0))
        order = np.arange(self._seen)
        order[: len(arranged)] = arranged
        return self._write(folder, coarse, m, calibration, identity, position, order)

    def _choose(self, queries: NDArray[np.float32]) -> int:
        codes = codes_of(self._vectors)
        sample = np.sort(self._rng.choice(len(codes), min(len(codes), _SAMPLED_ROWS), replace=False))
        metric = self._collection.metric

        def build(vectors: NDArray[np.float16], dimension: int) -> Funnel:
            full = half_index(vectors.shape[1], metric)
            full.add_sa_codes(as_codes(vectors))
            graph = half_graph(dimension, metric, M, EF_CONSTRUCTION)
            graph.add(prefixes(decoded(as_codes(vectors)), dimension, metric))
            if dimension == vectors.shape[1]:
                return Funnel(graph, None, metric)
            return Funnel(on_prefix(graph, vectors.shape[1], metric), full, metric)

        return choose_dimension(codes[sample].view(np.float16), queries, self._version.resolutions, metric, build)

    def _link(self, dimension: int, report: Callable[[BuildReport], None]) -> Any:
        codes = codes_of(self._vectors)
        graph = half_graph(dimension, self._collection.metric, M, EF_CONSTRUCTION)
        for start in range(0, len(codes), _ADDED_AT_ONCE):
            report(BuildReport("linking", start / len(codes)))
            rows = decoded(codes[start : start + _ADDED_AT_ONCE])
            graph.add(prefixes(rows, dimension, self._collection.metric))
        return graph

    def _arrange(self, graph: Any) -> NDArray[np.int64]:
        """Move rows to where their neighbours are, in graph and vectors; returns the former place of each, (n,).

        Only now: linking rows of one neighbourhood after the other makes a worse graph.
        """
        order = by_neighbourhood(codes_of(storage_of(graph)), seed=int(self._rng.integers(2**31)))
        graph.permute_entries(order)
        self._vectors.permute_entries(order)
        return order

    def _behind_prefix(self, graph: Any) -> Any:
        if graph.d == self._vectors.d:
            return graph
        return on_prefix(graph, self._vectors.d, self._collection.metric)

    def _funnel(self, coarse: Any) -> Funnel:
        whole = graph_of(coarse).d == self._vectors.d
        return Funnel(coarse, None if whole else self._vectors, self._collection.metric)

    def _write(
        self,
        folder: SegmentFolder,
        coarse: Any,
        m: int,
        calibration: Calibration,
        identity: str,
        position: str,
        order: NDArray[np.int64],
    ) -> Manifest:
        funnel = self._funnel(coarse) if coarse is not None else Funnel(None, self._vectors, self._collection.metric)
        temporary = folder.begin()
        try:
            names = [NORMS, COLUMNS]
            if coarse is not None:
                write_index(coarse, temporary / COARSE)
                names.append(COARSE)
            if coarse is None or funnel.dimension < funnel.full_dimension:
                write_index(self._vectors, temporary / VECTORS)
                names.append(VECTORS)
            write_arrays(temporary / NORMS, {"norms": _norms(funnel)})
            self._columns.save(temporary / COLUMNS, order)
            manifest = Manifest(
                identity,
                self._version.version_id,
                self._version.model,
                self._collection.metric.value,
                self._version.dimension,
                max(folder.generations(), default=0) + 1,
                position,
                self._seen,
                "flat" if coarse is None else "hnsw",
                min(funnel.dimension, self._version.dimension),
                m,
                calibration.frontier,
                calibration.filtered,
                calibration.exact_row_us,
                time.time_ns() // 1000,
                int((time.monotonic() - self._started) * 1000),
                describe(temporary, names),
            )
            folder.publish(temporary, manifest)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return manifest


def _flat(funnel: Funnel) -> Calibration:
    """Every row is compared, whatever recall is asked for."""
    plans = tuple(Plan(target, 0, 0, 1.0, funnel.rows * _FLAT_ROW_US) for target in TARGETS)
    return Calibration(plans, (), (_FLAT_ROW_US, _FLAT_ROW_US))


def _norms(funnel: Funnel) -> NDArray[np.float32]:
    """L2 norm of each row, (n,) float32: rounding to half precision leaves unit vectors a little off 1."""
    norms = np.empty(funnel.rows, np.float32)
    for start in range(0, funnel.rows, _ADDED_AT_ONCE):
        rows = decoded(funnel.codes[start : start + _ADDED_AT_ONCE])
        norms[start : start + len(rows)] = np.linalg.norm(rows, axis=1)
    return norms
