"""Embedding jobs that are leased, and what becomes of them, in one transaction with the items they are about."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pgqueuer.domain.types import QueueEntrypoint
from pgqueuer.models import Job, TracebackRecord
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.types import QueueManagerId

from retrieval.domain.embedding_jobs import (
    LEASE_RAN_OUT,
    MAX_ATTEMPTS,
    MAX_ERROR_CHARACTERS,
    CompleteOutcome,
    FailOutcome,
    failure_delay_s,
    lease_lost,
    leased_together,
)
from retrieval.domain.errors import NotFoundError
from retrieval.postgres.copy_rows import CopyRows
from retrieval.postgres.embedding_queue import entrypoint, queue_on
from retrieval.postgres.embedding_rows import write_chunks
from retrieval.postgres.item_rows import read_bare_item
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from retrieval.domain.embedding_jobs import EmbeddedText, JobFailure
    from retrieval.domain.model import Collection, EmbeddingVersion

_NO_LIMIT = EntrypointExecutionParameter(concurrency_limit=0)


@dataclass(frozen=True, slots=True)
class Held:
    """Jobs that are under the lease, locked together with their items.

    `same`: with the row of the item, whose text is the leased one. `changed`: the text is another one. `gone`: there is
    no item.
    """

    same: dict[int, tuple[Job, Any]]
    changed: list[int]
    gone: list[int]


async def hold(
    connection: Any, collection: Collection, version: EmbeddingVersion, lease_id: UUID, job_ids: Sequence[int]
) -> Held:
    """Lock jobs under a lease and their items until the end of the transaction.

    Raises: FailedPreconditionError (LEASE_LOST) where there is none, NotFoundError (COLLECTION_NOT_FOUND).
    """
    if await connection.fetchrow(queries("items")["write_together"], collection.collection_id) is None:
        raise NotFoundError(f"collection {collection.name!r} was deleted meanwhile", reason="COLLECTION_NOT_FOUND")
    sql = queries("embedding_jobs")
    which = (lease_id, entrypoint(version.version_id), list(job_ids))
    leased = [r["item_id"] for r in await connection.fetch(sql["leased_items"], *which)]
    rows = await connection.fetch(sql["lock_items"], collection.collection_id, leased)
    items = {r["item_id"]: r for r in rows}
    jobs = [Job.model_validate(dict(r)) for r in await connection.fetch(sql["lock_jobs"], *which)]
    if not jobs:
        raise lease_lost()
    missing = [_item_id(job) for job in jobs if _item_id(job) not in items]
    written = {r["item_id"] for r in await connection.fetch(sql["present_items"], collection.collection_id, missing)}
    held = Held({}, [], [])
    for job in jobs:
        item_id = _item_id(job)
        row = items.get(item_id)
        if row is not None and job.headers is not None and job.headers.get("text_sha256") == row["text_sha256"]:
            held.same[job.id] = job, row
        elif row is not None or item_id in written:
            held.changed.append(job.id)
        else:
            held.gone.append(job.id)
    await connection.execute(sql["put_back_anew"], held.changed)
    await connection.execute(sql["drop_jobs"], held.gone)
    return held


async def complete_held(
    connection: Any,
    collection: Collection,
    version: EmbeddingVersion,
    held: Held,
    done: Sequence[EmbeddedText],
    now: int,
) -> dict[int, CompleteOutcome]:
    """Write the embeddings of the jobs whose text is the same and end these jobs. `now`: microseconds since 1970."""
    outcomes = dict.fromkeys((d.job_id for d in done), CompleteOutcome.LEASE_LOST)
    outcomes |= dict.fromkeys(held.changed, CompleteOutcome.TEXT_CHANGED)
    outcomes |= dict.fromkeys(held.gone, CompleteOutcome.ITEM_DELETED)
    outcomes |= dict.fromkeys(held.same, CompleteOutcome.APPLIED)
    if held.same:
        chunks = {d.job_id: d.chunks for d in done}
        items = sorted(
            (read_bare_item(row, collection, chunks[job_id]) for job_id, (_, row) in held.same.items()),
            key=lambda i: i.item_id,
        )
        ids = [i.item_id for i in items]
        await connection.execute(queries("items")["remove_embeddings"], version.version_id, ids)
        created = [i.created_at or 0 for i in items]
        rows = CopyRows(collection, version.version_id, items, created, now)
        await write_chunks(connection, collection, version, items, rows)
        await queue_on(connection).log_jobs([(job, "successful", None) for job, _ in held.same.values()])
        await connection.fetchrow(queries("items")["log_change"], collection.collection_id, ids)
    return outcomes


async def fail_held(connection: Any, held: Held, failures: Sequence[JobFailure]) -> Mapping[int, FailOutcome]:
    """Put the jobs whose text is the same back for later, or hold them as dead."""
    outcomes = dict.fromkeys((f.job_id for f in failures), FailOutcome.LEASE_LOST)
    outcomes |= dict.fromkeys(held.changed, FailOutcome.TEXT_CHANGED)
    outcomes |= dict.fromkeys(held.gone, FailOutcome.ITEM_DELETED)
    queue = queue_on(connection)
    dead: list[tuple[Job, str]] = []
    for failure in failures:
        if failure.job_id not in held.same:
            continue
        job, _ = held.same[failure.job_id]
        delay_s = failure_delay_s(failure, job.attempts + 1, random.random())  # noqa: S311  # spreads retries
        if delay_s is None:
            dead.append((job, failure.error))
            outcomes[job.id] = FailOutcome.DEAD
        else:
            await queue.retry_job(job, timedelta(seconds=delay_s), _record(job, failure.error))
            outcomes[job.id] = FailOutcome.RETRY
    await _bury(connection, dead)
    return outcomes


async def take(connection: Any, version: EmbeddingVersion, lease_id: UUID, count: int) -> tuple[list[Job], list[Job]]:
    """Jobs that are due, locked and picked: those to lease together, most urgent first, and those to put back.

    Counts leases that ran out, and holds jobs as dead that lost their last one.
    """
    sql, queue, name = queries("embedding_jobs"), queue_on(connection), entrypoint(version.version_id)
    stale = {r["id"] for r in await connection.fetch(sql["stale_jobs"], name)}
    # `heartbeat` is when a lease ends: one that is past is stale at once.
    picked = await queue.dequeue(
        count, {QueueEntrypoint(name): _NO_LIMIT}, QueueManagerId(lease_id), None, timedelta(0)
    )
    lost = [job for job in picked if job.id in stale]
    spent = {job.id for job in lost if job.attempts + 1 >= MAX_ATTEMPTS}
    await _bury(connection, [(job, LEASE_RAN_OUT) for job in lost if job.id in spent])
    rows = await connection.fetch(sql["count_lost"], [job.id for job in lost if job.id not in spent])
    counted = {row["id"]: Job.model_validate(dict(row)) for row in rows}
    alive = [counted.get(job.id, job) for job in picked if job.id not in spent]
    together = set(leased_together([_lost_leases(job) for job in alive]))
    return (
        [job for at, job in enumerate(alive) if at in together],
        [job for at, job in enumerate(alive) if at not in together],
    )


def _lost_leases(job: Job) -> int:
    return min(job.attempts, int(str((job.headers or {}).get("lost_leases", 0))))


async def _bury(connection: Any, dead: Sequence[tuple[Job, str]]) -> None:
    """Hold jobs, with their errors."""
    if dead:
        await queue_on(connection).log_jobs([(job, "failed", _record(job, error)) for job, error in dead])


def _record(job: Job, error: str) -> TracebackRecord:
    return TracebackRecord(
        job_id=job.id,
        timestamp=datetime.now(UTC),
        exception_type="EmbeddingFailed",
        exception_message=error[:MAX_ERROR_CHARACTERS],
        traceback="",
        additional_context=None,
    )


def _item_id(job: Job) -> str:
    return (job.payload or b"").decode()
