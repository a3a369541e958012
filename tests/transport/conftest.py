from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from retrieval.application.limits import Limits
from retrieval.application.service import Service
from retrieval.client import RetrievalClient
from retrieval.config import Settings
from retrieval.reference.adapter import ReferenceAdapter
from retrieval.transport.server import NO_HOT_METHODS, RunningServer, start_server
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.transport.hot import HotMethods

DIM = 4


class Running:
    """A server in this process over the in-memory stores, with a client."""

    def __init__(self, service: Service, server: RunningServer, client: RetrievalClient) -> None:
        self.service = service
        self.server = server
        self.client = client


@asynccontextmanager
async def running(
    front: str,
    *,
    warming: bool = False,
    alive: list[bool] | None = None,
    hot: HotMethods = NO_HOT_METHODS,
    **settings: object,
) -> AsyncIterator[Running]:
    async def is_alive() -> bool:
        return alive[0] if alive else True

    stores = await ReferenceAdapter().open()
    service = Service(stores, is_alive, Limits())
    settings = {"port": 0, "drain_s": 0.5} | settings
    server = await start_server(service, Settings(front=front, **settings), hot=hot, warming=warming)
    try:
        async with RetrievalClient(f"127.0.0.1:{server.port}") as client:
            yield Running(service, server, client)
    finally:
        await server.drain()


@pytest.fixture
async def run(front: str) -> AsyncIterator[Running]:
    async with running(front) as started:
        await create(started.client)
        yield started


async def create(client: RetrievalClient, name: str = "films") -> None:
    await client.collections.CreateCollection(
        collections_pb.CreateCollectionRequest(
            collection=collections_pb.Collection(
                name=name,
                attributes=[
                    collections_pb.AttributeDefinition(name="year", type=common_pb.ATTRIBUTE_TYPE_INT64),
                    collections_pb.AttributeDefinition(name="genres", type=common_pb.ATTRIBUTE_TYPE_KEYWORD_LIST),
                    collections_pb.AttributeDefinition(name="seen_at", type=common_pb.ATTRIBUTE_TYPE_TIMESTAMP),
                ],
            ),
            embedding_version=collections_pb.EmbeddingVersion(model="test", dimension=DIM, resolutions=[2]),
        )
    )
