"""FAISS indexes over half-precision codes, and views of those codes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import faiss
import numpy as np

from retrieval.domain.model import Metric

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Found = tuple[NDArray[np.float32], NDArray[np.int64]]
    """Similarities and rows, both (n, count); rows -1 for want of more."""

T = TypeVar("T", np.float16, np.float32)

_BLOCK_ROWS = 16_384
_METRICS = {
    Metric.COSINE: faiss.METRIC_INNER_PRODUCT,
    Metric.INNER_PRODUCT: faiss.METRIC_INNER_PRODUCT,
    Metric.L2: faiss.METRIC_L2,
}

LANES = 8
"""FAISS compares so many components of a code at once, and rows of any other length one component at a time: 40 times
as slow at 300 components. Rows are therefore kept with zeros at the end, which change no distance."""


def padded_dimension(dimension: int) -> int:
    """Components that a row of `dimension` is kept with."""
    return -(-dimension // LANES) * LANES


def padded(vectors: NDArray[T]) -> NDArray[T]:
    """(n, dim) vectors with zeros up to `padded_dimension`; the very same where there is nothing to add."""
    missing = padded_dimension(vectors.shape[1]) - vectors.shape[1]
    return np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors


def half_index(dimension: int, metric: Metric) -> Any:
    """An empty index that compares every row; rows are float16, as stored."""
    index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, _METRICS[metric])
    index.is_trained = True  # float16 codes have nothing to learn
    return index


def half_graph(dimension: int, metric: Metric, m: int, ef_construction: int) -> Any:
    """An empty HNSW index over float16 rows."""
    index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, m, _METRICS[metric])
    index.is_trained = True
    index.storage.is_trained = True
    index.hnsw.efConstruction = ef_construction
    return index


def on_prefix(graph: Any, full_dimension: int, metric: Metric) -> Any:
    """`graph` behind a transform that takes full vectors: cut to its dimension, unit L2 again under cosine."""
    index = faiss.IndexPreTransform(graph)
    if metric is Metric.COSINE:
        index.prepend_transform(faiss.NormalizationTransform(graph.d, 2.0))
    index.prepend_transform(faiss.RemapDimensionsTransform(full_dimension, graph.d, False))
    return index


def prefixes(vectors: NDArray[np.float32], dimension: int, metric: Metric) -> NDArray[np.float32]:
    """The first `dimension` components of (n, dim) float32, C-contiguous, unit L2 again under cosine."""
    cut = np.ascontiguousarray(vectors[:, :dimension])
    if metric is Metric.COSINE and dimension < vectors.shape[1]:
        norms = np.linalg.norm(cut, axis=1, keepdims=True)
        cut = np.divide(cut, norms, out=np.zeros_like(cut), where=norms > 0)  # the cut of one row is a view of it
    return cut


def decoded(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, dim) float32 of (n, 2 dim) bytes of float16 codes; FAISS converts several times faster than NumPy."""
    codes = np.ascontiguousarray(codes)
    vectors = np.empty((len(codes), codes.shape[1] // 2), np.float32)
    _decoder(vectors.shape[1]).sa_decode_c(len(codes), faiss.swig_ptr(codes), faiss.swig_ptr(vectors))
    return vectors


@lru_cache
def _decoder(dimension: int) -> Any:
    return half_index(dimension, Metric.L2)


def codes_of(index: Any) -> NDArray[np.uint8]:
    """The codes of an index of `half_index`, (n, 2 dim) bytes, without a copy; valid as long as the index is."""
    if index.ntotal == 0:
        return np.zeros((0, index.code_size), np.uint8)
    flat = faiss.rev_swig_ptr(index.codes.data(), index.ntotal * index.code_size)
    return np.asarray(flat.reshape(index.ntotal, index.code_size))


def as_codes(vectors: NDArray[np.float16]) -> NDArray[np.uint8]:
    """(n, dim) float16 as (n, 2 dim) bytes."""
    return np.ascontiguousarray(vectors, dtype="<f2").view(np.uint8).reshape(len(vectors), -1)


def searched(index: Any, queries: NDArray[np.float32], count: int, parameters: Any | None = None) -> Found:
    """`index.search` without the Python around it, which takes longer than a short search.

    `queries`: (n, index dimension) float32, C-contiguous. Returns (n, count) similarities and rows.
    """
    similarities = np.empty((len(queries), count), np.float32)
    rows = np.empty((len(queries), count), np.int64)
    pointer = faiss.swig_ptr
    index.search_c(len(queries), pointer(queries), count, pointer(similarities), pointer(rows), parameters)
    return similarities, rows


def nearest_of(codes: NDArray[np.uint8], queries: NDArray[np.float32], count: int, metric: Metric) -> Found:
    """Similarities and places in `codes`, both (n, count), of the rows nearest to each query; -1 for want of rows.

    `codes`: (m, 2 dim) bytes of float16; `queries`: (n, dim) float32.
    """
    index = half_index(queries.shape[1], metric)
    index.add_sa_codes(np.ascontiguousarray(codes))
    return searched(index, queries, count)


def nearest_of_all(codes: NDArray[np.uint8], queries: NDArray[np.float32], count: int, metric: Metric) -> Found:
    """As `nearest_of`, by matrix products: for many queries at once several times as fast."""
    best = faiss.ResultHeap(len(queries), count, keep_max=metric is not Metric.L2)
    for start in range(0, len(codes), _BLOCK_ROWS):
        block = decoded(codes[start : start + _BLOCK_ROWS])
        similarities, rows = faiss.knn(queries, block, min(count, len(block)), metric=_METRICS[metric])
        best.add_result(similarities, rows + start)
    best.finalize()
    return best.D, best.I


def map_index(path: Path) -> Any:
    """An index of a file, mapped: processes that map the same file share its memory."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


def write_index(index: Any, path: Path) -> None:
    """Write an index to a file."""
    faiss.write_index(index, str(path))


def graph_of(index: Any) -> Any:
    """The HNSW index inside what `on_prefix` made, or the index itself."""
    index = faiss.downcast_index(index)
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index


def storage_of(graph: Any) -> Any:
    """The index of the codes of an HNSW index."""
    return faiss.downcast_index(graph.storage)


class threads:  # noqa: N801  # reads as a statement: `with threads(2):`
    """FAISS uses `count` threads for what runs inside; builds only."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> None:
        faiss.omp_set_num_threads(self._count)

    def __exit__(self, *_: object) -> None:
        faiss.omp_set_num_threads(1)
