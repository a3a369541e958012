"""EmbeddingJobService: texts to embed, for workers outside of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.application.ingest import reflect
from retrieval.application.search import pick_version
from retrieval.domain.embedding_jobs import MAX_LEASED_JOBS, LeaseName
from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError
from retrieval.transport.apart import apart, apart_if, large_request
from retrieval.transport.caller import Caller
from retrieval.transport.paging import page_size, read_token, write_token
from retrieval.transport.read_embedding_jobs import read_failures, read_lease_duration, read_results
from retrieval.transport.read_search import read_collection_name
from retrieval.transport.validate import count, version_number, within
from retrieval.transport.write_embedding_jobs import write_counts, write_dead, write_job, write_outcomes
from retrieval.v1 import embedding_job_service_pb2 as pb
from retrieval.v1 import embedding_job_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc

    from retrieval.application.service import Service
    from retrieval.domain.model import Collection, EmbeddingVersion

    Context = grpc.aio.ServicerContext[Any, Any]

MAX_RETRIED = 1000


class EmbeddingJobServicer(pb_grpc.EmbeddingJobServiceServicer):
    """See `EmbeddingJobService` in the contract."""

    def __init__(self, service: Service, admin_token: str) -> None:
        self._admin_token = admin_token
        self._stores = service.stores
        self._jobs = service.stores.embedding_jobs
        self._text_models = [pb.TextModel(model=model, dimension=length) for model, length in service.text_models]

    async def LeaseEmbeddingJobs(
        self, request: pb.LeaseEmbeddingJobsRequest, context: Context
    ) -> pb.LeaseEmbeddingJobsResponse:
        """Hand out jobs, whoever may see the items."""
        Caller(context.invocation_metadata, self._admin_token).require_admin("LeaseEmbeddingJobs")
        most = within(request.max_jobs, 1, MAX_LEASED_JOBS, "max_jobs")
        duration = request.lease_duration if request.HasField("lease_duration") else None
        lease_s = read_lease_duration(duration, "lease_duration")
        collection, version = await self._version(request.collection, request.embedding_version)
        lease = LeaseName.new(collection, version)
        jobs = await self._jobs.lease(collection, version, lease.lease_id, most, lease_s)
        return pb.LeaseEmbeddingJobsResponse(
            lease_id=str(lease) if jobs else "",
            jobs=[write_job(job) for job in jobs],
            embedding_version=version.version,
            model=version.model,
            dimension=version.vector_length,
        )

    async def CompleteEmbeddingJobs(
        self, request: pb.CompleteEmbeddingJobsRequest, _context: Context
    ) -> pb.CompleteEmbeddingJobsResponse:
        """Write embeddings."""
        lease, collection, version = await self._leased(request.lease_id)
        projection = await self._stores.projections.of(version)
        metric = collection.metric
        # As with upserts: many long vectors take a while to multiply.
        large = projection is not None or large_request.get()
        done = await apart_if(large, read_results, request.results, version, metric, projection)
        outcomes = await self._jobs.complete(collection, version, lease.lease_id, done)
        await reflect(self._stores, collection)
        return pb.CompleteEmbeddingJobsResponse(outcomes=write_outcomes([d.job_id for d in done], outcomes))

    async def FailEmbeddingJobs(
        self, request: pb.FailEmbeddingJobsRequest, _context: Context
    ) -> pb.FailEmbeddingJobsResponse:
        """Have jobs tried again, or hold them."""
        failures = await apart(read_failures, request.failures)
        lease, collection, version = await self._leased(request.lease_id)
        outcomes = await self._jobs.fail(collection, version, lease.lease_id, failures)
        return pb.FailEmbeddingJobsResponse(outcomes=write_outcomes([f.job_id for f in failures], outcomes))

    async def ExtendEmbeddingLease(
        self, request: pb.ExtendEmbeddingLeaseRequest, _context: Context
    ) -> pb.ExtendEmbeddingLeaseResponse:
        """Hold jobs for longer."""
        duration = request.lease_duration if request.HasField("lease_duration") else None
        lease_s = read_lease_duration(duration, "lease_duration")
        lease, collection, version = await self._leased(request.lease_id)
        held = await self._jobs.extend(collection, version, lease.lease_id, lease_s)
        return pb.ExtendEmbeddingLeaseResponse(job_count=held)

    async def GetEmbeddingJobStats(
        self, request: pb.GetEmbeddingJobStatsRequest, _context: Context
    ) -> pb.GetEmbeddingJobStatsResponse:
        """How far each version is."""
        collection = await self._stores.collections.get(read_collection_name(request.collection))
        reply = pb.GetEmbeddingJobStatsResponse(text_models=self._text_models)
        for version in collection.versions:
            if version.embeds_text:
                reply.versions.append(write_counts(version, await self._jobs.counts(collection, version)))
        return reply

    async def ListFailedEmbeddingJobs(
        self, request: pb.ListFailedEmbeddingJobsRequest, context: Context
    ) -> pb.ListFailedEmbeddingJobsResponse:
        """A page of jobs that are held, whoever may see the items."""
        Caller(context.invocation_metadata, self._admin_token).require_admin("ListFailedEmbeddingJobs")
        size = page_size(request.page_size)
        same = (b"failed-jobs", request.collection.encode(), str(request.embedding_version).encode())
        after = _read_job_id(read_token(request.page_token, *same))
        collection, version = await self._version(request.collection, request.embedding_version)
        found = await self._jobs.list_dead(collection, version, after, size + 1)
        last = str(found[size - 1].job_id) if len(found) > size else ""
        return pb.ListFailedEmbeddingJobsResponse(
            jobs=[write_dead(job) for job in found[:size]], next_page_token=write_token(last, *same)
        )

    async def RetryFailedEmbeddingJobs(
        self, request: pb.RetryFailedEmbeddingJobsRequest, _context: Context
    ) -> pb.RetryFailedEmbeddingJobsResponse:
        """Queue jobs that are held."""
        count(request.job_ids, "job_ids", MAX_RETRIED)
        collection, version = await self._version(request.collection, request.embedding_version)
        queued = await self._jobs.requeue_dead(collection, version, list(request.job_ids))
        return pb.RetryFailedEmbeddingJobsResponse(job_count=queued)

    async def _version(self, name: str, number: int) -> tuple[Collection, EmbeddingVersion]:
        wanted = version_number(number)
        collection = await self._stores.collections.get(read_collection_name(name))
        version = pick_version(collection, wanted)
        if not version.embeds_text:
            raise FailedPreconditionError(
                f"embedding version {version.version} of {name!r} does not embed texts; CreateEmbeddingVersion with "
                "embeds_text makes one that does",
                reason="VERSION_EMBEDS_NO_TEXT",
            )
        return collection, version

    async def _leased(self, lease_id: str) -> tuple[LeaseName, Collection, EmbeddingVersion]:
        lease = LeaseName.read(lease_id, "lease_id")
        collection = await self._stores.collections.get(lease.collection)
        return lease, collection, pick_version(collection, lease.version)


def _read_job_id(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidArgumentError.of(
            "page_token", "is not a token that this request, with the same fields, returned", reason="BAD_PAGE_TOKEN"
        )
    return int(text or 0)
