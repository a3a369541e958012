"""Databases of a test's own, on the server of the run."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    NewDatabase = Callable[[], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def scratch_database(server_url: str) -> AsyncIterator[str]:
    """URL of an empty database that is dropped at the end."""
    name = f"scratch_{uuid4().hex[:12]}"
    parts = urlsplit(server_url)
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield urlunsplit(parts._replace(path=f"/{name}"))
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture
async def empty_database(database_url: str) -> AsyncIterator[str]:
    async with scratch_database(database_url) as url:
        yield url


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside those of the adapter."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
