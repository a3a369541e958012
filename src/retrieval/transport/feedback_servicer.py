"""FeedbackService: takes what users did."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from retrieval.application.limits import MAX_BATCH_ITEMS
from retrieval.transport.read_events import read_event
from retrieval.transport.read_search import read_collection_name
from retrieval.transport.validate import count
from retrieval.v1 import feedback_service_pb2 as pb
from retrieval.v1 import feedback_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc

    from retrieval.application.service import Service


class FeedbackServicer(pb_grpc.FeedbackServiceServicer):
    """See `FeedbackService` in the contract."""

    def __init__(self, service: Service) -> None:
        self._stores = service.stores

    async def RecordEvents(
        self, request: pb.RecordEventsRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordEventsResponse:
        """Store events, all or none."""
        name = read_collection_name(request.collection)
        count(request.events, "events", MAX_BATCH_ITEMS, required=True)
        collection = await self._stores.collections.get(name)
        now_us = time.time_ns() // 1000
        events = [
            read_event(event, f"events[{number}]", now_us, collection.rating_scale_max)
            for number, event in enumerate(request.events)
        ]
        receipt = await self._stores.events.record(collection, events)
        return pb.RecordEventsResponse(
            recorded_count=receipt.recorded, duplicate_count=receipt.duplicates, consistency_token=receipt.token
        )
