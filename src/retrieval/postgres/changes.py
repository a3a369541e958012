"""The change feed: what happened since an earlier look, exactly once; implements `ChangeFeed`.

Each look is a transaction whose snapshot is the new position, and what changed is what the earlier snapshot did not
see: transactions that were running then, and all that began later. In whatever order they commit, each is seen once.
Positions are those of the primary; a snapshot on a standby does not name the transactions that run.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from retrieval.application.cache_ports import Changes
from retrieval.postgres.positions import SnapshotPosition
from retrieval.postgres.row_batches import row_batches
from retrieval.postgres.sql_files import queries
from retrieval.postgres.store_errors import translated
from retrieval.postgres.wakeups import Wakeups

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from retrieval.application.cache_ports import Position, RowBatch
    from retrieval.application.task_supervisor import TaskSupervisor
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.postgres.database import Database


class PostgresSnapshot:
    """A look at the database; implements `StoreSnapshot`. One statement at a time."""

    def __init__(self, connection: Any, position: SnapshotPosition, log_begins: int) -> None:
        self._connection = connection
        self._position = position
        self._log_begins = log_begins

    @property
    def position(self) -> SnapshotPosition:
        """See `StoreSnapshot`."""
        return self._position

    async def changes(self, since: Position) -> Changes | None:
        """See `StoreSnapshot`."""
        if not isinstance(since, SnapshotPosition):
            raise TypeError(f"{since!r} is a position in another store")
        # Later than now: the database was restored from a backup.
        if since.logged > self._position.logged or min(since.xmin, since.logged) < self._log_begins:
            return None
        if since.logged == self._position.logged and not since.unfinished:
            return Changes({}, catalogue=False)
        async with translated():
            rows = await self._connection.fetch(queries("changes")["changes"], since.logged, list(since.unfinished))
        items: dict[int, set[str]] = {}
        for row in rows:
            if row["item_ids"]:
                items.setdefault(row["collection_id"], set()).update(row["item_ids"])
        return Changes(items, any(row["catalogue"] for row in rows))

    def rows(
        self, collection: Collection, version: EmbeddingVersion, item_ids: Sequence[str] | None = None
    ) -> AsyncIterator[RowBatch]:
        """See `StoreSnapshot`."""
        return row_batches(self._connection, collection, version, item_ids)


class PostgresChanges:
    """Looks at the database, and waits until another look is worth it."""

    def __init__(self, database: Database, tasks: TaskSupervisor) -> None:
        self._database = database
        self._wakeups = Wakeups(database, tasks)
        self._identity = ""

    async def identity(self) -> str:
        """See `ChangeFeed`."""
        if not self._identity:
            async with self._database.connection() as connection:
                self._identity = await connection.fetchval(queries("changes")["identity"])
        return self._identity

    def position(self, text: str) -> SnapshotPosition:
        """See `ChangeFeed`."""
        return SnapshotPosition.parse(text)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[PostgresSnapshot]:
        """See `ChangeFeed`."""
        async with (
            self._database.following() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            (xmin, xmax, running), latest, log_begins = await connection.fetchrow(queries("changes")["position"])
            position = SnapshotPosition(xmin, xmax, frozenset(running), max(latest + 1, log_begins))
            yield PostgresSnapshot(connection, position, log_begins)

    async def wait(self, timeout_s: float) -> None:
        """See `ChangeFeed`."""
        await self._wakeups.wait(timeout_s)

    async def stop(self) -> None:
        """Stop listening."""
        await self._wakeups.stop()
