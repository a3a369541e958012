"""Text embeddings on the CPU from WordLlama's weights, which are part of its wheel: no network, no GPU.

WordLlama averages the token embeddings of a text. Its `l2_supercat` model has 256 dimensions and was trained as a
Matryoshka model, so that the first 128 or 64 components are embeddings too (https://github.com/dleemiller/WordLlama).
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.domain.errors import FailedPreconditionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MODEL = "wordllama-l2-supercat-256"
DIMENSION = 256

# The library pads every text of a batch to the longest one and holds a row of 256 float32 for each token, in two
# copies. A token has at least one byte, so this bounds a batch to 256 MiB where no single text is longer.
MAX_BATCH_BYTES = 1 << 17
MAX_BATCH_TEXTS = 64


class WordLlamaEmbedder:
    """Embeds texts with the model `wordllama-l2-supercat-256`. Safe to share between threads.

    Raises:
        FailedPreconditionError: `TEXT_EXTRA_MISSING` where the package `wordllama` is not installed.
    """

    model: str = MODEL
    dimension: int = DIMENSION

    def __init__(self) -> None:
        self._inference = _load_inference()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text, in order: (n, 256) float32, C-contiguous, unit L2.

        A text without a single token (the empty one) has no direction: its row is zero, and the caller stores no
        vector for it.
        """
        if not texts:
            return np.empty((0, DIMENSION), dtype=np.float32)
        longest = max(1, *(len(text.encode()) for text in texts))
        batch_size = min(MAX_BATCH_TEXTS, max(1, MAX_BATCH_BYTES // longest))
        # Not normalised by the library, which divides zero by zero for a text without tokens.
        pooled = self._inference.embed(list(texts), norm=False, batch_size=batch_size)
        vectors: NDArray[np.float32] = np.ascontiguousarray(pooled, dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, norms, out=vectors, where=norms > 0)
        return vectors


def is_installed() -> bool:
    """Whether the package `wordllama` is there."""
    return find_spec("wordllama") is not None


def _load_inference() -> Any:
    # On import the library calls logging.basicConfig, which leaves a root logger that has a handler alone.
    guard = logging.NullHandler()
    root = logging.getLogger()
    root.addHandler(guard)
    try:
        import wordllama  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "wordllama":
            raise
        raise FailedPreconditionError(
            "embedding text here needs the extra `text`: pip install 'retrieval-service[text]'",
            reason="TEXT_EXTRA_MISSING",
        ) from error
    finally:
        root.removeHandler(guard)
    # The weights and the tokenizer lie in the package; with another cache directory the library would look for the
    # tokenizer on a model hub, and with downloads disabled it never asks one.
    package = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load("l2_supercat", cache_dir=package, dim=DIMENSION, disable_download=True)
