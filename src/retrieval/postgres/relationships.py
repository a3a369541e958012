"""Relationships in Postgres; implements `RelationshipStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.domain.errors import NotFoundError
from retrieval.domain.relationships import (
    FIRST_EDGES,
    LATER_EDGES,
    MAX_FRONTIER,
    MAX_REACHED,
    Reached,
    RelationshipKey,
    RelationshipKind,
    Walk,
)
from retrieval.postgres.predicate import Parameters, compile_predicate, compile_visibility
from retrieval.postgres.search_sql import EXACT_PROFILE
from retrieval.postgres.sql_files import fill, queries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from retrieval.domain.model import Collection, Viewer
    from retrieval.domain.relationships import Place, Relationship
    from retrieval.domain.search import Predicate
    from retrieval.postgres.database import Database

WRITE_ATTEMPTS = 5


class PostgresRelationships:
    """Writes relationships and follows them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def upsert(self, collection: Collection, relationships: Sequence[Relationship]) -> int:
        """See `RelationshipStore`."""
        ordered = sorted((each.settled() for each in relationships), key=lambda each: _order(each.key))

        async def write(connection: Any) -> int:
            await connection.execute(
                queries("relationships")["put_relationships"],
                collection.collection_id,
                *_columns([each.key for each in ordered]),
                [each.weight for each in ordered],
                [each.confidence for each in ordered],
                [each.note for each in ordered],
            )
            return len(ordered)

        return await self._write(collection, write)

    async def delete(self, collection: Collection, keys: Sequence[RelationshipKey]) -> int:
        """See `RelationshipStore`."""
        columns = _columns(sorted((key.settled() for key in keys), key=_order))

        async def write(connection: Any) -> int:
            sql = queries("relationships")
            await connection.execute(sql["lock_relationships"], collection.collection_id, *columns)
            status = await connection.execute(sql["delete_relationships"], collection.collection_id, *columns)
            return int(status.rpartition(" ")[2])

        return await self._write(collection, write)

    async def _write(self, collection: Collection, write: Callable[[Any], Awaitable[int]]) -> int:
        async def attempt(connection: Any) -> int:
            held = queries("relationships")["hold_collection"]
            if await connection.fetchrow(held, collection.collection_id) is None:
                raise NotFoundError(
                    f"collection {collection.name!r} was deleted meanwhile", reason="COLLECTION_NOT_FOUND"
                )
            return await write(connection)

        # Items of theirs may be deleted meanwhile, which takes relationships in another order.
        return await self._database.retried(attempt)

    async def walk(
        self, collection: Collection, walk: Walk, predicate: Predicate, after: Place | None, count: int
    ) -> list[Reached]:
        """See `RelationshipStore`."""
        walled = self._database.walls(predicate.viewer)
        sql, parameters = walk_statement(collection, walk, predicate, after, count, walled=walled)
        async with self._database.searching(EXACT_PROFILE, walled=walled) as connection:
            rows = await connection.fetch(sql, *parameters.values)
        return [Reached(r[0], r[1], r[2], tuple(r[3]), tuple(map(RelationshipKind, r[4]))) for r in rows]

    async def notes(self, collection: Collection, keys: Iterable[RelationshipKey]) -> dict[RelationshipKey, str]:
        """See `RelationshipStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                queries("relationships")["read_notes"], collection.collection_id, *_columns(list(keys))
            )
        return {RelationshipKey(r[0], r[1], RelationshipKind(r[2])): r[3] for r in rows}

    async def neighbours(
        self, collection: Collection, item_ids: Sequence[str], viewer: Viewer, count: int
    ) -> list[tuple[str, float]]:
        """See `RelationshipStore`."""
        walled = self._database.walls(viewer)
        sql, parameters = neighbours_statement(collection, item_ids, viewer, count, walled=walled)
        async with self._database.searching(EXACT_PROFILE, walled=walled) as connection:
            return [(r[0], r[1]) for r in await connection.fetch(sql, *parameters.values)]

    async def any(self, collection: Collection) -> bool:
        """See `RelationshipStore`."""
        async with self._database.connection() as connection:
            found = await connection.fetchval(queries("relationships")["any_relationship"], collection.collection_id)
        return bool(found)


def walk_statement(
    collection: Collection, walk: Walk, predicate: Predicate, after: Place | None, count: int, *, walled: bool = False
) -> tuple[str, Parameters]:
    """The strongest paths from an item, and the page of them behind `after`."""
    parameters = Parameters(
        collection.collection_id,
        walk.item_id,
        [kind.value for kind in walk.outgoing],
        [kind.value for kind in walk.incoming],
        walk.depth,
        walk.min_confidence,
        FIRST_EDGES,
        LATER_EDGES,
        MAX_REACHED,
        float("inf") if after is None else after.strength,
        0 if after is None else after.depth,
        "" if after is None else after.item_id,
        count,
        MAX_FRONTIER,
        walled=walled,
    )
    visible = compile_visibility(predicate.viewer, parameters)
    condition = compile_predicate(predicate, collection, parameters)
    return fill(queries("relationships")["walk"], visible=visible, predicate=condition), parameters


def neighbours_statement(
    collection: Collection, item_ids: Sequence[str], viewer: Viewer, count: int, *, walled: bool = False
) -> tuple[str, Parameters]:
    """What one step leads to from any of those items."""
    step = Walk("")
    parameters = Parameters(
        collection.collection_id,
        list(item_ids),
        [kind.value for kind in step.outgoing],
        [kind.value for kind in step.incoming],
        FIRST_EDGES,
        count,
        walled=walled,
    )
    visible = compile_visibility(viewer, parameters)
    return fill(queries("relationships")["neighbours"], visible=visible), parameters


def _order(key: RelationshipKey) -> tuple[str, str, str]:
    """The order of the primary key."""
    return key.item_id, key.kind.value, key.related_item_id


def _columns(keys: Sequence[RelationshipKey]) -> tuple[list[str], list[str], list[str]]:
    return [k.item_id for k in keys], [k.related_item_id for k in keys], [k.kind.value for k in keys]
