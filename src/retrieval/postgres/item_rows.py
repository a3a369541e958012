"""Items from rows of `items`, and, without what only that table has, from rows of an embedding version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from retrieval.domain.model import AttributeType, ChunkPlace, Item, ItemStatus, Visibility
from retrieval.postgres.times import to_micros

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retrieval.domain.model import AttributeValue, Chunk, Collection

# A look-up costs a third of calling the enumeration, and a cache is filled with millions of rows.
_VISIBILITIES = {v.value: v for v in Visibility}
_STATUSES = {s.value: s for s in ItemStatus}


def read_item(row: Any, collection: Collection, chunks: tuple[Chunk, ...]) -> Item:
    """The item of a row of `items`, with `chunks`; its payload if the row has it."""
    return Item(
        row["item_id"],
        chunks,
        row["owner_id"],
        _VISIBILITIES[row["visibility"]],
        tuple(row["audience"]),
        _STATUSES[row["status"]],
        row["rating_value"],
        row["rating_count"],
        tuple(row["tags"]),
        row["text"],
        read_attributes(json.loads(row["attributes"]), collection),
        row.get("payload"),
        to_micros(row["created_at"]),
        to_micros(row["updated_at"]),
        row["view_count"],
        row["repost_count"],
    )


def read_bare_item(row: Any, collection: Collection, chunks: tuple[Chunk, ...] = ()) -> Item:
    """The item of a row of `embeddings`: what filters and visibility need, with `chunks`."""
    return Item(
        row["item_id"],
        chunks,
        row["owner_id"],
        _VISIBILITIES[row["visibility"]],
        tuple(row["audience"]),
        _STATUSES[row["status"]],
        row["rating_value"],
        row["rating_count"],
        tuple(row["tags"]),
        "",
        read_attributes(json.loads(row["attributes"]), collection),
        created_at=to_micros(row["created_at"]),
    )


def read_place(row: Any) -> ChunkPlace:
    """Where the chunk of a row of `embeddings` is."""
    text_start, start_ms = row["text_start"], row["start_ms"]
    return ChunkPlace(
        row["chunk_index"],
        None if text_start is None else (text_start, row["text_end"]),
        None if start_ms is None else (start_ms, row["end_ms"]),
        row["chunk_text"] or "",
    )


def read_attributes(stored: Mapping[str, Any], collection: Collection) -> Mapping[str, AttributeValue]:
    """Attributes as the collection declares them, of what their JSON object holds."""
    return {name: _typed(value, collection.attributes.get(name)) for name, value in stored.items()}


def _typed(value: Any, kind: AttributeType | None) -> AttributeValue:
    if kind is AttributeType.KEYWORD_LIST:
        return tuple(value)
    return float(value) if kind is AttributeType.DOUBLE else value
