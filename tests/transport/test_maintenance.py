"""MaintenanceService over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from retrieval.application.maintenance_ports import JobReport, JobRun, RunOutcome
from retrieval.application.ports import IndexKind, IndexReport, IndexState, VersionReport
from retrieval.client import RetrievalClient, error_reason
from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.model import EmbeddingVersion
from retrieval.transport.write_collections import write_stats
from retrieval.v1 import maintenance_service_pb2 as pb
from tests.transport.conftest import Running, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ADMIN = "test-admin-token"


@pytest.fixture
async def started(front: str) -> AsyncIterator[Running]:
    async with (
        running(front, admin_token=ADMIN) as run,
        RetrievalClient(f"127.0.0.1:{run.server.port}", admin_token=ADMIN) as client,
    ):
        yield Running(run.service, run.server, client)


async def refused(call: object) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call  # type: ignore[misc]
    reason, fields = error_reason(raised.value)
    return raised.value.code(), reason, [path for path, _ in fields]


async def test_a_job_is_run_and_shown(started: Running) -> None:
    maintenance = started.client.maintenance
    before = {job.name: job for job in await maintenance.jobs()}
    assert not before["prune-requests"].HasField("last_run")
    assert before["prune-requests"].interval.ToTimedelta().days == 1
    run = await maintenance.run("prune-requests")
    assert (run.outcome, run.affected) == (pb.MaintenanceRun.OUTCOME_SUCCEEDED, 0)
    assert run.HasField("duration")
    after = {job.name: job for job in await maintenance.jobs()}
    assert after["prune-requests"].last_run == run
    assert after["prune-requests"].HasField("last_success_at")


async def test_running_needs_the_admin_token_and_a_job(started: Running) -> None:
    async with RetrievalClient(f"127.0.0.1:{started.server.port}") as anybody:
        assert len(await anybody.maintenance.jobs()) > 4
        code, reason, _ = await refused(anybody.maintenance.run("prune-requests"))
        assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "ADMIN_TOKEN_REQUIRED")
    maintenance = started.client.maintenance
    code, reason, _ = await refused(maintenance.run("make-coffee"))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    for name in ("", "x" * 129, "a\x00"):
        code, _, fields = await refused(maintenance.run(name))
        assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["name"])


async def test_what_the_store_says_comes_over(started: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    store = started.service.stores.maintenance
    failed = JobRun(2_000_000, RunOutcome.FAILED, 1500, 0, "", "failed (42P01); the server log says more")
    busy = JobRun(3_000_000, RunOutcome.RUNNING)
    shown = [
        JobReport("a", "does a", 60, next_run_at=9_000_000, last_run=failed, consecutive_failures=2),
        JobReport("b", "does b", 30, running=True, last_run=busy),
        JobReport("c", "does c", 1, continuous=True, running=True, lag_s=2.5),
    ]

    async def jobs() -> list[JobReport]:
        return shown

    async def run(name: str) -> JobRun:
        raise FailedPreconditionError(f"job {name!r} runs already", reason="JOB_RUNNING")

    monkeypatch.setattr(store, "jobs", jobs)
    monkeypatch.setattr(store, "run", run)
    first, second, third = await started.client.maintenance.jobs()
    assert (first.last_run.outcome, first.last_run.error) == (pb.MaintenanceRun.OUTCOME_FAILED, failed.error)
    assert first.last_run.duration.ToMilliseconds() == 1500
    assert (first.next_run_at.seconds, first.consecutive_failures, first.running) == (9, 2, False)
    assert (second.running, second.last_run.outcome) == (True, pb.MaintenanceRun.OUTCOME_RUNNING)
    assert not second.last_run.HasField("duration")
    assert not second.HasField("next_run_at")
    assert (third.continuous, third.lag.ToMilliseconds(), third.HasField("last_run")) == (True, 2500, False)
    code, reason, _ = await refused(started.client.maintenance.run("b"))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_RUNNING")


def test_stats_show_what_index_care_goes_by() -> None:
    index = IndexReport("i", IndexKind.IVFFLAT, IndexState.READY, 16, lists=1, lists_wanted=4, built_rows=1200)
    stats = write_stats(EmbeddingVersion(1, 1, "m", 16), VersionReport(4000, 1, (index,), 700))
    assert (stats.row_count, stats.dead_row_count) == (4000, 700)
    shown = stats.indexes[0]
    assert (shown.lists, shown.lists_wanted, shown.built_row_count) == (1, 4, 1200)
