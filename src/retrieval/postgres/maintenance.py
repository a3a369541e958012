"""Jobs that come round: one server runs a job at a time, whoever finds it due first. Implements `MaintenanceStore`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from retrieval.application.maintenance_ports import JobReport, JobResult, JobRun, RunOutcome
from retrieval.application.task_supervisor import TaskState
from retrieval.domain.errors import FailedPreconditionError, NotFoundError
from retrieval.postgres.apart import PartlyFailedError
from retrieval.postgres.folding import FOLD_INTERVAL_S
from retrieval.postgres.sql_files import queries
from retrieval.postgres.times import to_micros

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from retrieval.application.maintenance_ports import MaintenanceJob
    from retrieval.application.task_supervisor import TaskSupervisor
    from retrieval.postgres.database import Database

LOOK_S = 5.0
"""Time between two looks at what is due."""
FIRST_RUN_S = 300.0
"""A job that no server knew before runs after this, or after its interval where that is shorter."""
RETRY_S = 600.0
"""A job that failed is due again after this, or after its interval where that is shorter."""
RESUME_S = 60.0
"""The same for one that was cut off."""
KEPT_RUNS = 100
FOLDING, TRENDS = "fold-events", "refresh-trends"
"""Background tasks that are shown beside the jobs."""

log = logging.getLogger(__name__)


class PostgresMaintenance:
    """Runs and reports on `jobs`. The claim of a job is a lock of the connection that it is run beside."""

    def __init__(
        self, database: Database, jobs: Sequence[MaintenanceJob], tasks: TaskSupervisor, trending_refresh_s: float
    ) -> None:
        self._database = database
        self._jobs = {job.name: job for job in jobs}
        self._tasks = tasks
        self._trending_refresh_s = trending_refresh_s
        self._registered = False

    async def jobs(self) -> list[JobReport]:
        """See `MaintenanceStore`."""
        await self._register()
        sql = queries("maintenance")
        async with self._database.connection() as connection:
            rows = await connection.fetch(sql["jobs"], list(self._jobs))
            refreshed_at, lag_s = await connection.fetchrow(sql["trends_lag"])
            pending = await connection.fetchval(sql["pending_batches"])
        trends_at = None if refreshed_at is None else to_micros(refreshed_at)
        continuous = [
            self._continuous(FOLDING, FOLD_INTERVAL_S, None, 0.0, f"adds up events; {pending} batches wait"),
            self._continuous(TRENDS, self._trending_refresh_s, trends_at, lag_s, "makes the lists of what trends"),
        ]
        return sorted([_report(row, self._jobs[row["name"]]) for row in rows] + continuous, key=lambda j: j.name)

    def _continuous(
        self, name: str, interval_s: float, success_at: int | None, lag_s: float, description: str
    ) -> JobReport:
        task = self._tasks.report(name)
        return JobReport(
            name,
            description,
            interval_s,
            continuous=True,
            running=task is not None and task.state is TaskState.RUNNING,
            last_success_at=success_at or (None if task is None else task.last_success_at),
            consecutive_failures=0 if task is None else task.consecutive_failures,
            lag_s=lag_s,
            restarts=0 if task is None else task.restarts,
            last_failure="" if task is None else task.last_failure,
            last_failure_at=None if task is None else task.last_failure_at,
        )

    async def run(self, name: str) -> JobRun:
        """See `MaintenanceStore`."""
        if name in {FOLDING, TRENDS}:
            raise FailedPreconditionError(
                f"job {name!r} goes on all the time in every server; there is nothing to run", reason="JOB_CONTINUOUS"
            )
        if name not in self._jobs:
            raise NotFoundError(
                f"there is no job {name!r}; ListMaintenanceJobs names those there are", reason="JOB_NOT_FOUND"
            )
        await self._register()
        run = await self._claimed(self._jobs[name], only_due=False)
        if run is None:
            raise FailedPreconditionError(
                f"job {name!r} runs already, in this server or in another one; ListMaintenanceJobs says when it ends",
                reason="JOB_RUNNING",
            )
        return run

    async def run_due(self) -> None:
        """Run what is due and nobody else runs, one after the other; one that fails does not keep the next from it."""
        await self._register()
        async with self._database.connection() as connection:
            due = await connection.fetch(queries("maintenance")["due"], list(self._jobs))
        for (name,) in due:
            await self._claimed(self._jobs[name], only_due=True)

    async def _register(self) -> None:
        if self._registered:
            return
        intervals = [job.interval_s for job in self._jobs.values()]
        async with self._database.connection() as connection:
            await connection.execute(queries("maintenance")["register"], list(self._jobs), intervals, FIRST_RUN_S)
        self._registered = True

    async def _claimed(self, job: MaintenanceJob, *, only_due: bool) -> JobRun | None:
        """The run of a job; None where somebody else runs it, or just did."""
        sql = queries("maintenance")
        # The end of the connection also frees the claim.
        async with self._database.dedicated("retrieval-maintenance") as connection:
            if not await connection.fetchval(sql["claim"], job.name):
                return None
            begun = await connection.fetchrow(
                sql["begin_run"], job.name, job.interval_s, RESUME_S, only_due, KEPT_RUNS - 1
            )
            return None if begun is None else await self._recorded(connection, job, *begun)

    async def _recorded(self, connection: Any, job: MaintenanceJob, run_id: int, started_at: Any) -> JobRun:
        outcome, error = RunOutcome.SUCCEEDED, ""
        try:
            done = await job.work()
            result = done if isinstance(done, JobResult) else JobResult(done)
            if result.failed:
                outcome = RunOutcome.FAILED
                error = f"failed for {', '.join(result.failed)}; all else was done; the server log says more"
        except PartlyFailedError as problem:
            outcome, error, result = RunOutcome.FAILED, problem.message, JobResult(0)
        except Exception as problem:
            log.exception("job %s failed and is tried again", job.name)
            kind = getattr(problem, "sqlstate", None) or getattr(problem, "reason", None) or type(problem).__name__
            outcome, error, result = RunOutcome.FAILED, f"failed ({kind}); the server log says more", JobResult(0)
        sql = queries("maintenance")
        finished_at = await connection.fetchval(
            sql["finish_run"],
            job.name,
            run_id,
            outcome.value,
            result.affected,
            result.detail,
            error,
            job.interval_s,
            RETRY_S,
        )
        await connection.execute(sql["release"], job.name)
        if result.affected:
            log.info("job %s: %d affected %s", job.name, result.affected, result.detail)
        return JobRun(
            to_micros(started_at), outcome, _ms(started_at, finished_at), result.affected, result.detail, error
        )


def _ms(started_at: Any, finished_at: Any) -> int:
    return 0 if finished_at is None else int((finished_at - started_at).total_seconds() * 1000)


def _report(row: asyncpg.Record, job: MaintenanceJob) -> JobReport:
    last = None
    if row["started_at"] is not None:
        outcome = RunOutcome(row["outcome"])
        if outcome is RunOutcome.RUNNING and not row["running"]:
            outcome = RunOutcome.INTERRUPTED
        last = JobRun(
            to_micros(row["started_at"]),
            outcome,
            _ms(row["started_at"], row["finished_at"]),
            row["affected"],
            row["detail"],
            row["error"],
        )
    return JobReport(
        job.name,
        job.description,
        job.interval_s,
        running=row["running"],
        next_run_at=to_micros(row["next_run_at"]),
        last_run=last,
        last_success_at=None if row["last_success_at"] is None else to_micros(row["last_success_at"]),
        consecutive_failures=row["failures"],
    )
