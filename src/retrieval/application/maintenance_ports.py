"""What the service offers about the work that comes round: which jobs there are, how they went, and running one now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


class RunOutcome(Enum):
    """How a run of a job stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job did: how many rows, indexes or tables, and in words what else there is to say.

    `failed`: parts that failed where all others were done; such a run counts as failed, and is tried again.
    """

    affected: int
    detail: str = ""
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MaintenanceJob:
    """A job and how often it comes round. It may be cancelled anywhere, and repeated: it goes on next time.

    `work` returns how many rows, indexes or tables it changed.
    """

    name: str
    interval_s: float
    work: Callable[[], Awaitable[int | JobResult]]
    description: str = ""


@dataclass(frozen=True, slots=True)
class JobRun:
    """A run of a job. Moments are microseconds since the epoch; `duration_ms` is 0 until it has ended."""

    started_at: int
    outcome: RunOutcome
    duration_ms: int = 0
    affected: int = 0
    detail: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class JobReport:
    """A job as it stands. Moments are microseconds since the epoch, None where there is none.

    A `continuous` job goes on all the time in every server and has no runs; `lag_s` is how far it is behind, and the
    last three fields are those of its background task: see `TaskReport`.
    """

    name: str
    description: str
    interval_s: float
    continuous: bool = False
    running: bool = False
    next_run_at: int | None = None
    last_run: JobRun | None = None
    last_success_at: int | None = None
    consecutive_failures: int = 0
    lag_s: float = 0.0
    restarts: int = 0
    last_failure: str = ""
    last_failure_at: int | None = None


class MaintenanceStore(Protocol):
    """Jobs, each run by one server at a time and by all of them together no more often than its interval."""

    async def jobs(self) -> Sequence[JobReport]:
        """All jobs by name."""
        ...

    async def run(self, name: str) -> JobRun:
        """Run a job now, whether it is due or not; what it did. That it failed is its outcome, not an error.

        Raises: NotFoundError (JOB_NOT_FOUND), FailedPreconditionError (JOB_RUNNING, JOB_CONTINUOUS).
        """
        ...
