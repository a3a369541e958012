"""Has a collection embedded anew by another model: beside the active version, which serves until the end."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.client.channel import calling
from retrieval.client.embedding_jobs import EmbeddingJobClient
from retrieval.client.indexes import build_indexes
from retrieval.v1 import collection_service_pb2 as pb
from retrieval.v1 import collection_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import grpc

    from retrieval.v1 import embedding_job_service_pb2 as jobs_pb

POLL_S = 0.5
STALLED_POLLS = 60
"""After so many without a job leased or done it is said that nobody works."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The version to have."""

    collection: str
    model: str
    dimension: int
    resolutions: tuple[int, ...] = ()
    activate: bool = True
    chunk_characters: int = 0


@dataclass(frozen=True, slots=True)
class Reembedded:
    """What came of it. `dead`: texts that could not be embedded."""

    version: int
    active: bool
    embedded: int
    total: int
    dead: int


class Reembedding:
    """Creates the version where it is missing, waits for its texts, builds its indexes and activates it.

    What an earlier run did is found by the model, dimension, resolutions and parts of the version. `progress` is told
    (what, done, total).
    """

    def __init__(self, channel: grpc.aio.Channel, wanted: Wanted, progress: Callable[[str, int, int], None]) -> None:
        self._collections = pb_grpc.CollectionServiceStub(channel)
        self._jobs = EmbeddingJobClient(channel)
        self._wanted = wanted
        self._progress = progress

    async def run(self) -> Reembedded:
        """Go on until the version is complete and, where wanted, active.

        Raises: grpc.RpcError; RetrievalError (INDEX_FAILED).
        """
        name = self._wanted.collection
        version = await self._ensure()
        stats = await self._embed(version.version)
        await build_indexes(self._collections, name, self._progress, version.version)
        active = version.state == pb.EMBEDDING_VERSION_STATE_ACTIVE
        if self._wanted.activate and not active:
            await self._collections.ActivateEmbeddingVersion(
                pb.ActivateEmbeddingVersionRequest(collection=name, version=version.version)
            )
            active = True
        return Reembedded(version.version, active, stats.done, stats.total, stats.dead)

    async def _ensure(self) -> pb.EmbeddingVersion:
        wanted = self._wanted
        found = await self._collections.GetCollection(pb.GetCollectionRequest(collection=wanted.collection))
        for version in reversed(found.collection.embedding_versions):
            shape = (version.model, version.dimension, tuple(version.resolutions), version.chunk_characters)
            same = shape == (wanted.model, wanted.dimension, tuple(sorted(wanted.resolutions)), wanted.chunk_characters)
            if same and version.embeds_text:
                return version  # type: ignore[no-any-return]  # the stubs' replies are untyped
        made = pb.EmbeddingVersion(
            model=wanted.model,
            dimension=wanted.dimension,
            resolutions=wanted.resolutions,
            embeds_text=True,
            chunk_characters=wanted.chunk_characters,
        )
        reply = await self._collections.CreateEmbeddingVersion(
            pb.CreateEmbeddingVersionRequest(collection=wanted.collection, embedding_version=made)
        )
        return reply.embedding_version  # type: ignore[no-any-return]

    async def _embed(self, version: int) -> jobs_pb.EmbeddingJobStats:
        """Wait until every text has an embedding or failed for good."""
        before, still = -1, 0
        while True:
            reply = await self._jobs.stats(self._wanted.collection)
            stats = next(s for s in reply.versions if s.embedding_version == version)
            self._progress("texts", stats.done, stats.total)
            if not (stats.queued or stats.leased or stats.retrying or stats.outstanding):
                return stats
            still = still + 1 if stats.done == before and not stats.leased else 0
            before = stats.done
            if still == STALLED_POLLS:
                log.warning(
                    "nobody takes the jobs of %s: does the server know the model, or does a worker run?", stats.model
                )
            await asyncio.sleep(POLL_S)


async def reembed(
    target: str, wanted: Wanted, progress: Callable[[str, int, int], None], ca: Path | None = None
) -> Reembedded:
    """`Reembedding` on the service at `target`. Raises: as `calling`; RetrievalError (INDEX_FAILED)."""
    async with calling(target, ca) as channel:
        return await Reembedding(channel, wanted, progress).run()
