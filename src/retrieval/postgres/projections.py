"""Learned projections in Postgres; implements `ProjectionStore`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.domain.errors import NotFoundError
from retrieval.domain.projection import Projection
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from retrieval.domain.model import EmbeddingVersion
    from retrieval.postgres.database import Database

KEPT_BYTES = 128 << 20
"""Of weights, the latest read: one of the largest, or hundreds of the usual 384 x 256."""


class PostgresProjections:
    """Reads projections, once each: they never change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[int, Projection] = {}
        self._reading = asyncio.Lock()

    def peek(self, version: EmbeddingVersion) -> Projection | None:
        """See `ProjectionStore`."""
        return self._kept.get(version.version_id) if version.input_dimension else None

    async def of(self, version: EmbeddingVersion) -> Projection | None:
        """See `ProjectionStore`."""
        found = self.peek(version)
        if found is not None or not version.input_dimension:
            return found
        async with self._reading:  # the first of many callers reads for all
            found = self.peek(version)
            if found is None:
                found = await self._read(version)
                self._keep(version.version_id, found)
        return found

    async def _read(self, version: EmbeddingVersion) -> Projection:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(queries("collections")["projection"], version.version_id)
        if row is None:
            raise NotFoundError(
                f"embedding version {version.version} was deleted meanwhile", reason="EMBEDDING_VERSION_NOT_FOUND"
            )
        weights = np.frombuffer(row["weights"], "<f4").reshape(version.dimension, row["input_dimension"])
        return Projection(weights, None if row["bias"] is None else np.frombuffer(row["bias"], "<f4"))

    def _keep(self, version_id: int, projection: Projection) -> None:
        self._kept[version_id] = projection
        while len(self._kept) > 1 and sum(p.weights.nbytes for p in self._kept.values()) > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]


async def insert_projection(connection: Any, version_id: int, projection: Projection) -> None:
    """Store the projection of a version that is being created, in the same transaction."""
    bias = None if projection.bias is None else projection.bias.astype("<f4").tobytes()
    await connection.execute(
        queries("collections")["insert_projection"],
        version_id,
        projection.input_dimension,
        projection.weights.astype("<f4").tobytes(),
        bias,
    )
