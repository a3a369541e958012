from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.videos.world import World, open_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(scope="package")
async def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One library and one server for all tests of this folder."""
    async with open_world(database_url, tmp_path_factory.mktemp("videos")) as made:
        yield made
