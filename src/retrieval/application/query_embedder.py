"""Makes vectors of what callers type, with the embedders of this process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from retrieval.application.embedders import Embedders, TextRefused
from retrieval.domain.errors import FailedPreconditionError, UnavailableError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.domain.model import EmbeddingVersion

log = logging.getLogger(__name__)


class QueryEmbedder:
    """Embeds single texts for whichever version an embedder has the model of."""

    def __init__(self, embedders: Embedders) -> None:
        self._embedders = embedders

    async def embed(self, version: EmbeddingVersion, text: str) -> NDArray[np.float32] | None:
        """A vector that the version takes, (n,) float32; None where the model knows no word of the text.

        Raises: FailedPreconditionError (NO_QUERY_EMBEDDER for a version that no embedder has the model of,
        TEXT_EXTRA_MISSING), UnavailableError (EMBEDDER_UNAVAILABLE).
        """
        embedder = self._embedders.of(version)
        if embedder is None:
            raise FailedPreconditionError(
                f"embedding version {version.version} is of model {version.model[:64]!r} with {version.vector_length} "
                f"components, and texts are embedded here by {self._embedders.describe()}; send a vector, or ask for "
                "HYBRID_MODE_TEXT",
                reason="NO_QUERY_EMBEDDER",
            )
        (made,) = await embedder.embed([text], version.vector_length, urgent=True)
        if isinstance(made, TextRefused):
            log.warning("a query could not be embedded by %s: %s", embedder.model, made.error)
            raise UnavailableError(
                f"the embedder of model {version.model[:64]!r} does not answer as it should; try again, send a vector, "
                "or ask for HYBRID_MODE_TEXT",
                reason="EMBEDDER_UNAVAILABLE",
            )
        return made if made.any() else None


def no_embedder() -> QueryEmbedder:
    """An embedder of no model: whoever searches by vector sends one."""
    return QueryEmbedder(Embedders())
