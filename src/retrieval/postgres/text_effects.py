"""What a write of items does to their embeddings and jobs in the versions that embed texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.domain.embedding_jobs import WRITE_PRIORITY, TextEffect, text_effect
from retrieval.postgres.embedding_jobs import embedded_items, end_jobs, enqueue
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retrieval.domain.model import EmbeddingVersion, Item


async def text_versions(connection: Any, collection_id: int) -> list[int]:
    """Keys of the collection's versions that embed texts."""
    rows = await connection.fetch(queries("embedding_jobs")["text_versions"], collection_id)
    return [r["version_id"] for r in rows]


async def apply_text_effects(
    connection: Any,
    version_ids: Sequence[int],
    target: EmbeddingVersion,
    items: Sequence[Item],
    before: Mapping[str, str],
) -> None:
    """Queue, keep and clear, in the transaction of the write of `items`, sorted by id, whose chunks are of `target`.

    `before`: the texts of those that were there. The embeddings that the caller gave are written by others.
    """
    for version_id in version_ids:
        given = {i.item_id for i in items if i.chunks} if version_id == target.version_id else set()
        # Only where the text is as it was does it matter whether there is an embedding.
        doubtful = [i.item_id for i in items if i.text and before.get(i.item_id) == i.text and i.item_id not in given]
        embedded = await embedded_items(connection, version_id, doubtful)
        effects: dict[TextEffect, list[str]] = {effect: [] for effect in TextEffect}
        for item in items:
            item_id = item.item_id
            effect = text_effect(before.get(item_id), item.text, given=item_id in given, embedded=item_id in embedded)
            effects[effect].append(item_id)
        cleared = effects[TextEffect.CLEAR]
        if cleared:
            await connection.execute(queries("items")["remove_embeddings"], version_id, cleared)
        # A new item has no job yet.
        await end_jobs(connection, version_id, [i for i in effects[TextEffect.REPLACE] if i in before] + cleared)
        await enqueue(connection, version_id, effects[TextEffect.EMBED], WRITE_PRIORITY)
