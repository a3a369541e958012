"""Paths along any relationships, cycles and hidden items included, are those that trying every path finds."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING
from uuid import uuid4

from retrieval.domain.filters import Filter, ItemIdIn
from retrieval.domain.model import Item, ItemStatus, Viewer, Visibility
from retrieval.domain.relationships import MAX_DEPTH, Direction, Relationship, RelationshipKind, Walk
from retrieval.domain.search import Predicate
from retrieval.domain.visibility import can_see
from tests.relations import expected, related_world

if TYPE_CHECKING:
    from retrieval.application.ports import Stores

GRAPHS = 16
WALKS = 40
IDS = tuple("abcdefgh")
OWNERS = ("", "ann", "ben")
GROUPS = ("red", "blue")
# Their products are exact, so that equally strong paths are equally strong in any arithmetic.
SHARES = (1.0, 1.0, 0.5, 0.25, 0.75)


def an_item(chooser: Random, item_id: str) -> Item:
    visibility = chooser.choice((*[Visibility.PUBLIC] * 4, Visibility.GROUPS, Visibility.PRIVATE))
    return Item(
        item_id,
        owner_id=chooser.choice(OWNERS),
        visibility=visibility,
        audience=tuple(chooser.sample(GROUPS, 1)) if visibility is Visibility.GROUPS else (),
        status=chooser.choice((*[ItemStatus.APPROVED] * 5, ItemStatus.FLAGGED)),
    )


def a_relationship(chooser: Random) -> Relationship:
    item_id, related = chooser.sample(IDS, 2)
    kind = chooser.choice(list(RelationshipKind))
    return Relationship(item_id, related, kind, chooser.choice(SHARES), chooser.choice((*SHARES, 0.0)))


def a_walk(chooser: Random) -> Walk:
    kinds = chooser.sample(list(RelationshipKind), chooser.choice((1, 4, 9, 9)))
    return Walk(
        chooser.choice(IDS),
        tuple(kinds),
        chooser.choice(list(Direction)),
        chooser.choice((0.0, 0.0, 0.5)),
        chooser.choice((1, 2, 3, MAX_DEPTH)),
    )


def a_viewer(chooser: Random) -> Viewer:
    someone = Viewer(chooser.choice(OWNERS), tuple(chooser.sample(GROUPS, chooser.randrange(3))))
    return chooser.choice((Viewer(), someone, someone, Viewer(unrestricted=True)))


async def test_the_strongest_paths_are_found(stores: Stores) -> None:
    through = 0
    for seed in range(GRAPHS):
        chooser = Random(seed)
        items = {item_id: an_item(chooser, item_id) for item_id in IDS[: chooser.choice((6, 8))]}
        edges = {e.key: e for e in (a_relationship(chooser) for _ in range(chooser.choice((16, 24, 30))))}
        collection = await related_world(stores, f"graph-{uuid4().hex[:8]}", [*items.values()], [*edges.values()])
        for _ in range(WALKS):
            walk, viewer = a_walk(chooser), a_viewer(chooser)
            wanted = expected([*edges.values()], walk, items, viewer)
            found = await stores.relationships.walk(collection, walk, Predicate(viewer=viewer), None, 1000)
            assert found == wanted, (seed, walk, viewer)
            assert not {i for r in found for i in r.path[1:] if not can_see(items[i], viewer)}
            through += sum(r.depth > 1 for r in found)
            # A filter leaves hits out, not what lies behind them, and pages are cut out of the same list.
            some = frozenset(chooser.sample(IDS, 4))
            narrowed = Predicate(Filter(must=(ItemIdIn(tuple(some)),)), viewer)
            rest = [r for r in wanted if r.item_id in some]
            first = await stores.relationships.walk(collection, walk, narrowed, None, 1)
            after = first[-1].place if first else None
            assert first == rest[:1]
            assert await stores.relationships.walk(collection, walk, narrowed, after, 1000) == rest[1:]
    assert through > 500, "hardly any chain was longer than a step"
