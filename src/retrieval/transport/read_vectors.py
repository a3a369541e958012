"""Vectors of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import Chunk
from retrieval.domain.vectors import to_half, to_half_rows
from retrieval.transport.validate import count, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retrieval.domain.model import EmbeddingVersion, Metric
    from retrieval.v1 import common_pb2 as common_pb

MAX_CHUNKS = 256
MAX_CHUNK_INDEX = 32_767


def read_vector(message: common_pb.Vector, field: str) -> NDArray[np.float32]:
    """The components, (n,) float32, of any length.

    Raises: InvalidArgumentError (VECTOR_MISSING, VECTOR_BYTES).
    """
    encoding = message.WhichOneof("encoding")
    if encoding == "float32_le":
        raw = message.float32_le
        if len(raw) % 4:
            raise InvalidArgumentError.of(
                field, f"float32_le has {len(raw)} bytes, which is no multiple of 4", reason="VECTOR_BYTES"
            )
        return np.frombuffer(raw, "<f4")
    if encoding is None:
        raise InvalidArgumentError.of(field, "has neither floats nor float32_le", reason="VECTOR_MISSING")
    return np.array(message.floats.values, dtype=np.float32)


def read_chunks(items: Sequence[common_pb.Item], version: EmbeddingVersion, metric: Metric) -> list[tuple[Chunk, ...]]:
    """The chunks of each of `items`, vectors in stored form."""
    rows = _single_rows(items, version.dimension, metric)
    if rows is not None:
        return [(Chunk(item.chunks[0].chunk_index, row),) for item, row in zip(items, rows, strict=True)]
    return [_chunks(item, f"items[{number}].chunks", version, metric) for number, item in enumerate(items)]


def _single_rows(items: Sequence[common_pb.Item], dimension: int, metric: Metric) -> NDArray[np.float16] | None:
    """All vectors at once where every item has one well-formed chunk in bytes, as bulk loads do; else None.

    What is wrong anywhere is left to the path that takes vectors one by one and can name the field.
    """
    size = 4 * dimension
    raws: list[bytes] = []
    for item in items:
        chunks = item.chunks
        if len(chunks) != 1:
            return None
        chunk = chunks[0]
        raw = chunk.vector.float32_le
        if len(raw) != size or not 0 <= chunk.chunk_index <= MAX_CHUNK_INDEX:
            return None
        raws.append(raw)
    return to_half_rows(np.frombuffer(b"".join(raws), "<f4").reshape(-1, dimension), metric)


def _chunks(item: common_pb.Item, field: str, version: EmbeddingVersion, metric: Metric) -> tuple[Chunk, ...]:
    count(item.chunks, field, MAX_CHUNKS)
    chunks: dict[int, Chunk] = {}
    for number, message in enumerate(item.chunks):
        where = f"{field}[{number}]"
        index = within(message.chunk_index, 0, MAX_CHUNK_INDEX, f"{where}.chunk_index")
        if index in chunks:
            raise InvalidArgumentError.of(f"{where}.chunk_index", f"{index} is there twice", reason="DUPLICATE_CHUNK")
        vector = f"{where}.vector"
        chunks[index] = Chunk(index, to_half(read_vector(message.vector, vector), version.dimension, metric, vector))
    return tuple(chunks.values())
