"""Relationships in memory; implements `RelationshipStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.relationships import FIRST_EDGES, Step, Walk, strongest_paths
from retrieval.domain.visibility import can_see
from retrieval.reference.admission import admitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from retrieval.domain.model import Collection, Viewer
    from retrieval.domain.relationships import Place, Reached, Relationship, RelationshipKey
    from retrieval.domain.search import Predicate
    from retrieval.reference.memory import Held, Memory


class ReferenceRelationships:
    """Writes relationships and follows them."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def upsert(self, collection: Collection, relationships: Sequence[Relationship]) -> int:
        """See `RelationshipStore`."""
        held = self._memory.held(collection)
        held.relationships.update({each.key: each.settled() for each in relationships})
        return len(relationships)

    async def delete(self, collection: Collection, keys: Sequence[RelationshipKey]) -> int:
        """See `RelationshipStore`."""
        held = self._memory.held(collection)
        return sum(held.relationships.pop(key.settled(), None) is not None for key in keys)

    async def walk(
        self, collection: Collection, walk: Walk, predicate: Predicate, after: Place | None, count: int
    ) -> list[Reached]:
        """See `RelationshipStore`."""
        held = self._memory.held(collection)
        found = strongest_paths(
            walk.item_id, walk.depth, lambda path, most: _steps(held, walk, path, predicate.viewer, most)
        )
        shown = {i.item_id for i in admitted((held.items[r.item_id] for r in found), predicate, collection)}
        behind = [r for r in found if after is None or r.place.order > after.order]
        return [r for r in behind if r.item_id in shown][:count]

    async def notes(self, collection: Collection, keys: Iterable[RelationshipKey]) -> dict[RelationshipKey, str]:
        """See `RelationshipStore`."""
        held = self._memory.held(collection).relationships
        return {key: held[key].note for key in keys if key in held and held[key].note}

    async def neighbours(
        self, collection: Collection, item_ids: Sequence[str], viewer: Viewer, count: int
    ) -> list[tuple[str, float]]:
        """See `RelationshipStore`."""
        held = self._memory.held(collection)
        best: dict[str, float] = {}
        for item_id in item_ids:
            for step in _steps(held, Walk(item_id), (item_id,), viewer, FIRST_EDGES):
                best[step.item_id] = max(best.get(step.item_id, 0.0), step.strength)
        return sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:count]

    async def any(self, collection: Collection) -> bool:
        """See `RelationshipStore`."""
        return bool(self._memory.held(collection).relationships)


def _steps(held: Held, walk: Walk, path: Sequence[str], viewer: Viewer, most: int) -> list[Step]:
    """The strongest steps on from a path to what the viewer may see, at most so many in each direction."""
    item_id = path[-1]

    def visible(step: Step) -> bool:
        other = held.items.get(step.item_id)
        return other is not None and step.item_id not in path and can_see(other, viewer)

    edges = [e for e in held.relationships.values() if e.strength > 0 and e.confidence >= walk.min_confidence]
    ways = (
        (
            Step(e.related_item_id, e.strength, e.kind)
            for e in edges
            if e.item_id == item_id and e.kind in walk.outgoing
        ),
        (
            Step(e.item_id, e.strength, e.kind)
            for e in edges
            if e.related_item_id == item_id and e.kind in walk.incoming
        ),
    )
    return [step for way in ways for step in sorted(filter(visible, way), key=_order)[:most]]


def _order(step: Step) -> tuple[float, str, str]:
    return -step.strength, step.item_id, step.kind.value
