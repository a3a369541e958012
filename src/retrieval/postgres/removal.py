"""What goes with items that are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.postgres.embedding_jobs import end_jobs
from retrieval.postgres.sql_files import queries
from retrieval.postgres.text_effects import text_versions

if TYPE_CHECKING:
    from collections.abc import Sequence


async def remove_traces(connection: Any, collection_id: int, item_ids: Sequence[str]) -> None:
    """Remove embeddings, relationships and embedding jobs of items that the transaction has deleted."""
    await connection.execute(queries("items")["remove_embeddings_everywhere"], collection_id, item_ids)
    await connection.execute(queries("relationships")["forget_items"], collection_id, item_ids)
    for version_id in await text_versions(connection, collection_id):
        await end_jobs(connection, version_id, item_ids)
