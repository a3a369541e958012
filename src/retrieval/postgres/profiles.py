"""Models as bytes, the whole log, what is kept of users: implements `EventArchive`, `ArtifactStore`, `ProfileStore`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from pgvector import HalfVector

from retrieval.application.candidate_ports import StoredProfile
from retrieval.application.engagement_ports import ErasedRows
from retrieval.domain.engagement import user_hash
from retrieval.domain.interests import Interest
from retrieval.domain.model import AttributeType, Event
from retrieval.postgres.sql_files import queries
from retrieval.postgres.times import to_micros
from retrieval.postgres.user_feed import payloads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from numpy.typing import NDArray

    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.domain.model_registry import ModelVersion
    from retrieval.postgres.database import Database
    from retrieval.postgres.user_feed import PostgresUserFeed

PART_BYTES = 8 << 20
"""Postgres takes 1 GB a value, and copies it several times on the way."""
BATCH_EVENTS = 10_000
SMALL_BATCH = 2_000
"""Where requests are answered meanwhile: some milliseconds."""
FACET_ITEMS = 20_000
"""Newest listed items that facets are counted over."""


class PostgresProfiles:
    """Stores and reads what candidates keep."""

    def __init__(self, database: Database, feed: PostgresUserFeed) -> None:
        self._database = database
        self._feed = feed

    async def engagements(self, collection: Collection) -> AsyncIterator[list[Event]]:
        """See `EventArchive`."""
        async for batch in self._batches(BATCH_EVENTS, "all_events", collection.collection_id):
            yield batch

    async def latest(self, collection: Collection, count: int) -> AsyncIterator[list[Event]]:
        """See `EventArchive`."""
        async for batch in self._batches(SMALL_BATCH, "latest_events", collection.collection_id, count):
            yield batch

    async def _batches(self, size: int, name: str, *values: object) -> AsyncIterator[list[Event]]:
        """What the statement finds; the moment is that of the transaction's snapshot."""
        async with self._database.transaction() as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor = await connection.cursor(queries("profiles")[name], *values)
            while rows := await cursor.fetch(size):
                yield [Event(r[0], r[1], r[2], to_micros(r[3]), r[4], r[5], r[6]) for r in rows]

    async def save(self, model: ModelVersion, data: bytes) -> None:
        """See `ArtifactStore`."""
        sql = queries("profiles")
        async with self._database.transaction() as connection:
            await connection.execute(sql["delete_artifact"], model.model_version_id)
            for part, start in enumerate(range(0, len(data), PART_BYTES)):
                piece = data[start : start + PART_BYTES]
                await connection.execute(sql["save_artifact_part"], model.model_version_id, part, piece)

    async def load(self, model: ModelVersion) -> bytes | None:
        """See `ArtifactStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries("profiles")["load_artifact"], model.model_version_id)
        return b"".join(row[0] for row in rows) if rows else None

    async def save_interests(self, version: EmbeddingVersion, user_id: str, interests: Sequence[Interest]) -> None:
        """See `ProfileStore`."""
        async with self._database.connection() as connection:
            await connection.execute(
                queries("profiles")["save_interests"],
                version.version_id,
                user_id,
                list(range(len(interests))),
                [HalfVector(interest.vector) for interest in interests],
                [interest.weight for interest in interests],
                [interest.medoid for interest in interests],
            )

    async def stored(self, version: EmbeddingVersion, user_id: str) -> StoredProfile | None:
        """See `ProfileStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries("profiles")["stored_interests"], version.version_id, user_id)
        if not rows:
            return None
        found = tuple(Interest(r[0].to_numpy().astype(np.float32), r[1], r[2], (r[2],)) for r in rows)
        return StoredProfile(found, max(to_micros(r[3]) for r in rows))

    async def set_vector(
        self,
        collection: Collection,
        version: EmbeddingVersion,
        user_id: str,
        vector: NDArray[np.float16] | None,
    ) -> None:
        """See `ProfileStore`."""
        sql = queries("profiles")
        async with self._changing(collection, user_id) as connection:
            if vector is None:
                await connection.execute(sql["remove_user_vector"], version.version_id, user_id)
            else:
                await self._insert_vector(connection, version, user_id, vector)

    async def vector(self, version: EmbeddingVersion, user_id: str) -> NDArray[np.float16] | None:
        """See `ProfileStore`."""
        async with self._database.connection() as connection:
            found = await connection.fetchval(queries("profiles")["user_vector"], version.version_id, user_id)
        return None if found is None else np.asarray(found.to_numpy(), np.float16)

    async def vector_set_at(self, version: EmbeddingVersion, user_id: str) -> int | None:
        """See `ProfileStore`."""
        async with self._database.connection() as connection:
            moment = await connection.fetchval(queries("profiles")["user_vector_set_at"], version.version_id, user_id)
        return None if moment is None else to_micros(moment)

    async def facet_shares(self, collection: Collection) -> dict[tuple[str, str], float]:
        """See `ProfileStore`."""
        keywords = [
            name
            for name, kind in collection.attributes.items()
            if kind in {AttributeType.KEYWORD, AttributeType.KEYWORD_LIST}
        ]
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                queries("profiles")["facet_shares"], collection.collection_id, keywords, FACET_ITEMS
            )
        return {(r[0], r[1]): r[2] for r in rows}

    async def erase_user(self, collection: Collection, user_id: str) -> ErasedRows:
        """See `ProfileStore`. Interests go with the events, by `EngagementStore.erase_user`, and here once more."""
        sql = queries("profiles")
        async with self._changing(collection, user_id) as connection:
            gone = [
                await connection.execute(sql[f"erase_{what}"], collection.collection_id, user_id)
                for what in ("user_vectors", "interests")
            ]
        return ErasedRows(profiles=sum(int(status.rpartition(" ")[2]) for status in gone))

    @asynccontextmanager
    async def _changing(self, collection: Collection, user_id: str) -> AsyncIterator[Any]:
        """A transaction that changes what is kept of a user; everybody is told with its commit."""
        hashes = frozenset({user_hash(user_id)})
        async with self._database.transaction() as connection:
            yield connection
            await connection.execute(queries("engagement")["wake"], payloads(collection.collection_id, hashes))
        self._feed.announce(collection.collection_id, hashes)

    @staticmethod
    async def _insert_vector(
        connection: Any, version: EmbeddingVersion, user_id: str, vector: NDArray[np.float16]
    ) -> None:
        await connection.execute(
            queries("profiles")["set_user_vector"], version.version_id, user_id, HalfVector(vector)
        )
