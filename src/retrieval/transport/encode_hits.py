"""Replies of hits written as bytes, straight from columns: an object a hit would take longer than the search.

The field numbers are those of the contract; `tests/faiss_cache/test_hot_path.py` holds the two together.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.cache_ports import HitLists
from retrieval.v1 import common_pb2 as common_pb

if TYPE_CHECKING:
    from retrieval.application.cache_ports import InstantHits

_HITS = 0x0A  # field 1, length-delimited, of every search reply
_INFO = b"\x12"
_TIMINGS = b"\x22"
_STAGE = b"\x0a\x06search"
_ITEM_ID = 0x0A
_NUMBERS = np.dtype([("score_tag", "u1"), ("score", "<f8"), ("distance_tag", "u1"), ("distance", "<f8")])
_SCORE, _DISTANCE = 0x11, 0x19
_HEAD = 4
"""Bytes before an item id: tag and length of the hit, tag and length of the id."""
_SHORT = 127 - 2 - _NUMBERS.itemsize
"""Item ids up to this length make hits whose lengths are one byte each."""
_HEADS = [bytes((_HITS, 2 + n + _NUMBERS.itemsize, _ITEM_ID, n)) for n in range(_SHORT + 1)]
_pack_numbers = struct.Struct("<BdBd").pack
_OF_NUMBERS = np.arange(_NUMBERS.itemsize)


def encode_hits(hits: InstantHits) -> list[bytes]:
    """Field `hits` of the reply to each query."""
    columns = hits.hits
    if isinstance(columns, HitLists):
        return _one_by_one(columns, hits.limit)
    lengths = columns.names.lengths
    if lengths.max() > _SHORT:
        return _one_by_one(columns.lists(), hits.limit)
    numbers = np.empty(len(lengths), _NUMBERS)
    numbers["score_tag"] = _SCORE
    numbers["score"] = columns.scores
    numbers["distance_tag"] = _DISTANCE
    numbers["distance"] = columns.distances
    ends = np.cumsum(lengths + (_HEAD + _NUMBERS.itemsize))
    starts = ends - lengths - (_HEAD + _NUMBERS.itemsize)
    out = np.empty(ends[-1], np.uint8)
    out[starts] = _HITS
    out[starts + 1] = lengths + (2 + _NUMBERS.itemsize)
    out[starts + 2] = _ITEM_ID
    out[starts + 3] = lengths
    # The k-th byte of all names belongs behind the heads and numbers of the hits before it, and the head of its own.
    shift = np.arange(len(lengths)) * (_HEAD + _NUMBERS.itemsize) + _HEAD
    text = columns.names.text
    out[np.arange(len(text)) + np.repeat(shift, lengths)] = text
    out[(ends - _NUMBERS.itemsize)[:, np.newaxis] + _OF_NUMBERS] = numbers.view(np.uint8).reshape(len(lengths), -1)
    raw = out.tobytes()
    last = ends[hits.limit - 1 :: hits.limit].tolist()
    return [raw[start:end] for start, end in zip([0, *last], last, strict=False)]


def _one_by_one(hits: HitLists, limit: int) -> list[bytes]:
    """`encode_hits` where hits are few, or lengths take more than a byte."""
    heads, pack = _HEADS, _pack_numbers
    encoded = []
    for name, score, distance in zip(*hits, strict=True):
        if len(name) <= _SHORT:
            encoded.append(heads[len(name)] + name + pack(_SCORE, score, _DISTANCE, distance))
        else:
            hit = embedded(b"\x0a", name) + pack(_SCORE, score, _DISTANCE, distance)
            encoded.append(embedded(b"\x0a", hit))
    return [b"".join(encoded[first : first + limit]) for first in range(0, len(encoded), limit)]


def encode_info(hits: InstantHits, token: str, search_s: float) -> bytes:
    """Field `info` of the reply, the same for all queries of a batch."""
    nanos = varint(min(int(search_s * 1e9), 999_999_999))
    return _before_nanos(hits.embedding_version, hits.generation, hits.limit, hits.effort, token, len(nanos)) + nanos


@lru_cache(1024)
def _before_nanos(
    embedding_version: int, generation: int, limit: int, effort: int, token: str, nanos_length: int
) -> bytes:
    """Field `info`, which is the same for one search after the other but for its end: the nanoseconds it took."""
    nanos = bytes(nanos_length)
    timing = embedded(_TIMINGS, _STAGE + embedded(b"\x12", b"\x10" + nanos))
    lasting = common_pb.ResponseInfo(
        source=common_pb.SOURCE_FAISS,
        embedding_version=embedding_version,
        index_generation=generation,
        requested_count=limit,
        returned_count=limit,
        consistency_token=token,
        effort=effort,
    ).SerializeToString()
    return embedded(_INFO, lasting + timing)[:-nanos_length]


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
