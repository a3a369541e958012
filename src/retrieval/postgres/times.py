"""Microseconds since the epoch, as the domain counts, and Postgres' timestamptz."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_moment(micros: int) -> datetime:
    """A timestamptz parameter."""
    return _EPOCH + timedelta(microseconds=micros)


def to_micros(moment: datetime) -> int:
    """A timestamptz column."""
    return (moment - _EPOCH) // _MICROSECOND
