"""A database for the suite alone, and caches over it: each follows few collections, and starts quickly."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from retrieval.bootstrap import cached
from retrieval.config import Settings
from retrieval.domain.model import Metric
from retrieval.faiss_cache.build_segment import SegmentBuilder
from retrieval.postgres.adapter import PostgresAdapter
from tests.backends import Backend, exact_backend
from tests.caches import build_segment, graphs_of_few_rows, hasty_builder
from tests.catalogue import DataSet, load, make
from tests.postgres.conftest import scratch_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.faiss_cache.manifest import Manifest


@dataclass(slots=True)
class GatedBuild:
    """Builds in this process, while the gate is open."""

    builder: SegmentBuilder
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def __call__(self, collection: Collection, version: EmbeddingVersion) -> None:
        self.asked += 1
        await self.gate.wait()
        with graphs_of_few_rows(prefix=8):
            await self.builder(collection, version)


@dataclass(frozen=True, slots=True)
class Ground:
    """The database, without a cache."""

    adapter: PostgresAdapter
    stores: Stores

    @asynccontextmanager
    async def cached(self, folder: Path, *, building: bool = True, **settings: Any) -> AsyncIterator[Cached]:
        """A cache over the database. Unless `building`, its builds wait for the gate to be opened."""
        build = GatedBuild(SegmentBuilder(self.adapter.changes, folder))
        if building:
            build.gate.set()
        asked = {"cache_dir": folder, "cache_memory_budget_bytes": 10**9, **settings}
        with hasty_builder():
            async with cached(self.adapter, self.stores, Settings(**asked), build) as stores:
                yield Cached(stores, build, exact_backend(self.stores))

    async def load(self, count: int, **shape: Any) -> DataSet:
        """A data set of its own for a test."""
        data = make(f"cache-{uuid4().hex[:6]}", count, **{"dimension": 16, "resolutions": (8,), **shape})
        await load(self.stores, data)
        return data

    async def segment(self, data: DataSet, folder: Path, prefix: int = 8) -> Manifest:
        """Write the next segment of the data set: a graph on a prefix."""
        with graphs_of_few_rows(prefix):
            return await build_segment(self.adapter, folder, self.stores, data.name)


@dataclass(frozen=True, slots=True)
class Cached:
    """The stores with a cache in front, and what is right."""

    stores: Stores
    build: GatedBuild
    truth: Backend


@pytest.fixture(scope="package")
async def ground(database_url: str) -> AsyncIterator[Ground]:
    async with scratch_database(database_url) as url:
        adapter = PostgresAdapter(Settings(database_url=url, search_connections=4, write_connections=4))
        try:
            yield Ground(adapter, await adapter.open(migrate=True))
        finally:
            await adapter.close()


@pytest.fixture(params=list(Metric))
def metric(request: pytest.FixtureRequest) -> Metric:
    return request.param


@pytest.fixture
async def data(ground: Ground) -> AsyncIterator[DataSet]:
    """300 items of a test's own, gone after it."""
    made = await ground.load(300)
    yield made
    await ground.stores.collections.delete(made.name)


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    """Patches that a test can undo before it ends."""
    with pytest.MonkeyPatch.context() as made:
        yield made
