"""Lanes: calls of a kind have bounds of their own, so that none takes the places of another kind.

A lane bounds how many calls are in flight and how many of them run at a time; the others wait for their turn, within
their deadlines. Searches all run. What a lane cannot take is refused at once with RESOURCE_EXHAUSTED.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from retrieval.domain.errors import OverloadedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.config import Settings

RETRY_AFTER_S = 0.1
"""A shed call is told to come back after this: several times the length of a usual call."""
LARGE_BYTES = 64 * 1024
"""A request of more bytes takes milliseconds to check: it is read in a thread, and is heavy whatever it asks for."""
SHARED_CONNECTIONS = 2
"""Database connections that writes leave to look-ups of searches."""

HEAVY = frozenset(
    f"/retrieval.v1.{method}"
    for method in (
        "RetrievalService/SearchUserCandidates",
        "RetrievalService/BatchSearch",
        "ProfileService/GetUserProfile",
    )
)
WRITES = frozenset(
    f"/retrieval.v1.{method}"
    for method in (
        "ItemService/UpsertItems",
        "ItemService/DeleteItems",
        "ItemService/UpsertRelationships",
        "ItemService/DeleteRelationships",
        "FeedbackService/RecordEvents",
        "FeedbackService/UpdateOwnerEdges",
        "FeedbackService/DeleteUserData",
        "EmbeddingJobService/LeaseEmbeddingJobs",
        "EmbeddingJobService/CompleteEmbeddingJobs",
        "EmbeddingJobService/FailEmbeddingJobs",
        "EmbeddingJobService/RetryFailedEmbeddingJobs",
    )
)
ADMINISTRATION = frozenset(
    f"/retrieval.v1.{method}"
    for method in (
        "CollectionService/CreateCollection",
        "CollectionService/UpdateCollection",
        "CollectionService/DeleteCollection",
        "CollectionService/CreateEmbeddingVersion",
        "CollectionService/ActivateEmbeddingVersion",
        "CollectionService/RollbackEmbeddingVersion",
        "CollectionService/BuildIndex",
        "CollectionService/EvaluateRecall",
        "CollectionService/AttachTable",
        "CollectionService/DetachTable",
        "CollectionService/ResyncTable",
        "TrainingService/GenerateTrainingPairs",
        "TrainingService/RegisterModelVersion",
        "TrainingService/ActivateModelVersion",
        "TrainingService/RollbackModelVersion",
        "MaintenanceService/RunMaintenanceJob",
    )
)


class Lane:
    """Calls of a kind. `running`: how many run at a time, None for all that are in flight."""

    def __init__(self, name: str, in_flight: int, running: int | None = None) -> None:
        self.name = name
        self._most = in_flight
        self._in_flight = 0
        self._turns = None if running is None else asyncio.Semaphore(running)

    def enter(self) -> None:
        """Take a place, which `leave` gives back. Raises: OverloadedError where there is none."""
        if self._in_flight >= self._most:
            raise OverloadedError(
                f"more than {self._most} {self.name} are in flight; try again shortly", retry_after_s=RETRY_AFTER_S
            )
        self._in_flight += 1

    def leave(self) -> None:
        """Give the place back."""
        self._in_flight -= 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn to run."""
        if self._turns is None:
            yield
        else:
            async with self._turns:
                yield


class Lanes:
    """The lanes of a server and which calls go where."""

    def __init__(self, settings: Settings) -> None:
        writing = max(1, settings.write_connections - SHARED_CONNECTIONS)
        self.searches = Lane("calls", settings.max_in_flight)
        self.heavy = Lane("heavy searches", settings.max_heavy_in_flight, settings.heavy_concurrency)
        self.writes = Lane("writes", settings.max_in_flight, writing)
        self.administration = Lane("administrative calls", settings.max_heavy_in_flight, settings.heavy_concurrency)
        self.streams = Lane("streams", settings.max_streams)

    def of(self, method: str, size: int) -> Lane:
        """The lane of a unary call, by its full method name and the bytes of its request."""
        if method in WRITES:
            return self.writes
        if method in ADMINISTRATION:
            return self.administration
        return self.heavy if method in HEAVY or size > LARGE_BYTES else self.searches


stream_writes: ContextVar[Lane | None] = ContextVar("stream_writes", default=None)
"""The lane in which the batches of a stream take their turns among other writes."""
