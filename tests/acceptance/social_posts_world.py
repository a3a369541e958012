"""The feed of `social_posts_app` beside a service that follows it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np

from retrieval.client import vector
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import embedding_job_service_pb2 as jobs_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from tests.acceptance.serving import Served, options, served, until
from tests.acceptance.social_posts_app import (
    BASE,
    BINDING,
    COLLECTION,
    LEARNED,
    TOPICS,
    Feed,
    embed,
    post,
    reader,
    tower,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path
    from uuid import UUID

    from retrieval.v1 import retrieval_service_pb2 as retrieval_pb

POSTS = "posts"
EXACT = common_pb.SearchParams(exact=True)
"""Reads what is committed now: the application's writes return no consistency token."""


class World:
    """The application's side, `feed`, and the service's, `service`."""

    def __init__(self, service: Served, feed: Feed) -> None:
        self.service = service
        self.client = service.client
        self.feed = feed

    async def record(self, events: Sequence[feedback_pb.Event]) -> feedback_pb.RecordEventsResponse:
        return await self.client.record_events(POSTS, events)

    async def act(self, user: UUID, kind: str, *post_ids: UUID, **columns: object) -> None:
        """The user does it with each post; the application notes it, and sends it."""
        await self.record([await self.feed.engage(user, post_id, kind, **columns) for post_id in post_ids])

    async def candidates(
        self, user: UUID, limit: int = 20, **settings: object
    ) -> retrieval_pb.SearchUserCandidatesResponse:
        given = settings.pop("options", None) or options(limit, view=common_pb.VIEW_BASIC)
        return await self.client.candidates(POSTS, str(user), options=given, **settings)

    async def edges(self, user: UUID, kind: feedback_pb.EdgeKind, *owners: UUID, remove: bool = False) -> None:
        request = feedback_pb.UpdateOwnerEdgesRequest(collection=POSTS, user_id=str(user))
        for owner in owners:
            (request.remove if remove else request.add).add(owner_id=str(owner), kind=kind)
        await self.client.feedback.UpdateOwnerEdges(request)

    async def outstanding(self) -> int:
        """Texts that wait for the text model, in all versions."""
        stats = await self.client.embedding_jobs.stats(POSTS)
        return sum(version.outstanding for version in stats.versions)

    async def embed_waiting(self) -> int:
        """What a worker with the text model does: it takes the texts that wait, and returns how many there were."""
        done = 0
        for version in (1, 2):
            while (lease := await self.client.embedding_jobs.lease(POSTS, 64, embedding_version=version)).jobs:
                assert lease.dimension == BASE, "of the model, not of the projection"
                results = [
                    jobs_pb.EmbeddingJobResult(
                        job_id=job.job_id, chunks=[common_pb.Chunk(vector=vector(embed(job.text)))]
                    )
                    for job in lease.jobs
                ]
                await self.client.embedding_jobs.complete(lease.lease_id, results)
                done += len(results)
        return done

    async def settled(self) -> None:
        """Everything that the application wrote is in, and embedded."""
        await self.service.in_step(POSTS)

        async def embedded() -> bool:
            await self.embed_waiting()
            return not await self.outstanding()

        await until(embedded)


@asynccontextmanager
async def world_of_posts(database_url: str, folder: Path) -> AsyncIterator[World]:
    """A feed with readers of one taste each, who follow one author of it."""
    async with served(
        database_url, folder, RETRIEVAL_EVENT_RETENTION_DAYS="90", RETRIEVAL_TRENDING_REFRESH_S="0.5"
    ) as service:
        feed = Feed(service.app)
        await feed.build()
        await service.create(COLLECTION)
        matrix, bias = tower()
        await service.client.collections.CreateEmbeddingVersion(
            collections_pb.CreateEmbeddingVersionRequest(
                collection=POSTS,
                embedding_version=collections_pb.EmbeddingVersion(
                    model="two-tower-1", dimension=LEARNED, embeds_text=True
                ),
                projection=collections_pb.Projection(
                    input_dimension=BASE, matrix=vector(matrix.ravel()), bias=vector(np.asarray(bias))
                ),
            )
        )
        await service.attach(POSTS, BINDING)
        world = World(service, feed)
        await world.settled()
        events = []
        for topic in TOPICS:
            for n in range(3):
                liked = [(a, m) for a in range(5) for m in range(8) if (a + m + n) % 5 == 0]
                for a, m in liked:
                    events.append(await feed.engage(reader(topic, n), post(topic, a, m), "like", 1 + 0.1 * m))
        await world.record(events)
        yield world
