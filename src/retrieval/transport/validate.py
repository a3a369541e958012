"""Checks of single values; each error names the field of the request."""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING

from retrieval.application.limits import MAX_ID_BYTES
from retrieval.domain.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # years 1 to 9999, as google.protobuf.Timestamp


def require(condition: object, field: str, description: str, reason: str | None = None) -> None:
    """Refuse the request unless `condition` holds."""
    if not condition:
        raise InvalidArgumentError.of(field, description, reason=reason)


def text(value: str, field: str, max_bytes: int, *, required: bool = False) -> str:
    """A string of at most `max_bytes` bytes of UTF-8 without the NUL character, which Postgres cannot store."""
    if not value:
        require(not required, field, "is required")
        return value
    if len(value) * 4 > max_bytes:
        require(len(value.encode()) <= max_bytes, field, f"is longer than {max_bytes} bytes")
    require("\x00" not in value, field, "contains the NUL character")
    return value


def texts(values: Sequence[str], field: str, max_count: int, max_bytes: int) -> tuple[str, ...]:
    """Several such strings."""
    if not values:
        return ()
    count(values, field, max_count)
    return tuple(text(value, f"{field}[{number}]", max_bytes) for number, value in enumerate(values))


def identifier(value: str, field: str) -> str:
    """An item id: 1 to 256 bytes without control characters."""
    text(value, field, MAX_ID_BYTES, required=True)
    require(_CONTROL.search(value) is None, field, "contains a control character")
    return value


def identifiers(values: Sequence[str], field: str, max_count: int, *, required: bool = False) -> tuple[str, ...]:
    """Several item ids. A request may carry 20,000: they are checked all at once, and one by one to name a bad one."""
    if not values and not required:
        return ()
    count(values, field, max_count, required=required)
    given = tuple(values)
    if all(given) and max(map(len, given)) * 4 <= MAX_ID_BYTES and _CONTROL.search("".join(given)) is None:
        return given
    return tuple(identifier(value, f"{field}[{number}]") for number, value in enumerate(given))


def count(values: Sequence[object], field: str, most: int, *, required: bool = False) -> None:
    """At most `most` values, and at least one where `required`."""
    if required and not values:
        raise InvalidArgumentError.of(field, f"needs 1 to {most} values")
    if len(values) > most:
        raise InvalidArgumentError.of(field, f"has {len(values)} values, at most {most}")


def within(value: int, low: int, high: int, field: str, reason: str | None = None) -> int:
    """A number between `low` and `high`, both included."""
    if not low <= value <= high:
        raise InvalidArgumentError.of(field, f"is {value}, must be between {low} and {high}", reason=reason)
    return value


def optional_within(value: int, low: int, high: int, field: str) -> int | None:
    """The same where 0 means not given."""
    return within(value, low, high, field) if value else None


def finite(value: float, field: str) -> float:
    """Neither NaN nor infinite."""
    require(isfinite(value), field, "must be finite")
    return value


def version_number(value: int, field: str = "embedding_version") -> int:
    """An embedding version; 0 stands for the active one."""
    require(value >= 0, field, "must not be negative")
    return value


def micros(value: Timestamp, field: str) -> int:
    """Microseconds since the epoch; finer digits are cut off."""
    valid = _FIRST_SECOND <= value.seconds <= _LAST_SECOND and 0 <= value.nanos <= 999_999_999
    require(valid, field, "is not a time between the years 1 and 9999")
    return value.seconds * 1_000_000 + value.nanos // 1000


def seconds(value: Duration, field: str) -> float:
    """A span of time that is not negative."""
    valid = 0 <= value.seconds <= _LAST_SECOND and 0 <= value.nanos <= 999_999_999
    require(valid, field, "must be a duration that is not negative")
    return value.seconds + value.nanos / 1e9


def millis(value: Duration, field: str, most: int) -> int:
    """Milliseconds of a span of time between 0 and `most` milliseconds; finer digits are cut off."""
    valid = 0 <= value.seconds <= most // 1000 and 0 <= value.nanos <= 999_999_999
    total = value.seconds * 1000 + value.nanos // 1_000_000
    require(valid and total <= most, field, f"must be a duration between 0 and {most // 86_400_000} days")
    return total
