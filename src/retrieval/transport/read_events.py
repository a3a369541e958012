"""Events of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.engagement import DAY_US, EVENT_TYPES
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import Event
from retrieval.transport.caller import MAX_USER_ID_BYTES
from retrieval.transport.read_json import read_json
from retrieval.transport.validate import finite, identifier, micros, require, text

if TYPE_CHECKING:
    from retrieval.v1 import feedback_service_pb2 as feedback_pb
    from retrieval.v1 import retrieval_service_pb2 as retrieval_pb

MAX_EVENT_ID_BYTES = 128
MAX_ALGORITHM_BYTES = 256
MAX_DEVICE_BYTES = 64
MAX_CONTEXT_BYTES = 16_384


def read_event(message: feedback_pb.Event, field: str, now_us: int, rating_scale_max: float) -> Event:
    """An event of a collection whose ratings go from 0 to `rating_scale_max`."""
    try:
        return _read_event(message, now_us, rating_scale_max)
    except InvalidArgumentError as error:
        # Paths are made up for the bad one alone: for all of a batch they would cost a fifth of the reading.
        raise error.under(field) from error


def _read_event(message: feedback_pb.Event, now_us: int, rating_scale_max: float) -> Event:
    kind = read_event_type(message.type, "type")
    item_id = identifier(message.item_id, "item_id")
    require(message.HasField("occurred_at"), "occurred_at", "is required")
    occurred_at = micros(message.occurred_at, "occurred_at")
    if not 0 <= occurred_at <= now_us + DAY_US:
        raise InvalidArgumentError.of("occurred_at", "must not be before 1970 nor more than a day ahead")
    value = finite(message.value, "value") if message.HasField("value") else None
    if kind == "rating":
        fits = value is not None and 0.0 <= value <= rating_scale_max
        require(fits, "value", f"of a rating is required, between 0 and {rating_scale_max:g}")
    dwell_ms = message.dwell_ms if message.HasField("dwell_ms") else None
    position = message.position if message.HasField("position") else None
    require(dwell_ms is None or dwell_ms >= 0, "dwell_ms", "must not be negative")
    require(position is None or position >= 0, "position", "must not be negative")
    event_id, algorithm, device = message.event_id, message.algorithm, message.device
    return Event(
        text(message.user_id, "user_id", MAX_USER_ID_BYTES, required=True),
        item_id,
        kind,
        occurred_at,
        text(event_id, "event_id", MAX_EVENT_ID_BYTES) if event_id else _identity(kind, item_id),
        value,
        dwell_ms,
        position,
        finite(message.predicted_score, "predicted_score") if message.HasField("predicted_score") else None,
        text(algorithm, "algorithm", MAX_ALGORITHM_BYTES) if algorithm else "",
        text(device, "device", MAX_DEVICE_BYTES) if device else "",
        read_json(message.context, "context", MAX_CONTEXT_BYTES) if message.HasField("context") else None,
    )


def read_history_entry(message: retrieval_pb.HistoryEntry, field: str, now_us: int) -> Event:
    """An engagement given with a search; it belongs to no stored user."""
    kind = read_event_type(message.type or "like", f"{field}.type")
    item_id = identifier(message.item_id, f"{field}.item_id")
    return Event(
        user_id="",
        item_id=item_id,
        event_type=kind,
        occurred_at=micros(message.occurred_at, f"{field}.occurred_at") if message.HasField("occurred_at") else now_us,
        event_id=_identity(kind, item_id),
        value=finite(message.value, f"{field}.value") if message.HasField("value") else None,
    )


def read_event_type(name: str, field: str) -> str:
    """A type of event that there is. Raises: InvalidArgumentError (UNKNOWN_EVENT_TYPE)."""
    require(name, field, "is required")
    if name not in EVENT_TYPES:
        raise InvalidArgumentError.of(
            field, f"{name[:64]!r} is none of {', '.join(EVENT_TYPES)}", reason="UNKNOWN_EVENT_TYPE"
        )
    return name


def _identity(kind: str, item_id: str) -> str:
    """Together with user and time, which every event has, this tells events without an id of their own apart."""
    return f"auto:{kind}:{item_id}"
