"""Filter trees and attribute values of requests. Whether they fit a collection is checked by the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.limits import MAX_KEYWORD_BYTES
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.filters import MAX_CONDITIONS, Exists, Filter, ItemIdIn, MatchAny, Range, TypedValue
from retrieval.domain.model import AttributeType
from retrieval.transport.validate import (
    count,
    finite,
    identifiers,
    micros,
    require,
    text,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.filters import Condition
    from retrieval.domain.model import AttributeValue
    from retrieval.v1 import common_pb2 as common_pb

MAX_ATTRIBUTE_NAME_BYTES = 63
MAX_KEYWORDS = 256
MAX_MATCH_VALUES = 1000
MAX_FILTER_IDS = 20_000

_TYPES = {
    "keyword": AttributeType.KEYWORD,
    "keywords": AttributeType.KEYWORD_LIST,
    "int64": AttributeType.INT64,
    "double": AttributeType.DOUBLE,
    "bool": AttributeType.BOOL,
    "timestamp": AttributeType.TIMESTAMP,
}


def read_value(message: common_pb.AttributeValue, field: str) -> tuple[AttributeType, AttributeValue]:
    """A value and the type it was given as."""
    kind = message.WhichOneof("kind")
    require(kind, field, "has no value")
    value = getattr(message, str(kind))
    match kind:
        case "keyword":
            text(value, field, MAX_KEYWORD_BYTES)
        case "keywords":
            value = tuple(dict.fromkeys(texts(value.values, f"{field}.values", MAX_KEYWORDS, MAX_KEYWORD_BYTES)))
        case "double":
            finite(value, field)
        case "timestamp":
            value = micros(value, field)
    return _TYPES[str(kind)], value


def read_filter(message: common_pb.Filter, field: str) -> Filter:
    """A tree of conditions. Depth is bounded by the parser (100 levels), then by the domain (8)."""
    number = _count_conditions(message)
    require(
        number <= MAX_CONDITIONS, field, f"has {number} conditions, at most {MAX_CONDITIONS}", reason="FILTER_TOO_LARGE"
    )
    return _tree(message, field)


def _count_conditions(message: common_pb.Filter) -> int:
    """How many there are, before any of them is read."""
    direct = (*message.must, *message.should, *message.must_not)
    return len(direct) + sum(_count_conditions(c.filter) for c in direct if c.WhichOneof("test") == "filter")


def _tree(message: common_pb.Filter, field: str) -> Filter:
    return Filter(
        _conditions(message.must, f"{field}.must"),
        _conditions(message.should, f"{field}.should"),
        _conditions(message.must_not, f"{field}.must_not"),
    )


def _conditions(messages: Sequence[common_pb.Condition], field: str) -> tuple[Condition, ...]:
    return tuple(_condition(message, f"{field}[{number}]") for number, message in enumerate(messages))


def _condition(message: common_pb.Condition, field: str) -> Condition:
    test = message.WhichOneof("test")
    require(test, field, "has no test: set one of match, range, exists, item_ids, filter")
    where = f"{field}.{test}"
    match test:
        case "match":
            return _match(message.match, where)
        case "range":
            return _range(message.range, where)
        case "exists":
            return Exists(_attribute(message.exists.attribute, where))
        case "item_ids":
            ids = identifiers(message.item_ids.values, f"{where}.values", MAX_FILTER_IDS, required=True)
            return ItemIdIn(ids)
        case _:
            return _tree(message.filter, where)


def _match(message: common_pb.MatchAny, field: str) -> MatchAny:
    attribute = _attribute(message.attribute, field)
    count(message.values, f"{field}.values", MAX_MATCH_VALUES, required=True)
    return MatchAny(
        attribute, tuple(_scalar(value, f"{field}.values[{number}]") for number, value in enumerate(message.values))
    )


def _range(message: common_pb.Range, field: str) -> Range:
    attribute = _attribute(message.attribute, field)
    bounds = {
        name: _scalar(getattr(message, name), f"{field}.{name}")
        for name in ("gt", "gte", "lt", "lte")
        if message.HasField(name)
    }
    require(bounds, field, "needs at least one of gt, gte, lt, lte")
    require(not {"gt", "gte"} <= bounds.keys(), f"{field}.gte", "cannot be given together with gt")
    require(not {"lt", "lte"} <= bounds.keys(), f"{field}.lte", "cannot be given together with lt")
    return Range(attribute, **bounds)


def _attribute(name: str, field: str) -> str:
    return text(name, f"{field}.attribute", MAX_ATTRIBUTE_NAME_BYTES, required=True)


def _scalar(message: common_pb.AttributeValue, field: str) -> TypedValue:
    kind, value = read_value(message, field)
    if isinstance(value, tuple):
        raise InvalidArgumentError.of(field, "is a list; give its keywords as values of their own")
    return TypedValue(kind, value)
