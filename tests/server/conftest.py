from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.server.process import ServerProcess, Stubs, server_process, stubs_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ADMIN_TOKEN = "test-admin-token"


@pytest.fixture(scope="session")
async def server(database_url: str, front: str) -> AsyncIterator[ServerProcess]:
    """A real server process over the run's Postgres."""
    async with server_process(
        "--migrate",
        RETRIEVAL_DATABASE_URL=database_url,
        RETRIEVAL_ADMIN_TOKEN=ADMIN_TOKEN,
        RETRIEVAL_FRONT=front,
    ) as process:
        yield process


@pytest.fixture
async def stubs(server: ServerProcess) -> AsyncIterator[Stubs]:
    async with stubs_for(server.target) as made:
        yield made
