"""Brings rows of a table into items, as they are at that moment."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import asyncpg
import numpy as np
from pgvector import HalfVector

from retrieval.domain.embedding_jobs import WRITE_PRIORITY
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.projection import settle
from retrieval.postgres.embedding_jobs import embedded_items, end_jobs, enqueue
from retrieval.postgres.embedding_rows import note_chunks
from retrieval.postgres.removal import remove_traces
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from retrieval.domain.projection import Projection
    from retrieval.postgres.attach.plan import AttachmentPlan
    from retrieval.postgres.attach.vector_sql import VectorSelect

EVERY_VERSION = 0
"""No version has this key: columns are spread to all of them."""

UNREADABLE = (
    asyncpg.DataError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.PLPGSQLError,
    asyncpg.ExternalRoutineError,
    asyncpg.ExternalRoutineInvocationError,
    asyncpg.CardinalityViolationError,
)
"""What a single row of a view can make the database say: a value that cannot be computed, an error that it raises."""
_UNREADABLE_SAYS = "the row cannot be read, and its item is shown to nobody; the server's log says why"

log = logging.getLogger(__name__)

_GIVEN = """
SELECT * FROM unnest($3::text[], $4::smallint[], $5::halfvec[], $6::text[], $7::text[], $8::bigint[], $9::bigint[])
    AS given (item_id, chunk_index, embedding, problem, chunk_text, start_ms, end_ms)
"""


class Applier:
    """Writes the rows of some keys of an attachment; `projections`: by embedding version, where they have one.

    `on_change` is told, before the commit, when a version's properties may have changed.
    """

    def __init__(
        self,
        attachment_id: int,
        plan: AttachmentPlan,
        projections: dict[int, Projection],
        on_change: Callable[[], None],
    ) -> None:
        self._id = attachment_id
        self._on_change = on_change
        self._plan = plan
        self._projections = projections
        self._upsert_rows = plan.upsert_rows(attachment_id)

    async def apply(self, connection: Any, keys: Sequence[str]) -> None:
        """Write, in the connection's transaction, what the rows with these keys say now.

        A row that the database cannot read (a view may divide by zero) is found by halving and noted, and its item is
        shown to nobody: what it said last may be what its author took back.
        """
        if not keys:
            return
        try:
            async with connection.transaction():
                await self._apply(connection, sorted(set(keys)))
        except UNREADABLE as error:
            if len(keys) == 1:
                if await connection.fetch(queries("attachments")["note_hidden"], self._id, keys, _UNREADABLE_SAYS):
                    log.warning("a row of %s cannot be read, its item is hidden: %s", self._plan.relation.name, error)
                await hide_items(connection, self._plan.collection.collection_id, keys, self._id)
                return
            half = len(keys) // 2
            await self.apply(connection, keys[:half])
            await self.apply(connection, keys[half:])

    async def _apply(self, connection: Any, keys: list[str]) -> None:
        sql = queries("attachments")
        collection = self._plan.collection
        row = await connection.fetchrow(self._upsert_rows, keys, collection.collection_id, collection.text_language)
        changed = set(row["changed"] or ())
        gone = sorted(set(keys).difference(row["found"] or ()))
        if gone:
            changed.update(await remove_items(connection, collection.collection_id, gone, self._id))
            await connection.execute(sql["forget_gone"], self._id, gone)
        if row["spread"]:
            spread = queries("items")["spread_columns"]
            await connection.execute(spread, collection.collection_id, row["spread"], EVERY_VERSION, [])
        for vector in self._plan.vectors:
            changed.update(await self._apply_vectors(connection, vector, keys))
        for version in collection.versions:
            if version.embeds_text:
                await self._embed(connection, version.version_id, row)
        if changed:
            await connection.fetchrow(queries("items")["log_change"], collection.collection_id, sorted(changed))

    async def _embed(self, connection: Any, version_id: int, row: Any) -> None:
        """Queue texts that are new or changed, for a version whose texts the service embeds; see `text_effect`."""
        worded = row["worded"] or []
        embedded = await embedded_items(connection, version_id, worded)  # the application had a vector
        texts = sorted({*worded} - embedded | {*(row["reworded"] or ())})
        await enqueue(connection, version_id, texts, WRITE_PRIORITY)
        wordless = sorted(row["wordless"] or ())
        if wordless:
            await connection.execute(queries("items")["remove_embeddings"], version_id, wordless)
            await end_jobs(connection, version_id, wordless)

    async def _apply_vectors(self, connection: Any, vector: VectorSelect, keys: list[str]) -> Sequence[str]:
        collection_id = self._plan.collection.collection_id
        projection = self._projections.get(vector.version.version)
        if projection is None:
            statement = self._plan.upsert_vectors(vector, self._id, vector.ready)
            row = await connection.fetchrow(statement, keys, collection_id)
        else:
            rows = await connection.fetch(vector.rows, keys)
            statement = self._plan.upsert_vectors(vector, self._id, _GIVEN)
            row = await connection.fetchrow(statement, keys, collection_id, *self._projected(vector, projection, rows))
        version = vector.version
        if row["chunks"] > version.max_chunks or row["places"] > version.has_places:
            await note_chunks(connection, self._plan.collection, version, row["chunks"], row["places"])
            self._on_change()
        return row["changed"] or ()

    def _projected(self, vector: VectorSelect, projection: Projection, rows: Sequence[Any]) -> tuple[list[Any], ...]:
        """Parallel columns of `_GIVEN`."""
        embeddings: list[HalfVector | None] = []
        problems: list[str | None] = []
        for row in rows:
            embedding, problem = None, row["problem"]
            if problem is None:
                given = np.asarray(row["vector"].to_numpy(), np.float32)
                try:
                    settled = settle(
                        given, vector.version.dimension, self._plan.collection.metric, "vector", projection
                    )
                    embedding = HalfVector(settled)
                except InvalidArgumentError as error:
                    problem = error.violations[0].description
            embeddings.append(embedding)
            problems.append(problem)
        item_ids, chunk_indexes, *places = (
            [r[column] for r in rows] for column in ("item_id", "chunk_index", "chunk_text", "start_ms", "end_ms")
        )
        return item_ids, chunk_indexes, embeddings, problems, *places


async def hide_items(connection: Any, collection_id: int, item_ids: Sequence[str], attachment_id: int) -> None:
    """Show items that come from an attachment to nobody until their rows are read again."""
    sql = queries("items")
    rows = await connection.fetch(queries("attachments")["hide_items"], collection_id, item_ids, attachment_id)
    hidden = sorted(r["item_id"] for r in rows)
    if hidden:
        await connection.execute(sql["spread_columns"], collection_id, hidden, EVERY_VERSION, [])
        await connection.fetchrow(sql["log_change"], collection_id, hidden)


async def remove_items(connection: Any, collection_id: int, item_ids: Sequence[str], attachment_id: int) -> list[str]:
    """Delete items that come from an attachment, with their embeddings and relationships; returns which."""
    rows = await connection.fetch(queries("attachments")["remove_rows"], collection_id, item_ids, attachment_id)
    removed = [r["item_id"] for r in rows]
    if removed:
        await remove_traces(connection, collection_id, removed)
    return removed
