"""The local embedder: its vectors, its silence, and what it says where it is not installed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from retrieval.domain.errors import FailedPreconditionError
from retrieval.embedding import wordllama
from retrieval.embedding.wordllama import WordLlamaEmbedder


@pytest.fixture(scope="module")
def embedder() -> WordLlamaEmbedder:
    return WordLlamaEmbedder()


def test_vectors_are_unit_length_and_typed(embedder: WordLlamaEmbedder) -> None:
    vectors = embedder.embed(("a space opera", "naïve 映画 🎬", "x"))
    assert vectors.shape == (3, embedder.dimension)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_like_texts_are_near_at_every_resolution(embedder: WordLlamaEmbedder) -> None:
    vectors = embedder.embed(["a war film", "a movie about soldiers in battle", "how to bake an apple cake"])
    for dimension in (64, 128, 256):
        prefix = vectors[:, :dimension]
        scores = prefix @ prefix[0] / np.linalg.norm(prefix, axis=1)
        assert scores[1] > scores[2]


def test_text_without_tokens_is_zero_and_disturbs_no_other(embedder: WordLlamaEmbedder) -> None:
    vectors = embedder.embed(["", "a war film"])
    assert not vectors[0].any()
    np.testing.assert_allclose(vectors[1], embedder.embed(["a war film"])[0], atol=1e-6)


def test_no_texts(embedder: WordLlamaEmbedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_long_texts_change_the_batches_not_the_vectors(
    embedder: WordLlamaEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["word " * n for n in range(1, 40)]
    expected = embedder.embed(texts)
    monkeypatch.setattr(wordllama, "MAX_BATCH_BYTES", 500)
    np.testing.assert_allclose(embedder.embed(texts), expected, atol=1e-6)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(FailedPreconditionError, match=r"retrieval-service\[text\]") as caught:
        WordLlamaEmbedder()
    assert caught.value.reason == "TEXT_EXTRA_MISSING"


def test_prints_nothing_leaves_logging_alone_and_opens_no_connection() -> None:
    program = """
import logging, socket, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise AssertionError(event)

sys.addaudithook(refuse)
from retrieval.embedding.wordllama import WordLlamaEmbedder
assert "wordllama" not in sys.modules
WordLlamaEmbedder().embed(["a war film"])
assert not logging.getLogger().handlers and logging.getLogger().level == logging.WARNING
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
