"""The composition root: the only module that knows both the transport and the adapters."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from retrieval.application.candidates.catalogue import MODEL_TYPE
from retrieval.application.embedders import Embedders, LocalTextEmbedder
from retrieval.application.embedding_worker import EmbeddingWorker
from retrieval.application.query_embedder import QueryEmbedder
from retrieval.application.search import pick_version
from retrieval.application.service import Service
from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.config import SettingsError, to_environment
from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.model_bytes import to_bytes
from retrieval.domain.model_registry import ModelVersion
from retrieval.embedding.rate_limit import RateLimiter
from retrieval.embedding.wordllama import DIMENSION, MODEL, WordLlamaEmbedder, is_installed
from retrieval.faiss_cache.build_process import BuildProcess
from retrieval.faiss_cache.build_segment import SegmentBuilder
from retrieval.faiss_cache.cache import FaissCache
from retrieval.faiss_cache.cache_settings import CacheSettings
from retrieval.faiss_cache.index import CachedIndex
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.backup import back_up
from retrieval.postgres.backup_manifest import read_manifest
from retrieval.postgres.migrate import Migrator
from retrieval.postgres.restore import restore
from retrieval.reference.adapter import ReferenceAdapter
from retrieval.transport.server import start_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from retrieval.application.embedders import TextEmbedder
    from retrieval.application.ports import Stores
    from retrieval.config import Settings
    from retrieval.faiss_cache.build import BuildReport
    from retrieval.faiss_cache.keeper import Build
    from retrieval.faiss_cache.manifest import Manifest
    from retrieval.postgres.backup_manifest import BackupManifest
    from retrieval.training.run import Progress
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
    tasks = TaskSupervisor()
    adapter = ReferenceAdapter() if memory else PostgresAdapter(settings, tasks)
    try:
        if isinstance(adapter, ReferenceAdapter):
            stores = await adapter.open()
        else:
            stores = await adapter.open(migrate=migrate, wait_s=settings.database_wait_s)
        async with AsyncExitStack() as stack:
            if isinstance(adapter, PostgresAdapter) and settings.cache_bytes:
                check_writable(settings.segment_dir)
                where = replace(settings, database_url=await adapter.url(), cache_dir=settings.segment_dir.absolute())
                build = BuildProcess(to_environment(where))
                stores = await stack.enter_async_context(cached(adapter, stores, settings, build, tasks))
            http = http_embedders(settings)
            stack.push_async_callback(Embedders(*http).close)
            local = LocalTextEmbedder(MODEL, DIMENSION, WordLlamaEmbedder)
            # A query without the local model is told what to install; jobs are left to others.
            known = Embedders(*http, *([local] if is_installed() else []))
            worker = EmbeddingWorker(stores, known, settings.embedding_lease_s)
            embedder = QueryEmbedder(Embedders(*http, local))
            service = Service(stores, adapter.is_alive, embedder=embedder, text_models=known.models(), tasks=tasks)
            service.candidates.open()
            stack.push_async_callback(service.candidates.close)
            server = await start_server(service, settings, warming=warming, reuse_port=reuse_port)
            worker.start(tasks)
            stack.push_async_callback(worker.stop)
            try:
                yield server
            finally:
                await server.drain()
    finally:
        await tasks.stop()
        await adapter.close()


def check_writable(folder: Path) -> None:
    """Raises: SettingsError where the cache cannot keep its segments there: it would start over for ever."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"1")
    except OSError as error:
        raise SettingsError(
            f"the folder of the cache, {folder}, cannot be written: {error.strerror}; name another one in "
            "RETRIEVAL_CACHE_DIR, or do without the cache by RETRIEVAL_CACHE_MEMORY_BUDGET_BYTES=0"
        ) from error


def http_embedders(settings: Settings) -> list[TextEmbedder]:
    """The embedders that the settings name. Raises: FailedPreconditionError (HTTP_EXTRA_MISSING)."""
    if not settings.embedding_url:
        return []
    try:
        from retrieval.embedding.openai_http import Endpoint, HttpConnection, OpenAICompatibleEmbedder  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise FailedPreconditionError(
            "RETRIEVAL_EMBEDDING_URL needs the extra `http`: pip install 'retrieval-service[http]'",
            reason="HTTP_EXTRA_MISSING",
        ) from error
    endpoint = Endpoint(
        settings.embedding_url,
        settings.embedding_api_key,
        settings.embedding_timeout_s,
        settings.embedding_batch,
        settings.embedding_batch_characters,
        settings.embedding_concurrency,
    )
    connection = HttpConnection(endpoint, RateLimiter(settings.embedding_rpm, settings.embedding_tpm))
    return [
        OpenAICompatibleEmbedder(connection, model, dimension)
        for model, dimension in settings.embedding_dimensions.items()
    ]


@asynccontextmanager
async def cached(
    adapter: PostgresAdapter,
    stores: Stores,
    settings: Settings,
    build: Build | None = None,
    tasks: TaskSupervisor | None = None,
) -> AsyncIterator[Stores]:
    """The stores with the FAISS cache in front of the index. `build`: None builds segments in this process."""
    build = build or SegmentBuilder(adapter.changes, settings.segment_dir)
    cache = FaissCache(adapter.changes, stores.collections, cache_settings(settings), build, tasks or TaskSupervisor())
    try:
        await cache.start()
        index = CachedIndex(cache, stores.index, stores.projections)
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
        # A background task that waits for the processor that the build has would keep everybody else from doing it.
        stores = await adapter.open(migrate=False, chores=False, create=False)
        found = await stores.collections.get(collection)
        cores = len(os.sched_getaffinity(0))
        builder = SegmentBuilder(adapter.changes, settings.segment_dir, report, cores)
        return await builder.build(found, pick_version(found, version))
    finally:
        await adapter.close()


async def train_model(
    settings: Settings,
    collection: str,
    report: Callable[[Progress], None],
    *,
    activate: bool = True,
    fresh: bool = False,
) -> ModelVersion:
    """Train the co-engagement model of a collection, register it with its figures and make it the active one.

    A run that was interrupted goes on where it was, unless `fresh` or a day old. Raises: FailedPreconditionError
    (TRAINING_NOT_INSTALLED, TOO_FEW_EVENTS).
    """
    try:
        import implicit  # noqa: F401, PLC0415  # the extra; its other parts come with it

        from retrieval.training.run import NotEnoughError  # noqa: PLC0415
    except ImportError as error:
        raise FailedPreconditionError(
            "training needs more packages: pip install 'retrieval-service[train]'", reason="TRAINING_NOT_INSTALLED"
        ) from error
    adapter = PostgresAdapter(settings)
    try:
        stores = await adapter.open(migrate=False, chores=False, create=False)
        return await train_and_register(stores, collection, settings.data_dir, report, activate=activate, fresh=fresh)
    except NotEnoughError as error:
        raise FailedPreconditionError(str(error), reason="TOO_FEW_EVENTS") from error
    finally:
        await adapter.close()


async def train_and_register(
    stores: Stores,
    collection_name: str,
    data_dir: Path,
    report: Callable[[Progress], None],
    *,
    activate: bool = True,
    fresh: bool = False,
) -> ModelVersion:
    """`train_model` on stores that are open. Raises: NotEnoughError."""
    from retrieval.training.run import (  # noqa: PLC0415
        PARAMETERS,
        NotEnoughError,
        Progress,
        open_checkpoints,
        restored_log,
        train,
    )

    collection = await stores.collections.get(collection_name)
    kept = open_checkpoints(data_dir / "training" / str(collection.collection_id), fresh=fresh)
    events = stores.archive.engagements(collection)
    log = await restored_log(collection, events, kept, lambda count: report(Progress(0, 0, "read", count)))
    try:
        trained = await asyncio.to_thread(train, log, kept, report)
    except NotEnoughError:
        # The next run is to look at the events that there are by then.
        kept.discard()
        raise
    moment = datetime.now(UTC)
    model = await stores.models.register(
        collection,
        ModelVersion(
            0,
            collection.collection_id,
            MODEL_TYPE,
            moment.strftime("%Y%m%dT%H%M%S%f"),
            trained.metrics,
            PARAMETERS,
        ),
    )
    await stores.artifacts.save(model, to_bytes(trained.model))
    if activate:
        model = await stores.models.activate(collection, MODEL_TYPE, model.version)
    kept.discard()
    return model


@asynccontextmanager
async def prepared_database(settings: Settings, *, migrate: bool) -> AsyncIterator[str]:
    """URL of the configured database, ready for servers; an embedded one runs for as long as the block does."""
    adapter = PostgresAdapter(settings)
    try:
        yield await adapter.prepare(migrate=migrate, wait_s=settings.database_wait_s)
    finally:
        await adapter.close()


@asynccontextmanager
async def migrating(settings: Settings, *, create: bool) -> AsyncIterator[Migrator]:
    """A migrator for the configured database; an embedded one, made with `create`, runs as long as the block does."""
    adapter = PostgresAdapter(settings)
    try:
        yield Migrator(await adapter.url(create=create))
    finally:
        await adapter.close()


async def back_up_database(settings: Settings, file: Path, report: Callable[[str, int, int], None]) -> BackupManifest:
    """Back up the configured database; see `back_up`."""
    adapter = PostgresAdapter(settings)
    try:
        return await back_up(await adapter.url(create=False), file, report)
    finally:
        await adapter.close()


async def restore_database(
    settings: Settings, file: Path, report: Callable[[str, int, int], None], *, replace: bool
) -> BackupManifest:
    """Restore a backup into the configured database; see `restore`."""
    # Before an embedded database is made for it.
    await asyncio.to_thread(read_manifest, file)
    adapter = PostgresAdapter(settings)
    try:
        url = await adapter.url()
        return await restore(url, file, settings.maintenance_work_mem_mb, report, replace=replace)
    finally:
        await adapter.close()
