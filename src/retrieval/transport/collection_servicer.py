"""CollectionService: collections, their embedding versions and indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.application.hybrid_ports import check_language
from retrieval.application.ingest import reflect
from retrieval.application.recall import evaluate_recall
from retrieval.application.search import pick_version
from retrieval.application.task_supervisor import CACHE_FOLLOWER, CACHE_SEGMENTS, INDEX_BUILDS
from retrieval.domain.engagement import event_types_of
from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError
from retrieval.transport import enums
from retrieval.transport.attachments import read_relation, read_table_binding, write_attachment
from retrieval.transport.caller import Caller
from retrieval.transport.paging import page_size, read_token, write_token
from retrieval.transport.read_collections import (
    read_added_attributes,
    read_build,
    read_event_types,
    read_new_collection,
    read_new_version,
    read_projection,
    read_rating_scale,
    read_thresholds,
)
from retrieval.transport.read_search import DEFAULT_LIMIT, read_collection_name, read_limit, read_params
from retrieval.transport.validate import require, version_number, within
from retrieval.transport.write_cache import write_cache, write_measured
from retrieval.transport.write_collections import write_collection, write_stats, write_version
from retrieval.transport.write_maintenance import write_task
from retrieval.v1 import collection_service_pb2 as pb
from retrieval.v1 import collection_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc

    from retrieval.application.service import Service
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.domain.projection import Projection

    Context = grpc.aio.ServicerContext[Any, Any]

DEFAULT_SAMPLE_SIZE = 50
MAX_SAMPLE_SIZE = 1000
MAX_RECALL_LIMIT = 100
STATS_TASKS = (CACHE_FOLLOWER, CACHE_SEGMENTS, INDEX_BUILDS)

_LISTING = b"collections"


class CollectionServicer(pb_grpc.CollectionServiceServicer):
    """See `CollectionService` in the contract."""

    def __init__(self, service: Service, admin_token: str) -> None:
        self._stores = service.stores
        self._recalls = service.recalls
        self._tasks = service.tasks
        self._admin_token = admin_token

    async def CreateCollection(
        self, request: pb.CreateCollectionRequest, _context: Context
    ) -> pb.CreateCollectionResponse:
        """Create a collection with its first embedding version."""
        collection = read_new_collection(request.collection, "collection")
        version = read_new_version(request.embedding_version, "embedding_version")
        projection = _projection(request, version)
        await check_language(self._stores.text, collection.text_language, "collection.text_language")
        created = await self._stores.collections.create(collection, version, projection)
        return pb.CreateCollectionResponse(collection=write_collection(created))

    async def GetCollection(self, request: pb.GetCollectionRequest, _context: Context) -> pb.GetCollectionResponse:
        """One collection."""
        found = await self._stores.collections.get(read_collection_name(request.collection))
        return pb.GetCollectionResponse(collection=write_collection(found))

    async def ListCollections(
        self, request: pb.ListCollectionsRequest, _context: Context
    ) -> pb.ListCollectionsResponse:
        """A page of collections by name."""
        size = page_size(request.page_size)
        found = await self._stores.collections.list_after(read_token(request.page_token, _LISTING), size + 1)
        last = found[size - 1].name if len(found) > size else ""
        return pb.ListCollectionsResponse(
            collections=[write_collection(c) for c in found[:size]], next_page_token=write_token(last, _LISTING)
        )

    async def UpdateCollection(
        self, request: pb.UpdateCollectionRequest, _context: Context
    ) -> pb.UpdateCollectionResponse:
        """Declare attributes, change thresholds."""
        collection = await self._stores.collections.get(read_collection_name(request.collection))
        added = read_added_attributes(request.add_attributes, collection)
        popular, scale = None, None
        if request.HasField("popular_thresholds"):
            popular = read_thresholds(request.popular_thresholds, collection.popular, "popular_thresholds")
        if request.HasField("rating_scale_max"):
            scale = read_rating_scale(request.rating_scale_max, "rating_scale_max")
        types = read_event_types(request.event_types, event_types_of(collection), "event_types")
        updated = await self._stores.collections.update(collection.name, added, popular, scale, types)
        return pb.UpdateCollectionResponse(collection=write_collection(updated))

    async def DeleteCollection(
        self, request: pb.DeleteCollectionRequest, _context: Context
    ) -> pb.DeleteCollectionResponse:
        """Delete a collection with everything in it."""
        await self._stores.collections.delete(read_collection_name(request.collection))
        return pb.DeleteCollectionResponse()

    async def CreateEmbeddingVersion(
        self, request: pb.CreateEmbeddingVersionRequest, _context: Context
    ) -> pb.CreateEmbeddingVersionResponse:
        """Add a version beside the active one."""
        name = read_collection_name(request.collection)
        version = read_new_version(request.embedding_version, "embedding_version")
        created = await self._stores.collections.create_version(name, version, _projection(request, version))
        return pb.CreateEmbeddingVersionResponse(embedding_version=write_version(created))

    async def ActivateEmbeddingVersion(
        self, request: pb.ActivateEmbeddingVersionRequest, _context: Context
    ) -> pb.ActivateEmbeddingVersionResponse:
        """Swap the version that searches use."""
        name = read_collection_name(request.collection)
        require(request.version > 0, "version", "is required")
        updated = await self._stores.collections.activate_version(
            name, request.version, allow_incomplete=request.allow_incomplete
        )
        return pb.ActivateEmbeddingVersionResponse(collection=write_collection(updated))

    async def RollbackEmbeddingVersion(
        self, request: pb.RollbackEmbeddingVersionRequest, _context: Context
    ) -> pb.RollbackEmbeddingVersionResponse:
        """Go back to the version that was active before."""
        updated = await self._stores.collections.rollback_version(read_collection_name(request.collection))
        return pb.RollbackEmbeddingVersionResponse(collection=write_collection(updated))

    async def BuildIndex(self, request: pb.BuildIndexRequest, _context: Context) -> pb.BuildIndexResponse:
        """Start building indexes in the background."""
        spec = read_build(request)
        collection, version = await self._version(request.collection, request.embedding_version)
        return pb.BuildIndexResponse(index_names=await self._stores.builder.build(collection, version, spec))

    async def GetIndexStats(self, request: pb.GetIndexStatsRequest, _context: Context) -> pb.GetIndexStatsResponse:
        """Sizes, progress and states."""
        collection, version = await self._version(request.collection, request.embedding_version)
        stats = write_stats(version, await self._stores.builder.report(collection, version))
        if self._stores.cache is not None:
            stats.cache.CopyFrom(write_cache(self._stores.cache.report(version)))
        stats.background_tasks.extend(map(write_task, filter(None, map(self._tasks.report, STATS_TASKS))))
        measured = self._recalls.latest(version)
        if measured is not None:
            stats.measured_recall.CopyFrom(write_measured(measured))
        return stats

    async def PrewarmCache(self, request: pb.PrewarmCacheRequest, _context: Context) -> pb.PrewarmCacheResponse:
        """Have the next segment built."""
        _, version = await self._version(request.collection, request.embedding_version)
        cache = self._stores.cache
        if cache is None:
            raise FailedPreconditionError("this server has no FAISS cache", reason="SOURCE_UNAVAILABLE")
        cache.prewarm(version)
        return pb.PrewarmCacheResponse(cache=write_cache(cache.report(version)))

    async def EvaluateRecall(self, request: pb.EvaluateRecallRequest, _context: Context) -> pb.EvaluateRecallResponse:
        """Measure a search against the exact one."""
        sample_size = request.sample_size or DEFAULT_SAMPLE_SIZE
        recall = await evaluate_recall(
            self._stores,
            self._recalls,
            read_collection_name(request.collection),
            version_number(request.embedding_version),
            within(sample_size, 1, MAX_SAMPLE_SIZE, "sample_size"),
            read_limit(request.limit, "limit", DEFAULT_LIMIT, MAX_RECALL_LIMIT),
            read_params(request.params, "params"),
        )
        return pb.EvaluateRecallResponse(
            recall=recall.mean,
            min_recall=recall.lowest,
            sample_size=recall.sample_size,
            source=enums.SOURCE_OUT[recall.source],
        )

    async def AttachTable(self, request: pb.AttachTableRequest, context: Context) -> pb.AttachTableResponse:
        """Follow a table."""
        self._require_admin(context, "AttachTable")
        name = read_collection_name(request.collection)
        binding = read_table_binding(request.binding, "binding")
        collection = await self._stores.collections.get(name)
        try:
            attached = await self._stores.attachments.attach(collection, binding)
        except InvalidArgumentError as error:
            raise error.under("binding") from error
        return pb.AttachTableResponse(attached_table=write_attachment(attached))

    async def DetachTable(self, request: pb.DetachTableRequest, context: Context) -> pb.DetachTableResponse:
        """Follow a table no more."""
        self._require_admin(context, "DetachTable")
        name, relation = read_collection_name(request.collection), read_relation(request.relation)
        collection = await self._stores.collections.get(name)
        deleted = await self._stores.attachments.detach(collection, relation, delete_items=request.delete_items)
        if deleted:
            await reflect(self._stores, collection)
        return pb.DetachTableResponse(deleted_item_count=deleted)

    async def ResyncTable(self, request: pb.ResyncTableRequest, context: Context) -> pb.ResyncTableResponse:
        """Read a table again."""
        self._require_admin(context, "ResyncTable")
        name, relation = read_collection_name(request.collection), read_relation(request.relation)
        collection = await self._stores.collections.get(name)
        attached = await self._stores.attachments.resync(collection, relation)
        return pb.ResyncTableResponse(attached_table=write_attachment(attached))

    async def ListAttachedTables(
        self, request: pb.ListAttachedTablesRequest, context: Context
    ) -> pb.ListAttachedTablesResponse:
        """Tables that a collection follows."""
        self._require_admin(context, "ListAttachedTables")
        collection = await self._stores.collections.get(read_collection_name(request.collection))
        found = await self._stores.attachments.attachments(collection)
        token = await self._stores.items.token()
        return pb.ListAttachedTablesResponse(
            attached_tables=[write_attachment(a) for a in found], consistency_token=token
        )

    def _require_admin(self, context: Context, what: str) -> None:
        Caller(context.invocation_metadata, self._admin_token).require_admin(what)

    async def _version(self, name: str, number: int) -> tuple[Collection, EmbeddingVersion]:
        wanted = version_number(number)
        collection = await self._stores.collections.get(read_collection_name(name))
        return collection, pick_version(collection, wanted)


def _projection(
    request: pb.CreateCollectionRequest | pb.CreateEmbeddingVersionRequest, version: EmbeddingVersion
) -> Projection | None:
    if not request.HasField("projection"):
        return None
    return read_projection(request.projection, version.dimension, "projection")
