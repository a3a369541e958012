"""Items and relationships for tests, and every path there is between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.model import Chunk, Collection, EmbeddingVersion, Item
from retrieval.domain.relationships import SYMMETRIC, Direction, Reached, Relationship
from retrieval.domain.visibility import can_see

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Viewer
    from retrieval.domain.relationships import RelationshipKind, Walk


async def related_world(
    stores: Stores, name: str, items: Sequence[Item], relationships: Sequence[Relationship] = ()
) -> Collection:
    """A collection of those items and relationships."""
    made = await stores.collections.create(Collection(0, name), EmbeddingVersion(0, 0, "test", 2))
    if items:
        await stores.items.upsert(made, made.active, items, "", b"")
    if relationships:
        await stores.relationships.upsert(made, relationships)
    return made


def public(*item_ids: str) -> list[Item]:
    """Items for all to see, each in a direction of its own."""
    angles = np.linspace(0.1, 1.5, len(item_ids))
    return [
        Item(item_id, (Chunk(0, np.array([np.cos(angle), np.sin(angle)], np.float16)),))
        for item_id, angle in zip(item_ids, angles, strict=True)
    ]


def every_path(relationships: Sequence[Relationship], walk: Walk) -> Iterator[Reached]:
    """Every path of the walk that visits no item twice, whoever may see what: none is left out to save work."""
    ways: dict[str, list[tuple[str, float, RelationshipKind]]] = {}
    for edge in relationships:
        strength = edge.weight * edge.confidence
        if edge.kind not in walk.kinds or edge.confidence < walk.min_confidence or not strength:
            continue
        if walk.direction is not Direction.INCOMING or edge.kind in SYMMETRIC:
            ways.setdefault(edge.item_id, []).append((edge.related_item_id, strength, edge.kind))
        if walk.direction is not Direction.OUTGOING or edge.kind in SYMMETRIC:
            ways.setdefault(edge.related_item_id, []).append((edge.item_id, strength, edge.kind))

    def onward(path: tuple[str, ...], kinds: tuple[RelationshipKind, ...], strength: float) -> Iterator[Reached]:
        if kinds:
            yield Reached(path[-1], len(kinds), strength, path, kinds)
        if len(kinds) < walk.depth:
            for other, step, kind in ways.get(path[-1], ()):
                if other not in path:
                    yield from onward((*path, other), (*kinds, kind), strength * step)

    return onward((walk.item_id,), (), 1.0)


def expected(
    relationships: Sequence[Relationship], walk: Walk, items: Mapping[str, Item], viewer: Viewer
) -> list[Reached]:
    """The best of all paths to every item, none through what is hidden or missing."""
    best: dict[str, Reached] = {}
    for path in every_path(relationships, walk):
        if any(step not in items or not can_see(items[step], viewer) for step in path.path[1:]):
            continue
        known = best.get(path.item_id)
        if known is None or _order(path) < _order(known):
            best[path.item_id] = path
    return sorted(best.values(), key=lambda r: (-r.strength, r.depth, r.item_id))


def _order(path: Reached) -> tuple[float, int, tuple[str, ...], list[str]]:
    return -path.strength, path.depth, path.path, [kind.value for kind in path.kinds]
