"""Exact neighbours by brute force, and recall measured against them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DEPTH = 100
"""Neighbours kept a query: enough to hold those that tie with the k-th."""

TIE = 1e-6
"""Similarities this close are the same neighbour: float32 sums of unit vectors are no better (ann-benchmarks judges
by distance instead of identity for the same reason, there with a tolerance of 1e-3)."""


class Truth(NamedTuple):
    """Exact neighbours of each query: `ids` (queries, depth) int64, best first, and their cosine `similarities`."""

    ids: NDArray[np.int64]
    similarities: NDArray[np.float32]

    def answers(self, k: int) -> list[frozenset[int]]:
        """For each query the ids that a perfect top k may hold, those that tie with the k-th included."""
        if not self.ids.shape[1]:
            return [frozenset()] * len(self.ids)
        last = self.similarities[:, min(k, self.ids.shape[1]) - 1, None]
        keep = self.similarities >= last - TIE
        return [frozenset(ids[row].tolist()) for ids, row in zip(self.ids, keep, strict=True)]


def brute_force(
    base: NDArray[np.float32], queries: NDArray[np.float32], allowed: NDArray[np.int64] | None = None
) -> Truth:
    """The nearest rows of `base` (n, dim) to `queries` (q, dim), both float32 with unit L2 rows.

    `allowed` are the row numbers that a filter lets through. Fewer than `DEPTH` rows give fewer columns.
    """
    import faiss

    rows = base if allowed is None else base[allowed]
    depth = min(DEPTH, len(rows))
    if depth == 0:
        return Truth(np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32))
    similarities, ids = faiss.knn(
        np.ascontiguousarray(queries), np.ascontiguousarray(rows), depth, metric=faiss.METRIC_INNER_PRODUCT
    )
    return Truth(ids if allowed is None else allowed[ids], similarities)


def recall(found: Sequence[Sequence[int]], answers: Sequence[frozenset[int]], k: int) -> float:
    """Mean share of each query's exact top k that was found; queries without any answer do not count."""
    shares = [
        min(len(exact.intersection(ids)), k) / min(k, len(exact))
        for ids, exact in zip(found, answers, strict=True)
        if exact
    ]
    return float(np.mean(shares)) if shares else 1.0
