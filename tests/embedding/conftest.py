from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.embedding_server import EmbeddingServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def http() -> AsyncIterator[EmbeddingServer]:
    """A server that embeds texts."""
    server = EmbeddingServer()
    await server.start()
    yield server
    await server.stop()
