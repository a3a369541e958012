"""The library of videos beside a real server: its rows followed, its references and its viewers' acts sent on."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
from google.protobuf import json_format

from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import profile_service_pb2 as profiles_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from retrieval.v1 import table_binding_pb2 as binding_pb
from tests.acceptance.videos import app as app_tables
from tests.acceptance.videos.app import (
    DIM,
    MODEL,
    NOW,
    Library,
    Video,
    fill,
    key,
    make_library,
    text_vector,
    vector_literal,
)
from tests.embedding_server import EmbeddingServer
from tests.patience import PATIENCE_S
from tests.postgres.conftest import scratch_database
from tests.server.process import server_process, stubs_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from uuid import UUID

    from tests.server.process import Stubs

TOKEN = "videos-token"
ADMIN = (("authorization", f"Bearer {TOKEN}"),)
NAME = "videos"
OTHER_MODEL = "sentence-model"
KINDS = {
    "related": common_pb.RELATIONSHIP_KIND_RELATED,
    "prerequisite": common_pb.RELATIONSHIP_KIND_PREREQUISITE,
    "sequel": common_pb.RELATIONSHIP_KIND_SEQUEL,
    "response": common_pb.RELATIONSHIP_KIND_RESPONSE,
    "cited": common_pb.RELATIONSHIP_KIND_CITED,
    "contradicts": common_pb.RELATIONSHIP_KIND_CONTRADICTS,
}
"""video_references.reference_type in the words of the contract."""
EVENT_TYPES = [{"type": "view", "weight": 0.7}, {"type": "reply", "weight": 0.3}]
"""What trends is views by 0.7 and comments by 0.3; a bookmark (`save`, 1.5) and a like (1.0) weigh more than a view."""
PATHS = ("SOURCE_FAISS", "SOURCE_HNSW", "SOURCE_EXACT")


ADD = """
INSERT INTO videos (platform, platform_id, url, title, description, duration_seconds, published_at, submitted_by)
VALUES ('youtube', $1, 'https://videos.example/' || $1, $2, $3, 600, now(), $4) RETURNING id
"""
EMBED = """
INSERT INTO video_embeddings (video_id, embedding, model, source) VALUES ($1, $2::text::vector, $3, 'combined')
ON CONFLICT (video_id) DO UPDATE SET embedding = excluded.embedding, model = excluded.model
"""


@dataclass(frozen=True, slots=True)
class Added:
    """A video that is not one of the library's own."""

    id: UUID
    title: str

    @property
    def item_id(self) -> str:
        return str(self.id)


@dataclass(frozen=True, slots=True)
class World:
    """`app`: the application's connection; `target`: the server's address."""

    stubs: Stubs
    app: Any
    library: Library
    http: EmbeddingServer
    url: str
    target: str

    async def in_step(self) -> binding_pb.AttachedTable:
        """The attachment, once no change waits."""
        request = collections_pb.ListAttachedTablesRequest(collection=NAME)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                reply = await self.stubs.collections.ListAttachedTables(request, metadata=ADMIN)
                found = reply.attached_tables[0]
                assert not found.error, found.error
                if found.state == binding_pb.ATTACHMENT_STATE_FOLLOWING and not found.waiting_changes:
                    return found
                await asyncio.sleep(0.05)

    async def run(self, statement: str, *values: Any) -> None:
        """A statement of the application's, and what it changes in the collection."""
        await self.app.execute(statement, *values)
        await self.in_step()

    async def add(self, title: str, *, approved: bool) -> Added:
        """A new video of the application's, with an embedding."""
        video = Added(await self.app.fetchval(ADD, uuid4().hex, title, "Added later.", key("submitter 0")), title)
        await self.embed(video, MODEL)
        if approved:
            await self.app.execute(
                "UPDATE videos SET moderation_status = 'approved', is_approved = true WHERE id = $1", video.id
            )
        await self.in_step()
        return video

    async def embed(self, video: Added, model: str) -> None:
        """The video's only embedding, which a model made."""
        await self.run(EMBED, video.id, vector_literal(text_vector(video.title)), model)

    async def shows(self, near: Video, video: Added) -> bool:
        """Whether one is among those that are like the other."""
        return video.item_id in ids(await self.similar(near, limit=10))

    async def hides(self, near: Video, video: Added) -> bool:
        return not await self.shows(near, video)

    def topics(self, item_ids: list[str]) -> Counter[str]:
        """How many of the videos are of which topic."""
        known = self.library.by_id()
        return Counter(known[i].topic.slug for i in item_ids if i in known)

    async def similar(self, video: Video, **options: Any) -> pb.SearchSimilarItemsResponse:
        body = {"collection": NAME, "item_ids": [video.item_id], "options": options}
        return await self.stubs.retrieval.SearchSimilarItems(
            json_format.ParseDict(body, pb.SearchSimilarItemsRequest())
        )

    async def hybrid(self, text: str, mode: str = "HYBRID", **more: Any) -> pb.SearchHybridResponse:
        body = {"collection": NAME, "text": text, "mode": f"HYBRID_MODE_{mode}", **more}
        return await self.stubs.retrieval.SearchHybrid(json_format.ParseDict(body, pb.SearchHybridRequest()))

    async def nearest(self, text: str, **options: Any) -> pb.SearchMatryoshkaResponse:
        request = json_format.ParseDict({"collection": NAME, "options": options}, pb.SearchMatryoshkaRequest())
        request.vector.float32_le = text_vector(text).astype("<f4").tobytes()
        return await self.stubs.retrieval.SearchMatryoshka(request)

    async def candidates(self, user: str, **more: Any) -> pb.SearchUserCandidatesResponse:
        body = {"collection": NAME, "user_id": str(key(user)), "no_cache": True, **more}
        return await self.stubs.retrieval.SearchUserCandidates(
            json_format.ParseDict(body, pb.SearchUserCandidatesRequest())
        )

    async def listed(self, condition: dict[str, Any] | None = None, **more: Any) -> list[common_pb.Item]:
        body = {"collection": NAME, "page_size": 1000, "filter": {"must": [condition] if condition else []}, **more}
        reply = await self.stubs.items.ListItems(json_format.ParseDict(body, items_pb.ListItemsRequest()))
        return list(reply.items)

    async def item(self, video: Video) -> common_pb.Item:
        """The whole item, whoever may see it."""
        body = {"collection": NAME, "item_ids": [video.item_id], "view": "VIEW_FULL", "viewer": {"unrestricted": True}}
        request = json_format.ParseDict(body, items_pb.BatchGetItemsRequest())
        reply = await self.stubs.items.BatchGetItems(request, metadata=ADMIN)
        return reply.items[0]

    async def related(self, video: Video | Added, *kinds: str, **more: Any) -> pb.ListRelatedItemsResponse:
        body = {"collection": NAME, "item_id": video.item_id, "kinds": [KINDS[k] for k in kinds], **more}
        return await self.stubs.retrieval.ListRelatedItems(json_format.ParseDict(body, pb.ListRelatedItemsRequest()))

    async def refer(self, source: Video, kind: str, *targets: Video | Added, note: str | None = None) -> None:
        """References, in the application's table and sent on."""
        for target in targets:
            await self.app.execute(
                """
                INSERT INTO video_references (source_video_id, target_video_id, reference_type, note)
                VALUES ($1, $2, $3, $4)
                """,
                source.id,
                target.id,
                kind,
                note,
            )
        await self.send_references()

    async def send_references(self) -> int:
        """All references, as a job of the application sends them: sending one again changes nothing."""
        rows = await self.app.fetch(
            "SELECT source_video_id, target_video_id, reference_type, note FROM video_references"
        )
        request = items_pb.UpsertRelationshipsRequest(
            collection=NAME,
            relationships=[
                common_pb.Relationship(
                    item_id=str(r["source_video_id"]),
                    related_item_id=str(r["target_video_id"]),
                    kind=KINDS[r["reference_type"]],
                    note=r["note"] or "",
                )
                for r in rows
            ],
        )
        reply = await self.stubs.items.UpsertRelationships(request)
        return int(reply.upserted_count)

    async def watch(self, user: str, video: Video, *, days_ago: float = 1, **acts: Any) -> None:
        """A row of user_video_activity, and its events. Acts: progress, bookmarked, liked."""
        when = NOW - dt.timedelta(days=days_ago)
        bookmarked, liked = acts.get("bookmarked", False), acts.get("liked", False)
        await self.app.execute(
            """
            INSERT INTO user_video_activity VALUES ($1, $2, true, $3, $4, $5, $6, $7, $8)
            ON CONFLICT (user_id, video_id) DO UPDATE SET last_watched_at = excluded.last_watched_at
            """,
            key(user),
            video.id,
            when,
            acts.get("progress", 0),
            bookmarked,
            when if bookmarked else None,
            liked,
            when if liked else None,
        )

    async def send_activity(self, *users: str) -> str:
        """The activity of some users as events; returns the token of the write."""
        rows = await self.app.fetch(
            """
            SELECT a.*, v.duration_seconds FROM user_video_activity AS a INNER JOIN videos AS v ON v.id = a.video_id
            WHERE a.user_id = ANY($1::uuid[])
            """,
            [key(u) for u in users],
        )
        return await self.send_events([event for row in rows for event in activity_events(row)])

    async def send_events(self, events: list[feedback_pb.Event]) -> str:
        token = ""
        for start in range(0, len(events), 1000):
            request = feedback_pb.RecordEventsRequest(collection=NAME, events=events[start : start + 1000])
            token = (await self.stubs.feedback.RecordEvents(request)).consistency_token
        return token

    async def trending(self, days: int = 7) -> list[str]:
        body = {"collection": NAME, "page_size": 1000, "window": f"{days * 86400}s"}
        request = json_format.ParseDict(body, pb.ListTrendingItemsRequest())
        return ids(await self.stubs.retrieval.ListTrendingItems(request))

    async def profile(self, user: str, token: str = "") -> profiles_pb.UserProfile:
        request = profiles_pb.GetUserProfileRequest(collection=NAME, user_id=str(key(user)))
        request.min_consistency_token = token
        return (await self.stubs.profiles.GetUserProfile(request)).profile


def activity_events(row: Any) -> list[feedback_pb.Event]:
    """What a row of user_video_activity says, as events; sent again, they are known already."""
    said: list[tuple[str, dt.datetime, int]] = []
    if row["has_watched"]:
        said.append(("view", row["last_watched_at"], 0))
        progress = row["watch_progress_seconds"]
        if progress:
            said.append(("dwell", row["last_watched_at"], progress * 1000))
            if progress >= 0.9 * row["duration_seconds"]:
                said.append(("complete", row["last_watched_at"], 0))
    if row["is_bookmarked"]:
        said.append(("save", row["bookmarked_at"], 0))
    if row["is_liked"]:
        said.append(("like", row["liked_at"], 0))
    return [event(row["user_id"], row["video_id"], kind, when, dwell_ms) for kind, when, dwell_ms in said]


def event(user: UUID, video: UUID, kind: str, when: dt.datetime, dwell_ms: int = 0) -> feedback_pb.Event:
    made = feedback_pb.Event(user_id=str(user), item_id=str(video), type=kind)
    made.occurred_at.FromDatetime(when)
    if dwell_ms:
        made.dwell_ms = dwell_ms
    return made


def ids(reply: Any) -> list[str]:
    return [hit.item_id for hit in reply.hits]


async def eventually(holds: Callable[[], Awaitable[Any]]) -> Any:
    """What `holds` returns, once that is true: the cache follows within its staleness."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await holds()):
            await asyncio.sleep(0.05)
    return found


@asynccontextmanager
async def open_world(database_url: str, folder: Path) -> AsyncIterator[World]:
    """A database of its own on the run's Postgres, with the application's tables and one server."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(scratch_database(database_url))
        http = EmbeddingServer()
        http.vector_of = lambda _model, text, _size: text_vector(text)
        await http.start()
        stack.push_async_callback(http.stop)
        server = await stack.enter_async_context(
            server_process(
                "--migrate",
                RETRIEVAL_DATABASE_URL=url,
                RETRIEVAL_ADMIN_TOKEN=TOKEN,
                RETRIEVAL_DATA_DIR=str(folder),
                RETRIEVAL_TRENDING_REFRESH_S="0.5",
                RETRIEVAL_MAINTENANCE_WORK_MEM_MB="128",
                RETRIEVAL_CACHE_MEMORY_BUDGET_BYTES=str(256 << 20),
                RETRIEVAL_EMBEDDING_URL=http.url,
                RETRIEVAL_EMBEDDING_MODELS=f"{MODEL}:{DIM},{OTHER_MODEL}:{DIM}",
            )
        )
        stubs = await stack.enter_async_context(stubs_for(server.target))
        app = await asyncpg.connect(url)
        stack.push_async_callback(app.close)
        library = make_library()
        await app.execute(app_tables.TABLES)
        await fill(app, library)
        await app.execute(app_tables.VIEWS)
        world = World(stubs, app, library, http, url, server.target)
        await _follow(world)
        for topic in app_tables.TOPICS:
            for fan in range(app_tables.FANS):
                await _be_a_fan(world, f"fan {fan} of {topic.slug}", library.of(topic.slug), fan)
        await world.send_activity(*library.users)
        await _indexed(world)
        await eventually(world.trending)
        yield world


async def _follow(world: World) -> None:
    """The collection, and the tables attached to it."""
    attributes = [{"name": name, "type": kind} for name, kind in app_tables.ATTRIBUTES.items()]
    collection = {"name": NAME, "text_language": "english", "attributes": attributes, "event_types": EVENT_TYPES}
    body = {"collection": collection, "embedding_version": {"model": MODEL, "dimension": DIM}}
    await world.stubs.collections.CreateCollection(
        json_format.ParseDict(body, collections_pb.CreateCollectionRequest())
    )
    binding = json_format.ParseDict(app_tables.BINDING, binding_pb.TableBinding())
    await world.stubs.collections.AttachTable(
        collections_pb.AttachTableRequest(collection=NAME, binding=binding), metadata=ADMIN
    )
    await world.in_step()


async def _be_a_fan(world: World, user: str, videos: list[Video], fan: int) -> None:
    """Ten videos of the topic watched, of which some are liked, bookmarked or watched to the end."""
    for n in range(10):
        video = videos[(fan * 7 + n * 3) % len(videos)]
        await world.watch(user, video, days_ago=1 + n, progress=60 * n, bookmarked=n % 5 == 0, liked=n % 3 == 0)


async def _indexed(world: World) -> None:
    """Every path can answer."""
    await world.stubs.collections.BuildIndex(collections_pb.BuildIndexRequest(collection=NAME))
    await world.stubs.collections.PrewarmCache(collections_pb.PrewarmCacheRequest(collection=NAME))

    async def ready() -> bool:
        stats = await world.stubs.collections.GetIndexStats(collections_pb.GetIndexStatsRequest(collection=NAME))
        states = {index.state for index in stats.indexes}
        assert collections_pb.INDEX_STATE_FAILED not in states, stats
        return states == {collections_pb.INDEX_STATE_READY} and stats.cache.state == collections_pb.CACHE_STATE_RESIDENT

    await eventually(ready)
