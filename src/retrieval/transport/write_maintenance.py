"""Jobs, their runs and background tasks as replies."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from retrieval.application.maintenance_ports import RunOutcome
from retrieval.application.task_supervisor import TaskState
from retrieval.transport.write_items import write_time
from retrieval.v1 import background_task_pb2 as task_pb
from retrieval.v1 import maintenance_service_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from retrieval.application.maintenance_ports import JobReport, JobRun
    from retrieval.application.task_supervisor import TaskReport

_OUTCOMES = {
    RunOutcome.RUNNING: pb.MaintenanceRun.OUTCOME_RUNNING,
    RunOutcome.SUCCEEDED: pb.MaintenanceRun.OUTCOME_SUCCEEDED,
    RunOutcome.FAILED: pb.MaintenanceRun.OUTCOME_FAILED,
    RunOutcome.INTERRUPTED: pb.MaintenanceRun.OUTCOME_INTERRUPTED,
}


def write_job(job: JobReport) -> pb.MaintenanceJob:
    """A job as it stands."""
    return pb.MaintenanceJob(
        name=job.name,
        description=job.description,
        interval=timedelta(seconds=job.interval_s),
        continuous=job.continuous,
        running=job.running,
        next_run_at=_time(job.next_run_at),
        last_run=None if job.last_run is None else write_run(job.last_run),
        last_success_at=_time(job.last_success_at),
        consecutive_failures=job.consecutive_failures,
        lag=timedelta(seconds=job.lag_s),
        restarts=job.restarts,
        last_failure=job.last_failure,
        last_failure_at=_time(job.last_failure_at),
    )


_STATES = {
    TaskState.RUNNING: task_pb.BACKGROUND_TASK_STATE_RUNNING,
    TaskState.FAILING: task_pb.BACKGROUND_TASK_STATE_FAILING,
    TaskState.STOPPED: task_pb.BACKGROUND_TASK_STATE_STOPPED,
}


def write_task(task: TaskReport) -> task_pb.BackgroundTask:
    """A background task as it stands."""
    return task_pb.BackgroundTask(
        name=task.name,
        state=_STATES[task.state],
        vital=task.vital,
        down=task.down,
        started_at=write_time(task.started_at),
        restarts=task.restarts,
        consecutive_failures=task.consecutive_failures,
        last_success_at=_time(task.last_success_at),
        last_failure_at=_time(task.last_failure_at),
        last_failure=task.last_failure,
    )


def write_run(run: JobRun) -> pb.MaintenanceRun:
    """A run of a job."""
    ended = run.outcome in {RunOutcome.SUCCEEDED, RunOutcome.FAILED}
    return pb.MaintenanceRun(
        started_at=write_time(run.started_at),
        duration=timedelta(milliseconds=run.duration_ms) if ended else None,
        outcome=_OUTCOMES[run.outcome],
        affected=run.affected,
        detail=run.detail,
        error=run.error,
    )


def _time(micros: int | None) -> Timestamp | None:
    return None if micros is None else write_time(micros)
