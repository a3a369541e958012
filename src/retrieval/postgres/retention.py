"""Drops months of events that are kept no longer."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import asyncpg

from retrieval.domain.engagement import DAY_US
from retrieval.postgres.apart import Apart
from retrieval.postgres.events import DDL_LOCK
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.statements import affected
from retrieval.postgres.times import to_moment

if TYPE_CHECKING:
    from datetime import datetime

    from retrieval.postgres.database import Database

ROWS_AT_ONCE = 10_000
"""Rows that a statement deletes: none holds its locks for long."""

log = logging.getLogger(__name__)


class Retention:
    """Keeps events for `days`; 0: for good."""

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._days = days

    async def prune_expired(self) -> int:
        """Drop what is older than the retention; returns how many months."""
        return await self.prune(time.time_ns() // 1000 - self._days * DAY_US) if self._days else 0

    async def prune(self, before: int) -> int:
        """See `EngagementStore.prune_events`."""
        sql = queries("engagement")
        moment = to_moment(before)
        async with self._database.connection() as connection:
            months = [r["partition"] for r in await connection.fetch(sql["event_months"]) if r["ends"] <= moment]
        dropped, apart = [], Apart("retention")
        for month in months:
            with apart.step(month):
                if await self._drop(month, moment):
                    dropped.append(month)
        rows, now = 0, to_moment(time.time_ns() // 1000)
        async with self._database.connection() as connection:
            while count := affected(await connection.execute(sql["prune_engagement"], moment, now, ROWS_AT_ONCE)):
                rows += count
        if dropped or rows:
            log.info(
                "retention: dropped %s and %d hours of engagement of items, all before %s",
                ", ".join(dropped) or "no month",
                rows,
                moment.isoformat(timespec="seconds"),
            )
        apart.settle()
        return len(dropped)

    async def _drop(self, month: str, moment: datetime) -> bool:
        """Whether the month was dropped: not while it is in use, nor if it got an event lately."""
        sql = queries("engagement")
        async with self._database.transaction() as connection:
            try:
                await connection.execute(sql["wait_briefly"])
                await connection.execute(sql["alone"], DDL_LOCK)
                await connection.execute(fill(sql["lock_month"], partition=month))
                if await connection.fetchval(fill(sql["recorded_since"], partition=month), moment):
                    return False
                await connection.execute(fill(sql["drop_month"], partition=month))
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                log.info("retention: %s is in use; it goes next time", month)
                return False
            except asyncpg.UndefinedTableError:
                return False  # another process dropped it
        return True
