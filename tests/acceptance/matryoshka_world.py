"""The shop of `matryoshka_app` beside a service that follows it, in two ways."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from retrieval.v1 import collection_service_pb2 as collections_pb
from tests.acceptance.matryoshka_app import (
    FULL,
    ITEM,
    MIDDLE,
    MULTI,
    SHORT,
    STRATEGIES,
    Shop,
    collection,
    event_of,
)
from tests.acceptance.serving import Served, options, served, strategy, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path
    from uuid import UUID

    from retrieval.v1 import feedback_service_pb2 as feedback_pb
    from retrieval.v1 import retrieval_service_pb2 as retrieval_pb

SHOP = "fragrances"
"""One version of 2048 components with prefixes of 512 and 128."""
COLUMNS = "fragrance-columns"
"""A version for each of the three columns."""
LAB = "fragrance-lab"


class World:
    """The application's side, `shop`, and the service's, `service`."""

    def __init__(self, service: Served, shop: Shop) -> None:
        self.service = service
        self.client = service.client
        self.shop = shop

    async def stats(self) -> collections_pb.GetIndexStatsResponse:
        return await self.client.collections.GetIndexStats(collections_pb.GetIndexStatsRequest(collection=SHOP))

    async def is_ready(self) -> bool:
        states = [index.state for index in (await self.stats()).indexes]
        assert collections_pb.INDEX_STATE_FAILED not in states
        return bool(states) and set(states) == {collections_pb.INDEX_STATE_READY}

    async def is_cached(self) -> bool:
        return (await self.stats()).cache.state == collections_pb.CACHE_STATE_RESIDENT

    async def index_definitions(self, part: str) -> list[str]:
        """Of the graphs in Postgres whose definition has that part."""
        rows = await self.shop.connection.fetch("SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%USING hnsw%'")
        return [row["indexdef"] for row in rows if part in row["indexdef"]]

    async def make_lab(self, item_ids: Sequence[UUID]) -> None:
        """Tables of the same shape, in another schema, with some of the fragrances; a collection that follows them."""
        app = self.shop.connection
        await app.execute("CREATE SCHEMA lab")
        for table, column in (("fragrances", "id"), ("fragrance_embeddings_multi", "fragrance_id")):
            await app.execute(f"CREATE TABLE lab.{table} (LIKE {table} INCLUDING ALL)")
            await app.execute(f"INSERT INTO lab.{table} SELECT * FROM {table} WHERE {column} = ANY($1)", list(item_ids))
        await self.service.create(collection(LAB, model="1", dimension=FULL))
        await self.attach_lab(embedding_version=1)

    async def attach_lab(self, embedding_version: int) -> None:
        """Rows whose `version` is the version's model, the number as text."""
        vector = {
            "column": "embedding_2048",
            "relation": "lab.fragrance_embeddings_multi",
            "key_column": "fragrance_id",
            "model_column": "version",
            "embedding_version": embedding_version,
        }
        await self.service.attach(LAB, {**ITEM, "relation": "lab.fragrances", "vectors": [vector]})

    async def send_events(self) -> feedback_pb.RecordEventsResponse:
        """Send what the application has not processed; it is marked by who calls, once this returns."""
        return await self.client.record_events(SHOP, [event_of(row) for row in await self.shop.unprocessed()])

    async def process_events(self) -> None:
        rows = await self.shop.unprocessed()
        await self.send_events()
        await self.shop.mark_processed(rows)

    async def candidates(
        self, user: UUID, *names: str, limit: int = 20, **settings: object
    ) -> retrieval_pb.SearchUserCandidatesResponse:
        """By the application's strategies of these names."""
        strategies = [strategy(name, **STRATEGIES[name]) for name in names]
        return await self.client.candidates(SHOP, str(user), options=options(limit), strategies=strategies, **settings)


@asynccontextmanager
async def world_of_fragrances(database_url: str, folder: Path, *, indexes: bool = True) -> AsyncIterator[World]:
    """A shop whose fragrances are followed; with `indexes`, also by column, indexed and in the cache."""
    async with served(database_url, folder, RETRIEVAL_TRENDING_REFRESH_S="0.5") as service:
        shop = Shop(service.app)
        await shop.build()
        world = World(service, shop)
        await service.create(collection(SHOP, model="1", dimension=FULL, resolutions=[SHORT, MIDDLE]))
        vectors = [{"column": "embedding_2048", **MULTI}]
        await service.attach(SHOP, {**ITEM, "vectors": vectors})
        if indexes:
            await service.create(collection(COLUMNS, model="long", dimension=FULL))
            for model, dimension in (("middle", MIDDLE), ("short", SHORT)):
                request = collections_pb.CreateEmbeddingVersionRequest(
                    collection=COLUMNS,
                    embedding_version=collections_pb.EmbeddingVersion(model=model, dimension=dimension),
                )
                await service.client.collections.CreateEmbeddingVersion(request)
            vectors = [
                {"column": f"embedding_{dimension}", "embedding_version": n + 1, **MULTI}
                for n, dimension in enumerate((FULL, MIDDLE, SHORT))
            ]
            await service.attach(COLUMNS, {**ITEM, "vectors": vectors})
            await service.client.collections.BuildIndex(collections_pb.BuildIndexRequest(collection=SHOP))
            await until(world.is_ready)
            await service.client.collections.PrewarmCache(collections_pb.PrewarmCacheRequest(collection=SHOP))
            await until(world.is_cached)
        yield world
