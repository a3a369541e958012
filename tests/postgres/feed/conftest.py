"""A database of the feed's own, where nobody else writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from retrieval.config import Settings
from retrieval.postgres.adapter import PostgresAdapter
from tests.catalogue import load, make
from tests.postgres.conftest import scratch_database
from tests.postgres.feed.follower import Follower

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.cache_ports import ChangeFeed
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection


@pytest.fixture(scope="package")
async def url(database_url: str) -> AsyncIterator[str]:
    """URL of that database."""
    async with scratch_database(database_url) as url:
        yield url


@pytest.fixture(scope="package")
async def adapter(url: str) -> AsyncIterator[PostgresAdapter]:
    adapter = PostgresAdapter(Settings(database_url=url))
    yield adapter
    await adapter.close()


@pytest.fixture(scope="package")
async def stores(adapter: PostgresAdapter) -> Stores:
    return await adapter.open(migrate=True)


@pytest.fixture
async def feed(adapter: PostgresAdapter, stores: Stores) -> ChangeFeed:
    return adapter.changes


@pytest.fixture
async def collection(stores: Stores, name: str) -> Collection:
    return await load(stores, make(name, 10, dimension=4))


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@pytest.fixture
async def follower(feed: ChangeFeed, collection: Collection) -> Follower:
    """Begins after the collection was loaded."""
    async with feed.snapshot() as look:
        return Follower(feed, look.position)
