"""Reads what an OpenAI-compatible embeddings endpoint replies (OpenAI API reference, "Create embeddings")."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_RETRY_AFTER_S = 3600.0


class BrokenReplyError(Exception):
    """The reply cannot be read: somebody in between cut it off or put in another."""


class WrongReplyError(Exception):
    """The reply can be read and is not what was asked for."""


def read_vectors(body: bytes, count: int, length: int) -> list[NDArray[np.float32]]:
    """The `count` vectors of a reply, (length,) float32 each, in the order of its indexes: base64 or lists of numbers.

    Raises: BrokenReplyError, WrongReplyError.
    """
    try:
        data = json.loads(body)["data"]
        places = [int(entry["index"]) for entry in data]
        vectors = [_read_vector(entry["embedding"]) for entry in data]
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise BrokenReplyError(f"the reply is no list of embeddings: {type(error).__name__}") from error
    if sorted(places) != list(range(count)):
        raise WrongReplyError(f"the reply has {len(places)} embeddings of which the indexes do not name {count} texts")
    for vector in vectors:
        if vector.shape != (length,):
            raise WrongReplyError(f"the reply has a vector of {vector.size} components, {length} were asked for")
    return [vector for _, vector in sorted(zip(places, vectors, strict=True), key=lambda pair: pair[0])]


def _read_vector(given: Any) -> NDArray[np.float32]:
    if isinstance(given, str):
        # float32, little-endian, as the reference client reads it.
        return np.frombuffer(base64.b64decode(given, validate=True), "<f4").astype(np.float32)
    return np.array(given, dtype=np.float32)


def read_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks to wait, at most an hour; None where it cannot be read.

    It is a number or an HTTP date (RFC 9110, 10.2.3).
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    # NaN fails the comparison.
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if seconds == seconds else None  # noqa: PLR0124
