"""Triggers that note which rows of a table changed.

A trigger runs inside the application's own statement. So it does one insert into a table that nobody locks, for all the
rows of the statement; it never waits, and where it fails it says that something changed and lets the statement pass.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from retrieval.domain.errors import FailedPreconditionError
from retrieval.postgres.sql_files import fill, queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.postgres.attach.relations import Column, Relation

LOCK_TIMEOUT_MS = 500
"""A trigger is put on a table under a lock that writers wait behind: no longer than this. And less than Postgres waits
before it looks for a deadlock, so that it is never the application that is chosen to give way."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A table of which changes matter, and the column that names the item. `columns`: those whose changes matter."""

    table: Relation
    key: Column
    columns: tuple[Column, ...]


def merged(watches: Sequence[Watch]) -> list[Watch]:
    """One watch a table and key column."""
    found: dict[tuple[str, str], Watch] = {}
    for watch in watches:
        place = (watch.table.name, watch.key.name)
        known = found.get(place)
        columns = (
            watch.columns if known is None else tuple({c.name: c for c in (*known.columns, *watch.columns)}.values())
        )
        found[place] = Watch(watch.table, watch.key, columns)
    return list(found.values())


async def put_followers(connection: Any, attachment_id: int, watches: Sequence[Watch]) -> None:
    """Put triggers on the tables, in the connection's transaction; those that are there are replaced.

    Raises: FailedPreconditionError (TABLE_BUSY, TABLE_NOT_ACCESSIBLE).
    """
    sql = queries("attachments")
    await connection.execute(fill(sql["wait_briefly"], timeout_ms=LOCK_TIMEOUT_MS))
    try:
        for row in await connection.fetch(sql["followers"], attachment_id):
            await connection.execute(fill(sql["drop_follower"], function=row["function"]))
        for number, watch in enumerate(watches, 1):
            if not watch.table.may_trigger:
                raise FailedPreconditionError(
                    f"the service's database role may not put a trigger on {watch.table.name}; GRANT TRIGGER on it",
                    reason="TABLE_NOT_ACCESSIBLE",
                )
            statement = _statement(attachment_id, number, watch)
            await connection.execute(fill(statement, digest=_digest(statement)))
    except asyncpg.LockNotAvailableError as error:
        raise FailedPreconditionError(
            "the table is locked by a long transaction; try again", reason="TABLE_BUSY"
        ) from error


async def has_followers(connection: Any, attachment_id: int, watches: Sequence[Watch]) -> bool:
    """Whether the tables have the triggers that `put_followers` would put: not if a table or its columns are others."""
    rows = await connection.fetch(queries("attachments")["followers"], attachment_id)
    wanted = {_digest(_statement(attachment_id, number, watch)) for number, watch in enumerate(watches, 1)}
    return {r["digest"] for r in rows} == wanted and all(r["triggers"] == TRIGGERS for r in rows)


TRIGGERS = 4
"""For INSERT, UPDATE, DELETE and TRUNCATE: a trigger that sees the changed rows serves one kind of statement."""


def _statement(attachment_id: int, number: int, watch: Watch) -> str:
    old, new = (", ".join(c.comparable(row) for c in watch.columns) for row in ("o", "n"))
    return fill(
        queries("attachments")["put_follower"],
        attachment_id=attachment_id,
        number=number,
        table=watch.table.name,
        key=watch.key.name,
        old=old,
        new=new,
    )


def _digest(statement: str) -> str:
    return hashlib.sha256(statement.encode()).hexdigest()
