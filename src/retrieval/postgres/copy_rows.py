"""Rows of items and embeddings in PostgreSQL's binary COPY format.

A general driver encodes a row value by value through codecs, which takes most of the time of a bulk load. Here most
values of a batch are the same few (visibility, empty arrays, version) and are encoded once. The format is that of the
PostgreSQL documentation, "COPY", section "Binary Format"; that of halfvec is pgvector's `halfvec_send`.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import TYPE_CHECKING

from retrieval.domain.model import ItemStatus, Visibility

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.domain.model import AttributeValue, Chunk, Collection, Item

ITEM_COLUMNS = (
    "collection_id",
    "item_id",
    "owner_id",
    "visibility",
    "audience",
    "status",
    "rating_value",
    "rating_count",
    "tags",
    "text_language",
    "text",
    "attributes",
    "payload",
    "created_at",
    "updated_at",
)
EMBEDDING_COLUMNS = (
    "version_id",
    "item_id",
    "chunk_index",
    "text_start",
    "text_end",
    "start_ms",
    "end_ms",
    "chunk_text",
    "embedding",
    "owner_id",
    "visibility",
    "audience",
    "status",
    "rating_value",
    "rating_count",
    "tags",
    "attributes",
    "created_at",
)

PIECE_ITEMS = 100
"""Items encoded at a time: Postgres works on one piece while the next is made."""

_HEADER = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_TEXT_OID = 25
_EPOCH_2000_US = 946_684_800_000_000
_length = struct.Struct(">i").pack
_int2 = struct.Struct(">ih").pack
_int8 = struct.Struct(">iq").pack
_int4s = struct.Struct(">iiii").pack
_int8s = struct.Struct(">iqiq").pack
_float8 = struct.Struct(">id").pack
_vector_head = struct.Struct(">iHH").pack
_count = struct.Struct(">h").pack


def _text(value: str) -> bytes:
    raw = value.encode()
    return _length(len(raw)) + raw


def _texts(values: Sequence[str]) -> bytes:
    if not values:
        return _EMPTY_ARRAY
    body = b"".join(map(_text, values))
    # dimensions, no nulls, element type, length, lower bound
    head = struct.pack(">iiiii", 1, 0, _TEXT_OID, len(values), 1)
    return _length(len(head) + len(body)) + head + body


_EMPTY_ARRAY = _length(12) + struct.pack(">iii", 0, 0, _TEXT_OID)


def _json(text: str) -> bytes:
    raw = text.encode()
    return _length(len(raw) + 1) + b"\x01" + raw


def _attributes(attributes: Mapping[str, AttributeValue]) -> bytes:
    return _json(_dump(attributes)) if attributes else _NO_ATTRIBUTES


_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_VISIBILITY = {v: _text(v.value) for v in Visibility}
_STATUS = {s: _text(s.value) for s in ItemStatus}
_NO_ATTRIBUTES = _json("{}")


def _moment(micros: int) -> bytes:
    return _int8(8, micros - _EPOCH_2000_US)


def _vector(vector: NDArray[np.float16]) -> bytes:
    dimension = len(vector)
    return _vector_head(4 + 2 * dimension, dimension, 0) + vector.astype(">f2").tobytes()


def _place(chunk: Chunk) -> bytes:
    index = _int2(2, chunk.chunk_index)
    if not chunk.placed:
        return index + _NO_PLACE
    return b"".join(
        (
            index,
            2 * _NULL if chunk.text_span is None else _int4s(4, chunk.text_span[0], 4, chunk.text_span[1]),
            2 * _NULL if chunk.time_range_ms is None else _int8s(8, chunk.time_range_ms[0], 8, chunk.time_range_ms[1]),
            _text(chunk.text) if chunk.text else _NULL,
        )
    )


_NO_PLACE = 5 * _NULL


class CopyRows:
    """COPY streams for items and for their chunks in a version, made piece by piece while Postgres takes them in."""

    def __init__(
        self, collection: Collection, version_id: int, items: Sequence[Item], created: Sequence[int], now: int
    ) -> None:
        """`created` gives each item's creation time, `now` is the time of the write; microseconds since 1970."""
        self._items = items
        self._created = created
        self._item_head = _count(len(ITEM_COLUMNS)) + _int8(8, collection.collection_id)
        self._chunk_head = _count(len(EMBEDDING_COLUMNS)) + _int8(8, version_id)
        self._language = _text(collection.text_language)
        self._updated = _moment(now)
        # Encoded once for both tables: (item id, columns in the same order in both, attributes, creation time).
        self._encoded: list[tuple[bytes, bytes, bytes, bytes]] = []

    @property
    def has_chunks(self) -> bool:
        """Whether there is anything in the second stream."""
        return any(item.chunks for item in self._items)

    async def items(self) -> AsyncIterator[bytes]:
        """Rows of ITEM_COLUMNS."""
        yield _HEADER
        for start in range(0, len(self._items), PIECE_ITEMS):
            rows: list[bytes] = []
            for item, (identity, shared, attributes, moment) in self._piece(start):
                payload = _NULL if item.payload_json is None else _json(item.payload_json)
                rows += (self._item_head, identity, shared, self._language, _text(item.text))
                rows += (attributes, payload, moment, self._updated)
            yield b"".join(rows)
            await asyncio.sleep(0)  # other calls get their turn between two pieces
        yield _TRAILER

    async def chunks(self) -> AsyncIterator[bytes]:
        """Rows of EMBEDDING_COLUMNS."""
        yield _HEADER
        for start in range(0, len(self._items), PIECE_ITEMS):
            rows: list[bytes] = []
            for item, (identity, shared, attributes, moment) in self._piece(start):
                for chunk in item.chunks:
                    rows += (self._chunk_head, identity, _place(chunk), _vector(chunk.vector))
                    rows += (shared, attributes, moment)
            yield b"".join(rows)
            await asyncio.sleep(0)
        yield _TRAILER

    def _piece(self, start: int) -> Iterator[tuple[Item, tuple[bytes, bytes, bytes, bytes]]]:
        stop = min(start + PIECE_ITEMS, len(self._items))
        for number in range(len(self._encoded), stop):
            self._encoded.append(_encode(self._items[number], self._created[number]))
        return zip(self._items[start:stop], self._encoded[start:stop], strict=True)


def _encode(item: Item, created: int) -> tuple[bytes, bytes, bytes, bytes]:
    shared = b"".join(
        (
            _text(item.owner_id),
            _VISIBILITY[item.visibility],
            _texts(item.audience),
            _STATUS[item.status],
            _NULL if item.rating_value is None else _float8(8, item.rating_value),
            _int8(8, item.rating_count),
            _texts(item.tags),
        )
    )
    return _text(item.item_id), shared, _attributes(item.attributes), _moment(created)
