"""Writes rows of embeddings: the one path of upserts and of embedding jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.postgres.copy_rows import EMBEDDING_COLUMNS
from retrieval.postgres.names import partition
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.postgres.copy_rows import CopyRows


async def copy_in(connection: Any, table: str, columns: Sequence[str], rows: AsyncIterator[bytes]) -> None:
    """Append rows in the binary COPY format."""
    await connection.copy_to_table(table, schema_name="retrieval", columns=columns, format="binary", source=rows)


async def write_chunks(connection: Any, collection: Collection, version: EmbeddingVersion, rows: CopyRows) -> None:
    """Append the chunks of items that have none in the version, and note how many an item has at most."""
    if rows.has_chunks:
        await copy_in(connection, partition(version.version_id), EMBEDDING_COLUMNS, rows.chunks())
    if rows.most_chunks > version.max_chunks:
        raised = await connection.execute(queries("items")["raise_max_chunks"], version.version_id, rows.most_chunks)
        if raised != "UPDATE 0":
            await connection.execute(queries("changes")["log_catalogue_change"], collection.collection_id)
