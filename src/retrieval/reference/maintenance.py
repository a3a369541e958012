"""Jobs that come round, in memory; implements `MaintenanceStore`. They run when they are asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from retrieval.application.maintenance_ports import JobReport, JobRun, MaintenanceJob, RunOutcome
from retrieval.config import Settings
from retrieval.domain.engagement import DAY_US
from retrieval.domain.errors import NotFoundError

if TYPE_CHECKING:
    from retrieval.application.bandit_ports import BanditStore
    from retrieval.application.embedding_job_ports import EmbeddingJobStore
    from retrieval.application.engagement_ports import EngagementStore
    from retrieval.application.training_ports import PairStore
    from retrieval.reference.memory import Memory

DAY_S = 24 * 3600.0


class ReferenceMaintenance:
    """Retention of events, receipts, decisions, failed jobs and pairs: nothing else wants care in memory."""

    def __init__(
        self,
        memory: Memory,
        engagement: EngagementStore,
        bandits: BanditStore,
        pairs: PairStore,
        embedding_jobs: EmbeddingJobStore,
    ) -> None:
        self._memory = memory
        self._engagement = engagement
        self._bandits = bandits
        self._pairs = pairs
        self._embedding_jobs = embedding_jobs
        self._settings = Settings()
        nothing = "does nothing in memory"
        jobs = (
            MaintenanceJob("index-care", DAY_S, self._nothing, nothing),
            MaintenanceJob("prune-change-log", DAY_S, self._nothing, nothing),
            MaintenanceJob("prune-decisions", DAY_S, self._decisions, "forgets old decisions of the bandit"),
            MaintenanceJob("prune-embedding-jobs", DAY_S, self._failed_jobs, "forgets texts that were not embedded"),
            MaintenanceJob("prune-events", DAY_S, self._events, "drops months of events that are too old"),
            MaintenanceJob("prune-pairs", DAY_S, self._used_pairs, "deletes training pairs that were used"),
            MaintenanceJob("prune-requests", DAY_S, self._requests, "forgets receipts of requests that are too old"),
        )
        self._jobs = {job.name: job for job in jobs}
        self._runs: dict[str, JobRun] = {}

    async def jobs(self) -> list[JobReport]:
        """See `MaintenanceStore`."""
        return [
            JobReport(
                job.name,
                job.description,
                job.interval_s,
                last_run=run,
                last_success_at=None if run is None else run.started_at + run.duration_ms * 1000,
            )
            for job in self._jobs.values()
            for run in (self._runs.get(job.name),)
        ]

    async def run(self, name: str) -> JobRun:
        """See `MaintenanceStore`; none ever runs at the same time as another."""
        job = self._jobs.get(name)
        if job is None:
            raise NotFoundError(
                f"there is no job {name!r}; ListMaintenanceJobs names those there are", reason="JOB_NOT_FOUND"
            )
        began = time.time_ns() // 1000
        done = await job.work()
        took_ms = (time.time_ns() // 1000 - began) // 1000
        affected = done if isinstance(done, int) else done.affected
        self._runs[name] = JobRun(began, RunOutcome.SUCCEEDED, took_ms, affected)
        return self._runs[name]

    async def _nothing(self) -> int:
        return 0

    async def _events(self) -> int:
        return await self._engagement.prune_events(_days_ago(self._settings.event_retention_days))

    async def _decisions(self) -> int:
        return await self._bandits.prune(_days_ago(self._settings.decision_retention_days))

    async def _failed_jobs(self) -> int:
        return await self._embedding_jobs.prune_embedding_jobs(_days_ago(self._settings.failed_job_retention_days))

    async def _used_pairs(self) -> int:
        return await self._pairs.prune(_days_ago(self._settings.used_pair_retention_days))

    async def _requests(self) -> int:
        before, gone = _days_ago(self._settings.request_retention_days), 0
        for held in self._memory.collections.values():
            old = [request_id for request_id, (_, _, at) in held.requests.items() if at < before]
            for request_id in old:
                del held.requests[request_id]
            gone += len(old)
        return gone


def _days_ago(days: int) -> int:
    return time.time_ns() // 1000 - days * DAY_US
