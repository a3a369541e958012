"""Processes and streams that end in the middle: what was acknowledged is there, and there is no half batch."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import asyncpg
import grpc
import pytest

from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import item_service_pb2 as items_pb
from tests.patience import PATIENCE_S
from tests.server.process import Stubs, create, random_items, server_process, stubs_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BATCH = 200


async def _batches(name: str, count: int, sent: list[int]) -> AsyncIterator[items_pb.StreamUpsertItemsRequest]:
    for number in range(count):
        sent.append(number)
        yield items_pb.StreamUpsertItemsRequest(
            batch=items_pb.UpsertItemsRequest(collection=name, items=random_items(number * BATCH, BATCH))
        )


async def _stored_batches(database_url: str, name: str) -> Counter[int]:
    """How many items of each batch the database holds, in items and in embeddings alike."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT i.item_id, e.item_id AS embedded FROM retrieval.items i "
            "JOIN retrieval.collections c USING (collection_id) "
            "JOIN retrieval.embedding_versions v USING (collection_id) "
            "FULL JOIN retrieval.embeddings e ON e.version_id = v.version_id AND e.item_id = i.item_id "
            "WHERE c.name = $1",
            name,
        )
    finally:
        await connection.close()
    assert all(r["item_id"] == r["embedded"] for r in rows)
    return Counter(int(r["item_id"].rpartition("-")[2]) // BATCH for r in rows)


async def test_sigkill_during_ingest(database_url: str, name: str) -> None:
    acknowledged: list[int] = []
    async with (
        server_process("--migrate", RETRIEVAL_DATABASE_URL=database_url) as server,
        stubs_for(server.target) as s,
    ):
        await create(s, name)
        call = s.items.StreamUpsertItems(_batches(name, 500, []))
        with pytest.raises(grpc.aio.AioRpcError):  # noqa: PT012
            async for ack in call:
                acknowledged.append(ack.batch_index)
                if len(acknowledged) == 5:
                    server.kill()
        await server.process.wait()
    stored = await _stored_batches(database_url, name)
    assert acknowledged == list(range(len(acknowledged)))
    assert len(acknowledged) >= 5
    assert set(acknowledged) <= set(stored)
    assert set(stored.values()) == {BATCH}
    # A new process goes on from there.
    async with server_process(RETRIEVAL_DATABASE_URL=database_url) as server, stubs_for(server.target) as s:
        page = await s.items.ListItems(items_pb.ListItemsRequest(collection=name, page_size=1000))
        assert page.items[0].item_id == "item-000000"


async def test_client_cuts_the_stream(stubs: Stubs, database_url: str, name: str) -> None:
    await create(stubs, name)
    call = stubs.items.StreamUpsertItems(_batches(name, 500, []))
    acknowledged = []
    async for ack in call:
        acknowledged.append(ack.batch_index)
        if len(acknowledged) == 3:
            break
    call.cancel()
    await asyncio.sleep(0.5)
    stored = await _stored_batches(database_url, name)
    assert set(acknowledged) <= set(stored)
    assert set(stored.values()) == {BATCH}
    assert len(stored) < 500


async def test_bad_batch_ends_the_stream_after_the_good_ones(stubs: Stubs, database_url: str, name: str) -> None:
    await create(stubs, name)

    async def batches() -> AsyncIterator[items_pb.StreamUpsertItemsRequest]:
        async for batch in _batches(name, 3, []):
            yield batch
        bad = random_items(3 * BATCH, BATCH)
        bad[77].chunks[0].vector.float32_le = b"\0" * 12
        yield items_pb.StreamUpsertItemsRequest(batch=items_pb.UpsertItemsRequest(collection=name, items=bad))

    acknowledged = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012
        async for ack in stubs.items.StreamUpsertItems(batches()):
            acknowledged.append(ack.batch_index)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "items[77].chunks[0].vector" in caught.value.details()
    assert acknowledged == [0, 1, 2]
    assert await _stored_batches(database_url, name) == {0: BATCH, 1: BATCH, 2: BATCH}


async def test_sigterm_lets_a_stream_finish_its_batch(database_url: str, name: str) -> None:
    async with (
        server_process("--migrate", RETRIEVAL_DATABASE_URL=database_url) as server,
        stubs_for(server.target) as s,
    ):
        await create(s, name)
        reply = await s.items.UpsertItems(items_pb.UpsertItemsRequest(collection=name, items=random_items(0, BATCH)))
        assert reply.upserted_count == BATCH
        assert await server.terminate() == 0
    assert await _stored_batches(database_url, name) == {0: BATCH}


async def test_acknowledged_events_outlive_sigkill(database_url: str, name: str) -> None:
    now = int(time.time()) - 86_400

    async def batches() -> AsyncIterator[feedback_pb.StreamEventsRequest]:
        for number in range(500):
            events = [feedback_pb.Event(user_id="ann", item_id=f"{number}-{n}", type="view") for n in range(BATCH)]
            for event in events:
                event.occurred_at.FromSeconds(now + number)
            yield feedback_pb.StreamEventsRequest(batch=feedback_pb.RecordEventsRequest(collection=name, events=events))

    acknowledged: list[int] = []
    async with (
        server_process("--migrate", RETRIEVAL_DATABASE_URL=database_url) as server,
        stubs_for(server.target) as s,
    ):
        await create(s, name)
        with pytest.raises(grpc.aio.AioRpcError):  # noqa: PT012
            async for ack in s.feedback.StreamEvents(batches()):
                acknowledged.append(ack.batch_index)
                if len(acknowledged) == 5:
                    server.kill()
        await server.process.wait()
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT e.item_id FROM retrieval.events e JOIN retrieval.collections c USING (collection_id) "
            "WHERE c.name = $1",
            name,
        )
    finally:
        await connection.close()
    stored = Counter(int(r["item_id"].partition("-")[0]) for r in rows)
    assert acknowledged == list(range(len(acknowledged)))
    assert set(acknowledged) <= set(stored)
    assert set(stored.values()) == {BATCH}
    # A new process adds up what the dead one left: every event that is stored, and no more.
    async with server_process(RETRIEVAL_DATABASE_URL=database_url) as server, stubs_for(server.target) as s:
        items = [common_pb.Item(item_id=f"{number}-0") for number in stored]
        await s.items.UpsertItems(items_pb.UpsertItemsRequest(collection=name, items=items))
        request = items_pb.BatchGetItemsRequest(collection=name, item_ids=[i.item_id for i in items])
        async with asyncio.timeout(PATIENCE_S):
            while {i.view_count for i in (await s.items.BatchGetItems(request)).items} != {1}:
                await asyncio.sleep(0.1)
    connection = await asyncpg.connect(database_url)
    try:
        counted = await connection.fetchval(
            "SELECT sum(view_count) FROM retrieval.item_counts JOIN retrieval.collections c USING (collection_id) "
            "WHERE c.name = $1",
            name,
        )
    finally:
        await connection.close()
    assert counted == len(rows)
