"""The queue of embedding jobs in memory; implements `EmbeddingJobStore`."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from retrieval.application.embedding_job_ports import DeadJob, JobCounts
from retrieval.domain.embedding_jobs import (
    LEASE_RAN_OUT,
    MAX_ATTEMPTS,
    MAX_LEASED_TEXT_BYTES,
    CompleteOutcome,
    EmbeddingJob,
    FailOutcome,
    failure_delay_s,
    lease_lost,
    leased_together,
)
from retrieval.reference.jobs import count_texts, note_chunks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from retrieval.domain.embedding_jobs import EmbeddedText, JobFailure
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.reference.jobs import Job
    from retrieval.reference.memory import Held, Memory

POLL_S = 0.05
"""Nobody tells of new jobs here."""


class ReferenceEmbeddingJobs:
    """Leases jobs and takes in what became of them."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def due(self) -> list[tuple[str, int]]:
        """See `EmbeddingJobStore`."""
        now = self._memory.now_us()
        return [
            (name, version.version)
            for name, held in self._memory.collections.items()
            for version in held.collection.versions
            if any(_leasable(job, now) for job in held.jobs.get(version.version_id, {}).values())
        ]

    async def wait(self, timeout_s: float) -> None:
        """See `EmbeddingJobStore`."""
        await asyncio.sleep(min(timeout_s, POLL_S))

    async def backfill(self) -> int:
        """See `EmbeddingJobStore`. A version is made with all its jobs here."""
        return 0

    async def lease(
        self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, count: int, lease_s: float
    ) -> list[EmbeddingJob]:
        """See `EmbeddingJobStore`."""
        held, jobs = self._jobs(collection, version)
        now = self._memory.now_us()
        waiting = sorted((j for j in jobs.values() if _leasable(j, now)), key=lambda j: (-j.priority, j.job_id))
        taken = waiting[:count]
        for job in [j for j in taken if j.lease is not None]:
            if job.attempts + 1 >= MAX_ATTEMPTS:
                job.hold(LEASE_RAN_OUT, now)
            else:
                job.lose_lease()
        alive = [j for j in taken if not j.dead]
        leased: list[EmbeddingJob] = []
        size = 0
        for job in [alive[at] for at in leased_together([j.lost_leases for j in alive])]:
            if size >= MAX_LEASED_TEXT_BYTES:
                break
            job.lease, job.lease_ends, job.text = lease_id, now + int(lease_s * 1e6), held.items[job.item_id].text
            size += len(job.text.encode())
            leased.append(EmbeddingJob(job.job_id, job.item_id, job.text, job.attempts + 1))
        return leased

    async def extend(self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, lease_s: float) -> int:
        """See `EmbeddingJobStore`."""
        mine = self._leased(collection, version, lease_id)
        if not mine:
            raise lease_lost()
        for job in mine.values():
            job.lease_ends = self._memory.now_us() + int(lease_s * 1e6)
        return len(mine)

    async def release(self, collection: Collection, version: EmbeddingVersion, lease_id: UUID) -> None:
        """See `EmbeddingJobStore`."""
        for job in self._leased(collection, version, lease_id).values():
            job.put_back(job.due_at, job.attempts)

    async def complete(
        self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, done: Sequence[EmbeddedText]
    ) -> Mapping[int, CompleteOutcome]:
        """See `EmbeddingJobStore`."""
        held, jobs = self._jobs(collection, version)
        mine = self._held(collection, version, lease_id, [d.job_id for d in done])
        outcomes = dict.fromkeys((d.job_id for d in done), CompleteOutcome.LEASE_LOST)
        for result in done:
            job = mine.get(result.job_id)
            if job is None:
                continue
            if held.items[job.item_id].text != job.text:
                job.put_back(self._memory.now_us(), 0)
                outcomes[job.job_id] = CompleteOutcome.TEXT_CHANGED
                continue
            held.embeddings[version.version_id].put(job.item_id, result.chunks)
            note_chunks(held, version, [result.chunks])
            del jobs[job.item_id]
            outcomes[job.job_id] = CompleteOutcome.APPLIED
        self._memory.writes += 1
        return outcomes

    async def fail(
        self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, failures: Sequence[JobFailure]
    ) -> Mapping[int, FailOutcome]:
        """See `EmbeddingJobStore`."""
        held, _ = self._jobs(collection, version)
        mine = self._held(collection, version, lease_id, [f.job_id for f in failures])
        outcomes = dict.fromkeys((f.job_id for f in failures), FailOutcome.LEASE_LOST)
        for failure in failures:
            job = mine.get(failure.job_id)
            if job is None:
                continue
            now = self._memory.now_us()
            delay_s = failure_delay_s(failure, job.attempts + 1, random.random())  # noqa: S311  # spreads retries
            if held.items[job.item_id].text != job.text:
                job.put_back(now, 0)
                outcomes[job.job_id] = FailOutcome.TEXT_CHANGED
            elif delay_s is None:
                job.hold(failure.error, now)
                outcomes[job.job_id] = FailOutcome.DEAD
            else:
                job.put_back(now + int(delay_s * 1e6), job.attempts + 1)
                outcomes[job.job_id] = FailOutcome.RETRY
        return outcomes

    async def counts(self, collection: Collection, version: EmbeddingVersion) -> JobCounts:
        """See `EmbeddingJobStore`."""
        held = self._memory.held(collection)
        now = self._memory.now_us()
        jobs = list(held.jobs.get(version.version_id, {}).values())
        alive = [j for j in jobs if not j.dead]
        leased = [j for j in alive if j.lease is not None and j.lease_ends >= now]
        retrying = [j for j in alive if j.lease is None and j.attempts and j.due_at >= now]
        total, embedded, outstanding = count_texts(held, version)
        return JobCounts(
            len(alive) - len(leased) - len(retrying),
            len(leased),
            len(retrying),
            len(jobs) - len(alive),
            total,
            embedded,
            outstanding,
            max(((now - j.created_at) / 1e6 for j in alive), default=0.0),
        )

    async def list_dead(
        self, collection: Collection, version: EmbeddingVersion, after: int, count: int
    ) -> list[DeadJob]:
        """See `EmbeddingJobStore`."""
        jobs = self._memory.held(collection).jobs.get(version.version_id, {}).values()
        dead = sorted((j for j in jobs if j.dead and j.job_id > after), key=lambda j: j.job_id)
        return [DeadJob(j.job_id, j.item_id, j.error, j.attempts + 1, j.failed_at) for j in dead[:count]]

    async def requeue_dead(self, collection: Collection, version: EmbeddingVersion, job_ids: Sequence[int]) -> int:
        """See `EmbeddingJobStore`."""
        jobs = self._memory.held(collection).jobs.get(version.version_id, {}).values()
        wanted = [j for j in jobs if j.dead and (not job_ids or j.job_id in job_ids)]
        for job in wanted:
            job.put_back(self._memory.now_us(), 0)
        return len(wanted)

    async def prune_embedding_jobs(self, before: int) -> int:
        """See `EmbeddingJobStore`. Nothing is recorded of jobs that ended."""
        pruned = 0
        for held in self._memory.collections.values():
            for jobs in held.jobs.values():
                for item_id in [j.item_id for j in jobs.values() if j.dead and j.failed_at < before]:
                    del jobs[item_id]
                    pruned += 1
        return pruned

    def _jobs(self, collection: Collection, version: EmbeddingVersion) -> tuple[Held, dict[str, Job]]:
        held = self._memory.held(collection)
        return held, held.jobs.get(version.version_id, {})

    def _leased(self, collection: Collection, version: EmbeddingVersion, lease_id: UUID) -> dict[int, Job]:
        _, jobs = self._jobs(collection, version)
        return {j.job_id: j for j in jobs.values() if j.lease == lease_id}

    def _held(
        self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, job_ids: Sequence[int]
    ) -> dict[int, Job]:
        mine = self._leased(collection, version, lease_id)
        held = {job_id: mine[job_id] for job_id in job_ids if job_id in mine}
        if not held:
            raise lease_lost()
        return held


def _leasable(job: Job, now: int) -> bool:
    if job.dead:
        return False
    return job.due_at <= now if job.lease is None else job.lease_ends < now
