"""Jobs that come round, over several servers: claimed, repeated, cut off and failing."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg
import pytest

from retrieval.application.maintenance_ports import JobReport, JobResult, MaintenanceJob, RunOutcome
from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.config import Settings, SettingsError, load_settings
from retrieval.domain.errors import FailedPreconditionError
from retrieval.postgres import maintenance as module
from retrieval.postgres import pruning as pruning_module
from retrieval.postgres.bandits import PostgresBandits
from retrieval.postgres.database import Database
from retrieval.postgres.embedding_job_store import PostgresEmbeddingJobs
from retrieval.postgres.maintenance import PostgresMaintenance
from retrieval.postgres.migrate import Migrator
from retrieval.postgres.pairs import PostgresPairs
from retrieval.postgres.pruning import Pruning
from tests.patience import PATIENCE_S
from tests.postgres.conftest import scratch_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(scope="module")
async def url(database_url: str) -> AsyncIterator[str]:
    async with scratch_database(database_url) as url:
        await Migrator(url).up()
        yield url


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    await connection.execute("TRUNCATE retrieval.maintenance_jobs CASCADE")
    yield connection
    await connection.close()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url, Settings(database_url=url))
    await database.open()
    yield database
    await database.close()


@dataclass
class Work:
    """A job that does as it is told, and counts."""

    runs: int = 0
    error: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def __call__(self) -> JobResult:
        self.runs += 1
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return JobResult(self.runs, f"run {self.runs}")


def server(database: Database, **jobs: Work) -> PostgresMaintenance:
    """What one server has of the maintenance; several share a database."""
    made = [MaintenanceJob(name, 3600.0, work, f"the job {name}") for name, work in jobs.items()]
    return PostgresMaintenance(database, made, TaskSupervisor(), 30.0)


async def report(maintenance: PostgresMaintenance, name: str) -> JobReport:
    return next(job for job in await maintenance.jobs() if job.name == name)


async def make_due(connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE retrieval.maintenance_jobs SET next_run_at = now()")


async def test_of_many_servers_one_runs_what_is_due_once(database: Database, connection: asyncpg.Connection) -> None:
    work = Work()
    servers = [server(database, tidy=work) for _ in range(5)]
    await asyncio.gather(*(s.run_due() for s in servers))
    assert work.runs == 0, "a new job waits"
    waits = await connection.fetchval("SELECT next_run_at - now() FROM retrieval.maintenance_jobs")
    assert 0 < waits.total_seconds() <= module.FIRST_RUN_S
    await make_due(connection)
    await asyncio.gather(*(s.run_due() for s in servers))
    for s in servers:
        await s.run_due()
    assert work.runs == 1
    job = await report(servers[0], "tidy")
    assert job.last_run is not None
    assert (job.last_run.affected, job.last_run.detail) == (1, "run 1")
    assert job.next_run_at == job.last_run.started_at + 3_600_000_000


async def test_a_job_that_runs_is_refused_elsewhere(database: Database, connection: asyncpg.Connection) -> None:
    work, other = Work(), Work()
    work.gate.clear()
    first, second = server(database, tidy=work, other=other), server(database, tidy=work, other=other)
    running = asyncio.create_task(first.run("tidy"))
    await work.begun.wait()
    job = await report(second, "tidy")
    assert job.running
    assert job.last_run is not None
    assert job.last_run.outcome is RunOutcome.RUNNING
    with pytest.raises(FailedPreconditionError) as caught:
        await second.run("tidy")
    assert caught.value.reason == "JOB_RUNNING"
    await make_due(connection)
    await second.run_due()
    assert (work.runs, other.runs) == (1, 1), "others go on meanwhile"
    work.gate.set()
    assert (await running).outcome is RunOutcome.SUCCEEDED
    assert (await second.run("tidy")).affected == 2


async def test_a_cancelled_run_is_interrupted_and_its_job_free(
    database: Database, connection: asyncpg.Connection
) -> None:
    work = Work()
    work.gate.clear()
    first, second = server(database, tidy=work), server(database, tidy=work)
    running = asyncio.create_task(first.run("tidy"))
    await work.begun.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    while (job := await report(second, "tidy")).running:
        await asyncio.sleep(0.01)
    assert job.last_run is not None
    assert job.last_run.outcome is RunOutcome.INTERRUPTED
    assert job.next_run_at is not None
    assert job.next_run_at <= job.last_run.started_at + 2 * module.RESUME_S * 1_000_000
    work.gate.set()
    assert (await second.run("tidy")).outcome is RunOutcome.SUCCEEDED
    outcomes = await connection.fetch("SELECT outcome FROM retrieval.maintenance_runs ORDER BY run_id")
    assert [row[0] for row in outcomes] == ["interrupted", "succeeded"]


async def test_a_claim_goes_with_its_connection(database: Database, connection: asyncpg.Connection, url: str) -> None:
    """As where the server that runs the job is killed."""
    work = Work()
    maintenance = server(database, tidy=work)
    await maintenance.jobs()
    killed = await asyncpg.connect(url)
    await killed.execute("SELECT pg_advisory_lock(7, hashtext('tidy'))")
    assert (await report(maintenance, "tidy")).running
    with pytest.raises(FailedPreconditionError):
        await maintenance.run("tidy")
    killed.terminate()
    while (await report(maintenance, "tidy")).running:
        await asyncio.sleep(0.01)
    assert (await maintenance.run("tidy")).outcome is RunOutcome.SUCCEEDED


async def test_a_failure_is_recorded_retried_and_stops_nobody(
    database: Database, connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    work, other = Work(error=ZeroDivisionError("secret")), Work()
    maintenance = server(database, a_bad=work, b_good=other)
    await maintenance.jobs()
    for attempt in (1, 2):
        await make_due(connection)
        await maintenance.run_due()
        job = await report(maintenance, "a_bad")
        assert job.last_run is not None
        assert (job.last_run.outcome, job.consecutive_failures) == (RunOutcome.FAILED, attempt)
        assert "ZeroDivisionError" in job.last_run.error
        assert "secret" not in job.last_run.error
        assert job.last_success_at is None
    assert other.runs == 2
    assert "secret" in caplog.text
    left = await connection.fetchval("SELECT next_run_at - now() FROM retrieval.maintenance_jobs WHERE name = 'a_bad'")
    assert 0 < left.total_seconds() <= module.RETRY_S
    work.error = None
    assert (await maintenance.run("a_bad")).outcome is RunOutcome.SUCCEEDED
    assert (await report(maintenance, "a_bad")).consecutive_failures == 0


async def test_a_hundred_runs_are_kept(database: Database, connection: asyncpg.Connection) -> None:
    maintenance = server(database, tidy=Work())
    await maintenance.run("tidy")
    await connection.execute(
        "INSERT INTO retrieval.maintenance_runs (job, outcome) SELECT 'tidy', 'failed' FROM generate_series(1, 300)"
    )
    await maintenance.run("tidy")
    count, newest = await connection.fetchrow(
        "SELECT count(*), (array_agg(outcome ORDER BY run_id DESC))[1:2] FROM retrieval.maintenance_runs"
    )
    assert (count, newest) == (100, ["succeeded", "failed"])


async def test_chores_are_shown_and_not_run(database: Database, connection: asyncpg.Connection) -> None:
    maintenance = server(database)
    shown = {job.name: job for job in await maintenance.jobs()}
    assert set(shown) == {module.FOLDING, module.TRENDS}
    assert all(job.continuous and job.lag_s == 0 for job in shown.values())
    with pytest.raises(FailedPreconditionError) as caught:
        await maintenance.run(module.TRENDS)
    assert caught.value.reason == "JOB_CONTINUOUS"
    await connection.execute(
        "INSERT INTO retrieval.collections (name, metric, visibility_mode, popular_min_rating_value,"
        " popular_min_rating_count, rating_scale_max, created_at)"
        " VALUES ('films', 'l2', 'public_by_default', 4, 50, 5, now() - interval '1000 s')"
    )
    await connection.execute(
        "INSERT INTO retrieval.collection_engagement (collection_id, newest_event_at)"
        " SELECT collection_id, now() - interval '90 s' FROM retrieval.collections"
    )
    try:
        assert 90 <= (await report(maintenance, module.TRENDS)).lag_s < 200
        await connection.execute(
            "UPDATE retrieval.collection_engagement SET newest_event_at = now() - interval '300 days'"
        )
        assert 1000 <= (await report(maintenance, module.TRENDS)).lag_s < 1200
        await connection.execute(
            "INSERT INTO retrieval.trending_items SELECT collection_id, 3600, '{}', '{}', folded, now()"
            " FROM retrieval.collection_engagement"
        )
        trends = await report(maintenance, module.TRENDS)
        assert (trends.lag_s, trends.last_success_at is not None) == (0, True)
    finally:
        await connection.execute("DELETE FROM retrieval.collections")


@asynccontextmanager
async def old_runs(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Runs of 31 days ago, each with a pair of that time but the empty ones; a model was made of `used`."""
    await connection.execute(
        "INSERT INTO retrieval.collections (name, metric, visibility_mode, popular_min_rating_value,"
        " popular_min_rating_count, rating_scale_max) VALUES ('films', 'l2', 'public_by_default', 4, 50, 5)"
    )
    await connection.execute(
        "INSERT INTO retrieval.training_runs (collection_id, run_id, model_version, fingerprint, updated_at)"
        " SELECT collection_id, run_id, '', '', now() - interval '31 days' FROM retrieval.collections,"
        " unnest(ARRAY['used', 'unused', 'empty']) AS run_id"
    )
    await connection.execute(
        "INSERT INTO retrieval.training_pairs (collection_id, user_id, item_id, interaction_at, label, created_at,"
        " run_id) SELECT collection_id, run_id, age::text, now(), true, now() - age * interval '1 day', run_id FROM"
        " retrieval.collections, unnest(ARRAY['used', 'unused', '']) AS run_id, unnest(ARRAY[29, 31, 401]) AS age"
    )
    await connection.execute(
        "INSERT INTO retrieval.model_versions (collection_id, model_type, version, training_run_ids)"
        " SELECT collection_id, 'ranker', '1', '{used}' FROM retrieval.collections"
    )
    try:
        yield
    finally:
        await connection.execute("DELETE FROM retrieval.training_pairs")
        await connection.execute("DELETE FROM retrieval.collections")


def pruning(database: Database, kept_changes: int = 0, **settings: int) -> Pruning:
    jobs = PostgresEmbeddingJobs(database, TaskSupervisor(), lambda: None)
    return Pruning(
        database, Settings(**settings), PostgresPairs(database), PostgresBandits(database), jobs, kept_changes
    )


async def pairs_left(connection: asyncpg.Connection) -> set[tuple[str, str]]:
    return {tuple(row) for row in await connection.fetch("SELECT run_id, item_id FROM retrieval.training_pairs")}


async def test_pairs_go_when_used_or_too_old(database: Database, connection: asyncpg.Connection) -> None:
    async with old_runs(connection):
        kept_for_good = pruning(database, used_pair_retention_days=0, pair_retention_days=0)
        assert await kept_for_good.pairs() == 1, "the run without pairs"
        assert len(await pairs_left(connection)) == 9
        assert await pruning(database).pairs() == 4
        assert await pairs_left(connection) == {
            ("used", "29"),
            ("unused", "29"),
            ("unused", "31"),
            ("", "29"),
            ("", "31"),
        }
        await connection.execute("DELETE FROM retrieval.training_pairs")
        assert await pruning(database).pairs() == 1
        left = await connection.fetch("SELECT run_id FROM retrieval.training_runs")
        assert [row[0] for row in left] == ["used"], "it says what the model is made of"


async def test_receipts_go_in_parts(
    database: Database, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning_module, "ROWS_AT_ONCE", 7)
    await connection.execute(
        "INSERT INTO retrieval.requests (collection_id, request_id, fingerprint, affected, created_at)"
        " SELECT n % 3, n::text, '', 0, now() - n % 10 * interval '1 day' FROM generate_series(1, 100) AS n"
    )
    assert await pruning(database, request_retention_days=0).requests() == 0
    assert await pruning(database).requests() == 20
    assert await pruning(database).requests() == 0
    assert await connection.fetchval("SELECT count(*) FROM retrieval.requests") == 80
    oldest = await connection.fetchval("SELECT max(now() - created_at) FROM retrieval.requests")
    assert oldest.days == 7
    await connection.execute("DELETE FROM retrieval.requests")


async def test_the_log_is_shortened_up_to_what_is_young_or_open(
    database: Database, connection: asyncpg.Connection, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning_module, "ROWS_AT_ONCE", 3)
    add = (
        "INSERT INTO retrieval.change_log (collection_id, item_ids, created_at)"
        " VALUES (1, ARRAY[$1::text], now() - $2 * interval '1 hour') RETURNING transaction_id::text::bigint"
    )
    count = "SELECT count(*) FROM retrieval.change_log"
    begins = "SELECT log_begins::text::bigint FROM retrieval.service_state"
    old = [await connection.fetchval(add, f"old-{n}", 48) for n in range(10)]
    assert await pruning(database, change_log_retention_h=0).changes() == 0
    assert await pruning(database, kept_changes=10).changes() == 0
    assert await pruning(database, kept_changes=6).changes() == 4
    assert await connection.fetchval(begins) == old[3] + 1
    other = await asyncpg.connect(url)
    transaction = other.transaction()
    await transaction.start()
    open_id = await other.fetchval(add, "late", 48)
    behind = await connection.fetchval(add, "behind", 48)
    assert await pruning(database).changes() == 6, "what follows a transaction that has not ended stays"
    assert await connection.fetchval(count) == 1
    assert await connection.fetchval(begins) == old[-1] + 1 <= open_id < behind
    await transaction.commit()
    await other.close()
    await connection.fetchval(add, "young", 23)
    await connection.fetchval(add, "old behind young", 48)
    assert await pruning(database).changes() == 2
    assert await connection.fetchval(begins) == behind + 1
    assert await connection.fetchval(count) == 2
    await connection.execute("TRUNCATE retrieval.change_log")


def test_retentions_are_checked() -> None:
    for name, value in (
        ("REQUEST_RETENTION_DAYS", "7"),
        ("CHANGE_LOG_RETENTION_H", "-1"),
        ("DECISION_RETENTION_DAYS", "-5"),
        ("PAIR_RETENTION_DAYS", "-1"),
        ("EVENT_RETENTION_DAYS", "89"),
        ("INDEX_CARE_INTERVAL_S", "5"),
        ("INDEX_CARE_INTERVAL_S", "nan"),
    ):
        with pytest.raises(SettingsError, match=f"RETRIEVAL_{name} must be 0"):
            load_settings({f"RETRIEVAL_{name}": value})
    settings = load_settings({"RETRIEVAL_REQUEST_RETENTION_DAYS": "0", "RETRIEVAL_PAIR_RETENTION_DAYS": "1"})
    assert (settings.request_retention_days, settings.pair_retention_days) == (0, 1)


async def test_due_jobs_run_in_the_background(database: Database, connection: asyncpg.Connection) -> None:
    work = Work()
    maintenance = server(database, tidy=work)
    await maintenance.jobs()
    task = TaskSupervisor().start("maintenance", maintenance.run_due, 0.01)
    await make_due(connection)
    await asyncio.wait_for(work.begun.wait(), PATIENCE_S)
    await task.stop()
    succeeded_at = task.report().last_success_at
    assert succeeded_at is None or succeeded_at <= time.time_ns() // 1000
