"""Lets go of what is kept no longer, a bounded part at a time. A retention of 0 keeps for good."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from retrieval.domain.engagement import DAY_US, HOUR_US
from retrieval.postgres.retention import ROWS_AT_ONCE
from retrieval.postgres.sql_files import queries
from retrieval.postgres.statements import affected
from retrieval.postgres.times import to_moment

if TYPE_CHECKING:
    from datetime import datetime

    from retrieval.application.bandit_ports import BanditStore
    from retrieval.application.embedding_job_ports import EmbeddingJobStore
    from retrieval.config import Settings
    from retrieval.postgres.database import Database
    from retrieval.postgres.pairs import PostgresPairs

KEPT_CHANGES = 20_000
"""Rows of the change log that stay however old they are: four times what a cache takes in by default before it builds
its next segment, so that after a rest it goes on from the one it has."""
SPENT_RUN_DAYS = 30
"""So long after its last change, a training run without pairs that no model is made of is forgotten."""


class Pruning:
    """One method a job; each returns how many rows went."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        pairs: PostgresPairs,
        bandits: BanditStore,
        embedding_jobs: EmbeddingJobStore,
        kept_changes: int = KEPT_CHANGES,
    ) -> None:
        self._database = database
        self._settings = settings
        self._pairs = pairs
        self._bandits = bandits
        self._embedding_jobs = embedding_jobs
        self._kept_changes = kept_changes

    async def requests(self) -> int:
        """Receipts of requests that no caller is to repeat any more."""
        days, gone = self._settings.request_retention_days, 0
        after: tuple[int, str] | None = (0, "")
        while days and after is not None:
            async with self._database.connection() as connection:
                row = await connection.fetchrow(
                    queries("pruning")["requests"], *after, _ago(days * DAY_US), ROWS_AT_ONCE
                )
            after = None if row is None else (row["collection_id"], row["request_id"])
            gone += 0 if row is None else row["gone"]
        return gone

    async def changes(self) -> int:
        """The old part of the change log."""
        sql, hours, gone = queries("pruning"), self._settings.change_log_retention_h, 0
        if not hours:
            return 0
        async with self._database.connection() as connection:
            bound = await connection.fetchval(sql["log_bound"], _ago(hours * HOUR_US), self._kept_changes)
            while count := await connection.fetchval(sql["log_rows"], str(bound), ROWS_AT_ONCE):
                gone += count
        return gone

    async def decisions(self) -> int:
        """Decisions of the bandit that are rewarded no more; its arms stay as they are."""
        days = self._settings.decision_retention_days
        return await self._bandits.prune(time.time_ns() // 1000 - days * DAY_US) if days else 0

    async def embedding_jobs(self) -> int:
        """Failed embedding jobs, with their errors, and the log of all of them."""
        days = self._settings.failed_job_retention_days
        before = time.time_ns() // 1000 - days * DAY_US
        return await self._embedding_jobs.prune_embedding_jobs(before) if days else 0

    async def pairs(self) -> int:
        """Training pairs that a model was made of, those that are too old for any, and runs that have none left."""
        now_us, gone = time.time_ns() // 1000, 0
        if used := self._settings.used_pair_retention_days:
            gone += await self._pairs.prune(now_us - used * DAY_US)
        if unused := self._settings.pair_retention_days:
            gone += await self._pairs.prune_all(now_us - unused * DAY_US)
        async with self._database.connection() as connection:
            while count := affected(
                await connection.execute(queries("pruning")["spent_runs"], _ago(SPENT_RUN_DAYS * DAY_US), ROWS_AT_ONCE)
            ):
                gone += count
        return gone


def _ago(micros: int) -> datetime:
    return to_moment(time.time_ns() // 1000 - micros)
