"""JSON objects of requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from retrieval.domain.errors import InvalidArgumentError
from retrieval.transport.validate import finite, require

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Struct, Value

    Plain = str | float | bool | list["Plain"] | dict[str, "Plain"] | None

EXACT_INTEGERS = 2**53
"""A double holds every integer up to this; further ones stay floats."""


def read_json(message: Struct, field: str, max_bytes: int) -> str:
    """A JSON object as compact text; whole numbers are written without a fraction."""
    encoded = json.dumps(_object(message, field), ensure_ascii=False, separators=(",", ":"))
    require(len(encoded.encode()) <= max_bytes, field, f"is longer than {max_bytes} bytes as JSON")
    return encoded


def _object(message: Struct, field: str) -> dict[str, Plain]:
    return {_text(key, field): _plain(value, field) for key, value in message.fields.items()}


def _plain(message: Value, field: str) -> Plain:
    match message.WhichOneof("kind"):
        case "string_value":
            return _text(message.string_value, field)
        case "number_value":
            number = finite(message.number_value, field)
            return int(number) if number.is_integer() and abs(number) <= EXACT_INTEGERS else number
        case "bool_value":
            return message.bool_value
        case "struct_value":
            return _object(message.struct_value, field)
        case "list_value":
            return [_plain(value, field) for value in message.list_value.values]
        case _:
            return None


def _text(value: str, field: str) -> str:
    if "\x00" in value:
        raise InvalidArgumentError.of(field, "contains the NUL character")
    return value
