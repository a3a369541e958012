"""Works off attachments in the background: requests, backfills, and what triggers noted."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg

from retrieval.application.task_supervisor import for_each
from retrieval.domain.errors import RetrievalError, UnavailableError
from retrieval.domain.table_binding import read_binding, write_binding
from retrieval.postgres.attach.apply import Applier, hide_items, remove_items
from retrieval.postgres.attach.followers import has_followers, put_followers
from retrieval.postgres.attach.plan import plan_attachment
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from retrieval.application.task_supervisor import BackgroundTask, TaskSupervisor
    from retrieval.domain.model import Collection
    from retrieval.postgres.attach.plan import AttachmentPlan
    from retrieval.postgres.collections import PostgresCollections
    from retrieval.postgres.database import Database
    from retrieval.postgres.projections import PostgresProjections

TASK = "attached-tables"
POLL_S = 0.5
"""Applications are not made to notify anybody, which would have their commits queue up behind each other."""
CHECK_S = 60.0
"""Between two looks at whether the triggers are still there."""
PAGE_ROWS = 5000
"""Rows of a backfill that are written in one transaction."""
CHANGED_KEYS = 2000
MOST_KEYS = 200_000
"""A statement that changed more has the whole table read, page by page, rather than so many rows in one transaction."""
RETRY_S = 30.0
"""An attachment that failed, and rows that cannot be read, are tried again after this."""
RETRIED_ROWS = 100
"""Rows that are tried again at a time: each that still cannot be read costs some statements."""
COUNTED_ROWS = 1_000_000
"""Larger tables are estimated for the progress."""

_COLLISIONS = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
    asyncpg.LockNotAvailableError,
)
_DEFECTS = (
    asyncpg.SyntaxOrAccessError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.CardinalityViolationError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.PLPGSQLError,
    asyncpg.InternalServerError,
)
"""What is wrong with one attachment, and must not keep the others waiting."""

_FAILED_SAYS = "the row changed while the attachment was failed; its item is shown to nobody until it is read again"

log = logging.getLogger(__name__)


class AttachmentFollower:
    """One task of this process; those of others take turns with it. What a killed one left, the next goes on with."""

    def __init__(self, database: Database, collections: PostgresCollections, projections: PostgresProjections) -> None:
        self._database = database
        self._collections = collections
        self._projections = projections
        self._wake = asyncio.Event()
        self._news = False
        self._check_at = 0.0
        self._task: BackgroundTask | None = None

    def start(self, tasks: TaskSupervisor) -> None:
        """Begin."""
        # Vital: what an author takes back is shown for as long as nobody follows.
        self._task = tasks.start(TASK, self._step, self._pause, vital=True)

    async def stop(self) -> None:
        """Stop; a transaction under way is rolled back."""
        if self._task is not None:
            await self._task.stop()
            self._task = None

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    async def _step(self) -> None:
        """Do all there is to do."""
        self._wake.clear()
        if time.monotonic() >= self._check_at:
            await self.check_followers()
            self._check_at = time.monotonic() + CHECK_S
        while await self._work():
            pass

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), POLL_S)

    async def check_followers(self) -> None:
        """Put back triggers that are gone: with a table that was dropped and made anew, or restored from a dump."""
        async with self._database.connection() as connection:
            ids = [r["attachment_id"] for r in await connection.fetch(queries("attachments")["known_attachments"])]
        for attachment_id in ids:
            async with self._database.transaction() as connection:
                row = await connection.fetchrow(queries("attachments")["claim_attachment"], attachment_id, RETRY_S)
                if row is not None and row["state"] != "failed":
                    await self._guarded(connection, row, self._renew)

    async def _work(self) -> bool:
        """One batch of every attachment that has something to do; whether there was any."""
        async with self._database.connection() as connection:
            due = [
                r["attachment_id"] for r in await connection.fetch(queries("attachments")["due_attachments"], RETRY_S)
            ]
        return await for_each(due, self._batch)

    async def _batch(self, attachment_id: int) -> bool:
        self._news = False
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(queries("attachments")["claim_attachment"], attachment_id, RETRY_S)
            if row is None:
                return False  # another process has it
            if row["state"] == "failed":
                hid = await self._hide_changed(connection, row)
                if not row["retry_is_due"]:
                    return hid
            steps = {"requested": self._settle, "failed": self._retry}
            worked = await self._guarded(connection, row, steps.get(row["state"], self._advance))
        if self._news:
            # Not before the commit: a search in between would keep what was.
            self._collections.forget()
        return worked

    def _note_news(self) -> None:
        self._news = True

    async def _guarded(self, connection: Any, row: Any, step: Any) -> bool:
        """Do a step; an error that waiting does not mend stays with the attachment until it is tried again."""
        try:
            async with connection.transaction():
                await step(connection, row)
        except UnavailableError:
            raise
        except RetrievalError as error:
            if error.reason != "TABLE_BUSY":
                await self._fail(connection, row, error.message)
            return False
        except _COLLISIONS as error:
            log.info("%s is followed on shortly: %s", row["relation"], error)
            return False
        except _DEFECTS as error:
            log.warning("%s cannot be followed: %s", row["relation"], error)
            await self._fail(
                connection, row, "its rows cannot be read or written as the binding says; the server's log says why"
            )
            return False
        return True

    async def _fail(self, connection: Any, row: Any, error: str) -> None:
        log.warning("attachment of %s to %s failed: %s", row["relation"], row["collection_name"], error)
        await connection.execute(queries("attachments")["fail_attachment"], row["attachment_id"], error)
        await self._hide_changed(connection, row)

    async def _hide_changed(self, connection: Any, row: Any) -> bool:
        """Show to nobody what changed and cannot be read now; whether there was anything.

        Once the attachment works again, the whole table is read, and what it says is shown again.
        """
        sql = queries("attachments")
        attachment_id, collection_id = row["attachment_id"], row["collection_id"]
        hid = False
        while taken := await connection.fetch(sql["take_changes"], attachment_id, CHANGED_KEYS):
            hid = True
            if any(r["item_keys"] is None for r in taken):
                log.warning("which rows of %s changed is not known: all its items are hidden", row["relation"])
                await self._hide_all(connection, row)
                continue
            keys = sorted({key for r in taken for key in r["item_keys"] if key is not None})
            await connection.execute(sql["note_hidden"], attachment_id, keys, _FAILED_SAYS)
            await hide_items(connection, collection_id, keys, attachment_id)
        return hid

    async def _hide_all(self, connection: Any, row: Any) -> None:
        after = ""
        while True:
            page = await connection.fetch(
                queries("attachments")["next_swept"], row["collection_id"], after, row["attachment_id"], PAGE_ROWS
            )
            await hide_items(connection, row["collection_id"], [r["item_id"] for r in page], row["attachment_id"])
            if len(page) < PAGE_ROWS:
                return
            after = page[-1]["item_id"]

    async def _settle(self, connection: Any, row: Any) -> None:
        """What SQL asked for becomes an attachment."""
        plan = await plan_attachment(connection, await self._collection(row), read_binding(json.loads(row["binding"])))
        await connection.execute(
            queries("attachments")["settle_attachment"],
            row["attachment_id"],
            plan.relation.name,
            write_binding(plan.binding),
        )
        await put_followers(connection, row["attachment_id"], plan.watches)

    async def _retry(self, connection: Any, row: Any) -> None:
        await self._settle(connection, row)
        await connection.execute(queries("attachments")["start_over"], row["attachment_id"])

    async def _renew(self, connection: Any, row: Any) -> None:
        plan = await self._plan(connection, row)
        if not await has_followers(connection, row["attachment_id"], plan.watches):
            log.warning("triggers on %s are missing; they are put there anew, the table is read again", row["relation"])
            await self._retry(connection, row)

    async def _advance(self, connection: Any, row: Any) -> None:
        """What triggers noted, and the next page of a backfill."""
        plan = await self._plan(connection, row)
        applier = Applier(row["attachment_id"], plan, await self._projections_of(plan), self._note_news)
        sql = queries("attachments")
        await connection.fetchrow(queries("items")["write_together"], row["collection_id"])
        taken = await connection.fetch(sql["take_changes"], row["attachment_id"], CHANGED_KEYS)
        if any(r["item_keys"] is None or len(r["item_keys"]) > MOST_KEYS for r in taken):
            log.info("changes of %s are not taken one by one; the table is read again", row["relation"])
            if await has_followers(connection, row["attachment_id"], plan.watches):
                await connection.execute(sql["start_over"], row["attachment_id"])
            else:
                await self._retry(connection, row)
            return
        # Rows of a watched table may belong to no item.
        keys = list(dict.fromkeys(key for r in taken for key in r["item_keys"] if key is not None))
        again = await connection.fetch(sql["unreadable"], row["attachment_id"], RETRY_S, RETRIED_ROWS)
        keys = list(dict.fromkeys((*keys, *(r["item_id"] for r in again))))
        for start in range(0, len(keys), CHANGED_KEYS):
            await applier.apply(connection, keys[start : start + CHANGED_KEYS])
        if row["state"] == "backfilling":
            await self._backfill(connection, row, plan, applier)

    async def _backfill(self, connection: Any, row: Any, plan: AttachmentPlan, applier: Applier) -> None:
        sql = queries("attachments")
        if row["swept_item_id"] is not None:
            await self._sweep(connection, row, plan)
            return
        if row["backfilled_key"] is None:
            await self._count(connection, row, plan)
        page = await connection.fetch(plan.next_keys(), row["backfilled_key"], PAGE_ROWS)
        keys = [r["item_key"] for r in page]
        await applier.apply(connection, keys)
        if len(keys) == PAGE_ROWS:
            await connection.execute(sql["backfilled"], row["attachment_id"], keys[-1], len(keys))
            return
        await connection.execute(sql["backfilled"], row["attachment_id"], keys[-1] if keys else "", len(keys))
        if row["sweeps"]:
            await connection.execute(sql["sweep"], row["attachment_id"], "")
        else:
            await connection.execute(sql["swept"], row["attachment_id"])
            log.info("attachment of %s to %s: all rows are in", row["relation"], row["collection_name"])

    async def _sweep(self, connection: Any, row: Any, plan: AttachmentPlan) -> None:
        """Remove items whose rows went away while nobody watched."""
        sql = queries("attachments")
        rows = await connection.fetch(
            sql["next_swept"], row["collection_id"], row["swept_item_id"], row["attachment_id"], PAGE_ROWS
        )
        ids = [r["item_id"] for r in rows]
        there = {r["item_key"] for r in await connection.fetch(plan.existing_keys(), ids)}
        removed = await remove_items(
            connection, row["collection_id"], [i for i in ids if i not in there], row["attachment_id"]
        )
        if removed:
            await connection.fetchrow(queries("items")["log_change"], row["collection_id"], removed)
        if len(ids) == PAGE_ROWS:
            await connection.execute(sql["sweep"], row["attachment_id"], ids[-1])
        else:
            await connection.execute(sql["swept"], row["attachment_id"])
            log.info("attachment of %s to %s: in step again", row["relation"], row["collection_name"])

    async def _count(self, connection: Any, row: Any, plan: AttachmentPlan) -> None:
        sql = queries("attachments")
        total = await connection.fetchval(sql["estimate_rows"], plan.relation.name)
        if total is not None and total < COUNTED_ROWS and plan.relation.is_table:
            total = await connection.fetchval(plan.count_rows())
        await connection.execute(sql["count_attachment"], row["attachment_id"], total or 0)

    async def _collection(self, row: Any) -> Collection:
        return await self._collections.get(row["collection_name"])

    async def _plan(self, connection: Any, row: Any) -> AttachmentPlan:
        return await plan_attachment(connection, await self._collection(row), read_binding(json.loads(row["binding"])))

    async def _projections_of(self, plan: AttachmentPlan) -> dict[int, Any]:
        found = {}
        for vector in plan.vectors:
            projection = await self._projections.of(vector.version)
            if projection is not None:
                found[vector.version.version] = projection
        return found
