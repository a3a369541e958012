"""Fixtures of every suite: a Postgres of our own, the reference, and the backends over both."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from retrieval.application.ports import BuildSpec, IndexKind, IndexState
from retrieval.config import Settings
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.embedded import EmbeddedPostgres
from retrieval.reference.adapter import ReferenceAdapter
from tests.backends import Oracle, make_backend
from tests.caches import build_segment, graphs_of_few_rows
from tests.catalogue import DataSet, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import Stores

settings.register_profile(
    "retrieval", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("retrieval")


@pytest.fixture(autouse=True)
async def no_unhandled_errors() -> AsyncIterator[None]:
    """An exception that nobody awaits fails the test during which it comes to light."""
    loop = asyncio.get_running_loop()
    problems: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: problems.append(context))
    yield
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert not problems, f"unhandled in the event loop: {problems}"


@pytest.fixture(scope="session")
async def database_url() -> AsyncIterator[str]:
    """A database for this process: at RETRIEVAL_TEST_DATABASE_URL, or embedded; where there is neither, tests fail."""
    given = os.environ.get("RETRIEVAL_TEST_DATABASE_URL")
    if given:
        yield await _own_database(given, os.environ.get("PYTEST_XDIST_WORKER", ""))
        return
    # Not below pytest's own folder: that is closed to the user that Postgres runs as when started by root.
    with tempfile.TemporaryDirectory(prefix="retrieval-test-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder))
        yield await server.start()
        await server.stop()


async def _own_database(url: str, worker: str) -> str:
    """That of the URL, or, where several processes run tests, one of this process beside it."""
    if not worker:
        return url
    parts = urlsplit(url)
    name = f"{parts.path.removeprefix('/')}_{worker}"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    except asyncpg.DuplicateDatabaseError:
        pass  # of an earlier run
    finally:
        await connection.close()
    return urlunsplit(parts._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
async def adapter(database_url: str) -> AsyncIterator[PostgresAdapter]:
    adapter = PostgresAdapter(Settings(database_url=database_url, maintenance_work_mem_mb=128))
    yield adapter
    await adapter.close()


@pytest.fixture(scope="session")
async def postgres(adapter: PostgresAdapter) -> Stores:
    """The Postgres stores, migrated."""
    return await adapter.open(migrate=True)


@pytest.fixture(scope="session")
async def reference() -> Stores:
    return await ReferenceAdapter().open()


@pytest.fixture(scope="session", params=["reference", "postgres"])
def stores(request: pytest.FixtureRequest, reference: Stores, postgres: Stores) -> Stores:
    """Both sets of stores, in turn: for what does not depend on the source of a search."""
    return reference if request.param == "reference" else postgres


@pytest.fixture(scope="session")
def oracle(reference: Stores) -> Oracle:
    """The reference, which decides."""
    return Oracle(make_backend("reference", reference))


@pytest.fixture(scope="session", params=["grpcio", "native"])
def front(request: pytest.FixtureRequest) -> str:
    """Every front, in turn."""
    return str(request.param)


@pytest.fixture
def name() -> str:
    """A collection name of this test's own."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def segments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the loader writes a segment of every data set."""
    return tmp_path_factory.mktemp("segments")


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads a data set into both stores, builds every index that it can have, and a segment that is not up to date."""

    reference: Stores
    postgres: Stores
    adapter: PostgresAdapter
    segments: Path

    async def __call__(self, data: DataSet, prefix: int | None = None) -> DataSet:
        await load(self.reference, data)
        # Rows that will be gone, and rows that will come again, stand beside those that stay.
        items = list(data.items.values())
        going = [replace(item, item_id=f"gone-{item.item_id}") for item in items[::15]]
        collection = await load(self.postgres, data, [*going, *items])
        with graphs_of_few_rows(prefix):
            manifest = await build_segment(self.adapter, self.segments, self.postgres, data.name)
        assert (manifest.kind, manifest.generation) == ("hnsw", 1)
        await self.postgres.items.delete(collection, [item.item_id for item in going], "", b"")
        await self.postgres.items.upsert(collection, collection.active, items[::10], "", b"")
        # The default for so few rows is one to three lists, which would leave nothing to miss or to find.
        await self.postgres.builder.build(collection, collection.active, BuildSpec(frozenset(IndexKind), lists=50))
        await self.postgres.builder.wait_idle()
        report = await self.postgres.builder.report(collection, collection.active)
        assert {i.state for i in report.indexes} == {IndexState.READY}
        return data


@pytest.fixture(scope="session")
def loader(reference: Stores, postgres: Stores, adapter: PostgresAdapter, segments: Path) -> Loader:
    return Loader(reference, postgres, adapter, segments)
