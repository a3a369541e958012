"""The composition root: the only module that knows both the transport and the adapters."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.application.search import pick_version
from retrieval.application.service import Service
from retrieval.config import to_environment
from retrieval.faiss_cache.build_process import BuildProcess
from retrieval.faiss_cache.build_segment import SegmentBuilder
from retrieval.faiss_cache.cache import FaissCache
from retrieval.faiss_cache.cache_settings import CacheSettings
from retrieval.faiss_cache.index import CachedIndex
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.migrate import Migrator
from retrieval.reference.adapter import ReferenceAdapter
from retrieval.transport.server import start_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from retrieval.application.ports import Stores
    from retrieval.config import Settings
    from retrieval.faiss_cache.build import BuildReport
    from retrieval.faiss_cache.keeper import Build
    from retrieval.faiss_cache.manifest import Manifest
    from retrieval.transport.server import RunningServer


@asynccontextmanager
async def serving(
    settings: Settings,
    *,
    migrate: bool = False,
    memory: bool = False,
    warming: bool = False,
    reuse_port: bool = False,
) -> AsyncIterator[RunningServer]:
    """A running server; drained and closed when the block ends.

    `memory` serves from the in-memory reference adapter, which forgets everything at the end. With `warming`, health
    stays NOT_SERVING until `RunningServer.ready()` is called. `reuse_port`: other processes serve on the same
    port.
    """
    adapter = ReferenceAdapter() if memory else PostgresAdapter(settings)
    try:
        stores = await (adapter.open() if isinstance(adapter, ReferenceAdapter) else adapter.open(migrate=migrate))
        async with AsyncExitStack() as stack:
            if isinstance(adapter, PostgresAdapter) and settings.cache_bytes:
                where = replace(settings, database_url=await adapter.url(), cache_dir=settings.segment_dir.absolute())
                build = BuildProcess(to_environment(where))
                stores = await stack.enter_async_context(cached(adapter, stores, settings, build))
            service = Service(stores, adapter.is_alive)
            server = await start_server(service, settings, warming=warming, reuse_port=reuse_port)
            try:
                yield server
            finally:
                await server.drain()
    finally:
        await adapter.close()


@asynccontextmanager
async def cached(
    adapter: PostgresAdapter, stores: Stores, settings: Settings, build: Build | None = None
) -> AsyncIterator[Stores]:
    """The stores with the FAISS cache in front of the index. `build`: None builds segments in this process."""
    build = build or SegmentBuilder(adapter.changes, settings.segment_dir)
    cache = FaissCache(adapter.changes, stores.collections, cache_settings(settings), build)
    try:
        await cache.start()
        index = CachedIndex(cache, stores.index)
        yield replace(stores, index=index, cache=index)
    finally:
        await cache.stop()


def cache_settings(settings: Settings) -> CacheSettings:
    """The cache's part of the settings."""
    return CacheSettings(
        settings.segment_dir,
        settings.cache_bytes,
        settings.cache_max_staleness_ms / 1000,
        settings.cache_heartbeat_ms / 1000,
        settings.cache_delta_rows,
    )


async def build_segment(
    settings: Settings, collection: str, version: int, report: Callable[[BuildReport], None]
) -> Manifest:
    """Build the next segment of a version (0: the active one) on all cores and return its manifest."""
    adapter = PostgresAdapter(settings)
    try:
        # A chore that waits for the processor that the build has would keep everybody else from doing it.
        stores = await adapter.open(migrate=False, chores=False)
        found = await stores.collections.get(collection)
        cores = len(os.sched_getaffinity(0))
        builder = SegmentBuilder(adapter.changes, settings.segment_dir, report, cores)
        return await builder.build(found, pick_version(found, version))
    finally:
        await adapter.close()


@asynccontextmanager
async def prepared_database(settings: Settings, *, migrate: bool) -> AsyncIterator[str]:
    """URL of the configured database, ready for servers; an embedded one runs for as long as the block does."""
    adapter = PostgresAdapter(settings)
    try:
        yield await adapter.prepare(migrate=migrate)
    finally:
        await adapter.close()


@asynccontextmanager
async def migrating(settings: Settings) -> AsyncIterator[Migrator]:
    """A migrator for the configured database; an embedded one runs for as long as the block does."""
    adapter = PostgresAdapter(settings)
    try:
        yield Migrator(await adapter.url())
    finally:
        await adapter.close()
