"""Where the service keeps its data: the one place that knows the names of its tables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
from pgvector.asyncpg import register_vector

from benchmarks.load import require_loopback
from retrieval.postgres.names import partition

if TYPE_CHECKING:
    from pathlib import Path

ITEMS = "items"
SCHEMA = "retrieval"

VERSION_ID = """
SELECT v.version_id, v.collection_id FROM retrieval.embedding_versions AS v
INNER JOIN retrieval.collections AS c USING (collection_id)
WHERE c.name = $1 AND v.state = 'active'
"""


def database_url(data_dir: Path) -> str:
    """The database of the service: RETRIEVAL_DATABASE_URL, or the embedded server that runs under `data_dir`.

    Raises: ValueError for a database on another machine.
    """
    url = os.environ.get("RETRIEVAL_DATABASE_URL", "")
    if url:
        require_loopback(urlsplit(url).hostname or "localhost")
        return url
    # A running server describes itself in this file: line 4 is its port, line 5 the folder of its socket
    # (PostgreSQL documentation, "Database File Layout").
    lines = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
    return f"postgresql://postgres@/postgres?host={lines[4]}&port={lines[3]}"


def database_pids(data_dir: Path) -> list[int]:
    """The embedded server's process; none where RETRIEVAL_DATABASE_URL names another."""
    if os.environ.get("RETRIEVAL_DATABASE_URL"):
        return []
    return [int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])]


async def connect(url: str) -> asyncpg.Connection:
    """A connection that speaks pgvector's types in binary."""
    connection = await asyncpg.connect(url, server_settings={"search_path": f"{SCHEMA}, public", "jit": "off"})
    schema = await connection.fetchval(
        "SELECT n.nspname FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace WHERE typname = 'halfvec'"
    )
    await register_vector(connection, schema=schema)
    return connection


async def active_version(connection: asyncpg.Connection, collection: str) -> tuple[int, int]:
    """The store's own (version id, collection id) of the active embedding version."""
    row = await connection.fetchrow(VERSION_ID, collection)
    return row["version_id"], row["collection_id"]


async def version_id(url: str, collection: str) -> int:
    """The store's own id of the active embedding version."""
    connection = await connect(url)
    try:
        return (await active_version(connection, collection))[0]
    finally:
        await connection.close()


async def stored_rows(
    connection: asyncpg.Connection, collection: str
) -> list[tuple[str, list[str], list[tuple[Any, ...]]]]:
    """What a load left in each table: (table, columns that are written, rows)."""
    version_id, collection_id = await active_version(connection, collection)
    tables = []
    for table, condition in ((ITEMS, f"collection_id = {collection_id}"), (partition(version_id), "true")):
        columns = await connection.fetch(
            "SELECT quote_ident(attname) AS name FROM pg_attribute"
            " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
            f"{SCHEMA}.{table}",
        )
        names = [column["name"] for column in columns]
        rows = await connection.fetch(f"SELECT {', '.join(names)} FROM {SCHEMA}.{table} WHERE {condition}")
        tables.append((table, names, [tuple(row) for row in rows]))
    return tables
