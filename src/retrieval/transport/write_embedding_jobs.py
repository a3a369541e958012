"""Embedding jobs of replies."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from retrieval.domain.embedding_jobs import CompleteOutcome, FailOutcome
from retrieval.transport.write_items import write_time
from retrieval.v1 import embedding_job_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retrieval.application.embedding_job_ports import DeadJob, JobCounts
    from retrieval.domain.embedding_jobs import EmbeddingJob
    from retrieval.domain.model import EmbeddingVersion

_STATES = {
    outcome: getattr(pb, f"EMBEDDING_JOB_STATE_{outcome.name}")
    for outcomes in (CompleteOutcome, FailOutcome)
    for outcome in outcomes
}


def write_job(job: EmbeddingJob) -> pb.EmbeddingJob:
    """A leased job."""
    return pb.EmbeddingJob(job_id=job.job_id, item_id=job.item_id, text=job.text, attempt=job.attempt)


def write_outcomes(
    job_ids: Sequence[int], outcomes: Mapping[int, CompleteOutcome] | Mapping[int, FailOutcome]
) -> list[pb.EmbeddingJobOutcome]:
    """What became of jobs, in the order of the request."""
    return [pb.EmbeddingJobOutcome(job_id=job_id, state=_STATES[outcomes[job_id]]) for job_id in job_ids]


def write_counts(version: EmbeddingVersion, counts: JobCounts) -> pb.EmbeddingJobStats:
    """How far a version is."""
    return pb.EmbeddingJobStats(
        embedding_version=version.version,
        model=version.model,
        queued=counts.queued,
        leased=counts.leased,
        retrying=counts.retrying,
        dead=counts.dead,
        done=counts.embedded,
        total=counts.total,
        outstanding=counts.outstanding,
        oldest_age=timedelta(seconds=counts.oldest_age_s) if counts.oldest_age_s else None,
    )


def write_dead(job: DeadJob) -> pb.FailedEmbeddingJob:
    """A job that failed for good."""
    return pb.FailedEmbeddingJob(
        job_id=job.job_id,
        item_id=job.item_id,
        error=job.error,
        attempts=job.attempts,
        failed_at=write_time(job.failed_at),
    )
