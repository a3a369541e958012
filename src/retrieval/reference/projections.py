"""Learned projections in memory; implements `ProjectionStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.errors import NotFoundError

if TYPE_CHECKING:
    from retrieval.domain.model import EmbeddingVersion
    from retrieval.domain.projection import Projection
    from retrieval.reference.memory import Memory


class ReferenceProjections:
    """Finds projections."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def peek(self, version: EmbeddingVersion) -> Projection | None:
        """See `ProjectionStore`."""
        for held in self._memory.collections.values():
            if version.version_id in held.projections:
                return held.projections[version.version_id]
        return None

    async def of(self, version: EmbeddingVersion) -> Projection | None:
        """See `ProjectionStore`."""
        found = self.peek(version)
        if found is None and version.input_dimension:
            raise NotFoundError(
                f"embedding version {version.version} was deleted meanwhile", reason="EMBEDDING_VERSION_NOT_FOUND"
            )
        return found
