"""What the use cases need of the queue of embedding jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from retrieval.domain.embedding_jobs import (
        CompleteOutcome,
        EmbeddedText,
        EmbeddingJob,
        FailOutcome,
        JobFailure,
    )
    from retrieval.domain.model import Collection, EmbeddingVersion


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Jobs of a version. `queued` may be leased now; `retrying` failed and wait; `dead` are held with their error.

    `total` items have a text and `embedded` of them an embedding, if perhaps of an earlier text. `outstanding`: they
    have no embedding and their job is not dead. `oldest_age_s`: of the oldest job that is not dead, 0 without one.
    """

    queued: int = 0
    leased: int = 0
    retrying: int = 0
    dead: int = 0
    total: int = 0
    embedded: int = 0
    outstanding: int = 0
    oldest_age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that is held. `failed_at`: microseconds since the epoch."""

    job_id: int
    item_id: str
    error: str
    attempts: int
    failed_at: int


class EmbeddingJobStore(Protocol):
    """Jobs to embed the texts of items, one an item and version. Writes of items make them: see `ItemStore`."""

    async def due(self) -> list[tuple[str, int]]:
        """(collection name, version number) of the versions that have a job to lease now."""
        ...

    async def wait(self, timeout_s: float) -> None:
        """Return when jobs may have come, or after the timeout."""
        ...

    async def backfill(self) -> int:
        """Queue the next items of versions that were made when the items were there; returns how many were looked at.

        0: all have their jobs.
        """
        ...

    async def lease(
        self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, count: int, lease_s: float
    ) -> list[EmbeddingJob]:
        """Up to `count` jobs, those of higher priority first, that nobody else gets for `lease_s` seconds.

        Fewer where the texts are long: see `MAX_LEASED_TEXT_BYTES`. A lease that ran out was an attempt: after
        `MAX_ATTEMPTS` the job is held as dead; `leased_together` says who shares a lease with whom.
        """
        ...

    async def extend(self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, lease_s: float) -> int:
        """Hold the jobs of a lease for `lease_s` seconds from now; returns how many there are.

        Raises: FailedPreconditionError (LEASE_LOST) where there is none.
        """
        ...

    async def release(self, collection: Collection, version: EmbeddingVersion, lease_id: UUID) -> None:
        """Give the jobs of a lease back, as if they had not been leased."""
        ...

    async def complete(
        self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, done: Sequence[EmbeddedText]
    ) -> Mapping[int, CompleteOutcome]:
        """Replace the embeddings of the items and end the jobs, in one transaction; the outcome of each job.

        The rest of an item stays as it is. A lease that ran out still counts until somebody leases its jobs.

        Raises: FailedPreconditionError (LEASE_LOST) where all outcomes are LEASE_LOST.
        """
        ...

    async def fail(
        self, collection: Collection, version: EmbeddingVersion, lease_id: UUID, failures: Sequence[JobFailure]
    ) -> Mapping[int, FailOutcome]:
        """Put jobs back, to be tried again later, or hold them as dead: see `failure_delay_s`.

        Raises: as `complete`.
        """
        ...

    async def counts(self, collection: Collection, version: EmbeddingVersion) -> JobCounts:
        """How far a version is."""
        ...

    async def list_dead(
        self, collection: Collection, version: EmbeddingVersion, after: int, count: int
    ) -> list[DeadJob]:
        """Up to `count` dead jobs with an id greater than `after`, by id."""
        ...

    async def requeue_dead(self, collection: Collection, version: EmbeddingVersion, job_ids: Sequence[int]) -> int:
        """Queue dead jobs anew, with all attempts before them; none named: all. Returns how many."""
        ...

    async def prune_embedding_jobs(self, before: int) -> int:
        """Remove dead jobs and the record of what became of jobs, older than `before`; returns how many rows.

        `before`: microseconds since the epoch.
        """
        ...
