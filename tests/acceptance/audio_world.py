"""The network for voice notes beside a real server."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.acceptance.attached_app import ADMIN, EVERYTHING, AttachedApp, as_list, attached_app, eventually
from tests.acceptance.audio_app import (
    ADD_CHUNK,
    ADD_ITEM,
    BINDING,
    CIRCLES,
    COLLECTION,
    DIM,
    EACH,
    MODEL,
    START,
    TOPICS,
    USERS,
    circles_of,
    event,
    fill,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

CONTENT = [pb.CandidateStrategy(name="content")]
OWNER, MEMBER, STRANGER = USERS[0], USERS[2], USERS[9]
PERIHELION = "A comet at perihelion, seen from the balcony."


@dataclass
class Network:
    """`seed` is public and by somebody else; `shown`, `shared` and `secret` are OWNER's, and very much like it."""

    app: AttachedApp
    name: str
    seed: str = field(default_factory=lambda: str(uuid4()))
    shown: str = field(default_factory=lambda: str(uuid4()))
    shared: str = field(default_factory=lambda: str(uuid4()))
    secret: str = field(default_factory=lambda: str(uuid4()))

    @property
    def near(self) -> set[str]:
        return {self.shown, self.shared, self.secret}

    async def add(self, item: str, by: UUID, shown: str, circles: Iterable[UUID] = (), text: str = PERIHELION) -> None:
        """An audio of one chunk, which says that text."""
        values = (UUID(item), by, shown, list(circles), "A note", "micro", 60, ["sky"], START)
        await self.app.run(ADD_ITEM, *values)
        await self.app.run("INSERT INTO {schema}.transcripts (audio_id, text) VALUES ($1, $2)", UUID(item), text)
        await self.app.run(ADD_CHUNK, UUID(item), 0, as_list(TOPICS.vector(text)), text)

    async def viewer(self, user: UUID) -> common_pb.Viewer:
        return common_pb.Viewer(user_id=str(user), group_ids=await circles_of(self.app, user))

    async def subjects(self, hits: Iterable[common_pb.Hit]) -> Counter[str]:
        rows = await self.app.fetch("SELECT id, tags[1] AS subject FROM {schema}.audio_items")
        subject = {str(r["id"]): r["subject"] for r in rows}
        return Counter(subject[h.item_id] for h in hits)

    async def nearest(self, text: str, **options: Any) -> pb.SearchMatryoshkaResponse:
        return await self.app.client.nearest(self.name, TOPICS.vector(text), options=common_pb.SearchOptions(**options))

    async def words(self, text: str, name: str = "", **options: Any) -> list[str]:
        reply = await self.app.client.hybrid(
            name or self.name, text, mode=pb.HYBRID_MODE_TEXT, options=common_pb.SearchOptions(**options)
        )
        return [h.item_id for h in reply.hits]

    async def trending(self, **request: Any) -> list[str]:
        reply = await self.app.client.retrieval.ListTrendingItems(
            pb.ListTrendingItemsRequest(collection=self.name, **request), metadata=ADMIN
        )
        return [h.item_id for h in reply.hits]


def matches(attribute: str, value: str) -> common_pb.Filter:
    match = common_pb.MatchAny(attribute=attribute, values=[common_pb.AttributeValue(keyword=value)])
    return common_pb.Filter(must=[common_pb.Condition(match=match)])


@asynccontextmanager
async def network_of(database_url: str, folder: Path, each: int = EACH) -> AsyncIterator[Network]:
    """A network with `each` voice notes on every subject, and four that are alike."""
    async with attached_app(database_url, folder) as app:
        await fill(app, each)
        version = {"model": MODEL, "dimension": DIM}
        made = Network(app, await app.create("audio", COLLECTION | {"text_language": "english"}, version))
        await made.add(made.seed, USERS[5], "public")
        await made.add(made.shown, OWNER, "public")
        await made.add(made.shared, OWNER, "circles", [CIRCLES[0]])
        await made.add(made.secret, OWNER, "private")
        found = await app.attach(made.name, BINDING)
        assert found.problem_count == 0, found.problems
        kind = common_pb.RELATIONSHIP_KIND_RESPONSE
        answers = [common_pb.Relationship(item_id=made.seed, related_item_id=i, kind=kind) for i in sorted(made.near)]
        await app.client.items.UpsertRelationships(
            items_pb.UpsertRelationshipsRequest(collection=made.name, relationships=answers)
        )
        crowd = [event(f"crowd-{n}", i, "share") for n in range(20) for i in (made.seed, *sorted(made.near))]
        await app.client.record_events(made.name, crowd)

        async def trends() -> bool:
            return made.near <= set(await made.trending(viewer=EVERYTHING))

        await eventually(trends)
        yield made


async def build(network: Network, kind: collections_pb.IndexKind) -> collections_pb.IndexStats:
    """Build an index; returns what is said of it once it is ready."""
    client = network.app.client.collections
    await client.BuildIndex(collections_pb.BuildIndexRequest(collection=network.name, kinds=[kind]))
    found: list[collections_pb.IndexStats] = []

    async def ready() -> bool:
        stats = await client.GetIndexStats(collections_pb.GetIndexStatsRequest(collection=network.name))
        found[:] = [index for index in stats.indexes if index.kind == kind]
        assert not any(index.error for index in found)
        return bool(found) and all(index.state == collections_pb.INDEX_STATE_READY for index in found)

    await eventually(ready)
    return found[0]
