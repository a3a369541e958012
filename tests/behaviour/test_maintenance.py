"""Jobs that come round: listed, run on demand, and what they let go of. On both stores alike."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from retrieval.application.maintenance_ports import RunOutcome
from retrieval.domain.bandit import Decision
from retrieval.domain.engagement import DAY_US
from retrieval.domain.errors import FailedPreconditionError, NotFoundError
from tests.catalogue import make

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from tests.catalogue import DataSet

JOBS = {
    "index-care",
    "prune-change-log",
    "prune-decisions",
    "prune-embedding-jobs",
    "prune-events",
    "prune-pairs",
    "prune-requests",
}


@pytest.fixture
def data(name: str) -> DataSet:
    return make(name, 3, dimension=4)


async def test_jobs_are_listed_with_their_last_run(stores: Stores) -> None:
    jobs = {job.name: job for job in await stores.maintenance.jobs()}
    assert set(jobs) >= JOBS
    assert all(job.description and job.interval_s > 0 for job in jobs.values())
    assert [*jobs] == sorted(jobs)
    before = time.time_ns() // 1000
    run = await stores.maintenance.run("prune-change-log")
    assert (run.outcome, run.error) == (RunOutcome.SUCCEEDED, "")
    job = next(j for j in await stores.maintenance.jobs() if j.name == "prune-change-log")
    assert job.last_run is not None
    assert (job.last_run.started_at, job.last_run.outcome) == (run.started_at, RunOutcome.SUCCEEDED)
    assert job.last_success_at is not None
    assert job.last_success_at >= run.started_at > before - 10_000_000
    assert (job.running, job.consecutive_failures) == (False, 0)


async def test_an_unknown_job_is_not_found(stores: Stores) -> None:
    with pytest.raises(NotFoundError) as caught:
        await stores.maintenance.run("make-coffee")
    assert caught.value.reason == "JOB_NOT_FOUND"


async def test_receipts_of_requests_are_kept_eight_days(
    stores: Stores, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = await stores.collections.create(data.collection(), data.version())
    items = list(data.items.values())
    for request_id in ("one", "two", "three"):
        await stores.items.upsert(collection, collection.active, items, request_id, b"a")
    now_ns = time.time_ns

    def later(days: float) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: now_ns() + int(days * DAY_US * 1000))

    later(7.9)
    await stores.maintenance.run("prune-requests")
    with pytest.raises(FailedPreconditionError):
        await stores.items.upsert(collection, collection.active, items, "one", b"other")
    later(8.1)
    run = await stores.maintenance.run("prune-requests")
    assert run.affected >= 3
    await stores.items.upsert(collection, collection.active, items, "one", b"other")
    assert (await stores.maintenance.run("prune-requests")).outcome is RunOutcome.SUCCEEDED


async def test_old_decisions_go_by_the_setting(stores: Stores, data: DataSet) -> None:
    collection = await stores.collections.create(data.collection(), data.version())
    now = time.time_ns() // 1000
    for age in (91, 89):
        await stores.bandits.log(collection, Decision(str(uuid4()), "s", 0.5, "c", "ann", now - age * DAY_US))
    assert (await stores.maintenance.run("prune-decisions")).affected >= 1
    assert await stores.bandits.erase_user(collection, "ann") == 1
