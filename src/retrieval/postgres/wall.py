"""The second wall: searches run as a role that sees what the viewer may see, whatever their conditions are.

Policies of the tables (migration 0010) repeat `domain.visibility.can_see`. They apply to the role `retrieval_reader`
and not to the owner of the tables, as whom everything else runs. Whom they are to go by, a statement says itself, and
for itself alone: see `predicate.tell_policies`. One that does not say sees what everybody may see.
"""

from __future__ import annotations

import logging
from typing import Any

import asyncpg

from retrieval.postgres.sql_files import queries

READER = "retrieval_reader"
NOBODY_ELSE = "none"
"""The role of a session that runs as itself, which is what every session begins with."""

log = logging.getLogger(__name__)


async def raise_wall(connection: Any) -> bool:
    """Let the role read what searches read; whether sessions may take it. Where not, the log says what to do."""
    sql = queries("wall")
    try:
        if await connection.fetchval(sql["may_take_role"]):
            await connection.execute(sql["raise_wall"])
            async with connection.transaction():
                await connection.execute(f"SET LOCAL ROLE {READER}")
                await connection.execute(sql["look_through"])
            return True
        problem = "there is no such role, or this user may not take it"
    except asyncpg.InsufficientPrivilegeError as error:
        problem = str(error)
    log.warning(
        "searches go without row-level security (%s): as an administrator run CREATE ROLE %s NOLOGIN and "
        "GRANT %s TO %s, then start the service again",
        problem,
        READER,
        READER,
        await connection.fetchval("SELECT quote_ident(session_user)"),
    )
    return False
