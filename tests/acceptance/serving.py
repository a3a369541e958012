"""A server process of an acceptance suite, over a database of the application's own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import numpy as np
from google.protobuf import json_format

from retrieval.client import RetrievalClient
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from retrieval.v1 import table_binding_pb2 as binding_pb
from tests.patience import PATIENCE_S
from tests.postgres.conftest import scratch_database
from tests.server.process import server_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

ADMIN_TOKEN = "acceptance-admin-token"
ADMIN = (("authorization", f"Bearer {ADMIN_TOKEN}"),)


async def until(holds: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Ask until the answer is true, and return it."""
    async with asyncio.timeout(PATIENCE_S):
        while not (answer := await holds()):
            await asyncio.sleep(0.05)
        return answer


@dataclass(slots=True)
class Served:
    """The service, as `client` and in calls of the suite; and the application's own connection to the database."""

    target: str
    client: RetrievalClient
    app: Any

    async def create(self, document: dict[str, Any]) -> None:
        """Create a collection: CreateCollectionRequest as JSON."""
        request = json_format.ParseDict(document, collections_pb.CreateCollectionRequest())
        await self.client.collections.CreateCollection(request)

    async def attach(self, collection: str, binding: dict[str, Any]) -> binding_pb.AttachedTable:
        """Attach a table, the message TableBinding as JSON, and wait until its rows are in."""
        message = json_format.ParseDict(binding, binding_pb.TableBinding())
        request = collections_pb.AttachTableRequest(collection=collection, binding=message)
        await self.client.collections.AttachTable(request, metadata=ADMIN)
        return await self.in_step(collection)

    async def in_step(self, collection: str) -> binding_pb.AttachedTable:
        """Wait until nothing that the application wrote is outstanding."""

        async def followed() -> binding_pb.AttachedTable | None:
            request = collections_pb.ListAttachedTablesRequest(collection=collection)
            (table,) = (await self.client.collections.ListAttachedTables(request, metadata=ADMIN)).attached_tables
            assert table.state != binding_pb.ATTACHMENT_STATE_FAILED, table.error
            done = table.state == binding_pb.ATTACHMENT_STATE_FOLLOWING and not table.waiting_changes
            return table if done else None

        found: binding_pb.AttachedTable = await until(followed)
        return found

    async def item(self, collection: str, item_id: object, version: int = 0) -> common_pb.Item | None:
        """An item with its embeddings, whoever may see it."""
        request = items_pb.BatchGetItemsRequest(
            collection=collection,
            item_ids=[str(item_id)],
            view=common_pb.VIEW_FULL,
            viewer=common_pb.Viewer(unrestricted=True),
            embedding_version=version,
        )
        reply = await self.client.items.BatchGetItems(request, metadata=ADMIN)
        return reply.items[0] if reply.items else None


@asynccontextmanager
async def served(database_url: str, folder: Path, **settings: str) -> AsyncIterator[Served]:
    """A server over an empty database, in which the application may be at home."""
    async with scratch_database(database_url) as url:
        environment = {
            "RETRIEVAL_DATABASE_URL": url,
            "RETRIEVAL_ADMIN_TOKEN": ADMIN_TOKEN,
            "RETRIEVAL_DATA_DIR": str(folder),
        }
        async with (
            server_process("--migrate", **environment, **settings) as server,
            RetrievalClient(server.target, admin_token=ADMIN_TOKEN) as client,
        ):
            app = await asyncpg.connect(url)
            try:
                yield Served(server.target, client, app)
            finally:
                await app.close()


def ids(hits: Iterable[common_pb.Hit]) -> list[str]:
    return [hit.item_id for hit in hits]


def options(limit: int = 10, **settings: Any) -> common_pb.SearchOptions:
    return common_pb.SearchOptions(limit=limit, **settings)


def components(item: common_pb.Item | None) -> NDArray[np.float32]:
    """The first embedding of an item, (dim,) float32 of unit length; empty where it has none."""
    if item is None or not item.chunks:
        return np.empty(0, np.float32)
    return vector_of(item.chunks[0].vector)


def vector_of(vector: common_pb.Vector) -> NDArray[np.float32]:
    if vector.WhichOneof("encoding") == "floats":
        return np.array(vector.floats.values, np.float32)
    return np.frombuffer(vector.float32_le, "<f4")


def nearest(query: NDArray[Any], rows: dict[str, NDArray[Any]], count: int) -> list[str]:
    """Keys of the `count` rows with the greatest cosine, best first."""
    keys = list(rows)
    table = np.stack([rows[key] for key in keys]).astype(np.float64)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    order = np.argsort(-(table @ query), kind="stable")[:count]
    return [keys[n] for n in order]


def overlap(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Share of the wanted that was found."""
    return len(set(found) & set(wanted)) / len(wanted)


def strategy(name: str, **weights: float) -> retrieval_pb.CandidateStrategy:
    return retrieval_pb.CandidateStrategy(name=name, source_weights=weights)
