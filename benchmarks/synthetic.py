"""Seeded synthetic embeddings that behave like Matryoshka embeddings of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS_A_CLUSTER = 50
CLUSTERS_A_TOPIC = 20
SHARED_RANK = 32
BLOCK_ROWS = 10_000

# Norms of the parts of a point, before it is scaled to unit length. Topics overlap, clusters are distinct, and the
# neighbours within a cluster are told apart mostly by the low-rank part, which makes them hard for a graph index.
TOPIC, CLUSTER, SHARED_NOISE, FULL_NOISE = 0.75, 0.60, 0.60, 0.30


def spectrum(dim: int) -> NDArray[np.float32]:
    """Standard deviation of each component, (dim,) float32, of unit L2 norm.

    The variances decay as (1 + i / 20) ** -1.8: leading components carry most of the energy, which is what training
    with a Matryoshka loss brings about (Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022).
    """
    deviations = (1.0 + np.arange(dim) / 20.0) ** -0.9
    return np.asarray(deviations / np.linalg.norm(deviations), dtype=np.float32)


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows scaled to unit L2 norm; a zero row stays zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), dtype=np.float32)


def matryoshka_like(rows: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Points around clusters around topics, (rows, dim) float32, unit L2, in random order.

    Cluster sizes follow Zipf's law with exponent 1/2. Each point is its cluster's centre, plus noise in the
    `SHARED_RANK` directions that all clusters of its topic share, plus noise in every direction.
    """
    rng = np.random.default_rng([seed, dim])
    scale = spectrum(dim)

    def draw(count: int) -> NDArray[np.float32]:
        return rng.standard_normal((count, dim), dtype=np.float32) * scale

    clusters = max(rows // ROWS_A_CLUSTER, CLUSTERS_A_TOPIC)
    topics = max(clusters // CLUSTERS_A_TOPIC, 1)
    topic_of = rng.integers(0, topics, clusters)
    centres = TOPIC * draw(topics)[topic_of] + CLUSTER * draw(clusters)
    directions = draw(topics * SHARED_RANK).reshape(topics, SHARED_RANK, dim) / np.float32(np.sqrt(SHARED_RANK))

    weights = (1.0 + np.arange(clusters)) ** -0.5
    cluster_of = rng.choice(clusters, rows, p=weights / weights.sum())
    points = centres[cluster_of]
    for topic in range(topics):
        members = np.flatnonzero(topic_of[cluster_of] == topic)
        mix = rng.standard_normal((len(members), SHARED_RANK), dtype=np.float32)
        points[members] += np.float32(SHARED_NOISE) * (mix @ directions[topic])
    for start in range(0, rows, BLOCK_ROWS):
        block = points[start : start + BLOCK_ROWS]
        block += np.float32(FULL_NOISE) * draw(len(block))
        block[:] = unit_rows(block)
    return points
