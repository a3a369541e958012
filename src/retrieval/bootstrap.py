"""The composition root: the only module that knows both the transport and the adapters."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from retrieval.application.service import Service
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.migrate import Migrator
from retrieval.reference.adapter import ReferenceAdapter
from retrieval.transport.server import NO_HOT_METHODS, start_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.config import Settings
    from retrieval.transport.hot import HotMethods
    from retrieval.transport.server import RunningServer


@asynccontextmanager
async def serving(
    settings: Settings,
    *,
    migrate: bool = False,
    memory: bool = False,
    warming: bool = False,
    reuse_port: bool = False,
    hot: HotMethods = NO_HOT_METHODS,
) -> AsyncIterator[RunningServer]:
    """A running server; drained and closed when the block ends.

    `memory` serves from the in-memory reference adapter, which forgets everything at the end. With `warming`, health
    stays NOT_SERVING until `RunningServer.ready()` is called. `hot`: methods that answer before the usual way is taken.
    `reuse_port`: other processes serve on the same port.
    """
    adapter = ReferenceAdapter() if memory else PostgresAdapter(settings)
    try:
        stores = await (adapter.open() if isinstance(adapter, ReferenceAdapter) else adapter.open(migrate=migrate))
        service = Service(stores, adapter.is_alive)
        server = await start_server(service, settings, hot=hot, warming=warming, reuse_port=reuse_port)
        try:
            yield server
        finally:
            await server.drain()
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
