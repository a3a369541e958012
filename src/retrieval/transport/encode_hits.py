"""Replies of hits written as bytes, straight from columns: an object a hit would take longer than the search.

The field numbers are those of the contract; `tests/transport/test_encode_hits.py` holds the two together.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from retrieval.v1 import common_pb2 as common_pb

if TYPE_CHECKING:
    from retrieval.application.ports import InstantHits

_HITS = 0x0A  # field 1, length-delimited, of every search reply
_INFO = b"\x12"
_TIMINGS = b"\x22"
_STAGE = b"\x0a\x06search"
_ITEM_ID = 0x0A
_NUMBERS = np.dtype([("score_tag", "u1"), ("score", "<f8"), ("distance_tag", "u1"), ("distance", "<f8")])
_SCORE, _DISTANCE = 0x11, 0x19
_SHORT = 127 - 2 - _NUMBERS.itemsize
"""Item ids up to this length make hits whose lengths are one byte each."""
_HEADS = [bytes((_HITS, 2 + n + _NUMBERS.itemsize, _ITEM_ID, n)) for n in range(_SHORT + 1)]


def encode_hits(hits: InstantHits) -> list[bytes]:
    """Field `hits` of the reply to each query."""
    numbers = np.empty(len(hits.item_ids), _NUMBERS)
    numbers["score_tag"] = _SCORE
    numbers["score"] = hits.scores
    numbers["distance_tag"] = _DISTANCE
    numbers["distance"] = hits.distances
    raw = numbers.tobytes()
    size = _NUMBERS.itemsize
    parts: list[bytes] = []
    for number, item_id in enumerate(hits.item_ids):
        name = item_id.encode()
        length = len(name)
        if length <= _SHORT:
            parts += (_HEADS[length], name, raw[number * size : (number + 1) * size])
        else:
            body = b"\x0a" + varint(length) + name + raw[number * size : (number + 1) * size]
            parts += (b"\x0a", varint(len(body)), body)
    each = 3 * hits.limit
    return [b"".join(parts[start : start + each]) for start in range(0, len(parts), each)]


def encode_info(hits: InstantHits, token: str, search_s: float) -> bytes:
    """Field `info` of the reply, the same for all queries of a batch."""
    nanos = b"\x10" + varint(min(int(search_s * 1e9), 999_999_999))
    timing = _STAGE + embedded(b"\x12", nanos)
    lasting = _lasting_info(hits.embedding_version, hits.generation, hits.limit, hits.effort, token)
    return embedded(_INFO, lasting + embedded(_TIMINGS, timing))


@lru_cache(1024)
def _lasting_info(embedding_version: int, generation: int, limit: int, effort: int, token: str) -> bytes:
    """What `info` says of one search after the other."""
    return common_pb.ResponseInfo(
        source=common_pb.SOURCE_FAISS,
        embedding_version=embedding_version,
        index_generation=generation,
        requested_count=limit,
        returned_count=limit,
        consistency_token=token,
        effort=effort,
    ).SerializeToString()


def embedded(tag: bytes, message: bytes) -> bytes:
    """An encoded message as a field of another."""
    return tag + varint(len(message)) + message


def varint(value: int) -> bytes:
    """Base-128 varint (Protocol Buffers documentation, "Encoding")."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
