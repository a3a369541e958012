"""Text embeddings on the CPU from WordLlama's weights, which are part of its wheel: no network, no GPU.

WordLlama averages the token embeddings of a text. Its `l2_supercat` model has 256 dimensions and was trained as a
Matryoshka model, so that the first 128 or 64 components are embeddings too (https://github.com/dleemiller/WordLlama).

The package is but the carrier of weights and tokenizer, and never imported: its later releases are compiled for each
version of Python, which the few lines of NumPy that make a mean need not be.
"""

from __future__ import annotations

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
WEIGHTS = "weights/l2_supercat_256.safetensors"
"""float16, (32000, 256): a row for each token, by the name `embedding.weight`."""
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
BATCH_TEXTS = 64
"""Texts whose tokens are held at the same time."""


class WordLlamaEmbedder:
    """Embeds texts with the model `wordllama-l2-supercat-256`. Safe to share between threads.

    Raises:
        FailedPreconditionError: `TEXT_EXTRA_MISSING` where the packages of the extra `text` are not installed.
    """

    model: str = MODEL
    dimension: int = DIMENSION

    def __init__(self) -> None:
        self._tokenizer, self._weights = _load()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text, in order: (n, 256) float32, C-contiguous, unit L2.

        A text without a single token (the empty one) has no direction: its row is zero, and the caller stores no
        vector for it.
        """
        vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for start in range(0, len(texts), BATCH_TEXTS):
            encoded = self._tokenizer.encode_batch_fast(
                list(texts[start : start + BATCH_TEXTS]), add_special_tokens=False
            )
            for row, tokens in enumerate(encoded, start):
                # Each token once, so that memory is bounded by the vocabulary however long the text is.
                ids, counts = np.unique(np.array(tokens.ids, dtype=np.intp), return_counts=True)
                vectors[row] = counts.astype(np.float32) @ self._weights[ids]
        # Of the mean, only the direction is left.
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, norms, out=vectors, where=norms > 0)
        return vectors


def is_installed() -> bool:
    """Whether the packages of the extra `text` are there."""
    return all(find_spec(name) is not None for name in ("wordllama", "safetensors", "tokenizers"))


def _load() -> tuple[Any, NDArray[np.float32]]:
    """The tokenizer, and a row of float32 for each token."""
    carrier = find_spec("wordllama")
    if carrier is None or carrier.origin is None or not is_installed():
        raise FailedPreconditionError(
            "embedding text here needs the extra `text`: pip install 'retrieval-service[text]'",
            reason="TEXT_EXTRA_MISSING",
        )
    from safetensors.numpy import load_file  # noqa: PLC0415  (optional extra)
    from tokenizers import Tokenizer  # noqa: PLC0415

    folder = Path(carrier.origin).parent
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    (weights,) = load_file(folder / WEIGHTS).values()
    return tokenizer, weights.astype(np.float32)
