"""An application with tables of its own in the run's Postgres, beside a real server that follows them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import numpy as np
from google.protobuf import json_format

from retrieval.client import RetrievalClient
from retrieval.client.attachments import FAILED, FOLLOWING, AttachmentService
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb
from tests.patience import PATIENCE_S
from tests.server.process import server_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from retrieval.v1 import table_binding_pb2 as binding_pb

ADMIN_TOKEN = "test-admin-token"
ADMIN = (("authorization", f"Bearer {ADMIN_TOKEN}"),)
EVERYTHING = common_pb.Viewer(unrestricted=True)


class Topics:
    """Makes vectors of texts: those of one topic's words are near each other (cosine 0.8), and to no other topic's."""

    def __init__(self, words: dict[str, Sequence[str]], dimension: int) -> None:
        self._dimension = dimension
        self._topic_of = {word: topic for topic, said in words.items() for word in said}
        self._centres = {topic: self._noise(topic, dimension) for topic in words}

    @staticmethod
    def _noise(seed: str, size: int) -> NDArray[np.float32]:
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])
        row = np.random.default_rng(number).standard_normal(size).astype(np.float32)
        return row / np.linalg.norm(row)

    def vector(self, text: str, size: int = 0) -> NDArray[np.float32]:
        """(size,) float32, unit L2: the mean of the topics of its words, and half as much that is the text's alone."""
        size = size or self._dimension
        row = np.zeros(self._dimension, np.float32)
        for word in re.findall(r"\w+", text.lower()):
            topic = self._topic_of.get(word)
            if topic is not None:
                row += self._centres[topic]
        row = row[:size] / (np.linalg.norm(row[:size]) or 1.0) + 0.5 * self._noise(text, size)
        return row / np.linalg.norm(row)


@dataclass
class AttachedApp:
    """`run`, `fetch`: the application's own SQL, where {schema} stands for its schema; `client`: its calls."""

    connection: Any
    schema: str
    target: str
    client: RetrievalClient
    tables: AttachmentService
    names: dict[str, str] = field(default_factory=dict)

    def name(self, short: str) -> str:
        """The collection's name in this run."""
        return self.names.setdefault(short, f"{short}-{uuid4().hex[:8]}")

    async def run(self, statement: str, *values: Any) -> str:
        return str(await self.connection.execute(statement.replace("{schema}", self.schema), *values))

    async def run_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        await self.connection.executemany(statement.replace("{schema}", self.schema), rows)

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        return list(await self.connection.fetch(statement.replace("{schema}", self.schema), *values))

    async def create(self, short: str, collection: dict[str, Any], version: dict[str, Any]) -> str:
        """Declare a collection; returns its name."""
        name = self.name(short)
        body = {"collection": {"name": name, **collection}, "embedding_version": version}
        await self.client.collections.CreateCollection(
            json_format.ParseDict(body, collections_pb.CreateCollectionRequest())
        )
        return name

    async def attach(self, name: str, binding: dict[str, Any]) -> binding_pb.AttachedTable:
        """Follow a table, and wait until its rows are in."""
        await self.tables.attach(name, json.dumps(binding).replace("{schema}", self.schema))
        return await self.settled(name)

    async def settled(self, name: str) -> binding_pb.AttachedTable:
        """Wait until every change that is committed by now is in what searches find."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                (found,) = await self.tables.tables(name)
                assert found.state != FAILED, found.error
                if found.state == FOLLOWING and not found.waiting_changes:
                    break
                await asyncio.sleep(0.02)
        # A write's token makes the search wait until the cache has what was committed before it.
        gone = await self.client.items.DeleteItems(
            items_pb.DeleteItemsRequest(collection=name, item_ids=[str(uuid4())])
        )
        versions = (
            await self.client.collections.GetCollection(collections_pb.GetCollectionRequest(collection=name))
        ).collection
        active = versions.embedding_versions[versions.active_embedding_version - 1]
        options = common_pb.SearchOptions(limit=1, min_consistency_token=gone.consistency_token)
        await self.client.nearest(name, np.ones(active.dimension, np.float32), options=options)
        return found

    async def ids(self, name: str, viewer: common_pb.Viewer | None = None) -> set[str]:
        """Ids of all items that the viewer may see."""
        found: set[str] = set()
        token = ""
        while True:
            page = await self.client.items.ListItems(
                items_pb.ListItemsRequest(collection=name, page_size=1000, page_token=token, viewer=viewer),
                metadata=ADMIN,
            )
            found.update(item.item_id for item in page.items)
            token = page.next_page_token
            if not token:
                return found

    async def item(self, name: str, item_id: str, viewer: common_pb.Viewer = EVERYTHING) -> common_pb.Item:
        """One item, whole."""
        reply = await self.client.items.BatchGetItems(
            items_pb.BatchGetItemsRequest(collection=name, item_ids=[item_id], view=common_pb.VIEW_FULL, viewer=viewer),
            metadata=ADMIN,
        )
        assert reply.items, f"{item_id} is not there"
        return reply.items[0]


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until that is so; fail where it never is. A model that was refused something rests for up to a minute."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            await asyncio.sleep(0.05)


def as_list(row: NDArray[np.float32]) -> list[float]:
    """For a parameter of type real[]."""
    return [float(x) for x in row]


@asynccontextmanager
async def attached_app(database_url: str, folder: Path, **environment: str) -> AsyncIterator[AttachedApp]:
    """A schema of its own, and a server; both are gone afterwards."""
    schema = f"app_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(database_url)
    settings = {
        "RETRIEVAL_DATABASE_URL": database_url,
        "RETRIEVAL_ADMIN_TOKEN": ADMIN_TOKEN,
        "RETRIEVAL_DATA_DIR": str(folder),
        "RETRIEVAL_TRENDING_REFRESH_S": "0.3",
        "RETRIEVAL_MAINTENANCE_WORK_MEM_MB": "128",
    } | environment
    try:
        await connection.execute(f"CREATE SCHEMA {schema}")
        async with (
            server_process("--migrate", **settings) as server,
            RetrievalClient(server.target, admin_token=ADMIN_TOKEN) as client,
        ):
            app = AttachedApp(connection, schema, server.target, client, AttachmentService(client.channel, ADMIN_TOKEN))
            yield app
            for name in app.names.values():
                await client.collections.DeleteCollection(collections_pb.DeleteCollectionRequest(collection=name))
    finally:
        await connection.execute(f"DROP SCHEMA {schema} CASCADE")
        await connection.close()
