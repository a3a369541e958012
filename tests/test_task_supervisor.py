"""Whatever ends a background task, it is logged, the task goes on, and its state can be asked for."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest
from grpc_health.v1 import health_pb2

from retrieval.application import task_supervisor as module
from retrieval.application.task_supervisor import TaskState, TaskSupervisor, for_each
from retrieval.domain.errors import ConflictError, UnavailableError
from retrieval.transport import health
from retrieval.transport.health import HealthMonitor
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent


class Step:
    """A step that raises what it is given first, and does its work from then on."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.done = 0

    async def __call__(self) -> None:
        if self._errors:
            raise self._errors.pop(0)
        self.done += 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF_S", 0.005)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a defect"),
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        UnavailableError("away"),
        ConnectionResetError("cut"),
        asyncio.CancelledError("of a library, not of ours"),
        ExceptionGroup("several", [KeyError("one")]),
        StopIteration(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_failure_ends_a_task(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    step, tasks = Step(error), TaskSupervisor()
    task = tasks.start("work", step, 0.005)
    await until(lambda: step.done > 2)
    report = task.report()
    assert (report.state, report.restarts, report.consecutive_failures) == (TaskState.RUNNING, 1, 0)
    assert report.last_failure
    assert report.last_failure_at is not None
    assert report.last_success_at is not None
    assert report.last_success_at >= report.last_failure_at
    (line,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert line.exc_info, "with its traceback"
    assert "work" in line.getMessage()
    await task.stop()
    assert task.report().state is TaskState.STOPPED
    assert tasks.down() == []


async def test_a_failure_says_no_more_than_a_reason() -> None:
    tasks = TaskSupervisor()
    for error, said in (
        (UnavailableError("host db-7 of secret"), "STORE_UNAVAILABLE"),
        (ValueError("row 7"), "ValueError"),
    ):
        task = tasks.start("work", Step(error), 60.0)
        await until(lambda task=task: task.report().restarts == 1)
        assert task.report().last_failure == said
        await task.stop()


async def test_the_same_failure_again_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    step = Step(*(UnavailableError("away") for _ in range(5)))
    task = TaskSupervisor().start("work", step, 0.005)
    await until(lambda: step.done > 0)
    assert [bool(r.exc_info) for r in caplog.records if "failed" in r.getMessage()] == [True, *[False] * 4]
    await task.stop()


async def test_a_pause_that_fails_ends_nothing_either() -> None:
    step, pause = Step(), Step(ValueError("in the pause"))

    async def rest() -> None:
        await pause()
        await asyncio.sleep(0.005)

    task = TaskSupervisor().start("work", step, rest)
    await until(lambda: step.done > 2)
    assert task.report().restarts == 1
    await task.stop()


async def test_an_outage_is_left_behind_sooner_than_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def recorded(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(module, "FIRST_BACKOFF_S", 0.1)
    monkeypatch.setattr(module.asyncio, "sleep", recorded)
    for error, longest in ((UnavailableError, module.OUTAGE_BACKOFF_S), (ValueError, module.DEFECT_BACKOFF_S)):
        pauses.clear()
        step = Step(*(error("again") for _ in range(40)))
        task = TaskSupervisor().start("work", step, lambda: sleep(60))
        while not step.done:
            await sleep(0.001)
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[-1]) == (0.1, longest)
        await task.stop()


async def test_a_vital_task_that_stays_down_takes_readiness_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def alive() -> bool:
        return True

    monkeypatch.setattr(health, "INTERVAL_S", 0.01)
    monkeypatch.setattr(module, "DOWN_AFTER_S", 0.05)
    monkeypatch.setattr(module, "DEFECT_BACKOFF_S", 0.02)
    tasks = TaskSupervisor()
    step = Step(*(ValueError("poison") for _ in range(100_000)))
    tasks.start("dispensable", Step(*(ValueError("no matter") for _ in range(100_000))), 0.01)
    monitor = HealthMonitor(alive, ("a.Service",), tasks, warming=False)
    await monitor.start()

    async def said() -> int:
        request = health_pb2.HealthCheckRequest(service="a.Service")
        return (await monitor.servicer.Check(request, None)).status

    async def becomes(status: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await said() != status:
                await asyncio.sleep(0.01)

    await becomes(health.SERVING)
    vital = tasks.start("vital", step, 0.01, vital=True)
    await becomes(health.NOT_SERVING)
    assert tasks.down() == ["vital"]
    assert vital.report().down
    step._errors.clear()
    await becomes(health.SERVING)
    await monitor.drain()
    await tasks.stop()


async def test_work_that_is_done_once(caplog: pytest.LogCaptureFixture) -> None:
    tasks, done = TaskSupervisor(), []

    async def work() -> None:
        done.append(1)

    async def fail() -> None:
        raise ValueError("nobody waits for it")

    await tasks.once("good", work())
    assert done == [1]
    with pytest.raises(ValueError, match="nobody waits"):
        await tasks.once("bad", fail())
    (line,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "bad" in line.getMessage()
    assert line.exc_info
    forever = tasks.once("forever", asyncio.sleep(3600))
    await tasks.stop()
    assert forever.cancelled()


async def test_everybody_has_a_turn_though_one_fails() -> None:
    seen: list[int] = []

    def working(*bad: tuple[int, Exception]) -> Callable[[int], object]:
        async def work(number: int) -> bool:
            seen.append(number)
            for n, error in bad:
                if n == number:
                    raise error
            return number == 3

        return work

    assert await for_each(range(4), working())  # type: ignore[arg-type]
    assert seen == [0, 1, 2, 3]
    seen.clear()
    with pytest.raises(ValueError, match="first"):
        await for_each(range(4), working((0, ValueError("first")), (2, ConflictError("second"))))  # type: ignore[arg-type]
    assert seen == [0, 1, 2, 3]
    seen.clear()
    with pytest.raises(UnavailableError):
        await for_each(range(4), working((1, UnavailableError("everybody meets it"))))  # type: ignore[arg-type]
    assert seen == [0, 1]


@pytest.mark.parametrize(
    ("source", "fine"),
    [
        ("asyncio.create_task(work())", False),
        ("self._loop.create_task(work())", False),
        ("asyncio.ensure_future(work())", False),
        ("asyncio.create_task(work())  # awaited: below", True),
        ("group.create_task(work())", False),
    ],
)
def test_a_task_without_supervisor_is_refused(source: str, fine: bool, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(source + "\n", encoding="utf-8")
    command = [sys.executable, str(ROOT / ".ci" / "check_tasks.py"), str(tmp_path)]
    assert (subprocess.run(command, capture_output=True, check=False).returncode == 0) is fine


def test_a_task_of_a_group_is_awaited_by_it(tmp_path: Path) -> None:
    source = "async def f():\n    async with asyncio.TaskGroup() as group:\n        group.create_task(work())\n"
    (tmp_path / "module.py").write_text(source, encoding="utf-8")
    command = [sys.executable, str(ROOT / ".ci" / "check_tasks.py"), str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
