"""Index builds: queued in Postgres, done one at a time in the background, resumed after a restart.

Implements `IndexBuilder`. Builds are concurrent in Postgres' sense: reads and writes go on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

from retrieval.application.ports import BuildSpec, IndexKind, IndexReport, IndexState, VersionReport
from retrieval.application.task_supervisor import INDEX_BUILDS
from retrieval.domain.errors import FailedPreconditionError, NotFoundError, UnavailableError
from retrieval.domain.model import AttributeType
from retrieval.postgres.names import (
    OPERATOR_CLASSES,
    attribute_index,
    hnsw_index,
    ivfflat_index,
    order_expression,
    partition,
    popular_index,
)
from retrieval.postgres.predicate import attribute_expression
from retrieval.postgres.search_sql import popular_condition
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.store_errors import meaning

if TYPE_CHECKING:
    from collections.abc import Callable

    from retrieval.application.task_supervisor import BackgroundTask, TaskSupervisor
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.postgres.collections import PostgresCollections
    from retrieval.postgres.database import Database

IVFFLAT_MIN_ROWS = 1000
"""Fewer rows make poor lists (pgvector README, "IVFFlat": create the index after the table has some data)."""

PRESETS = ((1024, 32, 200), (256, 16, 100), (0, 8, 50))
"""(smallest dimension, m, ef_construction): long vectors repay a denser graph, short prefixes are ranked again anyway.
The full dimension has nothing after it and gets the middle one at least."""

BUILTIN_INDEXED = {"owner_id": ("btree", "owner_id"), "tags": ("gin", "tags"), "created_at": ("btree", "created_at")}
BUILD_LOCK = 0x7265_7472_6965_7602  # "retriev", 2: one build at a time, whichever process runs it
_IDLE_POLL_S = 2.0
MAX_LOST_BUILDS = 10
"""A build that lost its connection so often is given up: it may be what takes the database down."""

log = logging.getLogger(__name__)


def default_lists(rows: int) -> int:
    """Rows / 1000 up to a million rows, then the square root (pgvector README, "IVFFlat")."""
    return max(1, rows // 1000 if rows <= 1_000_000 else ceil(sqrt(rows)))


def preset(dimension: int, version: EmbeddingVersion) -> tuple[int, int]:
    """(m, ef_construction) for the index of a version on `dimension` components."""
    counted = dimension if dimension < version.dimension else max(dimension, PRESETS[1][0])
    return next((m, ef) for smallest, m, ef in PRESETS if counted >= smallest)


class PostgresIndexBuilder:
    """Queues builds and runs them in the background."""

    def __init__(
        self,
        database: Database,
        collections: PostgresCollections,
        on_change: Callable[[], None],
        maintenance_work_mem_mb: int,
    ) -> None:
        self._database = database
        self._collections = collections
        self._on_change = on_change
        self._memory = maintenance_work_mem_mb
        self._wake = asyncio.Event()
        self._task: BackgroundTask | None = None
        self._lost: Counter[str] = Counter()

    def start(self, tasks: TaskSupervisor) -> None:
        """Begin to work off the queue, what an earlier process left included."""
        self._task = tasks.start(INDEX_BUILDS, self._drain, self._wake.wait)

    async def stop(self) -> None:
        """Stop; a build under way is cancelled and starts anew with the next process."""
        if self._task is not None:
            await self._task.stop()
            self._task = None

    async def build(self, collection: Collection, version: EmbeddingVersion, spec: BuildSpec) -> list[str]:
        """See `IndexBuilder`. Raises: FailedPreconditionError (TOO_FEW_ROWS) for IVFFlat on fewer than 1000 rows."""
        async with self._database.connection() as connection:
            counting = fill(queries("indexes")["count_rows"], partition=partition(version.version_id))
            rows = await connection.fetchval(counting)
        if IndexKind.IVFFLAT in spec.kinds and rows < IVFFLAT_MIN_ROWS:
            raise FailedPreconditionError(
                f"an IVFFlat index needs {IVFFLAT_MIN_ROWS} rows to find its lists, the version has {rows}",
                reason="TOO_FEW_ROWS",
            )

        async def queue(connection: Any) -> list[str]:
            queued = []
            for entry in _wanted(collection, version, spec, rows):
                name = await connection.fetchval(
                    queries("indexes")["queue_build"], *entry, spec.rebuild, spec.lists is not None
                )
                if name is not None:
                    queued.append(name)
            return queued

        queued = await self._database.retried(queue)
        self._wake.set()
        return queued

    async def rebuild(self, name: str, lists: int) -> bool:
        """Queue an index that is ready to be built anew, with so many lists; whether it was."""
        async with self._database.connection() as connection:
            queued = await connection.fetchval(queries("indexes")["queue_rebuild"], name, lists)
        self._wake.set()
        return queued is not None

    async def report(self, collection: Collection, version: EmbeddingVersion) -> VersionReport:  # noqa: ARG002
        """See `IndexBuilder`."""
        table = f"retrieval.{partition(version.version_id)}"
        async with self._database.connection() as connection:
            size = await connection.fetchrow(queries("indexes")["table_size"], table)
            rows = await connection.fetch(queries("indexes")["report"], version.version_id, table)
        if size is None:
            return VersionReport(0, 0, ())
        return VersionReport(
            size["row_count"],
            size["table_bytes"],
            tuple(_report(r, size["row_count"]) for r in rows),
            size["dead_row_count"],
        )

    async def wait_idle(self) -> None:
        """See `IndexBuilder`."""
        while True:
            async with self._database.connection() as connection:
                if await connection.fetchrow(queries("indexes")["next_build"]) is None:
                    return
            await asyncio.sleep(0.1)

    async def _drain(self) -> None:
        """Build what is queued, one index after the other."""
        self._wake.clear()
        async with self._database.connection() as idle:
            if await idle.fetchrow(queries("indexes")["next_build"]) is None:
                return
        async with self._database.dedicated("retrieval-build") as connection:
            if self._task is not None:
                self._task.succeeded()  # a round may take hours
            # Not waited for inside Postgres: the statement would hold a snapshot, for whose end the concurrent build of
            # the process that has the lock waits in turn.
            while not await connection.fetchval(  # noqa: ASYNC110 - it is another process that ends the wait
                "SELECT pg_try_advisory_lock($1)", BUILD_LOCK
            ):
                await asyncio.sleep(_IDLE_POLL_S)
            await connection.execute(f"SET maintenance_work_mem = '{self._memory}MB'")
            while (job := await connection.fetchrow(queries("indexes")["next_build"])) is not None:
                await self._build_one(connection, job)
                self._on_change()

    async def _build_one(self, connection: Any, job: Any) -> None:
        """Build an index. A failure is its own; a lost connection ends the round, and the build is done anew."""
        name = job["name"]
        log.info("building index %s", name)
        try:
            await self._build_on(connection, job)
        except Exception as error:
            if not await self._is_wanted(job):
                log.info("index %s went away with its collection", name)
                return
            self._lost[name] += 1
            if isinstance(meaning(error), UnavailableError) and self._lost[name] < MAX_LOST_BUILDS:
                raise
            log.exception("building index %s failed", name)
            text = getattr(error, "sqlstate", None) or type(error).__name__
            # On another connection: this one may be what failed.
            async with self._database.connection() as other:
                await other.execute(
                    queries("indexes")["fail_build"], name, f"the build failed ({text}); the server log says more"
                )

    async def _build_on(self, connection: Any, job: Any) -> None:
        sql = queries("indexes")
        name, table = job["name"], partition(job["version_id"])
        started = time.perf_counter()
        await connection.execute(sql["start_build"], name)
        collection, version = await self._owner(connection, job["version_id"])
        await self._create(connection, job, collection, version)
        await connection.execute(fill(sql["analyze"], partition=table))
        count = await connection.fetchval(fill(sql["count_rows"], partition=table))
        elapsed_ms = int((time.perf_counter() - started) * 1000)
        await connection.execute(sql["finish_build"], name, elapsed_ms, count, f"retrieval.{table}")
        del self._lost[name]
        log.info("index %s is ready after %.1f s", name, elapsed_ms / 1000)

    async def _is_wanted(self, job: Any) -> bool:
        """Whether the build is still queued: it goes away with its collection."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(queries("indexes")["is_wanted"], job["name"]))

    async def _owner(self, connection: Any, version_id: int) -> tuple[Collection, EmbeddingVersion]:
        name = await connection.fetchval(queries("indexes")["collection_of"], version_id)
        if name is not None:
            # What is kept of a collection may be older than one of its name that was made since.
            for collection in (await self._collections.get(name), await self._collections.read(name)):
                version = next((v for v in collection.versions if v.version_id == version_id), None)
                if version is not None:
                    return collection, version
        raise NotFoundError(f"version {version_id} was deleted meanwhile", reason="EMBEDDING_VERSION_NOT_FOUND")

    async def _create(self, connection: Any, job: Any, collection: Collection, version: EmbeddingVersion) -> None:
        """Build under a name of its own, then swap: the old index serves until the new one does."""
        sql = queries("indexes")
        name, fresh = job["name"], f"{job['name'][:58]}_new"
        await connection.execute(fill(sql["drop_index"], index=fresh))
        valid = await connection.fetchval(sql["is_valid"], f"retrieval.{name}")
        if valid and not job["rebuild"]:
            return
        await connection.execute(_create_statement(job, fresh, collection, version))
        await connection.execute(fill(sql["drop_index"], index=name))
        await connection.execute(fill(sql["rename_index"], index=fresh, name=name))


def _wanted(
    collection: Collection, version: EmbeddingVersion, spec: BuildSpec, rows: int
) -> list[tuple[str, int, str, int, str, int, int, int]]:
    """(name, version id, kind, dimension, attribute, m, ef_construction, lists) of the indexes a spec stands for."""
    vid = version.version_id
    wanted: list[tuple[str, int, str, int, str, int, int, int]] = []

    def graph(dimension: int) -> tuple[int, int]:
        m, ef = preset(dimension, version)
        m = spec.m or m
        return m, max(spec.ef_construction or ef, 2 * m)

    if IndexKind.ATTRIBUTE in spec.kinds:
        names = (*BUILTIN_INDEXED, *collection.attributes)
        wanted += [(attribute_index(vid, name), vid, "attribute", 0, name, 0, 0, 0) for name in names]
    if IndexKind.HNSW in spec.kinds:
        dimensions = sorted({*version.resolutions, version.dimension})
        wanted += [(hnsw_index(vid, d), vid, "hnsw", d, "", *graph(d), 0) for d in dimensions]
    if IndexKind.POPULAR_HNSW in spec.kinds:
        wanted.append((popular_index(vid), vid, "popular_hnsw", version.dimension, "", *graph(version.dimension), 0))
    if IndexKind.IVFFLAT in spec.kinds:
        lists = spec.lists or default_lists(rows)
        wanted.append((ivfflat_index(vid), vid, "ivfflat", version.dimension, "", 0, 0, lists))
    return wanted


def _create_statement(job: Any, name: str, collection: Collection, version: EmbeddingVersion) -> str:
    sql = queries("indexes")
    table = partition(version.version_id)
    if job["kind"] == "attribute":
        attribute = job["attribute"]
        if attribute in BUILTIN_INDEXED:
            method, order = BUILTIN_INDEXED[attribute]
        else:
            kind = collection.attributes[attribute]
            method = "gin" if kind is AttributeType.KEYWORD_LIST else "btree"
            order = attribute_expression(attribute, kind)
        return fill(sql["create_attribute"], index=name, partition=table, method=method, order=order)
    common = {"index": name, "partition": table, "operator_class": OPERATOR_CLASSES[collection.metric]}
    if job["kind"] == "ivfflat":
        order = order_expression(version, version.dimension, ivfflat=True)
        return fill(sql["create_ivfflat"], **common, order=order, lists=job["lists"])
    return fill(
        sql["create_hnsw"],
        **common,
        order=order_expression(version, job["dimension"]),
        m=job["m"],
        ef_construction=job["ef_construction"],
        where=f"\nWHERE {popular_condition(collection)}" if job["kind"] == "popular_hnsw" else "",
    )


def _report(row: Any, rows: int) -> IndexReport:
    state = IndexState(row["state"])
    return IndexReport(
        name=row["name"],
        kind=IndexKind(row["kind"]),
        state=state,
        dimension=row["dimension"],
        progress=1.0 if state is IndexState.READY else min(float(row["done"]), 0.99),
        size_bytes=row["size_bytes"],
        generation=row["generation"],
        phase=row["phase"],
        error=row["error"],
        m=row["m"],
        ef_construction=row["ef_construction"],
        lists=row["lists"],
        build_ms=row["build_ms"],
        lists_wanted=default_lists(rows) if row["kind"] == "ivfflat" and not row["lists_given"] else row["lists"],
        built_rows=row["built_rows"],
    )
