"""Writes rows of embeddings: the one path of upserts and of embedding jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.postgres.copy_rows import EMBEDDING_COLUMNS
from retrieval.postgres.names import partition
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from retrieval.domain.model import Chunk, Collection, EmbeddingVersion, Item
    from retrieval.postgres.copy_rows import CopyRows


async def copy_in(connection: Any, table: str, columns: Sequence[str], rows: AsyncIterator[bytes]) -> None:
    """Append rows in the binary COPY format."""
    await connection.copy_to_table(table, schema_name="retrieval", columns=columns, format="binary", source=rows)


def brings_news(version: EmbeddingVersion, written: Sequence[Sequence[Chunk]]) -> bool:
    """Whether items of these chunks have more of them, or places for the first time, than the version knows of."""
    chunks, places = _most(written)
    return chunks > version.max_chunks or places > version.has_places


async def write_chunks(
    connection: Any, collection: Collection, version: EmbeddingVersion, items: Sequence[Item], rows: CopyRows
) -> None:
    """Append the chunks of items that have none in the version, and note how many an item has at most."""
    if rows.has_chunks:
        await copy_in(connection, partition(version.version_id), EMBEDDING_COLUMNS, rows.chunks())
    written = [item.chunks for item in items]
    if brings_news(version, written):
        await note_chunks(connection, collection, version, *_most(written))


async def note_chunks(
    connection: Any, collection: Collection, version: EmbeddingVersion, chunks: int, places: bool
) -> None:
    """Note that an item of the version has so many chunks, and whether any has a place."""
    noted = await connection.execute(queries("items")["note_chunks"], version.version_id, chunks, places)
    if noted != "UPDATE 0":
        await connection.execute(queries("changes")["log_catalogue_change"], collection.collection_id)


def _most(written: Sequence[Sequence[Chunk]]) -> tuple[int, bool]:
    most = max((len(chunks) for chunks in written), default=1)
    return most, any(chunk.placed for chunks in written for chunk in chunks)
