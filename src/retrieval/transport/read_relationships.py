"""Relationships of requests, walks along them, and their paths in replies."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeVar

from retrieval.application.limits import MAX_BATCH_ITEMS
from retrieval.application.related_items import RelatedItems
from retrieval.domain.relationships import (
    FAVOURABLE,
    MAX_DEPTH,
    Direction,
    Place,
    Relationship,
    RelationshipKey,
    Walk,
)
from retrieval.domain.search import NO_FILTER, View
from retrieval.transport import enums
from retrieval.transport.paging import page_size, read_token, write_token
from retrieval.transport.read_filters import read_filter
from retrieval.transport.read_search import read_collection_name
from retrieval.transport.validate import count, identifier, require, text, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

    from retrieval.application.related_items import RelatedPage
    from retrieval.domain.relationships import RelationshipKind
    from retrieval.transport.caller import Caller
    from retrieval.v1 import common_pb2 as common_pb
    from retrieval.v1 import item_service_pb2 as item_pb
    from retrieval.v1 import retrieval_service_pb2 as pb

MAX_NOTE_BYTES = 1000

M = TypeVar("M", "common_pb.Relationship", "item_pb.RelationshipKey")


def read_relationships(messages: Sequence[common_pb.Relationship]) -> list[Relationship]:
    """The relationships of an upsert. Raises: InvalidArgumentError (DUPLICATE_RELATIONSHIP, SELF_RELATIONSHIP)."""
    return [
        Relationship(
            *key,
            _weight(message, field),
            _share(message.confidence, f"{field}.confidence") if message.HasField("confidence") else 1.0,
            text(message.note, f"{field}.note", MAX_NOTE_BYTES),
        )
        for message, key, field in _keyed(messages)
    ]


def read_relationship_keys(messages: Sequence[item_pb.RelationshipKey]) -> list[RelationshipKey]:
    """The relationships of a deletion. Raises: as `read_relationships`."""
    return [key for _, key, _ in _keyed(messages)]


def _keyed(messages: Sequence[M]) -> Iterable[tuple[M, RelationshipKey, str]]:
    """Every message with its key and its path in the request."""
    count(messages, "relationships", MAX_BATCH_ITEMS, required=True)
    seen: set[RelationshipKey] = set()
    for number, message in enumerate(messages):
        field = f"relationships[{number}]"
        key = RelationshipKey(
            identifier(message.item_id, f"{field}.item_id"),
            identifier(message.related_item_id, f"{field}.related_item_id"),
            enums.read(enums.RELATIONSHIP_KIND, message.kind, f"{field}.kind"),
        )
        differ = key.item_id != key.related_item_id
        require(differ, f"{field}.related_item_id", "is the item itself; name another one", "SELF_RELATIONSHIP")
        fresh = key.settled() not in seen
        require(fresh, field, "is in the request twice; send it once", "DUPLICATE_RELATIONSHIP")
        seen.add(key.settled())
        yield message, key, field


def _weight(message: common_pb.Relationship, field: str) -> float:
    weight = message.weight if message.HasField("weight") else 1.0
    # NaN is in no range.
    require(0.0 < weight <= 1.0, f"{field}.weight", "must be above 0 and at most 1")
    return weight


def _share(value: float, field: str) -> float:
    require(0.0 <= value <= 1.0, field, "must be between 0 and 1")
    return value


def read_related(request: pb.ListRelatedItemsRequest, caller: Caller) -> RelatedItems:
    """A checked request for a page of related items."""
    walk = Walk(
        identifier(request.item_id, "item_id"),
        _kinds(request.kinds),
        enums.read(enums.RELATIONSHIP_DIRECTION, request.direction, "direction", Direction.OUTGOING),
        _share(request.min_confidence, "min_confidence"),
        within(request.depth, 1, MAX_DEPTH, "depth") if request.depth else 1,
    )
    return RelatedItems(
        read_collection_name(request.collection),
        walk,
        page_size(request.page_size),
        _place(read_token(request.page_token, *_same(request))),
        read_filter(request.filter, "filter") if request.HasField("filter") else NO_FILTER,
        caller.viewer(request.viewer, "viewer") if request.HasField("viewer") else None,
        enums.read(enums.VIEW, request.view, "view", View.ID_SCORE),
    )


def _kinds(numbers: Sequence[common_pb.RelationshipKind]) -> tuple[RelationshipKind, ...]:
    if not numbers:
        return FAVOURABLE
    count(numbers, "kinds", len(enums.RELATIONSHIP_KIND))
    kinds: list[RelationshipKind] = []
    for number, value in enumerate(numbers):
        kind = enums.read(enums.RELATIONSHIP_KIND, value, f"kinds[{number}]")
        require(kind not in kinds, f"kinds[{number}]", "is named twice")
        kinds.append(kind)
    return tuple(kinds)


def write_related_place(request: pb.ListRelatedItemsRequest, place: Place | None) -> str:
    """The token of the page behind a place; empty for None."""
    if place is None:
        return ""
    return write_token(f"{place.depth} {_STRENGTH.pack(place.strength).hex()} {place.item_id}", *_same(request))


_STRENGTH = struct.Struct(">d")
"""Bit by bit, so that the next page begins exactly where this one ends."""
_NOWHERE = Place(-1.0, 0, "")


def _place(token: str) -> Place | None:
    if not token:
        return None
    try:
        depth, strength, item_id = token.split(" ", 2)
        place = Place(_STRENGTH.unpack(bytes.fromhex(strength))[0], int(depth), item_id)
    except (ValueError, struct.error):
        place = _NOWHERE
    valid = 0.0 <= place.strength <= 1.0 and 1 <= place.depth <= MAX_DEPTH
    require(valid, "page_token", "is not a token that this request returned", "BAD_PAGE_TOKEN")
    return place


def _same(request: pb.ListRelatedItemsRequest) -> tuple[bytes, ...]:
    """What must be the same on every page."""
    walk = (request.item_id, list(request.kinds), request.direction, request.min_confidence, request.depth)
    return (
        request.collection.encode(),
        repr(walk).encode(),
        request.filter.SerializeToString(deterministic=True),
        request.viewer.SerializeToString(deterministic=True),
    )


def write_paths(page: RelatedPage, into: RepeatedCompositeFieldContainer[pb.RelationshipPath]) -> None:
    """How each hit was reached."""
    for (_, reached), notes in zip(page.hits, page.notes, strict=True):
        into.add(
            depth=reached.depth,
            item_ids=reached.path,
            kinds=[enums.RELATIONSHIP_KIND_OUT[kind] for kind in reached.kinds],
            strength=reached.strength,
            notes=notes if any(notes) else (),
        )
