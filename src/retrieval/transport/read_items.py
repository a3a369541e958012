"""Items of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.application.limits import (
    MAX_BATCH_ITEMS,
    MAX_ID_BYTES,
    MAX_ITEM_TEXT_BYTES,
    MAX_KEYWORD_BYTES,
    MAX_LABELS,
    MAX_PAYLOAD_BYTES,
)
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import Item, ItemStatus, Visibility
from retrieval.transport import enums
from retrieval.transport.read_filters import read_value
from retrieval.transport.read_json import read_json
from retrieval.transport.read_vectors import read_chunks
from retrieval.transport.validate import count as check_count
from retrieval.transport.validate import (
    finite,
    identifier,
    identifiers,
    micros,
    require,
    text,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from retrieval.domain.model import AttributeValue, Chunk, Collection, EmbeddingVersion
    from retrieval.domain.projection import Projection
    from retrieval.v1 import common_pb2 as common_pb


def read_items(
    messages: Sequence[common_pb.Item],
    collection: Collection,
    version: EmbeddingVersion,
    projection: Projection | None = None,
) -> list[Item]:
    """The items of an upsert, checked against the collection that types them; `projection`: that of the version.

    Raises: InvalidArgumentError (DUPLICATE_ITEM_ID, UNDECLARED_ATTRIBUTE, ATTRIBUTE_TYPE_MISMATCH, those of
    `settle`, and others) naming the field.
    """
    check_count(messages, "items", MAX_BATCH_ITEMS, required=True)
    ids = _distinct_ids(messages)
    chunks = read_chunks(messages, version, collection.metric, projection)
    items: list[Item] = []
    try:
        for message, item_id, vectors in zip(messages, ids, chunks, strict=True):
            items.append(_item(message, item_id, vectors, collection))
    except InvalidArgumentError as error:
        raise error.under(f"items[{len(items)}]") from error
    return items


def _distinct_ids(messages: Sequence[common_pb.Item]) -> tuple[str, ...]:
    ids = [message.item_id for message in messages]
    try:
        checked = identifiers(ids, "items", MAX_BATCH_ITEMS)
    except InvalidArgumentError:
        # Only now is it worth walking the path of the bad one.
        checked = tuple(identifier(value, f"items[{number}].item_id") for number, value in enumerate(ids))
    if len(set(checked)) < len(checked):
        seen: set[str] = set()
        for number, value in enumerate(checked):
            if value in seen:
                raise InvalidArgumentError.of(
                    f"items[{number}].item_id", f"{value!r} is in the request twice", reason="DUPLICATE_ITEM_ID"
                )
            seen.add(value)
    return checked


def _item(message: common_pb.Item, item_id: str, chunks: tuple[Chunk, ...], collection: Collection) -> Item:
    values: dict[str, Any] = {}
    # Only what is set is looked at: in a bulk load most fields of most items are not.
    for field, given in message.ListFields():
        read = _READERS.get(field.name)
        if read is not None:
            values[read[0]] = read[1](given, field.name)
    visibility = values.pop("visibility", collection.visibility_mode.default)
    attributes = _attributes(message, collection)
    return Item(item_id, chunks, visibility=visibility, attributes=attributes, **values)


def _count(given: int, field: str) -> int:
    require(given >= 0, field, "must not be negative")
    return given


# field: (field of the domain's item, how it is read)
_READERS: Mapping[str, tuple[str, Callable[[Any, str], Any]]] = {
    "owner_id": ("owner_id", lambda given, field: text(given, field, MAX_ID_BYTES)),
    "visibility": ("visibility", lambda given, field: enums.read(enums.VISIBILITY, given, field, Visibility.PUBLIC)),
    "audience": ("audience", lambda given, field: texts(given, field, MAX_LABELS, MAX_ID_BYTES)),
    "status": ("status", lambda given, field: enums.read(enums.ITEM_STATUS, given, field, ItemStatus.APPROVED)),
    "rating_value": ("rating_value", finite),
    "rating_count": ("rating_count", _count),
    "tags": ("tags", lambda given, field: texts(given, field, MAX_LABELS, MAX_KEYWORD_BYTES)),
    "text": ("text", lambda given, field: text(given, field, MAX_ITEM_TEXT_BYTES)),
    "payload": ("payload_json", lambda given, field: read_json(given, field, MAX_PAYLOAD_BYTES)),
    "created_at": ("created_at", micros),
}


def _attributes(message: common_pb.Item, collection: Collection) -> dict[str, AttributeValue]:
    values: dict[str, AttributeValue] = {}
    for name, given in message.attributes.items():
        where = f"attributes.{name}"
        expected = collection.attributes.get(name)
        if expected is None:
            declared = ", ".join(sorted(collection.attributes)) or "none"
            raise InvalidArgumentError.of(
                where,
                f"{name!r} is not declared by collection {collection.name!r} (declared: {declared})",
                reason="UNDECLARED_ATTRIBUTE",
            )
        kind, values[name] = read_value(given, where)
        if kind is not expected:
            raise InvalidArgumentError.of(
                where, f"is a {kind.value}, but {name!r} takes {expected.value}", reason="ATTRIBUTE_TYPE_MISMATCH"
            )
    return values
