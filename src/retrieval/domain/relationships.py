"""Declared relationships between items, and the strongest paths along them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_DEPTH = 10
LEAST_SHARE = 1e-15
"""A smaller weight, or confidence above 0, counts as this: the product along ten steps is a float64 still."""
FIRST_EDGES = 1000
"""Relationships followed from the item that is asked about, in each direction: those of the greatest strength."""
LATER_EDGES = 100
"""The same from every item on the way."""
MAX_REACHED = 1000
"""Items that one step leads to: those of the strongest paths."""
MAX_FRONTIER = 200
"""Of these, items that the next step goes on from. Where all are used, a step looks at 20,000 relationships."""


class RelationshipKind(Enum):
    """What `related_item_id` is to `item_id`, read as "... has as its ...": see docs/relationships.md."""

    SIMILAR = "similar"
    COMPLEMENT = "complement"
    SUBSTITUTE = "substitute"
    RELATED = "related"
    PREREQUISITE = "prerequisite"
    SEQUEL = "sequel"
    RESPONSE = "response"
    CITED = "cited"
    CONTRADICTS = "contradicts"


SYMMETRIC = frozenset(
    {RelationshipKind.SIMILAR, RelationshipKind.COMPLEMENT, RelationshipKind.RELATED, RelationshipKind.CONTRADICTS}
)
"""Kinds that hold both ways: they are kept once and read from both ends, whatever the direction."""

FAVOURABLE = tuple(kind for kind in RelationshipKind if kind is not RelationshipKind.CONTRADICTS)
"""Kinds that speak for the other item: what is followed where no kinds are named, proposed and boosted."""


class Direction(Enum):
    """From which end kinds that are not symmetric are followed."""

    OUTGOING = "outgoing"
    INCOMING = "incoming"
    BOTH = "both"


class RelationshipKey(NamedTuple):
    """What tells relationships of a collection apart."""

    item_id: str
    related_item_id: str
    kind: RelationshipKind

    def settled(self) -> RelationshipKey:
        """The key as it is kept: the ends of a symmetric kind in code-point order."""
        if self.kind in SYMMETRIC and self.related_item_id < self.item_id:
            return RelationshipKey(self.related_item_id, self.item_id, self.kind)
        return self


@dataclass(frozen=True, slots=True)
class Relationship:
    """One edge. `weight` in (0, 1], `confidence` in [0, 1]; what has no confidence leads nowhere."""

    item_id: str
    related_item_id: str
    kind: RelationshipKind
    weight: float = 1.0
    confidence: float = 1.0
    note: str = ""

    @property
    def key(self) -> RelationshipKey:
        """Its key, as it is kept."""
        return RelationshipKey(self.item_id, self.related_item_id, self.kind).settled()

    @property
    def strength(self) -> float:
        """The product weight x confidence, in [0, 1]: a relationship counts for as much as it is sure."""
        return self.weight * self.confidence

    def settled(self) -> Relationship:
        """The relationship as it is kept: see `RelationshipKey.settled` and `LEAST_SHARE`."""
        return replace(
            self,
            item_id=self.key.item_id,
            related_item_id=self.key.related_item_id,
            weight=max(self.weight, LEAST_SHARE),
            confidence=max(self.confidence, LEAST_SHARE) if self.confidence > 0 else 0.0,
        )


@dataclass(frozen=True, slots=True)
class Walk:
    """Where to go from `item_id`. `depth`: steps at most; `min_confidence`: of every step."""

    item_id: str
    kinds: tuple[RelationshipKind, ...] = FAVOURABLE
    direction: Direction = Direction.OUTGOING
    min_confidence: float = 0.0
    depth: int = 1

    @property
    def outgoing(self) -> tuple[RelationshipKind, ...]:
        """Kinds to follow from `item_id` to `related_item_id`."""
        return tuple(k for k in self.kinds if self.direction is not Direction.INCOMING or k in SYMMETRIC)

    @property
    def incoming(self) -> tuple[RelationshipKind, ...]:
        """Kinds to follow from `related_item_id` to `item_id`."""
        return tuple(k for k in self.kinds if self.direction is not Direction.OUTGOING or k in SYMMETRIC)

    def keys(self, item_id: str, other: str, kind: RelationshipKind) -> tuple[RelationshipKey, ...]:
        """Keys that a step of this walk from one item to another may have, the outgoing one first."""
        ways = []
        if kind in self.outgoing:
            ways.append(RelationshipKey(item_id, other, kind).settled())
        if kind in self.incoming:
            ways.append(RelationshipKey(other, item_id, kind).settled())
        return tuple(ways)


class Step(NamedTuple):
    """A relationship as seen from one of its ends: it leads to `item_id`."""

    item_id: str
    strength: float
    kind: RelationshipKind


class Reached(NamedTuple):
    """An item by its strongest path. `path`: ids from the item asked about to this one; `kinds`: one a step.

    `strength`: the product of the steps' strengths, multiplied from the first step on.
    """

    item_id: str
    depth: int
    strength: float
    path: tuple[str, ...]
    kinds: tuple[RelationshipKind, ...]

    @property
    def place(self) -> Place:
        """Where it stands among all that is reached."""
        return Place(self.strength, self.depth, self.item_id)


class Place(NamedTuple):
    """A place in the order of results: strongest first, then fewest steps, then by id."""

    strength: float
    depth: int
    item_id: str

    @property
    def order(self) -> tuple[float, int, str]:
        """What to sort by."""
        return -self.strength, self.depth, self.item_id


def strongest_paths(start: str, depth: int, steps: Callable[[Sequence[str], int], Iterable[Step]]) -> list[Reached]:
    """The strongest path from `start` to every item within `depth` steps, in the order of `Place`.

    `steps(path, count)`: at most `count` strongest steps in each direction from the end of a path to items that are not
    on it. Of paths as strong as each other the shortest counts, then the one whose ids come first.

    One path an item and step is enough (Bellman and Ford's argument: R. Bellman, "On a routing problem", 1958): no step
    is stronger than 1, so no path is weakened by taking the strongest way to its last but one item, and a way that
    comes back to an item is never stronger than the one that stopped there before. So the work is bounded by depth x
    MAX_FRONTIER x LATER_EDGES, where the number of paths grows with the power of the depth.
    """
    frontier = [Reached(start, 0, 1.0, (start,), ())]
    found: dict[str, Reached] = {}
    for number in range(depth):
        best: dict[str, Reached] = {}
        for here in frontier:
            for step in steps(here.path, LATER_EDGES if number else FIRST_EDGES):
                there = Reached(
                    step.item_id,
                    here.depth + 1,
                    here.strength * step.strength,
                    (*here.path, step.item_id),
                    (*here.kinds, step.kind),
                )
                known = best.get(step.item_id)
                if known is None or _order(there) < _order(known):
                    best[step.item_id] = there
        arrived = sorted(best.values(), key=_order)[:MAX_REACHED]
        frontier = arrived[:MAX_FRONTIER]
        for reached in arrived:
            earlier = found.get(reached.item_id)
            if earlier is None or reached.strength > earlier.strength:
                found[reached.item_id] = reached
    return sorted(found.values(), key=lambda reached: reached.place.order)


def _order(reached: Reached) -> tuple[float, Sequence[str], list[str]]:
    return -reached.strength, reached.path, [kind.value for kind in reached.kinds]
