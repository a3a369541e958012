"""Works off embedding jobs in the server's own process, for the models that it has an embedder of."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING
from uuid import uuid4

from retrieval.application.embedders import TextRefused
from retrieval.application.search import pick_version
from retrieval.application.task_supervisor import for_each
from retrieval.application.worker_threads import in_thread
from retrieval.domain.chunking import split_text
from retrieval.domain.embedding_jobs import MAX_LEASED_JOBS, EmbeddedText, JobFailure
from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError, RetrievalError
from retrieval.domain.model import MAX_CHUNKS, Chunk
from retrieval.domain.projection import settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from uuid import UUID

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.application.embedders import Embedders, TextEmbedder
    from retrieval.application.ports import Stores
    from retrieval.application.task_supervisor import BackgroundTask, TaskSupervisor
    from retrieval.domain.embedding_jobs import EmbeddingJob
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.domain.projection import Projection

TASK = "embedding-worker"
LEASE_S = 60.0
OVERLAP = 10
"""Parts of a text overlap by the tenth part of their length, so that what is said at a cut is whole in one of them."""
EXTENSIONS = 3
"""So often in the time of a lease it is extended."""
POLL_S = 1.0
"""Jobs that fall due, and leases that run out, are found after this; new jobs at once."""
FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0
"""After a batch of which nothing could be embedded, a model rests: doubling, so that an outage does not use up the
attempts of all jobs."""
FAREWELL_S = 5.0

log = logging.getLogger(__name__)


class EmbeddingWorker:
    """Runs from `start` to `stop`."""

    def __init__(self, stores: Stores, embedders: Embedders, lease_s: float = LEASE_S) -> None:
        self._stores = stores
        self._embedders = embedders
        self._lease_s = lease_s
        self._task: BackgroundTask | None = None
        self._rests: dict[str, tuple[float, float]] = {}

    def start(self, tasks: TaskSupervisor) -> None:
        """Begin to work."""
        self._task = tasks.start(TASK, self._step, lambda: self._stores.embedding_jobs.wait(POLL_S))

    async def stop(self) -> None:
        """Stop; jobs under way are given back."""
        if self._task is not None:
            await self._task.stop()
            self._task = None

    async def _step(self) -> None:
        """Do all there is to do."""
        while await self.work():
            pass

    async def work(self) -> bool:
        """Do a batch of each version that has jobs and whose model is known here; whether there was one."""
        return await for_each(await self._stores.embedding_jobs.due(), self._batch_of)

    async def _batch_of(self, due: tuple[str, int]) -> bool:
        name, number = due
        collection = await self._stores.collections.get(name)
        version = pick_version(collection, number)
        embedder = self._embedders.of(version)
        if embedder is None or time.monotonic() < self._rests.get(embedder.model, (0.0, 0.0))[0]:
            return False
        return await self._work_on(collection, version, embedder)

    async def _work_on(self, collection: Collection, version: EmbeddingVersion, embedder: TextEmbedder) -> bool:
        jobs_of, lease_id = self._stores.embedding_jobs, uuid4()
        try:
            jobs = await jobs_of.lease(
                collection, version, lease_id, min(embedder.batch, MAX_LEASED_JOBS), self._lease_s
            )
            if not jobs:
                return False
            extending = asyncio.create_task(self._extend(collection, version, lease_id))  # awaited: below
            try:
                parts = [cut(job.text, version) for job in jobs]
                texts = [job.text[start:end] for job, spans in zip(jobs, parts, strict=True) for start, end in spans]
                made = await embedder.embed(texts, version.vector_length)
            finally:
                extending.cancel()
                await asyncio.gather(extending, return_exceptions=True)
            self._rest(embedder, made)
            projection = await self._stores.projections.of(version)
            done, failures = await in_thread(settled, jobs, parts, made, collection, version, projection)
            if done:
                await _unless_lost(jobs_of.complete(collection, version, lease_id, done))
            if failures:
                log.warning("%s: %d of %d texts failed: %s", version.model, len(failures), len(jobs), failures[0].error)
                await _unless_lost(jobs_of.fail(collection, version, lease_id, failures))
        except BaseException:
            await self._give_back(collection, version, lease_id)
            raise
        return True

    async def _extend(self, collection: Collection, version: EmbeddingVersion, lease_id: UUID) -> None:
        while True:
            await asyncio.sleep(self._lease_s / EXTENSIONS)
            try:
                await self._stores.embedding_jobs.extend(collection, version, lease_id, self._lease_s)
            except Exception:
                log.warning("a lease could not be extended", exc_info=True)

    async def _give_back(self, collection: Collection, version: EmbeddingVersion, lease_id: UUID) -> None:
        """Without this the jobs would wait until the lease runs out."""
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._stores.embedding_jobs.release(collection, version, lease_id)
        except (RetrievalError, TimeoutError) as error:
            log.warning("a lease runs out by itself: %s", error)

    def _rest(self, embedder: TextEmbedder, made: Sequence[NDArray[np.float32] | TextRefused]) -> None:
        if not all(isinstance(m, TextRefused) and not m.permanent for m in made):
            self._rests.pop(embedder.model, None)
            return
        _, before_s = self._rests.get(embedder.model, (0.0, 0.0))
        rest_s = min(LONGEST_REST_S, 2 * before_s) if before_s else FIRST_REST_S
        self._rests[embedder.model] = time.monotonic() + rest_s, rest_s


async def _unless_lost(handing_in: Awaitable[object]) -> None:
    """Items that were deleted, or given embeddings by their writers, end the jobs that somebody works on."""
    try:
        await handing_in
    except FailedPreconditionError as error:
        if error.reason != "LEASE_LOST":
            raise
        log.info("all jobs of a lease ended meanwhile")


def cut(text: str, version: EmbeddingVersion) -> list[tuple[int, int]]:
    """Spans of the text that become a vector each."""
    if not version.chunk_characters:
        return [(0, len(text))]
    return split_text(text, version.chunk_characters, version.chunk_characters // OVERLAP)


def settled(
    jobs: Sequence[EmbeddingJob],
    parts: Sequence[Sequence[tuple[int, int]]],
    made: Sequence[NDArray[np.float32] | TextRefused],
    collection: Collection,
    version: EmbeddingVersion,
    projection: Projection | None,
) -> tuple[list[EmbeddedText], list[JobFailure]]:
    """What came of each job: vectors in stored form, and failures. `made`: of all `parts`, job after job."""
    done: list[EmbeddedText] = []
    failures: list[JobFailure] = []
    at = 0
    for job, spans in zip(jobs, parts, strict=True):
        outcome = _settled(job, spans, made[at : at + len(spans)], collection, version, projection)
        at += len(spans)
        if isinstance(outcome, JobFailure):
            failures.append(outcome)
        else:
            done.append(EmbeddedText(job.job_id, outcome))
    return done, failures


def _settled(
    job: EmbeddingJob,
    spans: Sequence[tuple[int, int]],
    made: Sequence[NDArray[np.float32] | TextRefused],
    collection: Collection,
    version: EmbeddingVersion,
    projection: Projection | None,
) -> tuple[Chunk, ...] | JobFailure:
    """The chunks of a text: a part that is refused fails the job, one that means nothing to the model is left out."""
    refused = [m for m in made if isinstance(m, TextRefused)]
    if refused:
        worst = next((r for r in refused if r.permanent), refused[0])
        return JobFailure(job.job_id, worst.error, worst.permanent, worst.retry_after_s)
    if len(spans) > MAX_CHUNKS:
        return JobFailure(job.job_id, f"the text makes {len(spans)} parts, at most {MAX_CHUNKS}", permanent=True)
    chunks: list[Chunk] = []
    for span, vector in zip(spans, made, strict=True):
        if isinstance(vector, TextRefused) or not vector.any():
            continue
        try:
            half = settle(vector, version.dimension, collection.metric, "embedding", projection)
        except InvalidArgumentError as error:
            return JobFailure(job.job_id, error.message, permanent=True)
        chunks.append(Chunk(len(chunks), half, span if len(spans) > 1 else None))
    if not chunks:
        return JobFailure(job.job_id, "the model knows nothing of what the text says", permanent=True)
    return tuple(chunks)
