"""Rules of embedding jobs: when an item's text is to be embedded, and when a failure is tried again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Chunk, Collection, EmbeddingVersion

WRITE_PRIORITY = 10
BACKFILL_PRIORITY = 0
"""What somebody has just written comes before what was there when the version was made."""
MAX_ATTEMPTS = 8
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0
LONE_AFTER = 2
"""A job whose lease ran out so often is leased alone: should its text kill whoever embeds it, no other one suffers."""
LEASE_RAN_OUT = "nobody said what became of it before its lease ran out"
"""The error of a job that is held after that."""
MAX_LEASED_JOBS = 256
MAX_LEASED_TEXT_BYTES = 4 * 1024 * 1024
"""A lease ends with the job that reaches this: its reply has to fit into a message."""
MAX_ERROR_CHARACTERS = 1000

_LEASE = re.compile(r"([a-z][a-z0-9_-]{0,62}):(\d{1,9}):([0-9a-f]{32})")


class TextEffect(Enum):
    """What a write of an item does to its embeddings in a version that embeds texts."""

    NONE = "none"
    """The embeddings and the jobs stay as they are."""
    REPLACE = "replace"
    """The caller gave the embeddings: they are stored, and no job is needed any more."""
    EMBED = "embed"
    """The text is to be embedded; the embeddings that are there stay until then."""
    CLEAR = "clear"
    """The text is gone, and with it embeddings and jobs."""


def text_effect(before: str | None, after: str, *, given: bool, embedded: bool) -> TextEffect:
    """What a write of text `after` over `before` (None: a new item) does.

    `given`: the write has embeddings for this version; `embedded`: the item has some there.
    """
    if given:
        return TextEffect.REPLACE
    if not after:
        return TextEffect.CLEAR if before else TextEffect.NONE
    return TextEffect.EMBED if before != after or not embedded else TextEffect.NONE


def retry_delay_s(attempt: int, chance: float) -> float:
    """Seconds to wait after the failed `attempt` (from 1), `chance` in [0, 1): exponential backoff with full jitter.

    After M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015; never less than a second.
    """
    ceiling = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0**attempt)
    return FIRST_DELAY_S + chance * (ceiling - FIRST_DELAY_S)


@dataclass(frozen=True, slots=True)
class LeaseName:
    """A lease as callers name it: the collection and version whose jobs it holds, and a number of its own."""

    collection: str
    version: int
    lease_id: UUID

    @classmethod
    def new(cls, collection: Collection, version: EmbeddingVersion) -> LeaseName:
        """A name that was never used."""
        return cls(collection.name, version.version, uuid4())

    @classmethod
    def read(cls, text: str, field: str) -> LeaseName:
        """The lease of a name. Raises: InvalidArgumentError (BAD_LEASE_ID)."""
        match = _LEASE.fullmatch(text)
        if match is None:
            raise InvalidArgumentError.of(
                field, "is not the id of a lease; LeaseEmbeddingJobs returns them", reason="BAD_LEASE_ID"
            )
        return cls(match[1], int(match[2]), UUID(match[3]))

    def __str__(self) -> str:
        return f"{self.collection}:{self.version}:{self.lease_id.hex}"


@dataclass(frozen=True, slots=True)
class EmbeddingJob:
    """A job under a lease: `text` is to be embedded. `attempt` counts from 1."""

    job_id: int
    item_id: str
    text: str
    attempt: int


@dataclass(frozen=True, slots=True)
class EmbeddedText:
    """What became of a job: at least one chunk, vectors in stored form."""

    job_id: int
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job could not be done. `permanent`: trying again would not help. `retry_after_s`: not before that."""

    job_id: int
    error: str
    permanent: bool = False
    retry_after_s: float | None = None


class CompleteOutcome(Enum):
    """What completing did to a job."""

    APPLIED = "applied"
    TEXT_CHANGED = "text_changed"
    """Nothing was written: the text is another one by now, and its job is queued."""
    ITEM_DELETED = "item_deleted"
    """Nothing was written: the item is gone, and so is the job."""
    LEASE_LOST = "lease_lost"
    """Nothing was written: the job is not under this lease, or no longer."""


class FailOutcome(Enum):
    """What failing did to a job."""

    RETRY = "retry"
    DEAD = "dead"
    """It is held with its error until somebody has it tried again, or the text changes."""
    TEXT_CHANGED = "text_changed"
    ITEM_DELETED = "item_deleted"
    LEASE_LOST = "lease_lost"


def failure_delay_s(failure: JobFailure, attempt: int, chance: float) -> float | None:
    """Seconds until the job is tried again after this attempt failed; None: never."""
    if failure.permanent or attempt >= MAX_ATTEMPTS:
        return None
    if failure.retry_after_s is not None:
        return failure.retry_after_s
    return retry_delay_s(attempt, chance)


def leased_together(lost: Sequence[int]) -> list[int]:
    """Positions of the jobs that share a lease, given how many leases of each ran out, the most urgent job first."""
    if lost and lost[0] >= LONE_AFTER:
        return [0]
    return [at for at, times in enumerate(lost) if times < LONE_AFTER]


def lease_lost() -> FailedPreconditionError:
    """What a caller is told whose jobs are all gone."""
    return FailedPreconditionError(
        "none of these jobs is under this lease any more; LeaseEmbeddingJobs leases others", reason="LEASE_LOST"
    )


def check_complete(version: EmbeddingVersion, outstanding: int) -> None:
    """Refuse to activate a version while texts wait for their first embedding.

    Raises: FailedPreconditionError (VERSION_INCOMPLETE).
    """
    if version.embeds_text and outstanding:
        raise FailedPreconditionError(
            f"texts without an embedding in version {version.version} yet: {outstanding}; "
            "GetEmbeddingJobStats shows the progress, allow_incomplete activates it all the same",
            reason="VERSION_INCOMPLETE",
        )
