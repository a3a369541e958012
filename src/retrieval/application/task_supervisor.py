"""One supervisor for everything that runs in the background of a process.

A background task is a step that is taken again and again, with a pause in between. Whatever ends a step is logged with
its traceback, and the step is taken again after a growing pause: no failure ends a task, and none goes unnoticed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from retrieval.domain.errors import DeadlineExceededError, RetrievalError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

FIRST_BACKOFF_S = 0.1
OUTAGE_BACKOFF_S = 1.0
"""The longest pause while the store is away: everything works again within seconds of its return."""
DEFECT_BACKOFF_S = 30.0
"""The longest pause after any other failure, which a retry alone rarely mends."""
DOWN_AFTER_S = 15.0
"""A vital task that fails for as long is down, and so is the process in the eyes of readiness checks."""

INDEX_BUILDS, CACHE_FOLLOWER, CACHE_SEGMENTS = "index-builds", "cache-follower", "cache-segments"
"""Tasks of which the statistics of an index tell, too."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class TaskState(Enum):
    """How a background task stands."""

    RUNNING = "running"
    FAILING = "failing"
    """Its latest step failed; it is taken again."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class TaskReport:
    """A background task as it stands. Moments are microseconds since the epoch, None where there is none.

    `restarts` counts the failures since the task began, `consecutive_failures` those since its latest success.
    `last_failure` is a reason or the name of an exception, without anything that a database or a library said.
    """

    name: str
    vital: bool
    state: TaskState
    started_at: int
    restarts: int = 0
    consecutive_failures: int = 0
    last_success_at: int | None = None
    last_failure_at: int | None = None
    last_failure: str = ""
    down: bool = False
    """A vital task that has been failing for `DOWN_AFTER_S`."""


class BackgroundTask:
    """The handle of a task. Whoever began the task ends it by `stop`."""

    def __init__(self, name: str, *, vital: bool) -> None:
        self.name = name
        self.vital = vital
        self._started_at = _now()
        self._restarts = 0
        self._consecutive = 0
        self._failing_since_s = 0.0
        self._last_success_at: int | None = None
        self._last_failure_at: int | None = None
        self._last_failure = ""
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def succeeded(self) -> None:
        """The task does its work. The supervisor says so after each step; a step that takes long says so itself."""
        if self._consecutive:
            log.info("background task %s works again after %d failures", self.name, self._consecutive)
        self._consecutive = 0
        self._last_success_at = _now()

    async def stop(self) -> None:
        """End the task; a step under way is cancelled."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def report(self) -> TaskReport:
        """How it stands."""
        ended = self._task is None or self._task.done()
        failing = TaskState.FAILING if self._consecutive else TaskState.RUNNING
        return TaskReport(
            name=self.name,
            vital=self.vital,
            state=TaskState.STOPPED if ended else failing,
            started_at=self._started_at,
            restarts=self._restarts,
            consecutive_failures=self._consecutive,
            last_success_at=self._last_success_at,
            last_failure_at=self._last_failure_at,
            last_failure=self._last_failure,
            down=self.vital
            and not self._stopping
            and (ended or (self._consecutive > 0 and time.monotonic() - self._failing_since_s > DOWN_AFTER_S)),
        )

    def _start(self, step: Callable[[], Awaitable[object]], pause: Callable[[], Awaitable[object]]) -> None:
        self._task = asyncio.create_task(self._run(step, pause), name=self.name)

    async def _run(self, step: Callable[[], Awaitable[object]], pause: Callable[[], Awaitable[object]]) -> None:
        while not self._stopping:
            try:
                await step()
                self.succeeded()
                await pause()
            except asyncio.CancelledError as error:
                if self._stopping:
                    raise
                # Not ours: a library's cancellation that found its way out of the step.
                current = asyncio.current_task()
                if current is not None:
                    current.uncancel()
                await self._rest_after(error)
            except Exception as error:
                await self._rest_after(error)

    async def _rest_after(self, error: BaseException) -> None:
        self._note(error)
        outage = isinstance(error, UnavailableError | DeadlineExceededError | OSError)
        longest = OUTAGE_BACKOFF_S if outage else DEFECT_BACKOFF_S
        # The exponent is bounded, or it would overflow in an outage of days.
        await asyncio.sleep(min(FIRST_BACKOFF_S * 2 ** min(self._consecutive - 1, 16), longest))

    def _note(self, error: BaseException) -> None:
        failure = error.reason if isinstance(error, RetrievalError) else type(error).__name__
        known = self._consecutive > 0 and failure == self._last_failure
        if self._consecutive == 0:
            self._failing_since_s = time.monotonic()
        self._restarts += 1
        self._consecutive += 1
        self._last_failure_at, self._last_failure = _now(), failure
        if known:
            # The traceback is that of the first failure in a row.
            log.warning("background task %s failed %d times in a row: %s", self.name, self._consecutive, failure)
        else:
            log.error("background task %s failed and is started again", self.name, exc_info=error)


class TaskSupervisor:
    """Starts background tasks and knows how each stands."""

    def __init__(self) -> None:
        self._tasks: dict[str, BackgroundTask] = {}
        self._once: set[asyncio.Task[Any]] = set()

    def start(
        self,
        name: str,
        step: Callable[[], Awaitable[object]],
        pause: Callable[[], Awaitable[object]] | float,
        *,
        vital: bool = False,
    ) -> BackgroundTask:
        """Take `step` now and again after each `pause`, which is awaited or a number of seconds, until `stop`.

        `vital`: without it the process does not do its work, and says so where it is asked whether it is ready.
        A task of the same name takes the place of one that was stopped.
        """
        task = self._tasks[name] = BackgroundTask(name, vital=vital)
        task._start(step, pause if callable(pause) else lambda: asyncio.sleep(pause))  # noqa: SLF001
        return task

    def once(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Do `work` in the background, one time. A failure is logged with its traceback."""
        task = asyncio.create_task(work, name=name)
        self._once.add(task)
        task.add_done_callback(self._done)
        return task

    def report(self, name: str) -> TaskReport | None:
        """How the task of that name stands; None where this process never began it."""
        task = self._tasks.get(name)
        return None if task is None else task.report()

    def reports(self) -> list[TaskReport]:
        """All tasks of this process by name."""
        return [self._tasks[name].report() for name in sorted(self._tasks)]

    def down(self) -> list[str]:
        """Names of the vital tasks that are down."""
        return [report.name for report in self.reports() if report.down]

    async def stop(self) -> None:
        """End all tasks."""
        for task in list(self._once):
            task.cancel()
        await asyncio.gather(*(task.stop() for task in self._tasks.values()), *self._once, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._once.discard(task)
        with suppress(asyncio.CancelledError):
            error = task.exception()
            if error is not None:
                log.error("background work %s failed", task.get_name(), exc_info=error)


def is_outage(error: BaseException) -> bool:
    """Whether the store is away, which everything would meet; a conflict, or a lock, is the matter of one thing."""
    return isinstance(error, UnavailableError) and error.reason == UnavailableError.reason


async def for_each(things: Iterable[T], work: Callable[[T], Awaitable[object]]) -> bool:
    """Do `work` on each thing; whether any was answered with something true.

    A failure with one does not keep the others from their turn. Raises: the first failure, once all had it; an
    UnavailableError at once, as it would meet all of them.
    """
    worked = False
    failure: Exception | None = None
    for thing in things:
        try:
            worked |= bool(await work(thing))
        except Exception as error:
            if is_outage(error):
                raise
            if failure is not None:
                log.exception("another failure of the same round")
            failure = failure or error
    if failure is not None:
        raise failure
    return worked


def _now() -> int:
    return time.time_ns() // 1000
