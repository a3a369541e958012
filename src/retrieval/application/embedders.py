"""What makes vectors of texts in this process, by the name of its model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.application.ports import Embedder
    from retrieval.domain.model import EmbeddingVersion

LOCAL_BATCH = 256


@dataclass(frozen=True, slots=True)
class TextRefused:
    """Why a text has no vector. `permanent`: it will not have one later. `retry_after_s`: not before that."""

    error: str
    permanent: bool = False
    retry_after_s: float | None = None


class TextEmbedder(Protocol):
    """Turns texts into vectors with one model. `batch`: as many texts at a time as are worth it."""

    model: str
    dimension: int
    batch: int

    async def embed(
        self, texts: Sequence[str], length: int, *, urgent: bool = False
    ) -> list[NDArray[np.float32] | TextRefused]:
        """A vector, (length,) float32, for each text or why there is none; zero where the model knows nothing of it.

        `length` is at most `dimension`. `urgent`: somebody waits for the answer.

        Raises: FailedPreconditionError where the embedder is not installed.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class LocalTextEmbedder:
    """A model of this process, loaded when first needed; both in a thread. `model` and `dimension` are known before.

    Of a vector the first components are taken: the model is a Matryoshka model.
    """

    def __init__(self, model: str, dimension: int, load: Callable[[], Embedder]) -> None:
        self.model = model
        self.dimension = dimension
        self.batch = LOCAL_BATCH
        self._load = load
        self._loaded: Embedder | None = None
        self._loading = asyncio.Lock()

    async def embed(
        self,
        texts: Sequence[str],
        length: int,
        *,
        urgent: bool = False,  # noqa: ARG002  # nothing waits here
    ) -> list[NDArray[np.float32] | TextRefused]:
        """See `TextEmbedder`."""
        async with self._loading:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(self._load)
        vectors = await asyncio.to_thread(self._loaded.embed, texts)
        return list(vectors[:, :length])

    async def close(self) -> None:
        """See `TextEmbedder`."""


class Embedders:
    """The embedders of this process; where two have a model, the first one counts."""

    def __init__(self, *embedders: TextEmbedder) -> None:
        self._embedders = embedders

    def of(self, version: EmbeddingVersion) -> TextEmbedder | None:
        """Who makes vectors that the version takes; None: nobody here."""
        for embedder in self._embedders:
            if embedder.model == version.model and version.vector_length <= embedder.dimension:
                return embedder
        return None

    def models(self) -> tuple[tuple[str, int], ...]:
        """Each model and how many components it makes."""
        return tuple((embedder.model, embedder.dimension) for embedder in self._embedders)

    def describe(self) -> str:
        """The models and their dimensions, for people."""
        return ", ".join(f"{e.model!r} with {e.dimension}" for e in self._embedders) or "no model"

    async def close(self) -> None:
        """Close all."""
        for embedder in self._embedders:
            await embedder.close()
