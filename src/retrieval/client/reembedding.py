"""Has a collection embedded anew by another model: beside the active version, which serves until the end."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.client.channel import calling
from retrieval.client.embedding_jobs import EmbeddingJobClient
from retrieval.client.indexes import build_indexes
from retrieval.domain.errors import FailedPreconditionError, UnavailableError
from retrieval.v1 import collection_service_pb2 as pb
from retrieval.v1 import collection_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import grpc

    from retrieval.v1 import embedding_job_service_pb2 as jobs_pb

POLL_S = 0.5
NOTED_S = 30.0
"""After so long without a job leased or done it is said that nobody works."""

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
    by_worker: bool = False
    """Somebody else than the server embeds the texts."""
    patience_s: float = math.inf
    """Where no text is embedded for so long, nobody is taken to be at work."""


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

        Raises: grpc.RpcError; RetrievalError (INDEX_FAILED); FailedPreconditionError (UNKNOWN_MODEL) where the server
        does not know the model and no worker was spoken of; UnavailableError (NOBODY_EMBEDS).
        """
        name = self._wanted.collection
        if not self._wanted.by_worker:
            await self._check_model()
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

    async def _check_model(self) -> None:
        """A version of a model that nobody knows would wait for ever."""
        wanted = self._wanted
        known = (await self._jobs.stats(wanted.collection)).text_models
        if not any(m.model == wanted.model and m.dimension >= wanted.dimension for m in known):
            models = ", ".join(f"{m.model!r} of up to {m.dimension}" for m in known) or "no model"
            raise FailedPreconditionError(
                f"the server embeds texts with {models} components, not with {wanted.model!r} of {wanted.dimension}: "
                "correct --model or --dimension, name the model in the server's RETRIEVAL_EMBEDDING_MODELS, or say "
                "--worker where a worker of yours embeds with it",
                reason="UNKNOWN_MODEL",
            )

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
        loop = asyncio.get_running_loop()
        before, moved, noted = -1, loop.time(), False
        while True:
            reply = await self._jobs.stats(self._wanted.collection)
            stats = next(s for s in reply.versions if s.embedding_version == version)
            self._progress("texts", stats.done, stats.total)
            if not (stats.queued or stats.leased or stats.retrying or stats.outstanding):
                return stats
            if stats.done != before or stats.leased:
                before, moved, noted = stats.done, loop.time(), False
            still_s = loop.time() - moved
            if still_s >= self._wanted.patience_s:
                raise UnavailableError(
                    f"no text was embedded for {still_s:.0f} s: does a worker of {stats.model} run, and does its model "
                    f"answer? Version {version} stays as it is; run the same command again to go on",
                    reason="NOBODY_EMBEDS",
                )
            if still_s >= NOTED_S and not noted:
                noted = True
                log.warning("nobody has taken a job of %s for %.0f s: does its worker run?", stats.model, still_s)
            await asyncio.sleep(POLL_S)


async def reembed(
    target: str, wanted: Wanted, progress: Callable[[str, int, int], None], ca: Path | None = None
) -> Reembedded:
    """`Reembedding` on the service at `target`. Raises: as `calling` and `Reembedding.run`."""
    async with calling(target, ca) as channel:
        return await Reembedding(channel, wanted, progress).run()
