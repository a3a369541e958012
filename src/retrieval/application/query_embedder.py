"""Makes vectors of what callers type, with the embedder of this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from retrieval.domain.errors import FailedPreconditionError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.application.ports import Embedder
    from retrieval.domain.model import EmbeddingVersion


class QueryEmbedder:
    """Embeds texts for versions of one model; the model is loaded when first needed, in a thread.

    `model` and `dimension` are known before it is.
    """

    def __init__(self, model: str, dimension: int, load: Callable[[], Embedder]) -> None:
        self._model = model
        self._dimension = dimension
        self._load = load
        self._loaded: Embedder | None = None
        self._loading = asyncio.Lock()

    async def embed(self, version: EmbeddingVersion, text: str) -> NDArray[np.float32] | None:
        """A vector that the version takes, (n,) float32; None where the model knows no word of the text.

        A version of fewer components gets the first ones: the local model is a Matryoshka model.

        Raises: FailedPreconditionError (NO_QUERY_EMBEDDER for another model's version, TEXT_EXTRA_MISSING).
        """
        length = version.input_dimension or version.dimension
        if version.model != self._model or length > self._dimension:
            raise FailedPreconditionError(
                f"embedding version {version.version} is of model {version.model[:64]!r} with {length} components, and "
                f"texts are embedded here by {self._model!r} with {self._dimension}; send a vector, or ask for "
                "HYBRID_MODE_TEXT",
                reason="NO_QUERY_EMBEDDER",
            )
        async with self._loading:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(self._load)
        vectors = await asyncio.to_thread(self._loaded.embed, [text])
        vector = vectors[0, :length]
        return vector if vector.any() else None


def no_embedder() -> QueryEmbedder:
    """An embedder of no model: whoever searches by vector sends one."""

    def load() -> Embedder:
        raise AssertionError("no version is of the model without a name")

    return QueryEmbedder("", 0, load)
