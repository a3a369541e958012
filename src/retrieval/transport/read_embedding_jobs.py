"""Leases of embedding jobs, and what became of them, of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.embedding_jobs import MAX_LEASED_JOBS, EmbeddedText, JobFailure
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import MAX_CHUNKS
from retrieval.transport.read_vectors import read_chunks
from retrieval.transport.validate import count, require, seconds, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.duration_pb2 import Duration

    from retrieval.domain.model import EmbeddingVersion, Metric
    from retrieval.domain.projection import Projection
    from retrieval.v1 import embedding_job_service_pb2 as pb

DEFAULT_LEASE_S = 60.0
LEASE_S_RANGE = (5.0, 3600.0)
MAX_RETRY_AFTER_S = 3600.0
MAX_ERROR_BYTES = 4096


def read_lease_duration(message: Duration | None, field: str) -> float:
    """Seconds that a lease holds; None: a minute."""
    if message is None:
        return DEFAULT_LEASE_S
    given = seconds(message, field)
    low, high = LEASE_S_RANGE
    require(low <= given <= high, field, f"must be between {low:g} seconds and {high / 60:g} minutes")
    return given


def read_results(
    messages: Sequence[pb.EmbeddingJobResult], version: EmbeddingVersion, metric: Metric, projection: Projection | None
) -> list[EmbeddedText]:
    """The embeddings of jobs, vectors in stored form. Raises: InvalidArgumentError as `read_items` for vectors."""
    _distinct([m.job_id for m in messages], "results")
    for number, message in enumerate(messages):
        require(message.chunks, f"results[{number}].chunks", f"needs 1 to {MAX_CHUNKS} values")
    chunks = read_chunks(messages, version, metric, projection, "results")
    return [EmbeddedText(m.job_id, vectors) for m, vectors in zip(messages, chunks, strict=True)]


def read_failures(messages: Sequence[pb.EmbeddingJobFailure]) -> list[JobFailure]:
    """Why jobs could not be done."""
    _distinct([m.job_id for m in messages], "failures")
    failures: list[JobFailure] = []
    for number, message in enumerate(messages):
        where = f"failures[{number}]"
        retry_after_s = None
        if message.HasField("retry_after"):
            retry_after_s = seconds(message.retry_after, f"{where}.retry_after")
            require(retry_after_s <= MAX_RETRY_AFTER_S, f"{where}.retry_after", "must be at most an hour")
        error = text(message.error, f"{where}.error", MAX_ERROR_BYTES, required=True)
        failures.append(JobFailure(message.job_id, error, message.permanent, retry_after_s))
    return failures


def _distinct(job_ids: Sequence[int], field: str) -> None:
    count(job_ids, field, MAX_LEASED_JOBS, required=True)
    seen: set[int] = set()
    for number, job_id in enumerate(job_ids):
        where = f"{field}[{number}].job_id"
        require(job_id > 0, where, "is required")
        if job_id in seen:
            raise InvalidArgumentError.of(where, f"{job_id} is in the request twice", reason="DUPLICATE_JOB_ID")
        seen.add(job_id)
