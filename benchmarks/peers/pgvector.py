"""Bare pgvector: a table of halfvec with one HNSW index, asked by asyncpg with a prepared statement."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvector import HalfVector

from benchmarks.asyncpg_baseline import AsyncpgTarget, Baseline
from benchmarks.database import connect
from benchmarks.peers.peer import CANDIDATES, LINKS, GraphPeer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import asyncpg

    from benchmarks.datasets import Dataset

BUILD_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class PgvectorPeer(GraphPeer):
    """See `Peer`."""

    dataset: Dataset
    k: int
    url: str
    pids: list[int]
    build_s: float
    size_bytes: int
    name: str = "pgvector"
    front: str = "asyncpg"

    def memory_bytes(self) -> int:
        """See `Peer`: size of the table with its index."""
        return self.size_bytes

    def target(self, effort: int) -> AsyncpgTarget:
        """See `Peer`."""
        sql = f"SELECT id, v <=> $1 AS distance FROM {_table(self.dataset)} ORDER BY v <=> $1 LIMIT {self.k}"
        arguments = [[HalfVector(query)] for query in self.dataset.queries]
        profile = (("hnsw.ef_search", str(effort)), ("plan_cache_mode", "force_generic_plan"))
        return AsyncpgTarget(self.url, Baseline(sql, arguments, profile), "")


@contextmanager
def pgvector(dataset: Dataset, k: int, url: str, pids: list[int]) -> Iterator[PgvectorPeer]:
    """A table in the database at `url`, where an earlier run did not leave it. `pids`: the server's processes."""
    yield PgvectorPeer(dataset, k, url, pids, *asyncio.run(_load(dataset, url)))


def _table(dataset: Dataset) -> str:
    return f'public."bare_{dataset.key}"'


async def _load(dataset: Dataset, url: str) -> tuple[float, int]:
    """Seconds that loading took, which the table carries as its comment, and its bytes."""
    table = _table(dataset)
    connection = await connect(url)
    try:
        took = await connection.fetchval(f"SELECT obj_description(to_regclass('{table}'))")
        if took is None:
            took = await _build(connection, dataset)
        return float(took), await connection.fetchval(f"SELECT pg_total_relation_size('{table}')")
    finally:
        await connection.close()


async def _build(connection: asyncpg.Connection, dataset: Dataset) -> float:
    table = _table(dataset)
    await connection.execute(f"DROP TABLE IF EXISTS {table}")
    await connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v halfvec({dataset.dim}) NOT NULL)")
    begin = time.perf_counter()
    records = ((number, HalfVector(row)) for number, row in enumerate(dataset.base))
    schema, _, name = table.replace('"', "").partition(".")
    await connection.copy_records_to_table(name, schema_name=schema, records=records, timeout=BUILD_TIMEOUT_S)
    await connection.execute("SET maintenance_work_mem = '2GB'; SET max_parallel_maintenance_workers = 2")
    await connection.execute(
        f"CREATE INDEX ON {table} USING hnsw (v halfvec_cosine_ops) WITH (m = {LINKS}, ef_construction = {CANDIDATES})",
        timeout=BUILD_TIMEOUT_S,
    )
    took = time.perf_counter() - begin
    await connection.execute(f"ANALYZE {table}")
    await connection.execute(f"COMMENT ON TABLE {table} IS '{took:.1f}'")
    return took
