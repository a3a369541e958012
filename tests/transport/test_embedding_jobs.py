"""EmbeddingJobService over the wire, on both fronts: an external worker's life, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from retrieval.client import error_reason, vector
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import embedding_job_service_pb2 as pb
from tests.embedding_jobs import embed
from tests.transport.conftest import DIM, Running, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from retrieval.client import EmbeddingJobClient

TOKEN = "worker"


@pytest.fixture
async def run(front: str) -> AsyncIterator[Running]:
    """A server with the collection `texts`, whose only version embeds texts."""
    async with running(front, admin_token=TOKEN) as started:
        started.client.embedding_jobs._metadata = (("authorization", f"Bearer {TOKEN}"),)
        await started.client.collections.CreateCollection(
            collections_pb.CreateCollectionRequest(
                collection=collections_pb.Collection(name="texts"),
                embedding_version=collections_pb.EmbeddingVersion(model="mine", dimension=DIM, embeds_text=True),
            )
        )
        yield started


@pytest.fixture
def jobs(run: Running) -> EmbeddingJobClient:
    return run.client.embedding_jobs


async def write(run: Running, **texts: str) -> None:
    await run.client.upsert_items("texts", [common_pb.Item(item_id=i, text=t) for i, t in texts.items()])


def results(jobs: Sequence[pb.EmbeddingJob]) -> list[pb.EmbeddingJobResult]:
    return [
        pb.EmbeddingJobResult(
            job_id=job.job_id,
            chunks=[common_pb.Chunk(vector=vector(embed(job.text, DIM).astype(np.float32)))],
        )
        for job in jobs
    ]


async def test_a_worker_leases_embeds_and_completes(run: Running, jobs: EmbeddingJobClient) -> None:
    found = await run.client.collections.GetCollection(collections_pb.GetCollectionRequest(collection="texts"))
    assert found.collection.embedding_versions[0].embeds_text
    empty = await jobs.lease("texts", 5)
    assert (empty.lease_id, list(empty.jobs)) == ("", [])
    await write(run, a="one", b="two", c="three", d="")
    leased = await jobs.lease("texts", 2, lease_s=30)
    assert [(j.item_id, j.text, j.attempt) for j in leased.jobs] == [("a", "one", 1), ("b", "two", 1)]
    assert (leased.embedding_version, leased.model, leased.dimension) == (1, "mine", DIM)
    assert (await jobs.extend(leased.lease_id)).job_count == 2
    (stats,) = (await jobs.stats("texts")).versions
    assert (stats.queued, stats.leased, stats.done, stats.total, stats.outstanding) == (1, 2, 0, 3, 3)
    assert stats.HasField("oldest_age")
    await write(run, b="new")
    reply = await jobs.complete(leased.lease_id, results(leased.jobs))
    assert [(o.job_id, o.state) for o in reply.outcomes] == [
        (leased.jobs[0].job_id, pb.EMBEDDING_JOB_STATE_APPLIED),
        (leased.jobs[1].job_id, pb.EMBEDDING_JOB_STATE_TEXT_CHANGED),
    ]
    rest = await jobs.lease("texts", 256)
    assert sorted(j.text for j in rest.jobs) == ["new", "three"]
    await jobs.complete(rest.lease_id, results(rest.jobs))
    (stats,) = (await jobs.stats("texts")).versions
    assert (stats.queued, stats.leased, stats.retrying, stats.dead, stats.done) == (0, 0, 0, 0, 3)
    assert not stats.HasField("oldest_age")
    hits = (await run.client.nearest("texts", embed("new", DIM).astype(np.float32))).hits
    assert hits[0].item_id == "b"


async def test_failures_pages_and_another_try(run: Running, jobs: EmbeddingJobClient) -> None:
    await write(run, **{f"i{n}": f"t{n}" for n in range(5)}, later="later")
    leased = await jobs.lease("texts", 256)
    failures = [
        pb.EmbeddingJobFailure(job_id=j.job_id, error=f"bad {j.item_id}", permanent=j.item_id != "later")
        for j in leased.jobs
    ]
    outcomes = (await jobs.fail(leased.lease_id, failures)).outcomes
    states = {job.item_id: outcome.state for job, outcome in zip(leased.jobs, outcomes, strict=True)}
    assert states.pop("later") == pb.EMBEDDING_JOB_STATE_RETRY
    assert set(states.values()) == {pb.EMBEDDING_JOB_STATE_DEAD}
    seen, token = [], ""
    while True:
        page = await jobs.list_failed("texts", page_size=2, page_token=token)
        seen += [(j.item_id, j.error, j.attempts) for j in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert seen == [(f"i{n}", f"bad i{n}", 1) for n in range(5)]
    first = leased.jobs[0].job_id
    assert (await jobs.retry_failed("texts", [first, first + 10_000])).job_count == 1
    assert (await jobs.retry_failed("texts")).job_count == 4
    (stats,) = (await jobs.stats("texts")).versions
    assert (stats.queued, stats.retrying, stats.dead) == (5, 1, 0)


async def refused(call: Any, code: grpc.StatusCode, reason: str, field: str = "") -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert raised.value.code() is code, raised.value.details()
    assert error_reason(raised.value)[0] == reason
    assert raised.value.details().startswith(field)


async def test_what_is_refused(run: Running, jobs: EmbeddingJobClient) -> None:
    bad, unmet = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
    await write(run, a="one", b="two")
    leased = await jobs.lease("texts", 10)
    good = results(leased.jobs)
    await refused(jobs.lease("texts", 0), bad, "INVALID_REQUEST", "max_jobs: ")
    await refused(jobs.lease("texts", 257), bad, "INVALID_REQUEST", "max_jobs: ")
    await refused(jobs.lease("texts", 1, lease_s=4.9), bad, "INVALID_REQUEST", "lease_duration: ")
    await refused(jobs.lease("texts", 1, lease_s=3601), bad, "INVALID_REQUEST", "lease_duration: ")
    await refused(jobs.lease("nothing", 1), grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")
    await refused(jobs.lease("texts", 1, embedding_version=9), grpc.StatusCode.NOT_FOUND, "EMBEDDING_VERSION_NOT_FOUND")
    await refused(jobs.complete("texts:1:nonsense", good), bad, "BAD_LEASE_ID", "lease_id: ")
    await refused(jobs.complete(leased.lease_id, []), bad, "INVALID_REQUEST", "results: ")
    await refused(jobs.complete(leased.lease_id, [good[0], good[0]]), bad, "DUPLICATE_JOB_ID", "results[1].job_id: ")
    short = pb.EmbeddingJobResult(job_id=good[1].job_id, chunks=[common_pb.Chunk(vector=vector(np.ones(DIM - 1)))])
    where = "results[1].chunks[0].vector: "
    await refused(jobs.complete(leased.lease_id, [good[0], short]), bad, "DIMENSION_MISMATCH", where)
    zero = pb.EmbeddingJobResult(job_id=good[1].job_id, chunks=[common_pb.Chunk(vector=vector(np.zeros(DIM)))])
    await refused(jobs.complete(leased.lease_id, [good[0], zero]), bad, "VECTOR_ZERO", where)
    none = pb.EmbeddingJobResult(job_id=good[1].job_id)
    await refused(jobs.complete(leased.lease_id, [good[0], none]), bad, "INVALID_REQUEST", "results[1].chunks: ")
    failure = pb.EmbeddingJobFailure(job_id=good[0].job_id)
    await refused(jobs.fail(leased.lease_id, [failure]), bad, "INVALID_REQUEST", "failures[0].error: ")
    late = json_format.ParseDict({"jobId": 1, "error": "x", "retryAfter": "3601s"}, pb.EmbeddingJobFailure())
    await refused(jobs.fail(leased.lease_id, [late]), bad, "INVALID_REQUEST", "failures[0].retry_after: ")
    await refused(jobs.list_failed("texts", page_token="x"), bad, "BAD_PAGE_TOKEN", "page_token: ")
    other = f"{leased.lease_id[:-1]}{'0' if leased.lease_id[-1] != '0' else '1'}"
    for call in (
        jobs.complete(other, good),
        jobs.extend(other),
        jobs.fail(other, [pb.EmbeddingJobFailure(job_id=good[0].job_id, error="x")]),
    ):
        await refused(call, unmet, "LEASE_LOST")
    # Nothing of all that did anything.
    assert {o.state for o in (await jobs.complete(leased.lease_id, good)).outcomes} == {pb.EMBEDDING_JOB_STATE_APPLIED}


async def test_texts_are_for_those_with_the_token_and_versions_that_embed_them(
    run: Running, jobs: EmbeddingJobClient
) -> None:
    version = collections_pb.EmbeddingVersion(model="plain", dimension=DIM)
    await run.client.collections.CreateEmbeddingVersion(
        collections_pb.CreateEmbeddingVersionRequest(collection="texts", embedding_version=version)
    )
    plain = jobs.lease("texts", 1, embedding_version=2)
    await refused(plain, grpc.StatusCode.FAILED_PRECONDITION, "VERSION_EMBEDS_NO_TEXT")
    assert [v.embedding_version for v in (await jobs.stats("texts")).versions] == [1]
    jobs._metadata = ()
    for call in (jobs.lease("texts", 1), jobs.list_failed("texts")):
        await refused(call, grpc.StatusCode.PERMISSION_DENIED, "ADMIN_TOKEN_REQUIRED")


async def test_an_incomplete_version_is_activated_only_when_told(run: Running, jobs: EmbeddingJobClient) -> None:
    await write(run, a="one", b="two")
    leased = await jobs.lease("texts", 2)
    await jobs.complete(leased.lease_id, results(leased.jobs))
    version = collections_pb.EmbeddingVersion(model="next", dimension=DIM, embeds_text=True)
    await run.client.collections.CreateEmbeddingVersion(
        collections_pb.CreateEmbeddingVersionRequest(collection="texts", embedding_version=version)
    )
    leased = await jobs.lease("texts", 1, embedding_version=2)
    await jobs.complete(leased.lease_id, results(leased.jobs))

    def activate(*, allow: bool) -> Any:
        return run.client.collections.ActivateEmbeddingVersion(
            collections_pb.ActivateEmbeddingVersionRequest(collection="texts", version=2, allow_incomplete=allow)
        )

    await refused(activate(allow=False), grpc.StatusCode.FAILED_PRECONDITION, "VERSION_INCOMPLETE", "texts without")
    assert (await activate(allow=True)).collection.active_embedding_version == 2
