"""Where in their items the chunks of requests are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.limits import MAX_CHUNK_TEXT_BYTES, MAX_TIME_MS
from retrieval.domain.model import Chunk
from retrieval.transport.validate import millis, require, text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.v1 import common_pb2 as common_pb


def placed_chunk(message: common_pb.Chunk, item_text: str, vector: NDArray[np.float16]) -> Chunk:
    """The chunk with its place, checked against its item's text where that is given. `vector`: see `Chunk`.

    Raises: InvalidArgumentError (BAD_TEXT_SPAN, BAD_TIME_RANGE, CHUNK_TEXT_TWICE, and others) naming the field within
    the chunk.
    """
    # Most chunks of a bulk load are no more than a vector.
    span = _text_span(message.text_span, item_text) if message.HasField("text_span") else None
    moments = _time_range(message.time_range) if message.HasField("time_range") else None
    if not message.text:
        return Chunk(message.chunk_index, vector, span, moments)
    own = text(message.text, "text", MAX_CHUNK_TEXT_BYTES)
    require(
        span is None or not item_text,
        "text",
        "must be empty where text_span names a part of the item's text; leave one of them out",
        reason="CHUNK_TEXT_TWICE",
    )
    return Chunk(message.chunk_index, vector, span, moments, own)


def _text_span(message: common_pb.TextSpan, item_text: str) -> tuple[int, int]:
    start, end = message.start, message.end
    require(start >= 0, "text_span.start", f"is {start}, must not be negative", "BAD_TEXT_SPAN")
    require(end > start, "text_span.end", f"is {end}, must be greater than start, {start}", "BAD_TEXT_SPAN")
    length = len(item_text)
    require(
        end <= length or not length,
        "text_span.end",
        f"is {end}, but the item's text has {length} code points",
        "BAD_TEXT_SPAN",
    )
    return start, end


def _time_range(message: common_pb.TimeRange) -> tuple[int, int]:
    start = millis(message.start, "time_range.start", MAX_TIME_MS)
    end = millis(message.end, "time_range.end", MAX_TIME_MS)
    require(end > start, "time_range.end", "must be later than start, by a millisecond at least", "BAD_TIME_RANGE")
    return start, end
