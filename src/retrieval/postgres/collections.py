"""Collections and embedding versions in Postgres; implements `CollectionStore`."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncpg

from retrieval.domain.embedding_jobs import check_complete
from retrieval.domain.engagement import EVENT_TYPES
from retrieval.domain.errors import AlreadyExistsError, ConflictError, FailedPreconditionError, NotFoundError
from retrieval.domain.model import (
    AttributeType,
    Collection,
    EmbeddingVersion,
    Metric,
    PopularThresholds,
    VersionState,
    VisibilityMode,
)
from retrieval.postgres.embedding_jobs import count_texts
from retrieval.postgres.embedding_queue import entrypoint, queue_on
from retrieval.postgres.names import partition, popular_index
from retrieval.postgres.projections import insert_projection
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.times import to_micros

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retrieval.domain.engagement import EventType
    from retrieval.domain.projection import Projection
    from retrieval.postgres.database import Database
    from retrieval.postgres.facts import FactsCache

CACHE_TTL_S = 1.0
"""How long another process's change to a collection may go unnoticed here."""
DROP_PAUSE_S = 0.2
"""Between two attempts to drop tables that somebody reads."""

log = logging.getLogger(__name__)


class PostgresCollections:
    """Reads collections through a short-lived cache; every change made here empties it."""

    def __init__(self, database: Database, facts: FactsCache) -> None:
        self._database = database
        self._facts = facts
        self._kept: dict[str, tuple[float, Collection]] = {}
        self._forgotten = 0

    def forget(self) -> None:
        """Empty the caches after a change."""
        self._kept.clear()
        self._forgotten += 1
        self._facts.forget()

    async def get(self, name: str) -> Collection:
        """See `CollectionStore`."""
        kept = self.peek(name)
        if kept is not None:
            return kept
        return await self.read(name)

    async def read(self, name: str) -> Collection:
        """As `get`, from the database even where it was read lately."""
        forgotten = self._forgotten
        async with self._database.connection() as connection:
            found = await self._read(connection, name)
        if forgotten == self._forgotten:  # else what was read may be older than the change
            self._kept[name] = (time.monotonic(), found)
        return found

    def peek(self, name: str) -> Collection | None:
        """See `CollectionStore`."""
        kept = self._kept.get(name)
        return kept[1] if kept is not None and time.monotonic() - kept[0] < CACHE_TTL_S else None

    async def list_after(self, name: str, count: int) -> list[Collection]:
        """See `CollectionStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries("collections")["get_collections"], name, None, count)
        return [_collection(row) for row in rows]

    async def create(
        self, collection: Collection, version: EmbeddingVersion, projection: Projection | None = None
    ) -> Collection:
        """See `CollectionStore`."""
        sql = queries("collections")

        async def insert(connection: Any) -> Collection:
            collection_id = await connection.fetchval(
                sql["insert_collection"],
                collection.name,
                collection.metric.value,
                json.dumps({name: kind.value for name, kind in collection.attributes.items()}),
                collection.visibility_mode.value,
                collection.popular.min_rating_value,
                collection.popular.min_rating_count,
                collection.rating_scale_max,
                _write_event_types(collection.event_types),
                collection.text_language,
            )
            if collection_id is None:
                raise AlreadyExistsError(
                    f"collection {collection.name!r} exists; GetCollection shows it", reason="COLLECTION_EXISTS"
                )
            await _add_version(connection, collection_id, version, projection, VersionState.ACTIVE)
            await _log_change(connection, collection_id)
            return await self._read(connection, collection.name)

        return await self._database.retried(insert)

    async def update(
        self,
        name: str,
        add_attributes: Mapping[str, AttributeType],
        popular: PopularThresholds | None,
        rating_scale_max: float | None,
        event_types: Mapping[str, EventType] | None = None,
    ) -> Collection:
        """See `CollectionStore`. New thresholds make the popular indexes useless: they are dropped."""
        sql = queries("collections")

        async def change(connection: Any) -> tuple[Collection, list[str]]:
            dropped: list[str] = []
            collection_id = await _lock(connection, name)
            before = await self._read(connection, name)
            await connection.execute(
                sql["update_collection"],
                collection_id,
                json.dumps({name: kind.value for name, kind in add_attributes.items()}),
                popular.min_rating_value if popular else None,
                popular.min_rating_count if popular else None,
                rating_scale_max,
                _write_event_types(event_types or {}),
            )
            if popular is not None and popular != before.popular:
                for version in before.versions:
                    await connection.execute(queries("indexes")["forget_builds"], version.version_id, "popular_hnsw")
                    dropped.append(popular_index(version.version_id))
            await _log_change(connection, collection_id)
            return await self._read(connection, name), dropped

        after, dropped = await self._database.retried(change)
        self.forget()
        for index in dropped:
            await self._drop_index(index)
        return after

    async def _drop_index(self, index: str) -> None:
        """Drop an index that nothing uses any more. Where others are in the way it stays, and costs room alone."""
        try:
            async with self._database.connection() as connection:
                await connection.execute(fill(queries("indexes")["drop_index"], index=index))
        except ConflictError:
            log.warning(
                "index %s is of no use any more and could not be dropped: DROP INDEX retrieval.%s", index, index
            )

    async def delete(self, name: str) -> None:
        """See `CollectionStore`. Waits for readers of the collection's vectors, and lets writers pass meanwhile."""
        while True:
            with suppress(ConflictError):
                if await self._delete(name):
                    self.forget()
                    return
            await asyncio.sleep(DROP_PAUSE_S)

    async def _delete(self, name: str) -> bool:
        """Whether the collection was deleted: not while somebody reads or writes what goes."""
        async with self._database.transaction() as connection:
            collection_id = await _lock(connection, name)
            found = await self._read(connection, name)
            try:
                await self._delete_all(connection, collection_id, found)
            except asyncpg.LockNotAvailableError:
                return False
            return True

    @staticmethod
    async def _delete_all(connection: Any, collection_id: int, found: Collection) -> None:
        sql = queries("collections")
        await connection.execute(sql["drop_impatiently"])
        for version in found.versions:
            await connection.execute(fill(sql["drop_partition"], partition=partition(version.version_id)))
        tables = (
            "items",
            "events",
            "edges",
            "batches",
            "engagement",
            "counts",
            "requests",
            "changes",
            "pairs",
            "relationships",
        )
        for table in tables:
            await connection.execute(sql[f"delete_collection_{table}"], collection_id)
        # Attached tables lose their triggers, for which readers are waited for too.
        await connection.execute(sql["delete_collection"], collection_id)
        entrypoints = [entrypoint(v.version_id) for v in found.versions if v.embeds_text]
        if entrypoints:
            await queue_on(connection).clear_queue(entrypoints)
        await _log_change(connection, collection_id)

    async def create_version(
        self, name: str, version: EmbeddingVersion, projection: Projection | None = None
    ) -> EmbeddingVersion:
        """See `CollectionStore`."""

        async def add(connection: Any) -> EmbeddingVersion:
            collection_id = await _lock(connection, name)
            number = await _add_version(connection, collection_id, version, projection, VersionState.BUILDING)
            await _log_change(connection, collection_id)
            return next(v for v in (await self._read(connection, name)).versions if v.version == number)

        added = await self._database.retried(add)
        self.forget()
        return added

    async def activate_version(self, name: str, version: int, *, allow_incomplete: bool = False) -> Collection:
        """See `CollectionStore`."""

        async def activate(connection: Any) -> Collection:
            collection_id = await _lock(connection, name)
            found = await self._read(connection, name)
            target = next((v for v in found.versions if v.version == version), None)
            if target is None:
                raise NotFoundError(
                    f"collection {name!r} has no embedding version {version}; GetCollection lists them",
                    reason="EMBEDDING_VERSION_NOT_FOUND",
                )
            if target.embeds_text and not allow_incomplete:
                check_complete(target, (await count_texts(connection, found, target)).outstanding)
            if not await _has_rows(connection, target) and await _has_rows(connection, found.active):
                raise FailedPreconditionError(
                    f"embedding version {version} holds no embeddings yet; upsert items with embedding_version = "
                    f"{version} first",
                    reason="VERSION_EMPTY",
                )
            return await self._swap(connection, collection_id, name, version)

        after = await self._database.retried(activate)
        self.forget()
        return after

    async def rollback_version(self, name: str) -> Collection:
        """See `CollectionStore`."""

        async def roll_back(connection: Any) -> Collection:
            collection_id = await _lock(connection, name)
            previous = await connection.fetchval(queries("collections")["previous_version"], collection_id)
            if previous is None:
                raise FailedPreconditionError(
                    f"no other embedding version of {name!r} was active before", reason="NO_PREVIOUS_VERSION"
                )
            return await self._swap(connection, collection_id, name, previous)

        after = await self._database.retried(roll_back)
        self.forget()
        return after

    async def _swap(self, connection: Any, collection_id: int, name: str, version: int) -> Collection:
        await connection.execute(queries("collections")["retire_active_version"], collection_id)
        await connection.execute(queries("collections")["activate_version"], collection_id, version)
        await _log_change(connection, collection_id)
        return await self._read(connection, name)

    @staticmethod
    async def _read(connection: Any, name: str) -> Collection:
        row = await connection.fetchrow(queries("collections")["get_collections"], "", name, 1)
        if row is None:
            raise _missing(name)
        return _collection(row)


async def _lock(connection: Any, name: str) -> int:
    collection_id = await connection.fetchval(queries("collections")["lock_collection"], name)
    if collection_id is None:
        raise _missing(name)
    return int(collection_id)


async def _add_version(
    connection: Any,
    collection_id: int,
    version: EmbeddingVersion,
    projection: Projection | None,
    state: VersionState,
) -> int:
    row = await connection.fetchrow(
        queries("collections")["insert_version"],
        collection_id,
        version.model,
        version.dimension,
        sorted(version.resolutions),
        state.value,
        version.embeds_text,
        version.chunk_characters,
    )
    await connection.execute(
        fill(
            queries("collections")["create_partition"],
            partition=partition(row["version_id"]),
            dim=version.dimension,
            version_id=row["version_id"],
        )
    )
    guard = fill(queries("collections")["guard_partition"], partition=partition(row["version_id"]))
    await connection.execute(guard)
    if projection is not None:
        await insert_projection(connection, row["version_id"], projection)
    return int(row["version"])


async def _log_change(connection: Any, collection_id: int) -> None:
    await connection.execute(queries("changes")["log_catalogue_change"], collection_id)


async def _has_rows(connection: Any, version: EmbeddingVersion) -> bool:
    sql = fill(queries("collections")["has_rows"], partition=partition(version.version_id))
    return bool(await connection.fetchval(sql))


def _missing(name: str) -> NotFoundError:
    return NotFoundError(
        f"collection {name!r} does not exist; ListCollections names those that do", reason="COLLECTION_NOT_FOUND"
    )


def _collection(row: asyncpg.Record) -> Collection:
    versions = tuple(
        EmbeddingVersion(**{**v, "resolutions": tuple(v["resolutions"]), "state": VersionState(v["state"])})
        for v in json.loads(row["versions"] or "[]")
    )
    return Collection(
        row["collection_id"],
        row["name"],
        Metric(row["metric"]),
        {name: AttributeType(kind) for name, kind in json.loads(row["attributes"]).items()},
        VisibilityMode(row["visibility_mode"]),
        PopularThresholds(row["popular_min_rating_value"], row["popular_min_rating_count"]),
        row["rating_scale_max"],
        versions,
        to_micros(row["created_at"]),
        {n: replace(EVENT_TYPES[n], **t) for n, t in json.loads(row["event_types"]).items() if n in EVENT_TYPES},
        row["text_language"],
    )


def _write_event_types(types: Mapping[str, EventType]) -> str:
    return json.dumps({n: {"weight": t.weight, "half_life_days": t.half_life_days} for n, t in types.items()})
