"""The order of a segment's rows: those that searches read together stand together.

A walk over the graph reads hundreds of rows that are near one another. Where they share pages, it waits less often for
memory and for the translation of addresses (Coleman et al. 2022, "Graph Reordering for Cache-Efficient Near Neighbor
Search"); names and norms of the hits stand together as well. Measured in docs/index-types.md.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

import faiss
import numpy as np

from retrieval.faiss_cache.quantized import decoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ITERATIONS = 4
_SAMPLED_PER_CLUSTER = 64
_AT_ONCE = 20_000


def by_neighbourhood(codes: NDArray[np.uint8], seed: int) -> NDArray[np.int64]:
    """Rows cluster by cluster, (n,): as many clusters (k-means, of a sample) as each has rows.

    `codes`: (n, 2 dim) bytes of float16.
    """
    rng = np.random.default_rng(seed)
    count = max(1, isqrt(len(codes)))
    sampled = np.sort(rng.choice(len(codes), min(len(codes), count * _SAMPLED_PER_CLUSTER), replace=False))
    sample = decoded(codes[sampled])
    clusters = faiss.Kmeans(sample.shape[1], count, niter=_ITERATIONS, seed=seed, min_points_per_centroid=1)
    clusters.train(sample)
    nearest = np.empty(len(codes), np.int64)
    for start in range(0, len(codes), _AT_ONCE):
        found = clusters.index.search(decoded(codes[start : start + _AT_ONCE]), 1)[1]
        nearest[start : start + len(found)] = found[:, 0]
    return np.argsort(nearest, kind="stable")
