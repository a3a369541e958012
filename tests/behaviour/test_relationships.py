"""Relationships: what is kept, who sees what they lead to, and what they do to searches."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from retrieval.application.candidates.engine import CandidateEngine, UserCandidates
from retrieval.application.candidates.strategies import Strategy
from retrieval.application.limits import Limits
from retrieval.application.related_items import (
    RelatedItems,
    delete_relationships,
    list_related_items,
    upsert_relationships,
)
from retrieval.application.search import SearchPipeline
from retrieval.application.similar_items import SimilarItems, search_similar_items
from retrieval.domain import relationships
from retrieval.domain.boosts import Boosts, RelatedBoost
from retrieval.domain.errors import NotFoundError
from retrieval.domain.model import Event, Viewer, Visibility
from retrieval.domain.relationships import (
    FAVOURABLE,
    FIRST_EDGES,
    Direction,
    Relationship,
    RelationshipKey,
    RelationshipKind,
    Walk,
)
from retrieval.domain.search import Predicate, SearchOptions, View
from retrieval.postgres import relationships as postgres_relationships
from tests.relations import public, related_world

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

Kind = RelationshipKind
ANN = Viewer("ann")


def hidden(item_id: str) -> object:
    return replace(public(item_id)[0], owner_id="ann", visibility=Visibility.PRIVATE)


async def reached(stores: Stores, name: str, walk: Walk, viewer: Viewer | None = None) -> dict[str, tuple[str, ...]]:
    """Path by item."""
    page = await list_related_items(stores, RelatedItems(name, walk, viewer=viewer))
    return {hit.item_id: path.path for hit, path in page.hits}


async def related(stores: Stores, name: str, item_id: str, direction: Direction = Direction.OUTGOING) -> set[str]:
    return set(await reached(stores, name, Walk(item_id, tuple(Kind), direction)))


async def test_notes_are_told_by_step_from_either_end(stores: Stores, name: str) -> None:
    edges = [
        Relationship("a", "b", Kind.PREREQUISITE, note="begin here"),
        Relationship("b", "c", Kind.PREREQUISITE),
        Relationship("d", "c", Kind.RELATED, note="the same, drawn"),
        Relationship("c", "a", Kind.CITED, note="not on the way"),
    ]
    await related_world(stores, name, public("a", "b", "c", "d"), edges)
    kinds = (Kind.PREREQUISITE, Kind.RELATED)

    async def notes(item_id: str, direction: Direction) -> dict[str, tuple[str, ...]]:
        page = await list_related_items(stores, RelatedItems(name, Walk(item_id, kinds, direction, depth=3)))
        return {hit.item_id: said for (hit, _), said in zip(page.hits, page.notes, strict=True)}

    there = {"b": ("begin here",), "c": ("begin here", ""), "d": ("begin here", "", "the same, drawn")}
    assert await notes("a", Direction.OUTGOING) == there
    back = {"c": ("the same, drawn",), "b": ("the same, drawn", ""), "a": ("the same, drawn", "", "begin here")}
    assert await notes("d", Direction.INCOMING) == back
    assert await notes("d", Direction.BOTH) == back


async def test_a_relationship_is_replaced_and_removed(stores: Stores, name: str) -> None:
    await related_world(stores, name, public("a", "b"))
    first = Relationship("a", "b", Kind.SEQUEL, 0.1, 0.7, "first")
    assert await upsert_relationships(stores, name, [first]) == 1
    for _ in range(2):
        assert await upsert_relationships(stores, name, [replace(first, weight=0.9, note="second")]) == 1
        page = await list_related_items(stores, RelatedItems(name, Walk("a")))
        (hit, path) = page.hits[0]
        assert (hit.item_id, hit.score, path.strength) == ("b", 0.9 * 0.7, 0.9 * 0.7)
        assert (path.depth, path.path, path.kinds) == (1, ("a", "b"), (Kind.SEQUEL,))
        assert (len(page.hits), page.next_after) == (1, None)
        assert page.notes == [("second",)]
    keys = [RelationshipKey("a", "b", Kind.SEQUEL), RelationshipKey("a", "b", Kind.CITED)]
    assert await delete_relationships(stores, name, keys) == 1
    assert await delete_relationships(stores, name, keys) == 0
    assert not await related(stores, name, "a")


@pytest.mark.parametrize("kind", Kind)
async def test_which_kinds_hold_both_ways(stores: Stores, name: str, kind: Kind) -> None:
    await related_world(stores, name, public("a", "b"), [Relationship("b", "a", kind, 0.5)])
    both = kind in {Kind.SIMILAR, Kind.COMPLEMENT, Kind.RELATED, Kind.CONTRADICTS}
    assert await related(stores, name, "b") == {"a"}
    assert await related(stores, name, "a") == ({"b"} if both else set())
    assert await related(stores, name, "a", Direction.INCOMING) == {"b"}
    assert await related(stores, name, "b", Direction.INCOMING) == ({"a"} if both else set())
    assert await related(stores, name, "a", Direction.BOTH) == {"b"}
    assert await related(stores, name, "b", Direction.BOTH) == {"a"}
    # The other way round it is the same relationship, or another one.
    turned = Relationship("a", "b", kind, 0.25)
    await upsert_relationships(stores, name, [turned])
    page = await list_related_items(stores, RelatedItems(name, Walk("b", tuple(Kind))))
    assert [hit.score for hit, _ in page.hits] == [0.25 if both else 0.5]
    assert await delete_relationships(stores, name, [turned.key]) == 1
    assert await related(stores, name, "b") == (set() if both else {"a"})


async def test_without_kinds_all_but_contradictions_are_followed(stores: Stores, name: str) -> None:
    others = [kind.value for kind in Kind]
    edges = [Relationship("a", kind.value, kind) for kind in Kind]
    await related_world(stores, name, public("a", *others), edges)
    assert set(await reached(stores, name, Walk("a"))) == set(others) - {"contradicts"}
    assert Kind.CONTRADICTS not in FAVOURABLE


async def test_items_may_come_after_their_relationships(stores: Stores, name: str) -> None:
    collection = await related_world(stores, name, public("a"), [Relationship("a", "b", Kind.CITED)])
    assert not await related(stores, name, "a")
    await stores.items.upsert(collection, collection.active, public("b"), "", b"")
    assert await related(stores, name, "a") == {"b"}


async def test_an_item_keeps_its_relationships_when_replaced_and_takes_them_along_when_deleted(
    stores: Stores, name: str
) -> None:
    edges = [Relationship("a", "b", Kind.CITED), Relationship("b", "c", Kind.CITED), Relationship("a", "c", Kind.CITED)]
    collection = await related_world(stores, name, public("a", "b", "c"), edges)
    await stores.items.upsert(collection, collection.active, public("b"), "", b"")
    assert await related(stores, name, "a") == {"b", "c"}
    await stores.items.delete(collection, ["b", "unknown"], "", b"")
    await stores.items.upsert(collection, collection.active, public("b"), "", b"")
    assert await related(stores, name, "a") == {"c"}
    assert not await related(stores, name, "b", Direction.BOTH)


async def test_a_chain_does_not_lead_through_what_is_hidden(stores: Stores, name: str) -> None:
    chain = [Relationship(a, b, Kind.PREREQUISITE) for a, b in ("ab", "bc", "cd")]
    detour = [Relationship("a", "x", Kind.PREREQUISITE, 0.5), Relationship("x", "c", Kind.PREREQUISITE, 0.5)]
    await related_world(stores, name, [*public("a", "c", "d", "x"), hidden("b")], [*chain, *detour])
    walk = Walk("a", depth=10)
    assert await reached(stores, name, walk) == {
        "x": ("a", "x"),
        "c": ("a", "x", "c"),
        "d": ("a", "x", "c", "d"),
    }
    assert await reached(stores, name, walk, ANN) == {
        "b": ("a", "b"),
        "c": ("a", "b", "c"),
        "d": ("a", "b", "c", "d"),
        "x": ("a", "x"),
    }
    assert set(await reached(stores, name, replace(walk, depth=2), ANN)) == {"b", "c", "x"}


@pytest.mark.parametrize("item_id", ["b", "nowhere"])
async def test_an_item_that_is_hidden_is_as_good_as_missing(stores: Stores, name: str, item_id: str) -> None:
    await related_world(stores, name, [*public("a"), hidden("b")], [Relationship("b", "a", Kind.CITED)])
    with pytest.raises(NotFoundError, match=f"item '{item_id}' does not exist") as raised:
        await list_related_items(stores, RelatedItems(name, Walk(item_id)))
    assert raised.value.reason == "ITEM_NOT_FOUND"
    assert await reached(stores, name, Walk("b"), ANN) == {"a": ("b", "a")}


async def test_confidence_is_asked_of_every_step(stores: Stores, name: str) -> None:
    edges = [
        Relationship("a", "b", Kind.CITED, 1.0, 0.9),
        Relationship("b", "c", Kind.CITED, 1.0, 0.4),
        Relationship("b", "d", Kind.CITED, 0.1, 0.8),
    ]
    await related_world(stores, name, public(*"abcd"), edges)
    assert set(await reached(stores, name, Walk("a", min_confidence=0.8, depth=3))) == {"b", "d"}
    assert set(await reached(stores, name, Walk("a", min_confidence=0.3, depth=3))) == {"b", "c", "d"}


async def test_pages_add_up_to_the_whole(stores: Stores, name: str) -> None:
    others = [f"item-{n:02d}" for n in range(23)]
    # Many of them equally strong.
    edges = [Relationship("a", other, Kind.RELATED, 1 / (1 + n % 3)) for n, other in enumerate(others)]
    await related_world(stores, name, public("a", *others), edges)
    asked = RelatedItems(name, Walk("a"), page_size=4)
    whole = await list_related_items(stores, replace(asked, page_size=100))
    found = []
    while True:
        page = await list_related_items(stores, asked)
        found += [hit.item_id for hit, _ in page.hits]
        if page.next_after is None:
            break
        assert len(page.hits) == 4
        asked = replace(asked, after=page.next_after)
    assert found == [hit.item_id for hit, _ in whole.hits]
    assert set(found) == set(others)
    scores = [hit.score for hit, _ in whole.hits]
    assert scores == sorted(scores, reverse=True)


async def test_views(stores: Stores, name: str) -> None:
    await related_world(stores, name, public("a", "b"), [Relationship("a", "b", Kind.CITED)])
    for view, chunks in ((View.ID_SCORE, None), (View.BASIC, 0), (View.FULL, 1)):
        page = await list_related_items(stores, RelatedItems(name, Walk("a"), view=view))
        item = page.hits[0][0].item
        assert (None if item is None else len(item.chunks)) == chunks


async def test_only_the_strongest_are_followed(stores: Stores, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is bounded: a few of the first item, fewer of the others, and a frontier."""
    for module in (relationships, postgres_relationships):
        monkeypatch.setattr(module, "FIRST_EDGES", 3)
        monkeypatch.setattr(module, "LATER_EDGES", 1)
        monkeypatch.setattr(module, "MAX_FRONTIER", 2)
        monkeypatch.setattr(module, "MAX_REACHED", 3)
    edges = [Relationship("a", f"b{n}", Kind.CITED, 1 - n / 10) for n in range(5)]
    edges += [Relationship(f"b{n}", f"c{n}{m}", Kind.CITED, 1 - m / 10) for n in range(5) for m in range(3)]
    names = {i for e in edges for i in (e.item_id, e.related_item_id)}
    await related_world(stores, name, public(*sorted(names)), edges)
    assert set(await reached(stores, name, Walk("a", depth=2))) == {"b0", "b1", "b2", "c00", "c10"}
    for module in (relationships, postgres_relationships):
        monkeypatch.setattr(module, "FIRST_EDGES", 9)
    assert set(await reached(stores, name, Walk("a"))) == {"b0", "b1", "b2"}


async def test_a_hub_is_read_strongest_first(stores: Stores, name: str) -> None:
    """What is hidden does not use up the relationships that are followed."""
    count = FIRST_EDGES + 50
    others = [f"item-{n:05d}" for n in range(count)]
    edges = [Relationship("a", other, Kind.CITED, 1 - n / (2 * count)) for n, other in enumerate(others)]
    collection = await related_world(stores, name, public("a"))
    items = [*(hidden(other) for other in others[:20]), *public(*others[20:])]
    for start in range(0, count, 1000):
        await stores.items.upsert(collection, collection.active, items[start : start + 1000], "", b"")
        await stores.relationships.upsert(collection, edges[start : start + 1000])
    found = await stores.relationships.walk(collection, Walk("a"), Predicate(), None, 10_000)
    assert [r.item_id for r in found] == others[20 : 20 + FIRST_EDGES]
    nearest = await stores.relationships.neighbours(collection, ["a"], Viewer(), 10_000)
    assert [n[0] for n in nearest] == others[20 : 20 + FIRST_EDGES]


async def test_deleting_a_collection_takes_its_relationships(stores: Stores, name: str) -> None:
    collection = await related_world(stores, name, public("a", "b"), [Relationship("a", "b", Kind.CITED)])
    assert await stores.relationships.any(collection)
    await stores.collections.delete(name)
    edges = [Relationship("a", "b", Kind.CITED)]
    with pytest.raises(NotFoundError) as raised:
        await stores.relationships.upsert(collection, edges)
    assert raised.value.reason == "COLLECTION_NOT_FOUND"
    again = await related_world(stores, name, public("a", "b"))
    assert not await stores.relationships.any(again)
    assert not await related(stores, name, "a")


async def test_neighbours_of_several_items(stores: Stores, name: str) -> None:
    edges = [
        Relationship("a", "x", Kind.CITED, 0.5),
        Relationship("b", "x", Kind.SEQUEL, 0.75),
        Relationship("y", "a", Kind.SIMILAR, 0.25),
        Relationship("z", "a", Kind.CITED),
        Relationship("a", "no", Kind.CONTRADICTS),
        Relationship("a", "secret", Kind.CITED),
    ]
    collection = await related_world(stores, name, [*public(*"abxyz", "no"), hidden("secret")], edges)
    ask = stores.relationships.neighbours
    assert await ask(collection, ["a", "b"], Viewer(), 10) == [("x", 0.75), ("y", 0.25)]
    assert await ask(collection, ["a", "b"], Viewer(), 1) == [("x", 0.75)]
    assert await ask(collection, ["a"], ANN, 10) == [("secret", 1.0), ("x", 0.5), ("y", 0.25)]


class TestSearches:
    """`g` is nearest to `a`, `h` is less near, and so on."""

    ITEMS = tuple("aghijklm")

    async def ids(self, stores: Stores, name: str, boosts: Boosts, viewer: Viewer | None = None) -> list[str]:
        pipeline = SearchPipeline(stores, Limits())
        options = SearchOptions(len(self.ITEMS), boosts=boosts, viewer=viewer)
        return [
            h.item_id
            for h in (await search_similar_items(stores, pipeline, SimilarItems(name, ("a",), options=options))).hits
        ]

    async def test_related_items_are_raised(self, stores: Stores, name: str) -> None:
        edges = [
            Relationship("l", "x", Kind.CONTRADICTS),
            Relationship("x", "k", Kind.COMPLEMENT, 0.5, 0.5),
            Relationship("j", "x", Kind.CITED),
            Relationship("x", "i", Kind.SUBSTITUTE, 1.0, 0.75),
            Relationship("secret", "m", Kind.CITED),
        ]
        items = [*public(*self.ITEMS, "x"), hidden("secret")]
        await related_world(stores, name, items, edges)
        plain = await self.ids(stores, name, Boosts())
        assert plain == [*self.ITEMS[1:], "x"]
        # i 0.75 strong, k 0.25, none of the others.
        raised = await self.ids(stores, name, Boosts(related_to=RelatedBoost(("x", "secret", "nowhere"), 100.0)))
        assert raised == ["i", "k", *(i for i in plain if i not in "ik")]
        assert await self.ids(stores, name, Boosts(related_to=RelatedBoost(("secret",), 100.0))) == plain
        seen = await self.ids(stores, name, Boosts(related_to=RelatedBoost(("secret",), 100.0)), ANN)
        assert seen[0] == "m"

    async def test_candidates(self, stores: Stores, name: str) -> None:
        """Proposed in both directions where the kind has two, never for contradicting, never out of sight."""
        edges = [
            Relationship("a", "j", Kind.SUBSTITUTE, 0.5),
            Relationship("k", "a", Kind.SIMILAR, 0.75),
            Relationship("a", "l", Kind.CONTRADICTS),
            Relationship("m", "a", Kind.SEQUEL),
            Relationship("a", "secret", Kind.COMPLEMENT),
        ]
        collection = await related_world(stores, name, [*public(*self.ITEMS), hidden("secret")], edges)
        await stores.events.record(collection, [Event("bea", "a", "like", time.time_ns() // 1000, "e")])
        engine = CandidateEngine(stores, SearchPipeline(stores, Limits()))
        request = UserCandidates(
            name, "bea", options=SearchOptions(5), strategies=(Strategy("mine", {"related": 1.0}),)
        )
        result = await engine.search(request)
        proposed = {hit.item_id: hit.contributions[0].rank for hit in result.hits if hit.contributions}
        assert proposed == {"k": 1, "j": 2}
        assert result.report.sources[0].returned == 2
        boosts = Boosts(related_to=RelatedBoost(("m",), 1.0))
        asked = replace(request, no_cache=True, options=SearchOptions(5, boosts=boosts))
        assert [h.item_id for h in (await engine.search(asked)).hits][:2] == ["k", "j"]
        await stores.relationships.upsert(collection, [Relationship("m", "j", Kind.SIMILAR, 0.5)])
        assert [h.item_id for h in (await engine.search(asked)).hits][:2] == ["j", "k"]
        await engine.close()

    async def test_what_is_not_believed_at_all_leads_nowhere(self, stores: Stores, name: str) -> None:
        edges = [Relationship("a", "g", Kind.CITED, 1.0, 0.0)]
        collection = await related_world(stores, name, public("a", "g"), edges)
        assert not await reached(stores, name, Walk("a"))
        assert not await stores.relationships.neighbours(collection, ["a"], Viewer(), 10)


async def test_nobody_else_is_shown_the_relationships_of_another_collection(stores: Stores, name: str) -> None:
    edges = [Relationship("a", "b", Kind.CITED)]
    await related_world(stores, name, public("a", "b"), edges)
    other: Collection = await related_world(stores, f"{name}-other", public("a", "b"))
    assert not await related(stores, other.name, "a")
    await stores.collections.delete(name)
    assert not await stores.relationships.any(other)
