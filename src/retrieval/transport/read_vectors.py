"""Vectors of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import MAX_CHUNKS
from retrieval.domain.projection import settle, settle_rows
from retrieval.transport.read_places import placed_chunk
from retrieval.transport.validate import count, within
from retrieval.v1 import common_pb2 as common_pb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from retrieval.domain.model import Chunk, EmbeddingVersion, Metric
    from retrieval.domain.projection import Projection
    from retrieval.v1 import embedding_job_service_pb2 as jobs_pb

    HasChunks = common_pb.Item | jobs_pb.EmbeddingJobResult

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


def read_chunks(
    items: Sequence[HasChunks],
    version: EmbeddingVersion,
    metric: Metric,
    projection: Projection | None,
    field: str = "items",
) -> list[tuple[Chunk, ...]]:
    """The chunks of each of `items`, vectors in stored form; those of the projection's input dimension projected.

    `field`: where in the request they are.
    """

    def settled(vector: NDArray[np.float32], where: str) -> NDArray[np.float16]:
        return settle(vector, version.dimension, metric, where, projection)

    rows = _single_rows(items, version.dimension, metric, projection)
    if rows is not None:
        return _single_chunks(items, rows, field)
    return [_chunks(item, f"{field}[{number}].chunks", settled) for number, item in enumerate(items)]


def _single_chunks(items: Sequence[HasChunks], rows: NDArray[np.float16], field: str) -> list[tuple[Chunk, ...]]:
    chunks: list[tuple[Chunk, ...]] = []
    try:
        for item, row in zip(items, rows, strict=True):
            chunks.append((placed_chunk(item.chunks[0], _text(item), row),))
    except InvalidArgumentError as error:
        raise error.under(f"{field}[{len(chunks)}].chunks[0]") from error
    return chunks


def _text(item: HasChunks) -> str:
    """The text that spans are checked against; of a job, whoever leased it had it."""
    return item.text if isinstance(item, common_pb.Item) else ""


def _single_rows(
    items: Sequence[HasChunks], dimension: int, metric: Metric, projection: Projection | None
) -> NDArray[np.float16] | None:
    """All vectors at once where every item has one well-formed chunk in bytes, as bulk loads do; else None.

    What is wrong anywhere is left to the path that takes vectors one by one and can name the field.
    """
    lengths = [dimension] if projection is None else [dimension, projection.input_dimension]
    sizes = {4 * length for length in lengths}
    raws: list[bytes] = []
    for item in items:
        chunks = item.chunks
        if len(chunks) != 1:
            return None
        chunk = chunks[0]
        raw = chunk.vector.float32_le
        if len(raw) not in sizes or not 0 <= chunk.chunk_index <= MAX_CHUNK_INDEX:
            return None
        sizes = {len(raw)}
        raws.append(raw)
    vectors = np.frombuffer(b"".join(raws), "<f4").reshape(len(raws), -1)
    return settle_rows(vectors, dimension, metric, projection)


def _chunks(
    item: HasChunks, field: str, settled: Callable[[NDArray[np.float32], str], NDArray[np.float16]]
) -> tuple[Chunk, ...]:
    count(item.chunks, field, MAX_CHUNKS)
    chunks: dict[int, Chunk] = {}
    for number, message in enumerate(item.chunks):
        where = f"{field}[{number}]"
        index = within(message.chunk_index, 0, MAX_CHUNK_INDEX, f"{where}.chunk_index")
        if index in chunks:
            raise InvalidArgumentError.of(f"{where}.chunk_index", f"{index} is there twice", reason="DUPLICATE_CHUNK")
        vector = f"{where}.vector"
        row = settled(read_vector(message.vector, vector), vector)
        try:
            chunks[index] = placed_chunk(message, _text(item), row)
        except InvalidArgumentError as error:
            raise error.under(where) from error
    return tuple(chunks.values())
