from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest

from retrieval.client import error_reason
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.transport.conftest import Running


def batch(number: int, *, good: bool = True) -> items_pb.UpsertItemsRequest:
    chunks = [] if good else [common_pb.Chunk()]
    return items_pb.UpsertItemsRequest(
        collection="films", items=[common_pb.Item(item_id=f"{number}-{n}", chunks=chunks) for n in range(3)]
    )


async def stream(*batches: items_pb.UpsertItemsRequest) -> AsyncIterator[items_pb.UpsertItemsRequest]:
    for each in batches:
        yield each


async def test_batches_are_acknowledged_in_order(run: Running) -> None:
    acks = [ack async for ack in run.client.stream_upsert(stream(*map(batch, range(20))))]
    assert [(ack.batch_index, ack.upserted_count) for ack in acks] == [(n, 3) for n in range(20)]
    assert all(ack.consistency_token for ack in acks)


async def test_an_empty_stream_ends_well(run: Running) -> None:
    assert [ack async for ack in run.client.stream_upsert(stream())] == []


async def test_a_bad_batch_ends_the_stream_after_the_acknowledgements_before_it(run: Running) -> None:
    acks = []
    with pytest.raises(grpc.aio.AioRpcError) as raised:  # noqa: PT012 - the acknowledgements before the error count
        async for ack in run.client.stream_upsert(stream(batch(0), batch(1), batch(2, good=False), batch(3))):
            acks.append(ack.batch_index)
    assert acks == [0, 1]
    reason, fields = error_reason(raised.value)
    assert (reason, fields[0][0]) == ("VECTOR_MISSING", "batch.items[0].chunks[0].vector")
    listed = await run.client.items.ListItems(items_pb.ListItemsRequest(collection="films"))
    assert {item.item_id[0] for item in listed.items} == {"0", "1"}


async def test_a_missing_collection_ends_the_stream(run: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in run.client.stream_upsert(
            stream(items_pb.UpsertItemsRequest(collection="x", items=batch(0).items))
        ):
            pass
    assert error_reason(raised.value)[0] == "COLLECTION_NOT_FOUND"


async def test_the_next_batches_are_checked_while_one_is_written(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    write, release = run.service.stores.items.upsert, asyncio.Event()
    writing = asyncio.Event()

    async def held(*arguments: object) -> object:
        writing.set()
        await release.wait()
        return await write(*arguments)

    read = 0

    def count(*arguments: object) -> list[object]:
        nonlocal read
        read += 1
        return []

    monkeypatch.setattr(run.service.stores.items, "upsert", held)
    monkeypatch.setattr("retrieval.transport.item_servicer.read_items", count)
    acks = run.client.stream_upsert(stream(*map(batch, range(10))))
    first = asyncio.ensure_future(anext(acks))
    await asyncio.wait_for(writing.wait(), 10)
    await asyncio.sleep(0.1)
    # One is being written, two wait in the queue, and one more waits for a place in it.
    assert read == 4
    release.set()
    assert (await first).batch_index == 0
    assert len([ack async for ack in acks]) == 9


async def test_a_client_that_goes_away_leaves_nothing_running(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    writing, ended = asyncio.Event(), asyncio.Event()

    async def held(*_: object) -> None:
        writing.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    monkeypatch.setattr(run.service.stores.items, "upsert", held)
    acks = run.client.stream_upsert(stream(*map(batch, range(5))))
    first = asyncio.ensure_future(anext(acks))
    await asyncio.wait_for(writing.wait(), 10)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await acks.aclose()
    await asyncio.wait_for(ended.wait(), 10)
    await asyncio.sleep(0.05)
    assert not [task for task in asyncio.all_tasks() if "_read_ahead" in repr(task)]
