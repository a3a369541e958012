"""Runs GenerateTrainingPairs to its end, and reads StreamTrainingPairs as columns."""

from __future__ import annotations

import json
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from retrieval.client.channel import calling
from retrieval.client.training import TrainingClient
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import collection_service_pb2_grpc as collections_grpc
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import training_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from pathlib import Path

    import grpc

CALL_S = 60.0
"""Deadline of a call; a run of pairs takes as many as it needs."""

Columns = dict[str, list[Any]]


class PairService:
    """What the commands about training pairs need of a service."""

    def __init__(self, channel: grpc.aio.Channel, admin_token: str) -> None:
        self._collections = collections_grpc.CollectionServiceStub(channel)
        self._training = TrainingClient(channel, admin_token=admin_token)

    async def identity(self, collection: str) -> str:
        """What tells a collection from another one of the same name: its time of creation."""
        reply = await self._collections.GetCollection(
            collections_pb.GetCollectionRequest(collection=collection), timeout=CALL_S
        )
        return str(reply.collection.created_at.ToJsonString())

    async def generate(
        self, request: pb.GenerateTrainingPairsRequest, report: Callable[[pb.GenerateTrainingPairsResponse], None]
    ) -> pb.GenerateTrainingPairsResponse:
        """Go on with a run until it is complete; `report` hears after every call how far it is."""
        while True:
            reply = await self._training.generate_pairs(request, timeout_s=CALL_S)
            report(reply)
            if not reply.resume_token:
                return reply
            request.run_id = reply.resume_token

    async def stream(self, request: pb.StreamTrainingPairsRequest) -> AsyncGenerator[tuple[Columns, str], None]:
        """Batches of pairs as columns, each with the token to go on after it."""
        async with aclosing(self._training.stream_pairs(request)) as batches:
            async for batch in batches:
                yield columns(batch.pairs), batch.resume_token


@asynccontextmanager
async def pair_service(target: str, admin_token: str, ca: Path | None = None) -> AsyncIterator[PairService]:
    """The service at `target`. Raises: as `calling`."""
    async with calling(target, ca) as channel:
        yield PairService(channel, admin_token)


def columns(pairs: Sequence[pb.TrainingPair]) -> Columns:
    """Values by column; times are microseconds since the epoch, an embedding is (dim,) float32 or None."""
    return {
        "user_id": [p.user_id for p in pairs],
        "item_id": [p.item_id for p in pairs],
        "interaction_at": [p.interaction_at.ToMicroseconds() for p in pairs],
        "label": [p.label for p in pairs],
        "engagement_type": [p.engagement_type for p in pairs],
        "dwell_ms": [p.dwell_ms if p.HasField("dwell_ms") else None for p in pairs],
        "value": [p.value if p.HasField("value") else None for p in pairs],
        "history": [[_entry(e) for e in p.history] for p in pairs],
        "item_owner_id": [p.item.owner_id for p in pairs],
        "item_text": [p.item.text for p in pairs],
        "item_tags": [list(p.item.tags) for p in pairs],
        "item_attributes": [_attributes(p.item) for p in pairs],
        "item_created_at": [p.item.created_at.ToMicroseconds() for p in pairs],
        "item_positive_count": [p.item.counts.positive_count for p in pairs],
        "item_view_count": [p.item.counts.view_count for p in pairs],
        "item_rating_count": [p.item.counts.rating_count for p in pairs],
        "item_rating_mean": [
            p.item.counts.rating_mean if p.item.counts.HasField("rating_mean") else None for p in pairs
        ],
        "embedding_version": [p.embedding_version for p in pairs],
        "embedding": [np.frombuffer(p.embedding_float32_le, "<f4") if p.embedding_float32_le else None for p in pairs],
        "model_version": [p.model_version for p in pairs],
        "run_id": [p.run_id for p in pairs],
    }


def _entry(event: pb.PairHistoryEntry) -> dict[str, object]:
    return {
        "item_id": event.item_id,
        "type": event.type,
        "value": event.value if event.HasField("value") else None,
        "occurred_at": event.occurred_at.ToMicroseconds(),
    }


def _attributes(item: pb.ItemSnapshot) -> str:
    """The attributes as a JSON object: there are no columns that fit every collection. Times are in RFC 3339."""
    return json.dumps({name: _plain(value) for name, value in sorted(item.attributes.items())}, ensure_ascii=False)


def _plain(value: common_pb.AttributeValue) -> object:
    kind = value.WhichOneof("kind")
    if kind == "keywords":
        return list(value.keywords.values)
    if kind == "timestamp":
        return value.timestamp.ToJsonString()
    return getattr(value, kind) if kind else None


def generate_request(
    collection: str, model_version: str, window: tuple[int, int], run_id: str, **settings: Any
) -> pb.GenerateTrainingPairsRequest:
    """The request of a run; `window` in microseconds since the epoch."""
    start, end = Timestamp(), Timestamp()
    start.FromMicroseconds(window[0])
    end.FromMicroseconds(window[1])
    return pb.GenerateTrainingPairsRequest(
        collection=collection,
        model_version=model_version,
        window_start=start,
        window_end=end,
        run_id=run_id,
        **settings,
    )


def stream_request(
    collection: str, model_version: str, label: bool | None, since: int | None, resume_token: str
) -> pb.StreamTrainingPairsRequest:
    """The request of a stream; `since` in microseconds since the epoch."""
    request = pb.StreamTrainingPairsRequest(
        collection=collection, model_version=model_version, resume_token=resume_token
    )
    if label is not None:
        request.label = pb.PAIR_LABEL_POSITIVE if label else pb.PAIR_LABEL_NEGATIVE
    if since is not None:
        request.since.FromMicroseconds(since)
    return request
