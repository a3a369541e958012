"""The calls that most callers need, over one channel; the generated stubs are there for the rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import grpc

from retrieval.client.channel import bearer
from retrieval.client.embedding_jobs import EmbeddingJobClient
from retrieval.client.maintenance import MaintenanceClient
from retrieval.client.training import TrainingClient
from retrieval.v1 import collection_service_pb2_grpc as collections_grpc
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import feedback_service_pb2_grpc as feedback_grpc
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import item_service_pb2_grpc as items_grpc
from retrieval.v1 import profile_service_pb2 as profiles_pb
from retrieval.v1 import profile_service_pb2_grpc as profiles_grpc
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from retrieval.v1 import retrieval_service_pb2_grpc as retrieval_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray


def vector(values: NDArray[np.floating]) -> common_pb.Vector:
    """The components, (dim,) of any float type, as the bytes that are cheapest to send."""
    return common_pb.Vector(float32_le=values.astype("<f4").tobytes())


class RetrievalClient:
    """A client of the service at `target` (host:port); close it, or use it as an async context manager.

    Every call takes `timeout_s`, which becomes its deadline, and raises `grpc.aio.AioRpcError`: see `error_reason`.
    """

    def __init__(self, target: str, *, admin_token: str = "", max_message_bytes: int = 8 * 1024 * 1024) -> None:
        self.channel = grpc.aio.insecure_channel(
            target, options=[("grpc.max_receive_message_length", max_message_bytes)]
        )
        self.collections = collections_grpc.CollectionServiceStub(self.channel)
        self.items = items_grpc.ItemServiceStub(self.channel)
        self.feedback = feedback_grpc.FeedbackServiceStub(self.channel)
        self.retrieval = retrieval_grpc.RetrievalServiceStub(self.channel)
        self.profiles = profiles_grpc.ProfileServiceStub(self.channel)
        self.training = TrainingClient(self.channel, admin_token=admin_token)
        self.embedding_jobs = EmbeddingJobClient(self.channel, admin_token=admin_token)
        self.maintenance = MaintenanceClient(self.channel, admin_token=admin_token)
        self._metadata = bearer(admin_token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel."""
        await self.channel.close()

    async def upsert_items(
        self,
        collection: str,
        items: Sequence[common_pb.Item],
        *,
        request_id: str = "",
        embedding_version: int = 0,
        timeout_s: float | None = None,
    ) -> items_pb.UpsertItemsResponse:
        """Write up to 1000 items, all or none."""
        request = items_pb.UpsertItemsRequest(
            collection=collection, items=items, request_id=request_id, embedding_version=embedding_version
        )
        reply: items_pb.UpsertItemsResponse = await self.items.UpsertItems(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    def stream_upsert(
        self, batches: AsyncIterable[items_pb.UpsertItemsRequest], *, timeout_s: float | None = None
    ) -> AsyncGenerator[items_pb.StreamUpsertItemsResponse, None]:
        """Write batch after batch; yields an acknowledgement for each once it is durable."""
        return self._stream(self.items.StreamUpsertItems, items_pb.StreamUpsertItemsRequest, batches, timeout_s)

    async def record_events(
        self, collection: str, events: Sequence[feedback_pb.Event], *, timeout_s: float | None = None
    ) -> feedback_pb.RecordEventsResponse:
        """Store up to 1000 events, all or none; those stored before do no harm."""
        request = feedback_pb.RecordEventsRequest(collection=collection, events=events)
        reply: feedback_pb.RecordEventsResponse = await self.feedback.RecordEvents(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    def stream_events(
        self, batches: AsyncIterable[feedback_pb.RecordEventsRequest], *, timeout_s: float | None = None
    ) -> AsyncGenerator[feedback_pb.StreamEventsResponse, None]:
        """Store batch after batch; yields an acknowledgement for each once it is durable."""
        return self._stream(self.feedback.StreamEvents, feedback_pb.StreamEventsRequest, batches, timeout_s)

    async def _stream(
        self, method: Any, request: Any, batches: AsyncIterable[Any], timeout_s: float | None
    ) -> AsyncGenerator[Any, None]:
        failures: list[Exception] = []

        async def requests() -> AsyncIterator[Any]:
            try:
                async for batch in batches:
                    yield request(batch=batch)
            except Exception as error:
                failures.append(error)
                raise

        call = method(requests(), timeout=timeout_s, metadata=self._metadata)
        try:
            async for reply in call:
                yield reply
        except asyncio.CancelledError:
            # What the batches raised reaches gRPC alone, which only cancels the call.
            if failures:
                raise failures[0] from None
            raise
        finally:
            call.cancel()

    async def similar(
        self,
        collection: str,
        item_ids: Sequence[str],
        *,
        negative_item_ids: Sequence[str] = (),
        strategy: retrieval_pb.SeedStrategy = retrieval_pb.SEED_STRATEGY_UNSPECIFIED,
        options: common_pb.SearchOptions | None = None,
        timeout_s: float | None = None,
    ) -> retrieval_pb.SearchSimilarItemsResponse:
        """Items similar to the given ones."""
        request = retrieval_pb.SearchSimilarItemsRequest(
            collection=collection,
            item_ids=item_ids,
            negative_item_ids=negative_item_ids,
            strategy=strategy,
            options=options,
        )
        reply: retrieval_pb.SearchSimilarItemsResponse = await self.retrieval.SearchSimilarItems(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def candidates(
        self,
        collection: str,
        user_id: str = "",
        *,
        history: Sequence[retrieval_pb.HistoryEntry] = (),
        include_seen: bool = False,
        options: common_pb.SearchOptions | None = None,
        strategies: Sequence[retrieval_pb.CandidateStrategy] = (),
        context: Mapping[str, str] | None = None,
        sources: Sequence[retrieval_pb.CandidateSourceSetting] = (),
        user_vector: NDArray[np.floating] | None = None,
        no_cache: bool = False,
        timeout_s: float | None = None,
    ) -> retrieval_pb.SearchUserCandidatesResponse:
        """What a user should see next; `user_vector` (dim,) of any float type."""
        request = retrieval_pb.SearchUserCandidatesRequest(
            collection=collection,
            user_id=user_id,
            history=history,
            include_seen=include_seen,
            options=options,
            strategies=strategies,
            context=context,
            sources=sources,
            user_vector=None if user_vector is None else vector(user_vector),
            no_cache=no_cache,
        )
        reply: retrieval_pb.SearchUserCandidatesResponse = await self.retrieval.SearchUserCandidates(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def user_profile(
        self, collection: str, user_id: str, *, embedding_version: int = 0, timeout_s: float | None = None
    ) -> profiles_pb.UserProfile:
        """What is known of a user."""
        request = profiles_pb.GetUserProfileRequest(
            collection=collection, user_id=user_id, embedding_version=embedding_version
        )
        reply: profiles_pb.GetUserProfileResponse = await self.profiles.GetUserProfile(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply.profile

    async def set_user_vector(
        self,
        collection: str,
        user_id: str,
        values: NDArray[np.floating] | None,
        *,
        embedding_version: int = 0,
        timeout_s: float | None = None,
    ) -> profiles_pb.SetUserVectorResponse:
        """Set the vector that stands for a user, (dim,) of any float type; None removes it."""
        request = profiles_pb.SetUserVectorRequest(
            collection=collection,
            user_id=user_id,
            embedding_version=embedding_version,
            vector=None if values is None else vector(values),
        )
        reply: profiles_pb.SetUserVectorResponse = await self.profiles.SetUserVector(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def nearest(
        self,
        collection: str,
        query: NDArray[np.floating],
        *,
        stages: Sequence[common_pb.Stage] = (),
        options: common_pb.SearchOptions | None = None,
        timeout_s: float | None = None,
    ) -> retrieval_pb.SearchMatryoshkaResponse:
        """Nearest items to `query`, (dim,) of any float type."""
        request = retrieval_pb.SearchMatryoshkaRequest(
            collection=collection, vector=vector(query), stages=stages, options=options
        )
        reply: retrieval_pb.SearchMatryoshkaResponse = await self.retrieval.SearchMatryoshka(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def hybrid(
        self,
        collection: str,
        text: str,
        *,
        query: NDArray[np.floating] | None = None,
        mode: retrieval_pb.HybridMode = retrieval_pb.HYBRID_MODE_UNSPECIFIED,
        snippets: retrieval_pb.SnippetOptions | None = None,
        options: common_pb.SearchOptions | None = None,
        timeout_s: float | None = None,
    ) -> retrieval_pb.SearchHybridResponse:
        """Items by their text and by a vector: `query`, (dim,) of any float type, or one that the service makes."""
        request = retrieval_pb.SearchHybridRequest(
            collection=collection,
            text=text,
            vector=None if query is None else vector(query),
            mode=mode,
            snippets=snippets,
            options=options,
        )
        reply: retrieval_pb.SearchHybridResponse = await self.retrieval.SearchHybrid(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def batch(
        self, searches: Sequence[retrieval_pb.BatchSearchEntry], *, timeout_s: float | None = None
    ) -> retrieval_pb.BatchSearchResponse:
        """Up to 256 searches, a status each."""
        reply: retrieval_pb.BatchSearchResponse = await self.retrieval.BatchSearch(
            retrieval_pb.BatchSearchRequest(searches=searches), timeout=timeout_s, metadata=self._metadata
        )
        return reply
