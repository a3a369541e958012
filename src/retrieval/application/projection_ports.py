"""What the use cases need of learned projections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from retrieval.domain.model import EmbeddingVersion
    from retrieval.domain.projection import Projection


class ProjectionStore(Protocol):
    """Projections of embedding versions; each comes with its version and never changes."""

    async def of(self, version: EmbeddingVersion) -> Projection | None:
        """The version's projection; None where it has none.

        Raises: NotFoundError (EMBEDDING_VERSION_NOT_FOUND) where the version was deleted meanwhile.
        """
        ...

    def peek(self, version: EmbeddingVersion) -> Projection | None:
        """The same where it is in memory, else None. Safe in any thread."""
        ...
