"""Items, attribute values and times of replies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from retrieval.domain.model import AttributeType
from retrieval.transport import enums

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from retrieval.domain.model import AttributeValue, ChunkPlace, Item
    from retrieval.v1 import common_pb2 as common_pb

_FIELDS = {
    AttributeType.KEYWORD: "keyword",
    AttributeType.INT64: "int64",
    AttributeType.DOUBLE: "double",
    AttributeType.BOOL: "bool",
}


def write_time(micros: int) -> Timestamp:
    """Microseconds since the epoch as a timestamp."""
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def write_item(item: Item, types: Mapping[str, AttributeType], into: common_pb.Item) -> None:
    """Fill `into`; `types` are those of the item's collection, by attribute."""
    into.item_id = item.item_id
    into.owner_id = item.owner_id
    into.visibility = enums.VISIBILITY_OUT[item.visibility]
    into.audience.extend(item.audience)
    into.status = enums.ITEM_STATUS_OUT[item.status]
    if item.rating_value is not None:
        into.rating_value = item.rating_value
    into.rating_count = item.rating_count
    into.view_count = item.view_count
    into.repost_count = item.repost_count
    into.tags.extend(item.tags)
    into.text = item.text
    write_attributes(item.attributes, types, into.attributes)
    if item.payload_json is not None:
        into.payload.update(json.loads(item.payload_json))
        into.payload.SetInParent()
    if item.created_at is not None:
        into.created_at.CopyFrom(write_time(item.created_at))
    if item.updated_at is not None:
        into.updated_at.CopyFrom(write_time(item.updated_at))
    for chunk in item.chunks:
        message = into.chunks.add(chunk_index=chunk.chunk_index)
        message.vector.float32_le = chunk.vector.astype("<f4").tobytes()
        _write_extent(chunk.place, message)


def write_place(place: ChunkPlace, into: common_pb.ChunkPlace) -> None:
    """Where a chunk is."""
    into.chunk_index = place.chunk_index
    _write_extent(place, into)
    into.SetInParent()


def _write_extent(place: ChunkPlace, into: common_pb.Chunk | common_pb.ChunkPlace) -> None:
    if place.text_span is not None:
        into.text_span.start, into.text_span.end = place.text_span
    if place.time_range_ms is not None:
        start_ms, end_ms = place.time_range_ms
        into.time_range.start.FromMilliseconds(start_ms)
        into.time_range.end.FromMilliseconds(end_ms)
    if place.text:
        into.text = place.text


def write_attributes(
    values: Mapping[str, AttributeValue],
    types: Mapping[str, AttributeType],
    into: MutableMapping[str, common_pb.AttributeValue],
) -> None:
    """Fill a map of attributes with those that are declared."""
    for name, value in values.items():
        if name in types:
            _write_value(value, types[name], into[name])


def _write_value(value: AttributeValue, kind: AttributeType, into: common_pb.AttributeValue) -> None:
    if kind is AttributeType.KEYWORD_LIST and isinstance(value, tuple):
        into.keywords.values.extend(value)
        into.keywords.SetInParent()
    elif kind is AttributeType.TIMESTAMP and isinstance(value, int):
        into.timestamp.CopyFrom(write_time(value))
    else:
        setattr(into, _FIELDS[kind], value)
