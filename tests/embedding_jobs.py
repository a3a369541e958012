"""Collections whose texts are embedded, and vectors that tell which text they were made of."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from retrieval.domain.embedding_jobs import EmbeddedText
from retrieval.domain.model import EVERYTHING, Chunk, Collection, EmbeddingVersion, Item, Metric
from retrieval.domain.vectors import to_half

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from retrieval.domain.embedding_jobs import CompleteOutcome, EmbeddingJob

DIM = 8


def embed(text: str, dimension: int = DIM) -> NDArray[np.float16]:
    """(dimension,) float16, unit L2: another vector for another text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    row = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return to_half(row, dimension, Metric.COSINE, "vector")


def chunk(text: str, dimension: int = DIM) -> Chunk:
    return Chunk(0, embed(text, dimension))


async def create(stores: Stores, name: str, *, embeds_text: bool = True) -> Collection:
    version = EmbeddingVersion(0, 0, "model-a", DIM, embeds_text=embeds_text)
    return await stores.collections.create(Collection(0, name), version)


async def add_version(stores: Stores, name: str, *, model: str = "model-b") -> tuple[Collection, EmbeddingVersion]:
    """A second version that embeds texts, its jobs queued."""
    made = await stores.collections.create_version(name, EmbeddingVersion(0, 0, model, DIM, embeds_text=True))
    collection = await stores.collections.get(name)
    await until_queued(stores, collection, made)
    return collection, made


async def until_queued(stores: Stores, collection: Collection, version: EmbeddingVersion) -> None:
    """Give all texts their jobs; the store's own task may be at it, too, and have the version to itself."""
    while True:
        await stores.embedding_jobs.backfill()
        counts = await stores.embedding_jobs.counts(collection, version)
        if counts.outstanding <= counts.queued + counts.leased + counts.retrying:
            return
        await asyncio.sleep(0.01)


async def write(stores: Stores, collection: Collection, *items: Item, version: int = 0) -> None:
    target = next(v for v in collection.versions if v.version == (version or collection.active.version))
    await stores.items.upsert(collection, target, items, "", b"")


async def lease(
    stores: Stores, collection: Collection, version: EmbeddingVersion, count: int = 256, lease_s: float = 60.0
) -> tuple[UUID, list[EmbeddingJob]]:
    lease_id = uuid4()
    return lease_id, await stores.embedding_jobs.lease(collection, version, lease_id, count, lease_s)


async def complete(
    stores: Stores, collection: Collection, version: EmbeddingVersion, lease_id: UUID, jobs: Sequence[EmbeddingJob]
) -> list[CompleteOutcome]:
    done = [EmbeddedText(j.job_id, (chunk(j.text),)) for j in jobs]
    outcomes = await stores.embedding_jobs.complete(collection, version, lease_id, done)
    return [outcomes[j.job_id] for j in jobs]


async def work_off(stores: Stores, collection: Collection, version: EmbeddingVersion) -> list[str]:
    """Do all jobs that are due; the texts that were embedded, in order."""
    texts: list[str] = []
    while True:
        lease_id, jobs = await lease(stores, collection, version)
        if not jobs:
            return texts
        await complete(stores, collection, version, lease_id, jobs)
        texts += [j.text for j in jobs]


async def vectors(
    stores: Stores, collection: Collection, version: EmbeddingVersion, *item_ids: str
) -> dict[str, NDArray[np.float16]]:
    return await stores.index.vectors(version, item_ids, EVERYTHING)


async def check_texts(stores: Stores, collection: Collection, version: EmbeddingVersion, texts: dict[str, str]) -> None:
    """Every item has the embedding of that text, and an empty text has none."""
    found = await vectors(stores, collection, version, *texts)
    for item_id, text in texts.items():
        if text:
            # Scaled to unit length once more on the way, by which the last bit may change.
            same = item_id in found and np.allclose(found[item_id], embed(text)[np.newaxis], atol=2e-3)
            assert same, f"{item_id} is not embedded as {text!r}"
        else:
            assert item_id not in found


async def until_leased(
    stores: Stores, collection: Collection, version: EmbeddingVersion, lease_s: float = 60.0
) -> tuple[UUID, list[EmbeddingJob]]:
    """A lease with at least one job, once one is due."""
    while True:
        lease_id, jobs = await lease(stores, collection, version, lease_s=lease_s)
        if jobs:
            return lease_id, jobs
        await asyncio.sleep(0.01)


async def until_dead(stores: Stores, collection: Collection, version: EmbeddingVersion) -> None:
    """Ask for jobs until one is held that nobody may lease any more."""
    while not (await stores.embedding_jobs.counts(collection, version)).dead:
        assert (await lease(stores, collection, version))[1] == []
        await asyncio.sleep(0.01)
