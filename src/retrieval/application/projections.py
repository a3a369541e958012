"""Vectors of callers in the space of an embedding version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.projection import settle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection, EmbeddingVersion


async def settled_vector(
    stores: Stores, collection: Collection, version: EmbeddingVersion, vector: NDArray[np.float32], field: str
) -> NDArray[np.float16]:
    """The stored form, (dim,) float16, of a query or of a user's vector, (n,) float32; projected where it has to be.

    Raises: InvalidArgumentError for a vector that the version does not take.
    """
    projection = await stores.projections.of(version)
    return settle(vector, version.dimension, collection.metric, field, projection)
