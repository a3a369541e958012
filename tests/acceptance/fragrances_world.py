"""The perfume shop beside a real server and a real embedder."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import embedding_job_service_pb2 as jobs_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.acceptance.attached_app import AttachedApp, attached_app, eventually
from tests.acceptance.fragrances_app import (
    BINDING,
    COLLECTION,
    DIM,
    MODEL,
    TOPICS,
    USERS,
    fill,
    send_interactions,
)
from tests.embedding_server import EmbeddingServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

NEXT_MODEL, NEXT_DIM = "voyage-next", 1024
CONTENT = [pb.CandidateStrategy(name="content")]
NOW = datetime.now(UTC).replace(tzinfo=None)


@dataclass
class Shop:
    """`before`: the texts that were embedded before any test began."""

    app: AttachedApp
    name: str
    http: EmbeddingServer
    before: tuple[str, ...] = ()

    async def stats(self, name: str = "") -> jobs_pb.EmbeddingJobStats:
        return (await self.app.client.embedding_jobs.stats(name or self.name)).versions[-1]

    async def embedded(self) -> list[str]:
        """Texts that the embedder has been asked for since the beginning, once nothing is left to embed."""
        await self.app.settled(self.name)

        async def done() -> bool:
            stats = await self.stats()
            return not (stats.queued or stats.leased or stats.retrying) and stats.done == stats.total

        await eventually(done)
        return [text for text in self.http.texts if text not in self.before]

    async def families(self, hits: Sequence[common_pb.Hit]) -> Counter[str]:
        rows = await self.app.fetch("SELECT id, scent_family FROM {schema}.fragrances")
        family = {str(r["id"]): r["scent_family"] for r in rows}
        return Counter(family[h.item_id] for h in hits)

    async def candidates(self, user: object, **options: Any) -> pb.SearchUserCandidatesResponse:
        return await self.app.client.candidates(
            self.name, str(user), strategies=CONTENT, options=common_pb.SearchOptions(limit=20, **options)
        )

    async def similar(self, item: object, **options: Any) -> pb.SearchSimilarItemsResponse:
        return await self.app.client.similar(self.name, [str(item)], options=common_pb.SearchOptions(**options))


def keyword(attribute: str, *values: str) -> common_pb.Filter:
    match = common_pb.MatchAny(
        attribute=attribute, values=[common_pb.AttributeValue(keyword=value) for value in values]
    )
    return common_pb.Filter(must=[common_pb.Condition(match=match)])


@asynccontextmanager
async def shop_of(database_url: str, folder: Path) -> AsyncIterator[Shop]:
    """A shop whose fragrances are followed and embedded, and whose customers' past is known."""
    http = EmbeddingServer()
    sizes = {MODEL: DIM, NEXT_MODEL: NEXT_DIM}
    http.vector_of = lambda model, text, _: TOPICS.vector(text, sizes[model])
    await http.start()
    embedding = {
        "RETRIEVAL_EMBEDDING_URL": http.url,
        "RETRIEVAL_EMBEDDING_MODELS": ",".join(f"{model}:{size}" for model, size in sizes.items()),
        "RETRIEVAL_EVENT_RETENTION_DAYS": "365",
    }
    try:
        async with attached_app(database_url, folder, **embedding) as app:
            await fill(app)
            version = {"model": MODEL, "dimension": DIM, "embeds_text": True}
            made = Shop(app, await app.create("fragrances", COLLECTION, version), http)
            await app.attach(made.name, BINDING)
            made.before = tuple(await made.embedded())
            assert await send_interactions(app, made.name) == len(USERS) * (16 + 8)
            yield made
    finally:
        await http.stop()
