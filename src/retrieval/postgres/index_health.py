"""Looks after tables of vectors and their indexes: vacuums, drops what failed builds left, queues rebuilds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import asyncpg

from retrieval.application.maintenance_ports import JobResult
from retrieval.postgres.apart import Apart
from retrieval.postgres.indexes import BUILD_LOCK, IVFFLAT_MIN_ROWS, default_lists
from retrieval.postgres.sql_files import fill, queries

if TYPE_CHECKING:
    from retrieval.postgres.database import Database
    from retrieval.postgres.indexes import PostgresIndexBuilder

DEAD_SHARE, DEAD_ROWS = 0.2, 10_000
"""A table is vacuumed from both on. The share is autovacuum's default (autovacuum_vacuum_scale_factor), in case that is
off or behind; fewer dead rows cost searches next to nothing."""
LISTS_FACTOR = 2.0
"""Lists off by more, or rows grown by more since the build, make an IVFFlat index worth a new build: the middles of its
lists are those of the rows there were."""
CHURNED_SHARE = 0.3
"""An HNSW index of whose rows more were deleted or replaced is built anew: vacuum mends a graph node by node."""
MIN_CHURNED_ROWS = 1000
REST_S = 24 * 3600.0
"""An index is not built anew more often."""

log = logging.getLogger(__name__)


class IndexHealth:
    """Goes over all embedding versions; rebuilds are the builder's, so searches go on meanwhile."""

    def __init__(self, database: Database, builder: PostgresIndexBuilder) -> None:
        self._database = database
        self._builder = builder

    async def care(self) -> JobResult:
        """One round; returns how many tables and indexes wanted something, and what."""
        sql = queries("index_health")
        done: list[str] = []
        apart = Apart("index-care")
        async with self._database.dedicated("retrieval-care") as connection:
            with apart.step("dropping leftovers"):
                done += await self._drop_leftovers(connection)
            for table in await connection.fetch(sql["tables"]):
                with apart.step(table["partition"]):
                    done += await self._care_for(connection, table)
        return JobResult(len(done), "; ".join(done), tuple(apart.failed))

    async def _care_for(self, connection: Any, table: Any) -> list[str]:
        """What was done for one table; nothing where it went away with its collection meanwhile."""
        sql = queries("index_health")
        done: list[str] = []
        try:
            if table["dead"] > DEAD_ROWS and table["dead"] > DEAD_SHARE * (table["dead"] + table["live"]):
                await connection.execute(fill(sql["vacuum"], partition=table["partition"]))
                done.append(f"vacuumed {table['partition']}")
            await connection.execute(sql["note_builds"], table["version_id"], table["live"], table["churn"])
            built = await connection.fetch(sql["built"], table["version_id"], REST_S)
            done += [said for index in built if (said := await self._rebuild(connection, table, index))]
        except asyncpg.UndefinedTableError:
            log.info("%s was dropped while it was looked after", table["partition"])
        return done

    async def _drop_leftovers(self, connection: Any) -> list[str]:
        sql = queries("index_health")
        leftovers = [row["relname"] for row in await connection.fetch(sql["leftovers"])]
        # A build that was just begun looks like one that was cut off; while somebody builds, they stay.
        if not leftovers or not await connection.fetchval("SELECT pg_try_advisory_lock($1)", BUILD_LOCK):
            return []
        for name in leftovers:
            await connection.execute(fill(queries("indexes")["drop_index"], index=name))
        await connection.execute("SELECT pg_advisory_unlock($1)", BUILD_LOCK)
        return [f"dropped {name}" for name in leftovers]

    async def _rebuild(self, connection: Any, table: Any, index: Any) -> str:
        """What was queued, in words; empty where the index is well."""
        if index["kind"] != "ivfflat":
            # The statistics begin anew after a crash of the server.
            counted = table["churn"] - index["built_churn"]
            churned = counted if counted >= 0 else table["churn"]
            if churned <= max(MIN_CHURNED_ROWS, CHURNED_SHARE * index["built_rows"]):
                return ""
            queued = await self._builder.rebuild(index["name"], 0)
            return f"rebuilding {index['name']}, {churned} rows replaced" if queued else ""
        if not _lists_are_off(index, table["live"]):
            return ""
        # An estimate so far: right after a bulk load it may be twice what is there.
        counting = fill(queries("indexes")["count_rows"], partition=table["partition"])
        rows = await connection.fetchval(counting)
        if not _lists_are_off(index, rows):
            return ""
        lists = index["lists"] if index["lists_given"] else default_lists(rows)
        queued = await self._builder.rebuild(index["name"], lists)
        return f"rebuilding {index['name']}, lists {index['lists']} to {lists} for {rows} rows" if queued else ""


def _lists_are_off(index: Any, rows: int) -> bool:
    """Whether an IVFFlat index fits so many rows no more; the lists that a caller asked for always fit."""
    if rows < IVFFLAT_MIN_ROWS:
        return False
    wanted = index["lists"] if index["lists_given"] else default_lists(rows)
    off = max(wanted / index["lists"], index["lists"] / wanted) > LISTS_FACTOR
    return bool(off or rows > LISTS_FACTOR * index["built_rows"])
