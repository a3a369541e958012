"""The queue of embedding jobs in Postgres; implements `EmbeddingJobStore`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from retrieval.application.embedding_job_ports import DeadJob, JobCounts
from retrieval.domain.embedding_jobs import MAX_LEASED_TEXT_BYTES, EmbeddingJob, lease_lost
from retrieval.postgres.apart import Apart
from retrieval.postgres.embedding_backfill import Backfill
from retrieval.postgres.embedding_jobs import count_texts
from retrieval.postgres.embedding_leases import complete_held, fail_held, hold, take
from retrieval.postgres.embedding_queue import CHANNEL, entrypoint, queue_on
from retrieval.postgres.embedding_rows import brings_news
from retrieval.postgres.sql_files import queries
from retrieval.postgres.times import to_micros, to_moment
from retrieval.postgres.wakeups import Wakeups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from retrieval.application.task_supervisor import TaskSupervisor
    from retrieval.domain.embedding_jobs import CompleteOutcome, EmbeddedText, FailOutcome, JobFailure
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.postgres.database import Database

PAGE = 1000
PRUNED_ROWS = 10_000
"""Rows a statement."""


class PostgresEmbeddingJobs:
    """Leases jobs and takes in what became of them. `on_change`: see `PostgresItems`."""

    def __init__(self, database: Database, tasks: TaskSupervisor, on_change: Callable[[], None]) -> None:
        self._database = database
        self._on_change = on_change
        self._wakeups = Wakeups(database, tasks, CHANNEL)

    async def due(self) -> list[tuple[str, int]]:
        """See `EmbeddingJobStore`."""
        async with self._database.connection() as connection:
            return [(r["name"], r["version"]) for r in await connection.fetch(queries("embedding_jobs")["due"])]

    async def wait(self, timeout_s: float) -> None:
        """See `EmbeddingJobStore`. The library's trigger tells of new jobs; retries and lost leases fall due untold."""
        await self._wakeups.wait(timeout_s)

    async def stop(self) -> None:
        """Stop listening."""
        await self._wakeups.stop()

    async def backfill(self) -> int:
        """See `EmbeddingJobStore`."""
        apart = Apart("queueing texts")
        queued = await Backfill(self._database).some(apart)
        apart.settle()
        return queued

    async def lease(
        self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, count: int, lease_s: float
    ) -> list[EmbeddingJob]:
        """See `EmbeddingJobStore`."""
        sql = queries("embedding_jobs")
        async with self._database.transaction() as connection:
            jobs, left = await take(connection, version, lease_id, count)
            if not jobs:
                return []
            items = {job.id: (job.payload or b"").decode() for job in jobs}
            granted = await connection.fetch(
                sql["grant_lease"], collection.collection_id, list(items), list(items.values()), lease_s
            )
            texts = {r["id"]: r["text"] for r in granted}
            await connection.execute(sql["drop_jobs"], [job_id for job_id in items if job_id not in texts])
            leased: list[EmbeddingJob] = []
            size = 0
            for job in jobs:
                if job.id in texts and size < MAX_LEASED_TEXT_BYTES:
                    text = texts.pop(job.id)
                    size += len(text.encode())
                    leased.append(EmbeddingJob(job.id, items[job.id], text, job.attempts + 1))
            await connection.execute(sql["put_back"], [*texts, *(job.id for job in left)])
            return leased

    async def extend(
        self,
        collection: Collection,  # noqa: ARG002
        version: EmbeddingVersion,
        lease_id: UUID,
        lease_s: float,
    ) -> int:
        """See `EmbeddingJobStore`."""
        sql = queries("embedding_jobs")
        name = entrypoint(version.version_id)
        async with self._database.transaction() as connection:
            await connection.execute(sql["extend_lease"], lease_id, name, lease_s)
            held = await connection.fetchval(sql["count_leased"], lease_id, name)
        if not held:
            raise lease_lost()
        return int(held)

    async def release(
        self,
        collection: Collection,  # noqa: ARG002
        version: EmbeddingVersion,
        lease_id: UUID,
    ) -> None:
        """See `EmbeddingJobStore`."""
        async with self._database.transaction() as connection:
            await connection.execute(
                queries("embedding_jobs")["release_lease"], lease_id, entrypoint(version.version_id)
            )

    async def complete(
        self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, done: Sequence[EmbeddedText]
    ) -> Mapping[int, CompleteOutcome]:
        """See `EmbeddingJobStore`."""

        async def run(connection: Any) -> Mapping[int, CompleteOutcome]:
            held = await hold(connection, collection, version, lease_id, [d.job_id for d in done])
            now = time.time_ns() // 1000
            return await complete_held(connection, collection, version, held, done, now)

        # Writers of the same items lock them in the order in which they find them.
        outcomes = await self._database.retried(run)
        if brings_news(version, [d.chunks for d in done]):
            self._on_change()
        return outcomes

    async def fail(
        self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, failures: Sequence[JobFailure]
    ) -> Mapping[int, FailOutcome]:
        """See `EmbeddingJobStore`."""

        async def run(connection: Any) -> Mapping[int, FailOutcome]:
            held = await hold(connection, collection, version, lease_id, [f.job_id for f in failures])
            return await fail_held(connection, held, failures)

        return await self._database.retried(run)

    async def counts(self, collection: Collection, version: EmbeddingVersion) -> JobCounts:
        """See `EmbeddingJobStore`."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(queries("embedding_jobs")["count_jobs"], entrypoint(version.version_id))
            texts = await count_texts(connection, collection, version)
        return JobCounts(
            row["queued"],
            row["leased"],
            row["retrying"],
            row["dead"],
            texts.total,
            texts.embedded,
            texts.outstanding,
            row["oldest_age_s"],
        )

    async def list_dead(
        self,
        collection: Collection,  # noqa: ARG002
        version: EmbeddingVersion,
        after: int,
        count: int,
    ) -> list[DeadJob]:
        """See `EmbeddingJobStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                queries("embedding_jobs")["list_dead"], entrypoint(version.version_id), after, count
            )
        return [DeadJob(r["id"], r["item_id"], r["error"], r["attempts"], to_micros(r["updated"])) for r in rows]

    async def requeue_dead(
        self,
        collection: Collection,  # noqa: ARG002
        version: EmbeddingVersion,
        job_ids: Sequence[int],
    ) -> int:
        """See `EmbeddingJobStore`."""
        total = 0
        while True:
            async with self._database.transaction() as connection:
                rows = await connection.fetch(
                    queries("embedding_jobs")["lock_dead"],
                    entrypoint(version.version_id),
                    list(job_ids) or None,
                    PAGE,
                )
                await queue_on(connection).requeue_jobs([r["id"] for r in rows])
            total += len(rows)
            if len(rows) < PAGE:
                return total

    async def prune_embedding_jobs(self, before: int) -> int:
        """See `EmbeddingJobStore`."""
        total = 0
        for statement in ("prune_dead", "prune_log"):
            while True:
                async with self._database.connection() as connection:
                    status = await connection.execute(
                        queries("embedding_jobs")[statement], to_moment(before), PRUNED_ROWS
                    )
                rows = int(status.rpartition(" ")[2])
                total += rows
                if rows < PRUNED_ROWS:
                    break
        return total
