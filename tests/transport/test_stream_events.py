"""StreamEvents: each batch is acknowledged once stored, and a batch sent again is all duplicates."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import pytest

from retrieval.client import error_reason
from retrieval.v1 import feedback_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.transport.conftest import Running

NOW = int(time.time()) - 3600


def batch(number: int, *, kind: str = "like", collection: str = "films") -> pb.RecordEventsRequest:
    events = []
    for n in range(3):
        event = pb.Event(user_id="ann", item_id=f"{number}-{n}", type=kind)
        event.occurred_at.FromSeconds(NOW + number)
        events.append(event)
    return pb.RecordEventsRequest(collection=collection, events=events)


async def stream(*batches: pb.RecordEventsRequest) -> AsyncIterator[pb.RecordEventsRequest]:
    for each in batches:
        yield each


async def test_batches_are_acknowledged_in_order_and_stored(run: Running) -> None:
    acks = [ack async for ack in run.client.stream_events(stream(*map(batch, range(20))))]
    assert [(a.batch_index, a.recorded_count, a.duplicate_count) for a in acks] == [(n, 3, 0) for n in range(20)]
    assert all(ack.consistency_token for ack in acks)
    collection = await run.service.stores.collections.get("films")
    stored = await run.service.stores.events.history(collection, "ann", 100)
    assert len(stored) == 60


async def test_a_batch_sent_again_is_all_duplicates(run: Running) -> None:
    acks = [ack async for ack in run.client.stream_events(stream(batch(1), batch(1), batch(2)))]
    assert [(a.recorded_count, a.duplicate_count) for a in acks] == [(3, 0), (0, 3), (3, 0)]


async def test_a_bad_batch_ends_the_stream_after_the_acknowledgements_before_it(run: Running) -> None:
    acks = []
    with pytest.raises(grpc.aio.AioRpcError) as raised:  # noqa: PT012 - the acknowledgements before the error count
        async for ack in run.client.stream_events(stream(batch(0), batch(1), batch(2, kind="sneeze"), batch(3))):
            acks.append(ack.batch_index)
    assert acks == [0, 1]
    reason, fields = error_reason(raised.value)
    assert (reason, fields[0][0]) == ("UNKNOWN_EVENT_TYPE", "batch.events[0].type")
    collection = await run.service.stores.collections.get("films")
    assert len(await run.service.stores.events.history(collection, "ann", 100)) == 6


async def test_a_missing_batch_or_collection_ends_the_stream(run: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in run.client.stream_events(stream(batch(0, collection="x"))):
            pass
    assert error_reason(raised.value)[0] == "COLLECTION_NOT_FOUND"
    call = run.client.feedback.StreamEvents(iter([pb.StreamEventsRequest()]))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert error_reason(raised.value)[1][0][0] == "batch"


async def test_what_the_batches_raise_reaches_the_caller(run: Running) -> None:
    async def batches() -> AsyncIterator[pb.RecordEventsRequest]:
        yield batch(0)
        raise LookupError("no more of them")

    with pytest.raises(LookupError, match="no more of them"):
        async for _ in run.client.stream_events(batches()):
            pass
