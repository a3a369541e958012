"""Learned linear projections: vectors of one model, brought into the space of an embedding version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.vectors import to_half, to_half_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.domain.model import Metric

MAX_INPUT_DIMENSION = 4096
"""Width of 7-billion-parameter language models, whose embeddings are the longest in common use (E5-Mistral, Wang et
al., ACL 2024). Such vectors are never stored, so pgvector's limit of 4,000 indexed dimensions does not bind them."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """An affine map. `weights`: (dim, input_dimension) float32, C-contiguous; `bias`: (dim,) float32 or None."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None

    @property
    def input_dimension(self) -> int:
        """Components of the vectors that it takes."""
        return int(self.weights.shape[1])

    def project(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows x of (n, input_dimension) float32 as x W^T + b, (n, dim) float32; infinite where that overflows.

        The formula is that of the linear layer that such matrices come from (PyTorch documentation, `nn.Linear`).
        """
        with np.errstate(over="ignore", invalid="ignore"):
            projected = rows @ self.weights.T
            if self.bias is not None:
                projected += self.bias
        return projected


def settle(
    vector: NDArray[np.float32], dimension: int, metric: Metric, field: str, projection: Projection | None
) -> NDArray[np.float16]:
    """The stored form of a caller's vector, (dim,) float16 as by `to_half`; one of the input dimension is projected.

    Raises: InvalidArgumentError as `to_half`, at `field`; a length that is neither names both.
    """
    if projection is None:
        return to_half(vector, dimension, metric, field)
    if vector.shape != (projection.input_dimension,):
        return to_half(vector, dimension, metric, field, projection.input_dimension)
    if not np.isfinite(vector).all():
        raise InvalidArgumentError.of(field, "contains NaN or infinity", reason="VECTOR_NOT_FINITE")
    try:
        return to_half(projection.project(vector[np.newaxis])[0], dimension, metric, field)
    except InvalidArgumentError as error:
        what = error.violations[0].description
        raise InvalidArgumentError.of(field, f"once projected, {what}", reason=error.reason) from error


def settle_rows(
    vectors: NDArray[np.float32], dimension: int, metric: Metric, projection: Projection | None
) -> NDArray[np.float16] | None:
    """`settle` of many vectors at once, (n, dim) or (n, input_dimension); None where it might refuse one of them."""
    if projection is not None and vectors.shape[1] == projection.input_dimension:
        vectors = projection.project(vectors)  # of what is not finite nothing finite comes
    return to_half_rows(vectors, metric) if vectors.shape[1] == dimension else None
