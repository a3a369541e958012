"""Vectors: checks, half-precision storage form, distances, scores.

Every path compares half-precision vectors: what is stored and the query are rounded to float16 before any distance,
so that Postgres (`halfvec`), the reference and a cache agree on scores to the precision of a float32 sum.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

Distances = TypeVar("Distances", float, "NDArray[np.float64]")

HALF_MAX = 65504.0
"""Largest finite float16 (IEEE 754-2008 binary16)."""
_LEAST_NORMAL_HALF = 2.0**-14
_FEW_COMPONENTS = 2048
_DROPPED_BITS = 13
"""Bits of a float32's fraction that a float16 has not: 23 - 10."""


def to_half(
    vector: NDArray[np.float32], dimension: int, metric: Metric, field: str, input_dimension: int = 0
) -> NDArray[np.float16]:
    """The stored form of a caller's vector, (dim,) float16; unit L2 norm under cosine.

    `vector`: (n,) float32. Cosine ignores length, so scaling loses nothing and keeps half precision at its best.
    `input_dimension`: another length that the caller might have sent, for the message; 0: there is none.

    Raises: InvalidArgumentError (DIMENSION_MISMATCH, VECTOR_NOT_FINITE, VECTOR_ZERO, VECTOR_OUT_OF_RANGE) at `field`.
    """
    if vector.shape != (dimension,):
        other = f", or {input_dimension} to be projected" if input_dimension else ""
        raise InvalidArgumentError.of(
            field,
            f"has {vector.shape[0]} components, the embedding version takes {dimension}{other}",
            reason="DIMENSION_MISMATCH",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(np.dot(vector, vector))
    if not np.isfinite(square) and not np.isfinite(vector).all():
        raise InvalidArgumentError.of(field, "contains NaN or infinity", reason="VECTOR_NOT_FINITE")
    if metric is Metric.COSINE:
        if not 1e-30 < square < 1e30:  # the float32 sum has under- or overflowed: sum again in double precision
            square = float(np.dot(vector.astype(np.float64), vector.astype(np.float64)))
        if square == 0.0:
            raise InvalidArgumentError.of(
                field, "is the zero vector, which has no direction to compare by cosine", reason="VECTOR_ZERO"
            )
        return np.asarray(vector / np.sqrt(square), dtype=np.float16)
    if square > HALF_MAX and np.abs(vector).max() > HALF_MAX:
        raise InvalidArgumentError.of(
            field, f"has a component beyond ±{HALF_MAX:.0f}, the half-precision range", reason="VECTOR_OUT_OF_RANGE"
        )
    return vector.astype(np.float16)


def to_half_rows(vectors: NDArray[np.float32], metric: Metric) -> NDArray[np.float16] | None:
    """The stored form of many vectors at once, (n, dim) each; None where `to_half` would refuse one of them.

    Also None for rows so long or short that a float32 sum is not enough, which `to_half` takes one by one.
    """
    ready = _ready_rows(vectors, metric)
    return None if ready is None else ready.astype(np.float16)


def rounded_rows(vectors: NDArray[np.float32], metric: Metric) -> NDArray[np.float32] | None:
    """`to_half_rows` as float32 of the same values; for many components several times as fast as there and back."""
    ready = _ready_rows(vectors, metric)
    if ready is None:
        return None
    if ready.size <= _FEW_COMPONENTS:
        return ready.astype(np.float16).astype(np.float32)
    bits = ready.view(np.uint32)
    rounded = bits >> _DROPPED_BITS
    rounded &= 1
    rounded += (1 << (_DROPPED_BITS - 1)) - 1  # to nearest, and of two as near to the even one
    rounded += bits
    rounded &= np.uint32(2**32 - 2**_DROPPED_BITS)
    values = rounded.view(np.float32)
    small = np.abs(ready) < _LEAST_NORMAL_HALF
    if small.any():
        # Subnormal halves are multiples of 2^-24, which is the distance of float32 numbers around 0.75.
        values[small] = (ready[small] + np.float32(0.75)) - np.float32(0.75)
    return values


def _ready_rows(vectors: NDArray[np.float32], metric: Metric) -> NDArray[np.float32] | None:
    """Rows that only want rounding; unit L2 norm under cosine."""
    if metric is Metric.COSINE:
        with np.errstate(over="ignore", invalid="ignore"):
            if len(vectors) == 1:  # as single searches come: half the steps of the general case
                square = float(np.dot(vectors[0], vectors[0]))
                return vectors / math.sqrt(square) if 1e-30 < square < 1e30 else None
            squares = np.vecdot(vectors, vectors)
        # NaN fails every comparison, and these two pass it on.
        if not 1e-30 < squares.min(initial=1.0) <= squares.max(initial=1.0) < 1e30:
            return None
        return np.asarray(vectors / np.sqrt(squares)[:, np.newaxis])
    return vectors if (np.abs(vectors) <= HALF_MAX).all() else None


def distances(
    query: NDArray[np.float16], vectors: NDArray[np.float16], metric: Metric, prefix: int | None = None
) -> NDArray[np.float64]:
    """Exact distances, (n,) float64, of `query` (dim,) to `vectors` (n, dim), on the first `prefix` components.

    Cosine normalises the prefixes, as pgvector's `<=>` does; a zero prefix has distance 1 to everything.
    """
    q = query[:prefix].astype(np.float64)
    rows = vectors[:, :prefix].astype(np.float64)
    if metric is Metric.L2:
        return np.asarray(np.linalg.norm(rows - q, axis=1))
    products = rows @ q
    if metric is Metric.INNER_PRODUCT:
        return np.asarray(-products)
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(q)
    cosine = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
    return np.asarray(1.0 - np.clip(cosine, -1.0, 1.0))


def scores_of(distances: Distances, metric: Metric) -> Distances:
    """Scores of distances, (n,) float64 or one: higher is better. See `Metric` in the contract for the formulas."""
    if metric is Metric.COSINE:
        return 1.0 - distances
    if metric is Metric.INNER_PRODUCT:
        return -distances
    return 1.0 / (1.0 + distances)


def combine(
    positives: NDArray[np.float16],
    negatives: NDArray[np.float16] | None,
    weights: NDArray[np.float32] | None,
    metric: Metric,
) -> NDArray[np.float32] | None:
    """One query from several vectors: mean of the positives p, or 2 p - mean of the negatives where there are any.

    `positives`: (n, dim); `negatives`: (m, dim) or None; `weights`: (n,) positive or None for equal ones. Returns
    (dim,) float32, or None under cosine when the vectors cancel out. The formula is Qdrant's `average_vector`
    (Qdrant documentation, "Recommendation": avg_positive + avg_positive - avg_negative).
    """
    mean = np.average(positives.astype(np.float64), axis=0, weights=weights)
    if negatives is not None and len(negatives):
        mean = 2.0 * mean - negatives.astype(np.float64).mean(axis=0)
    if metric is Metric.COSINE:
        norm = np.linalg.norm(mean)
        if norm < 1e-6:
            return None
        mean = mean / norm
    return np.asarray(np.clip(mean, -HALF_MAX, HALF_MAX), dtype=np.float32)
