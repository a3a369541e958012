"""Attachments in Postgres; implements `AttachmentStore`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import asyncpg

from retrieval.application.attachment_ports import Attachment, AttachmentState, RowProblem
from retrieval.domain.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from retrieval.domain.table_binding import TableBinding, read_binding, write_binding
from retrieval.postgres.attach.apply import remove_items
from retrieval.postgres.attach.followers import LOCK_TIMEOUT_MS, put_followers
from retrieval.postgres.attach.plan import plan_attachment
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.times import to_micros

if TYPE_CHECKING:
    from retrieval.domain.model import Collection
    from retrieval.postgres.attach.follow import AttachmentFollower
    from retrieval.postgres.database import Database

PAGE_ITEMS = 5000


class PostgresAttachments:
    """Puts triggers on tables and takes them off; `follower` does the rest."""

    def __init__(self, database: Database, follower: AttachmentFollower) -> None:
        self._database = database
        self._follower = follower

    async def attach(self, collection: Collection, binding: TableBinding) -> Attachment:
        """See `AttachmentStore`."""
        async with self._database.transaction() as connection:
            plan = await plan_attachment(connection, collection, binding)
            attachment_id = await connection.fetchval(
                queries("attachments")["insert_attachment"],
                collection.collection_id,
                plan.relation.name,
                write_binding(plan.binding),
            )
            if attachment_id is None:
                raise AlreadyExistsError(
                    f"{plan.relation.name} is attached to {collection.name!r}; detach it first to bind it otherwise",
                    reason="TABLE_ATTACHED",
                )
            await put_followers(connection, attachment_id, plan.watches)
        self._follower.wake()
        return await self._one(collection, attachment_id)

    async def attachments(self, collection: Collection) -> list[Attachment]:
        """See `AttachmentStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries("attachments")["list_attachments"], collection.collection_id)
        return [_attachment(row) for row in rows]

    async def detach(self, collection: Collection, relation: str, *, delete_items: bool) -> int:
        """See `AttachmentStore`. Items go first, page by page: where that is interrupted, it is asked for again."""
        attachment_id = await self._find(collection, relation)
        deleted = 0
        after = ""
        while delete_items:
            async with self._database.transaction() as connection:
                await connection.fetchrow(queries("items")["write_together"], collection.collection_id)
                rows = await connection.fetch(
                    queries("attachments")["next_swept"], collection.collection_id, after, attachment_id, PAGE_ITEMS
                )
                ids = [r["item_id"] for r in rows]
                removed = await remove_items(connection, collection.collection_id, ids, attachment_id)
                if removed:
                    await connection.fetchrow(queries("items")["log_change"], collection.collection_id, removed)
            deleted += len(removed)
            if len(ids) < PAGE_ITEMS:
                break
            after = ids[-1]
        async with self._database.transaction() as connection:
            await connection.execute(fill(queries("attachments")["wait_briefly"], timeout_ms=LOCK_TIMEOUT_MS))
            try:
                await connection.execute(queries("attachments")["delete_attachment"], attachment_id)
            except asyncpg.LockNotAvailableError as error:
                raise FailedPreconditionError(
                    f"{relation} is locked by a long transaction, or being read; try again", reason="TABLE_BUSY"
                ) from error
        return deleted

    async def resync(self, collection: Collection, relation: str) -> Attachment:
        """See `AttachmentStore`."""
        attachment_id = await self._find(collection, relation)
        async with self._database.transaction() as connection:
            await connection.execute(queries("attachments")["start_over"], attachment_id)
        self._follower.wake()
        return await self._one(collection, attachment_id)

    async def _find(self, collection: Collection, relation: str) -> int:
        async with self._database.connection() as connection:
            try:
                found = await connection.fetchval(
                    queries("attachments")["find_attachment"], collection.collection_id, relation
                )
            except asyncpg.SyntaxOrAccessError:
                found = None
        if found is None:
            raise NotFoundError(
                f"{relation[:200]!r} is not attached to {collection.name!r}; ListAttachedTables names those that are",
                reason="TABLE_NOT_ATTACHED",
            )
        return int(found)

    async def _one(self, collection: Collection, attachment_id: int) -> Attachment:
        found = await self.attachments(collection)
        return next(a for a in found if a.attachment_id == attachment_id)


def _attachment(row: Any) -> Attachment:
    try:
        binding = read_binding(json.loads(row["binding"]))
    except InvalidArgumentError:  # asked for by SQL, and failed for that
        binding = TableBinding(row["relation"])
    return Attachment(
        row["attachment_id"],
        row["relation"],
        binding,
        AttachmentState(row["state"]),
        row["error"],
        row["rows_done"],
        row["rows_total"],
        row["waiting"],
        row["lag_s"],
        row["problem_count"],
        tuple(RowProblem(**problem) for problem in json.loads(row["problems"] or "[]")),
        to_micros(row["created_at"]),
    )
