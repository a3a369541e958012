"""The local embedder: its vectors, its silence, and what it says where it is not installed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tracemalloc
from importlib.util import find_spec
from pathlib import Path

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


def test_batches_change_nothing(embedder: WordLlamaEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["word " * n for n in range(1, 40)]
    expected = embedder.embed(texts)
    monkeypatch.setattr(wordllama, "BATCH_TEXTS", 7)
    np.testing.assert_array_equal(embedder.embed(texts), expected)


def test_vectors_are_those_of_the_library(embedder: WordLlamaEmbedder) -> None:
    """The first components as wordllama 0.4.0.post1 gave them: vectors that are stored keep their meaning."""
    expected = [
        [-0.0375460, -0.0748940, -0.0086751, -0.0622737],
        [0.0811075, 0.1005143, 0.0702698, -0.1410767],
        [-0.1063013, -0.0258265, -0.0348671, 0.0037087],
        [0.0443617, -0.0536322, -0.0977562, -0.1341845],
    ]
    vectors = embedder.embed(["a war film", "naïve 映画 🎬", "word " * 5000, "x"])
    np.testing.assert_allclose(vectors[:, :4], expected, atol=1e-6)


def test_the_carrier_holds_the_weights_that_the_name_stands_for() -> None:
    spec = find_spec("wordllama")
    assert spec is not None
    assert spec.origin is not None
    weights = (Path(spec.origin).parent / wordllama.WEIGHTS).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"


def test_a_long_text_takes_no_more_memory_than_the_vocabulary(embedder: WordLlamaEmbedder) -> None:
    text = "a film about crows and what they know " * 20_000
    embedder.embed([text[:100]])
    tracemalloc.start()
    try:
        embedder.embed([text])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A row for each of its 160,000 tokens would be 160 MB.
    assert peak < 60e6


@pytest.mark.parametrize("package", ["wordllama", "tokenizers", "safetensors"])
def test_missing_package_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
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
assert "wordllama" not in sys.modules, "only its files are read"
assert not logging.getLogger().handlers and logging.getLogger().level == logging.WARNING
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
