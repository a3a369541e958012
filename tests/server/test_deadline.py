"""Deadlines and cancellation reach the SQL statement."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import grpc
import numpy as np
import pytest

from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from tests.patience import PATIENCE_S
from tests.server.process import DIM, Stubs, create, random_items, upsert, vector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Not by state: a statement that waits while it is parsed counts as idle. Those of a search alone: jobs that come round
# and caches read the table, too.
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'retrieval' AND wait_event_type = 'Lock' AND query ~ 'AS distance|AS row_estimate'
"""


@asynccontextmanager
async def locked(database_url: str, name: str) -> AsyncIterator[asyncpg.Connection]:
    """Holds a lock that every search of the collection has to wait for, and yields a connection to watch."""
    connection = await asyncpg.connect(database_url)
    try:
        version = await connection.fetchval(
            "SELECT version_id FROM retrieval.embedding_versions JOIN retrieval.collections USING (collection_id) "
            "WHERE name = $1",
            name,
        )
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE retrieval.embeddings_v{version} IN ACCESS EXCLUSIVE MODE")
            # Another connection looks on: a transaction sees pg_stat_activity as it was when it first looked.
            observer = await asyncpg.connect(database_url)
            try:
                yield observer
            finally:
                await observer.close()
    finally:
        await connection.close()


async def _until(connection: asyncpg.Connection, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await connection.fetchval(WAITING) != count:
            await asyncio.sleep(0.02)


def _request(name: str) -> retrieval_pb.SearchMatryoshkaRequest:
    # An exact search is one of Postgres', whatever the cache holds.
    options = common_pb.SearchOptions(params=common_pb.SearchParams(exact=True))
    return retrieval_pb.SearchMatryoshkaRequest(collection=name, vector=vector(np.ones(DIM)), options=options)


@pytest.fixture
async def loaded(stubs: Stubs, name: str) -> str:
    await create(stubs, name)
    await upsert(stubs, name, random_items(0, 50))
    await stubs.retrieval.SearchMatryoshka(_request(name))
    return name


async def test_deadline_cancels_the_statement(stubs: Stubs, database_url: str, loaded: str) -> None:
    async with locked(database_url, loaded) as observer:
        call = stubs.retrieval.SearchMatryoshka(_request(loaded), timeout=1.0)
        await _until(observer, 1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await _until(observer, 0)
    assert (await stubs.retrieval.SearchMatryoshka(_request(loaded))).hits


async def test_cancelled_call_cancels_the_statement(stubs: Stubs, database_url: str, loaded: str) -> None:
    async with locked(database_url, loaded) as observer:
        calls = [stubs.retrieval.SearchMatryoshka(_request(loaded), timeout=2 * PATIENCE_S) for _ in range(4)]
        await _until(observer, 4)
        for call in calls:
            call.cancel()
        await _until(observer, 0)
    assert (await stubs.retrieval.SearchMatryoshka(_request(loaded))).hits
