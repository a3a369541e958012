"""A search that nobody waits for any more leaves the server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from retrieval.application.similar_items import SimilarItems
from retrieval.config import Settings
from retrieval.domain.errors import DeadlineExceededError, UnavailableError
from retrieval.domain.model import Viewer
from retrieval.domain.search import SearchOptions
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.names import partition
from tests.backends import exact_backend
from tests.catalogue import load, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import asyncpg

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

REQUEST = ("item-00001",)
EVERYTHING = SearchOptions(viewer=Viewer(unrestricted=True))


@pytest.fixture
async def collection(postgres: Stores, name: str) -> Collection:
    return await load(postgres, make(name, 20, dimension=4))


@pytest.fixture
async def blocked(collection: Collection, postgres: Stores, connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Every statement on the collection's vectors has to wait."""
    # What the planner keeps is read before, so that the search itself is what waits.
    await exact_backend(postgres).search(SimilarItems(collection.name, REQUEST, options=EVERYTHING))
    transaction = connection.transaction()
    await transaction.start()
    table = partition(collection.active.version_id)
    await connection.execute(f"LOCK TABLE retrieval.{table} IN ACCESS EXCLUSIVE MODE")
    yield
    await transaction.rollback()


async def waiting(connection: asyncpg.Connection, collection: Collection) -> int:
    """Searches at work on the collection's vectors; jobs that come round read them, too."""
    # ClientRead: parsed and then given up by the client. Postgres calls that active until the connection's next use.
    # Within a transaction, activity is read once.
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    return await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name = 'retrieval' "
        "AND wait_event IS DISTINCT FROM 'ClientRead' "
        "AND (query LIKE '%SELECT item_id,%' || $1 || '%' OR query LIKE '%row_estimate%')",
        partition(collection.active.version_id),
    )


async def until(connection: asyncpg.Connection, collection: Collection, count: int, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while await waiting(connection, collection) != count:
        assert time.monotonic() < deadline, f"there are not {count} statements after {within_s} s"
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("blocked")
async def test_a_cancelled_search_leaves_the_server(
    postgres: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    backend = exact_backend(postgres)
    tasks = [
        asyncio.create_task(backend.search(SimilarItems(collection.name, REQUEST, options=EVERYTHING)))
        for _ in range(3)
    ]
    await until(connection, collection, 3)
    for task in tasks:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(d, asyncio.CancelledError) for d in done)
    await until(connection, collection, 0)


@pytest.mark.usefixtures("blocked")
async def test_a_deadline_ends_the_statement(
    postgres: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(0.3):
            search = exact_backend(postgres).search(SimilarItems(collection.name, REQUEST, options=EVERYTHING))
            await asyncio.gather(search, until(connection, collection, 1))

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await in_time()
    assert time.monotonic() - started < 10.0
    await until(connection, collection, 0)


async def test_the_pool_survives_cancellations(
    postgres: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    """More cancelled searches than there are connections; the next one is answered as ever."""
    backend = exact_backend(postgres)
    request = SimilarItems(collection.name, REQUEST, options=EVERYTHING)
    expected = [h.item_id for h in (await backend.search(request)).hits]
    for _ in range(3):
        tasks = [asyncio.create_task(backend.search(request)) for _ in range(12)]
        await asyncio.sleep(0.003)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert [h.item_id for h in (await backend.search(request)).hits] == expected
    await until(connection, collection, 0)


async def test_the_server_ends_what_takes_too_long(database_url: str, connection: asyncpg.Connection) -> None:
    adapter = PostgresAdapter(Settings(database_url=database_url, statement_timeout_s=0.3, search_connections=2))
    stores = await adapter.open(migrate=False)
    try:
        collection = await load(stores, make("timeout", 3, dimension=4))
        async with connection.transaction():
            table = partition(collection.active.version_id)
            await connection.execute(f"LOCK TABLE retrieval.{table} IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DeadlineExceededError):
                await stores.index.vectors(collection.active, ["item-00001"], Viewer())
    finally:
        await adapter.close()


@pytest.mark.usefixtures("blocked")
async def test_a_lost_connection_is_unavailable_and_replaced(
    adapter: PostgresAdapter, postgres: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    backend = exact_backend(postgres)
    request = SimilarItems(collection.name, REQUEST, options=EVERYTHING)
    task = asyncio.create_task(backend.search(request))
    await until(connection, collection, 1)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'retrieval' "
        "AND wait_event_type = 'Lock'",
    )
    with pytest.raises(UnavailableError):
        await task
    assert await adapter.is_alive()
    again = asyncio.create_task(backend.search(request))
    await until(connection, collection, 1)
    await connection.execute("COMMIT")
    assert (await again).hits
    await connection.execute("BEGIN")


async def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    adapter = PostgresAdapter(Settings(database_url=f"postgresql:///postgres?host={tmp_path}"))
    with pytest.raises(UnavailableError) as caught:
        await adapter.open(migrate=True)
    assert caught.value.reason == "DATABASE_UNREACHABLE"
    assert str(tmp_path) in caught.value.message, "the operator who started it is told where it looked"
    assert not await adapter.is_alive()
    await adapter.close()
