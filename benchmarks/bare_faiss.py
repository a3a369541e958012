"""FAISS without a service: the segment's own files and plans, searched in one process on the server's core."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from benchmarks.cores import SERVER_CORE
from benchmarks.load import LoadResult

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAX_CALLS = 100_000


class Ran(NamedTuple):
    """Calls that were timed: seconds of each, and the item ids that it found, (batch, k)."""

    seconds: list[float]
    found: list[NDArray[np.int64]]
    span_s: float


class BareFaiss:
    """A process of its own on the server's core, as long as the block takes."""

    def __enter__(self) -> Self:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def run(
        self, folder: Path, target_recall: float, queries: NDArray[np.float32], batch: int, seconds: float, k: int
    ) -> LoadResult:
        """One caller with the segment's plan for a recall; queries, (n, dim) float32 of unit length, rotate.

        A batch counts as so many replies.
        """
        ran: Ran = self._pool.submit(_run, folder, target_recall, queries, batch, seconds, k).result()
        result = LoadResult(1, ran.span_s)
        result.latencies_ms = np.repeat(ran.seconds, batch) * 1e3
        result.queries = np.arange(len(ran.seconds) * batch) % len(queries)
        result.found = [ids for found in ran.found for ids in found.tolist()]
        return result

    def map_s(self, folder: Path, queries: NDArray[np.float32], k: int) -> float:
        """Seconds until a segment is mapped and its first search has answered."""
        return float(self._pool.submit(_map, folder, queries, k).result())


def newest_segment(cache_dir: Path, version_id: int) -> Path:
    """Folder of the newest generation of an embedding version."""
    return max(cache_dir.glob(f"*/v{version_id}/[0-9]*"), key=lambda path: int(path.name))


def _start() -> None:
    os.sched_setaffinity(0, {SERVER_CORE})


@lru_cache(1)
def _opened(folder: Path) -> tuple[Any, NDArray[np.int64]]:
    """The segment, and the item ids by row."""
    import faiss

    from retrieval.faiss_cache.segment import open_segment
    from retrieval.faiss_cache.segment_files import verified_manifest

    faiss.omp_set_num_threads(1)
    manifest = verified_manifest(folder)
    segment = open_segment(folder, manifest)
    return segment, np.array(segment.columns.item_ids.ids_at(np.arange(manifest.rows))).astype(np.int64)


def _map(folder: Path, queries: NDArray[np.float32], k: int) -> float:
    from retrieval.faiss_cache.manifest import read_manifest
    from retrieval.faiss_cache.segment import open_segment

    manifest = read_manifest(folder)
    began = time.perf_counter()
    open_segment(folder, manifest).funnel.search(np.ascontiguousarray(queries[:1]), k, 64, 64)
    return time.perf_counter() - began


def _run(folder: Path, target_recall: float, queries: NDArray[np.float32], batch: int, seconds: float, k: int) -> Ran:
    segment, item_ids = _opened(folder)
    plan = next(plan for plan in segment.manifest.frontier if plan.target_recall >= target_recall - 1e-9)
    twice = np.concatenate([queries, queries[:batch]])
    starts = [number * batch % len(queries) for number in range(len(queries))]
    batches = [np.ascontiguousarray(twice[start : start + batch]) for start in starts]

    def search(number: int) -> NDArray[np.int64]:
        asked = batches[number % len(batches)]
        if plan.ef_search == 0:
            return segment.funnel.scan(asked, k)[1]
        return segment.funnel.search(asked, k, plan.ef_search, plan.shortlist)[1]

    for number in range(20):
        search(number)
    clock = time.perf_counter
    took: list[float] = []
    found = []
    begin = now = clock()
    while now < begin + seconds and len(took) < MAX_CALLS:
        found.append(search(len(took)))
        after = clock()
        took.append(after - now)
        now = after
    return Ran(took, [item_ids[rows] for rows in found], now - begin)
