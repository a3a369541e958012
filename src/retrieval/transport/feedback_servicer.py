"""FeedbackService: takes what users did, and how well strategies did."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from retrieval.application.bandit import report_reward
from retrieval.application.erase_user import erase_user
from retrieval.application.limits import MAX_BATCH_ITEMS
from retrieval.domain.errors import InvalidArgumentError
from retrieval.transport.acknowledge import acknowledge
from retrieval.transport.apart import apart
from retrieval.transport.read_edges import read_edge_changes
from retrieval.transport.read_events import read_event
from retrieval.transport.read_profiles import read_user_id
from retrieval.transport.read_rewards import read_reward
from retrieval.transport.read_search import read_collection_name
from retrieval.transport.validate import count, require
from retrieval.v1 import feedback_service_pb2 as pb
from retrieval.v1 import feedback_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    from retrieval.application.service import Service
    from retrieval.domain.model import Collection, Event

    Context = grpc.aio.ServicerContext[Any, Any]
    Batch = tuple[Collection, list[Event]]


class FeedbackServicer(pb_grpc.FeedbackServiceServicer):
    """See `FeedbackService` in the contract."""

    def __init__(self, service: Service) -> None:
        self._stores = service.stores

    async def RecordEvents(self, request: pb.RecordEventsRequest, _context: Context) -> pb.RecordEventsResponse:
        """Store events, all or none."""
        receipt = await self._stores.events.record(*await self._read(request))
        return pb.RecordEventsResponse(
            recorded_count=receipt.recorded, duplicate_count=receipt.duplicates, consistency_token=receipt.token
        )

    async def StreamEvents(self, request_iterator: AsyncIterator[pb.StreamEventsRequest], context: Context) -> None:
        """Store batch after batch; while one is stored the next ones are decoded and checked."""
        await acknowledge(request_iterator, self._prepare, self._write_batch, context)

    async def ReportReward(self, request: pb.ReportRewardRequest, _context: Context) -> pb.ReportRewardResponse:
        """Teach the arm of a decision, once."""
        name, decision_id, reward = read_reward(request)
        receipt = await report_reward(self._stores, await self._stores.collections.get(name), decision_id, reward)
        return pb.ReportRewardResponse(applied=receipt.applied, strategy=receipt.strategy)

    async def UpdateOwnerEdges(
        self, request: pb.UpdateOwnerEdgesRequest, _context: Context
    ) -> pb.UpdateOwnerEdgesResponse:
        """Make and remove edges, all or none."""
        name, user_id = read_collection_name(request.collection), read_user_id(request.user_id)
        add, remove = await apart(read_edge_changes, request)
        collection = await self._stores.collections.get(name)
        receipt = await self._stores.engagement.set_edges(collection, user_id, add, remove)
        return pb.UpdateOwnerEdgesResponse(added_count=receipt.added, removed_count=receipt.removed)

    async def DeleteUserData(self, request: pb.DeleteUserDataRequest, _context: Context) -> pb.DeleteUserDataResponse:
        """Forget a user."""
        name, user_id = read_collection_name(request.collection), read_user_id(request.user_id)
        erased = await erase_user(self._stores, name, user_id)
        return pb.DeleteUserDataResponse(
            event_count=erased.events,
            edge_count=erased.edges,
            profile_count=erased.profiles,
            other_count=erased.other,
        )

    async def _prepare(self, request: pb.StreamEventsRequest) -> Batch:
        require(request.HasField("batch"), "batch", "is required")
        try:
            return await self._read(request.batch)
        except InvalidArgumentError as error:
            raise error.under("batch") from error

    async def _write_batch(self, number: int, batch: Batch) -> pb.StreamEventsResponse:
        receipt = await self._stores.events.record(*batch)
        return pb.StreamEventsResponse(
            batch_index=number,
            recorded_count=receipt.recorded,
            duplicate_count=receipt.duplicates,
            consistency_token=receipt.token,
        )

    async def _read(self, request: pb.RecordEventsRequest) -> Batch:
        name = read_collection_name(request.collection)
        count(request.events, "events", MAX_BATCH_ITEMS, required=True)
        collection = await self._stores.collections.get(name)
        now_us = time.time_ns() // 1000

        def read() -> list[Event]:
            return [
                read_event(event, f"events[{number}]", now_us, collection.rating_scale_max)
                for number, event in enumerate(request.events)
            ]

        return collection, await apart(read)
