"""Rows of an embedding version in batches, for caches: read in key order through a server-side cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.application.cache_ports import RowBatch
from retrieval.postgres.item_rows import read_bare_item
from retrieval.postgres.names import partition
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.store_errors import translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from numpy.typing import NDArray

    from retrieval.domain.model import Collection, EmbeddingVersion, Item

BATCH_ROWS = 500
"""Rows a batch, and ids a statement. More are not read faster, and keep the event loop from its searches for longer."""


async def row_batches(
    connection: Any, collection: Collection, version: EmbeddingVersion, item_ids: Sequence[str] | None
) -> AsyncIterator[RowBatch]:
    """See `StoreSnapshot.rows`; `connection` is in a transaction, and used by nobody else between two batches."""
    place = {"partition": partition(version.version_id), "version_id": version.version_id}
    if item_ids is None:
        async for batch in _read(connection, collection, version, fill(queries("changes")["rows"], **place, items="")):
            yield batch
        return
    sql = fill(queries("changes")["rows"], **place, items=" AND item_id = ANY($1::text[])")
    # Python compares strings by code point, as the collation "C" does.
    ids = sorted(set(item_ids))
    for start in range(0, len(ids), BATCH_ROWS):
        async for batch in _read(connection, collection, version, sql, ids[start : start + BATCH_ROWS]):
            yield batch


async def _read(
    connection: Any, collection: Collection, version: EmbeddingVersion, sql: str, *values: object
) -> AsyncIterator[RowBatch]:
    async with translated():
        cursor = await connection.cursor(sql, *values)
    item: Item | None = None
    while True:
        async with translated():
            rows = await cursor.fetch(BATCH_ROWS)
        if not rows:
            return
        items: list[Item] = []
        for row in rows:
            # The last item of a batch may go on in the next.
            if item is None or item.item_id != row["item_id"]:
                item = read_bare_item(row, collection)
            items.append(item)
        yield RowBatch(items, [r["chunk_index"] for r in rows], _vectors(rows, version.dimension))


def _vectors(rows: Sequence[Any], dimension: int) -> NDArray[np.float16]:
    """(n, dimension) float16 of what pgvector's `halfvec_send` made: two 16-bit words, then big-endian components."""
    sent = np.frombuffer(b"".join([r["embedding"] for r in rows]), dtype=">f2")
    return sent.reshape(len(rows), 2 + dimension)[:, 2:].astype(np.float16)
