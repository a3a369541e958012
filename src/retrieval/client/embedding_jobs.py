"""Calls of EmbeddingJobService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from retrieval.client.channel import bearer
from retrieval.v1 import embedding_job_service_pb2 as pb
from retrieval.v1 import embedding_job_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc


def _duration(value_s: float | None) -> Duration | None:
    if value_s is None:
        return None
    duration = Duration()
    duration.FromMicroseconds(round(value_s * 1e6))
    return duration


class EmbeddingJobClient:
    """Embedding jobs over a channel that somebody else closes.

    Every call takes `timeout_s`, which becomes its deadline, and raises `grpc.aio.AioRpcError`: see `error_reason`.
    """

    def __init__(self, channel: grpc.aio.Channel, *, admin_token: str = "") -> None:
        self.stub = pb_grpc.EmbeddingJobServiceStub(channel)
        self._metadata = bearer(admin_token)

    async def lease(
        self,
        collection: str,
        max_jobs: int,
        *,
        embedding_version: int = 0,
        lease_s: float | None = None,
        timeout_s: float | None = None,
    ) -> pb.LeaseEmbeddingJobsResponse:
        """Jobs that nobody else gets for `lease_s` seconds, by default a minute. Needs the admin token."""
        request = pb.LeaseEmbeddingJobsRequest(
            collection=collection,
            embedding_version=embedding_version,
            max_jobs=max_jobs,
            lease_duration=_duration(lease_s),
        )
        reply: pb.LeaseEmbeddingJobsResponse = await self.stub.LeaseEmbeddingJobs(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def complete(
        self, lease_id: str, results: Sequence[pb.EmbeddingJobResult], *, timeout_s: float | None = None
    ) -> pb.CompleteEmbeddingJobsResponse:
        """Write the embeddings of jobs."""
        request = pb.CompleteEmbeddingJobsRequest(lease_id=lease_id, results=results)
        reply: pb.CompleteEmbeddingJobsResponse = await self.stub.CompleteEmbeddingJobs(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def fail(
        self, lease_id: str, failures: Sequence[pb.EmbeddingJobFailure], *, timeout_s: float | None = None
    ) -> pb.FailEmbeddingJobsResponse:
        """Tell that jobs could not be done."""
        request = pb.FailEmbeddingJobsRequest(lease_id=lease_id, failures=failures)
        reply: pb.FailEmbeddingJobsResponse = await self.stub.FailEmbeddingJobs(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def extend(
        self, lease_id: str, *, lease_s: float | None = None, timeout_s: float | None = None
    ) -> pb.ExtendEmbeddingLeaseResponse:
        """Hold the jobs of a lease for longer."""
        request = pb.ExtendEmbeddingLeaseRequest(lease_id=lease_id, lease_duration=_duration(lease_s))
        reply: pb.ExtendEmbeddingLeaseResponse = await self.stub.ExtendEmbeddingLease(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def stats(self, collection: str, *, timeout_s: float | None = None) -> pb.GetEmbeddingJobStatsResponse:
        """How far each version that embeds texts is."""
        request = pb.GetEmbeddingJobStatsRequest(collection=collection)
        reply: pb.GetEmbeddingJobStatsResponse = await self.stub.GetEmbeddingJobStats(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def list_failed(
        self,
        collection: str,
        *,
        embedding_version: int = 0,
        page_size: int = 0,
        page_token: str = "",
        timeout_s: float | None = None,
    ) -> pb.ListFailedEmbeddingJobsResponse:
        """A page of jobs that failed for good. Needs the admin token."""
        request = pb.ListFailedEmbeddingJobsRequest(
            collection=collection, embedding_version=embedding_version, page_size=page_size, page_token=page_token
        )
        reply: pb.ListFailedEmbeddingJobsResponse = await self.stub.ListFailedEmbeddingJobs(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def retry_failed(
        self,
        collection: str,
        job_ids: Sequence[int] = (),
        *,
        embedding_version: int = 0,
        timeout_s: float | None = None,
    ) -> pb.RetryFailedEmbeddingJobsResponse:
        """Have jobs that failed for good tried again; by default all."""
        request = pb.RetryFailedEmbeddingJobsRequest(
            collection=collection, embedding_version=embedding_version, job_ids=job_ids
        )
        reply: pb.RetryFailedEmbeddingJobsResponse = await self.stub.RetryFailedEmbeddingJobs(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply
