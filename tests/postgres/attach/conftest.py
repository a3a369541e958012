from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
import numpy as np
import pytest

from retrieval.application.attachment_ports import Attachment, AttachmentState
from retrieval.domain.model import (
    EVERYTHING,
    AttributeType,
    Collection,
    EmbeddingVersion,
    Item,
    Metric,
    VisibilityMode,
)
from retrieval.domain.table_binding import read_binding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import Stores
    from retrieval.postgres.adapter import PostgresAdapter
    from retrieval.postgres.attach.follow import AttachmentFollower

DIM = 3
TABLE = """
CREATE TABLE {schema}.posts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    title text NOT NULL,
    body text,
    author uuid,
    shown_to text NOT NULL DEFAULT 'everybody',
    circles uuid[] NOT NULL DEFAULT '{}',
    state text,
    stars numeric,
    votes integer,
    tags text[],
    platform text,
    likes integer NOT NULL DEFAULT 0,
    extra json,
    embedding vector(3),
    made_at timestamptz DEFAULT now()
)
"""
BINDING = {
    "text_columns": ["title", "body"],
    "attributes": {"platform": "platform", "likes": "likes", "made": "made_at"},
    "owner_column": "author",
    "visibility": {"column": "shown_to", "values": {"everybody": "public", "circles": "groups", "me": "private"}},
    "audience_column": "circles",
    "status": {"column": "state", "values": {"ok": "approved", "no": "rejected"}},
    "rating_value_column": "stars",
    "rating_count_column": "votes",
    "tags_column": "tags",
    "created_at_column": "made_at",
    "payload_columns": ["extra"],
    "vectors": [{"column": "embedding"}],
}
BARE: dict[str, Any] = dict.fromkeys(BINDING)
"""Changes that leave nothing of BINDING."""
ATTRIBUTES = {
    "platform": AttributeType.KEYWORD,
    "likes": AttributeType.INT64,
    "made": AttributeType.TIMESTAMP,
}


@dataclass
class App:
    """An application with tables of its own, in the same database, and the collection that follows them."""

    stores: Stores
    connection: Any
    schema: str
    collection: Collection
    follower: AttachmentFollower
    relation: str = field(init=False)

    def __post_init__(self) -> None:
        self.relation = f"{self.schema}.posts"

    async def run(self, statement: str, *values: Any) -> str:
        """A statement of the application's."""
        return str(await self.connection.execute(statement.replace("{schema}", self.schema), *values))

    async def attach(self, **changes: Any) -> Attachment:
        given = {"relation": self.relation} | BINDING | changes
        binding = read_binding({name: value for name, value in given.items() if value is not None})
        await self.stores.attachments.attach(self.collection, binding)
        return await self.settled()

    async def settled(self) -> Attachment:
        """The one attachment, once nothing is left to do."""
        for _ in range(400):
            self.follower.wake()
            found = (await self.stores.attachments.attachments(self.collection))[0]
            if found.state is AttachmentState.FAILED or (
                found.state is AttachmentState.FOLLOWING and not found.waiting
            ):
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"not settled: {found}")

    async def items(self) -> dict[str, Item]:
        """All items, by title, which is the first line of their text."""
        await self.settled()
        collection = await self.stores.collections.get(self.collection.name)
        rows = await self.connection.fetch(
            "SELECT item_id FROM retrieval.items WHERE collection_id = $1", collection.collection_id
        )
        ids = [r["item_id"] for r in rows]
        found = await self.stores.items.get(collection, collection.active, ids, EVERYTHING, with_chunks=True)
        return {item.text.partition("\n")[0]: item for item in found.values()}


@pytest.fixture
async def app(postgres: Stores, adapter: PostgresAdapter, database_url: str, name: str) -> AsyncIterator[App]:
    collection = await postgres.collections.create(
        Collection(0, name, Metric.COSINE, ATTRIBUTES, VisibilityMode.PRIVATE_BY_DEFAULT),
        EmbeddingVersion(0, 1, "test", DIM),
    )
    schema = f"app_{name.replace('-', '_')}"
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"CREATE SCHEMA {schema}")
    assert adapter.follower is not None
    made = App(postgres, connection, schema, collection, adapter.follower)
    await made.run(TABLE)
    yield made
    await postgres.collections.delete(name)
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()


def near(item: Item, *vector: float) -> bool:
    """Whether the item has this one embedding."""
    wanted = np.array(vector) / np.linalg.norm(vector)
    return len(item.chunks) == 1 and bool(np.allclose(item.chunks[0].vector.astype(float), wanted, atol=1e-3))
