"""What events add up to: counters, edges, what trends, and how a user is forgotten. On both stores alike."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.application.engagement_ports import ErasedRows, NewItem
from retrieval.application.erase_user import erase_user
from retrieval.application.trending_items import TrendingItems, list_trending_items
from retrieval.domain.engagement import (
    EVENT_TYPES,
    HOUR_US,
    EventType,
    ItemCounts,
    event_types_of,
    fresh_weight,
    user_hash,
)
from retrieval.domain.filters import Filter, MatchAny, TypedValue
from retrieval.domain.model import ANONYMOUS, AttributeType, Chunk, Event, Item, ItemStatus, Viewer, Visibility
from retrieval.domain.owner_edges import EdgeKind, OwnerEdge, OwnerEdges
from retrieval.domain.search import View
from retrieval.domain.trending import DAY_S, HOUR_S, WINDOWS_S, trending_scores
from tests.catalogue import make

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

NOW_US = time.time_ns() // 1000
DAY_US = 24 * HOUR_US


@pytest.fixture
async def collection(stores: Stores, name: str) -> Collection:
    """Without items."""
    return await stores.collections.create(
        make(name, 1, dimension=4).collection(), make(name, 1, dimension=4).version()
    )


def event(item_id: str, kind: str = "like", *, user: str = "ann", at: int = NOW_US - HOUR_US, **rest: object) -> Event:
    return Event(user, item_id, kind, at, f"{kind}-{at}-{rest}", **rest)  # type: ignore[arg-type]


def item(item_id: str, owner_id: str = "", **rest: object) -> Item:
    return Item(item_id, (Chunk(0, np.array([1, 0, 0, 0], np.float16)),), owner_id, **rest)  # type: ignore[arg-type]


async def upsert(stores: Stores, collection: Collection, *items: Item) -> None:
    await stores.items.upsert(collection, collection.active, items, "", b"")


async def test_items_count_their_views_and_reposts_once(stores: Stores, collection: Collection) -> None:
    await upsert(stores, collection, item("a"), item("b"))
    events = [event("a", "view", at=NOW_US - n) for n in range(5)] + [event("a", "repost"), event("b", "like")]
    await stores.events.record(collection, events)
    await stores.events.record(collection, [*events, *events, event("a", "view", user="bob")])
    await stores.engagement.refresh_trending(collection)
    assert await stores.engagement.counts(collection, ["a", "b", "nowhere"]) == {"a": ItemCounts(6, 1)}
    read = await stores.items.get(collection, collection.active, ["a", "b"], ANONYMOUS, with_chunks=True)
    assert {i: (r.view_count, r.repost_count, len(r.chunks)) for i, r in read.items()} == {
        "a": (6, 1, 1),
        "b": (0, 0, 1),
    }
    # A write of the item leaves its counts alone, whatever it brings.
    await upsert(stores, collection, replace(read["a"], view_count=99, text="new"))
    again = (await stores.items.get(collection, collection.active, ["a"], ANONYMOUS, with_chunks=False))["a"]
    assert (again.text, again.view_count) == ("new", 6)


async def test_events_make_edges_to_the_owner_of_their_item(stores: Stores, collection: Collection) -> None:
    await upsert(stores, collection, item("a", "o1"), item("b", "o2"), item("c"), item("d", "o1"))
    first = [event("a", "follow_author", at=NOW_US - 5), event("d", "follow_author", at=NOW_US - 3)]
    rest = [event("b", "follow_author", at=NOW_US - 4), event("b", "mute_author"), event("a", "block_author")]
    none = [event("c", "follow_author"), event("nowhere", "block_author"), event("a", "like"), event("b", user="bob")]
    await stores.events.record(collection, [*first, *rest, *none])
    expected = OwnerEdges(("o1", "o2"), frozenset({"o1"}), frozenset({"o2"}))
    assert await stores.engagement.edges(collection, "ann") == expected
    assert await stores.engagement.edges(collection, "bob") == OwnerEdges()
    # What was removed does not come back with an event that is sent again.
    removed = [OwnerEdge("o1", EdgeKind.FOLLOW), OwnerEdge("o1", EdgeKind.BLOCK), OwnerEdge("zoe", EdgeKind.MUTE)]
    assert await stores.engagement.set_edges(collection, "ann", [], removed) == (0, 2)
    await stores.events.record(collection, first)
    assert await stores.engagement.edges(collection, "ann") == OwnerEdges(("o2",), frozenset(), frozenset({"o2"}))


async def test_edges_without_events(stores: Stores, collection: Collection) -> None:
    add = [OwnerEdge("b", EdgeKind.FOLLOW), OwnerEdge("a", EdgeKind.FOLLOW), OwnerEdge("a", EdgeKind.MUTE)]
    assert await stores.engagement.set_edges(collection, "ann", add, []) == (3, 0)
    later = [OwnerEdge("c", EdgeKind.FOLLOW), OwnerEdge("a", EdgeKind.FOLLOW)]
    assert await stores.engagement.set_edges(collection, "ann", later, [OwnerEdge("a", EdgeKind.MUTE)]) == (1, 1)
    assert await stores.engagement.edges(collection, "ann") == OwnerEdges(("c", "a", "b"))


async def test_newest_items(stores: Stores, collection: Collection) -> None:
    await upsert(
        stores,
        collection,
        *(item(f"i{n}", f"o{n % 3}", created_at=NOW_US - n // 2) for n in range(12)),
        item("hidden", "o1", created_at=NOW_US + 5, visibility=Visibility.PRIVATE),
        item("pending", "o1", created_at=NOW_US + 5, status=ItemStatus.PENDING),
    )
    newest = await stores.engagement.newest(collection, None, 3)
    assert newest == [NewItem("i0", "o0", NOW_US), NewItem("i1", "o1", NOW_US), NewItem("i2", "o2", NOW_US - 1)]
    of_some = await stores.engagement.newest(collection, ["o1", "nobody", "o2", "o1"], 5)
    assert [i.item_id for i in of_some] == ["i1", "i2", "i4", "i5", "i7"]
    assert await stores.engagement.newest(collection, [], 5) == []


async def test_trends_follow_the_formula(stores: Stores, collection: Collection) -> None:
    rng = np.random.default_rng(3)
    kinds = sorted(EVENT_TYPES)
    events = [
        Event(
            "ann",
            f"i{rng.integers(30):02d}",
            kind := kinds[rng.integers(len(kinds))],
            NOW_US - int(rng.integers(100 * 24)) * HOUR_US // 3 * 3,
            f"e{n}",
            float(rng.integers(6)) if kind == "rating" else None,
            int(rng.integers(200_000)) if rng.random() < 0.8 else None,
        )
        for n in range(500)
    ]
    events.append(event("i00", "share", at=NOW_US))
    for start in range(0, len(events), 100):
        await stores.events.record(collection, events[start : start + 100])
    await stores.engagement.refresh_trending(collection)
    assert await stores.engagement.newest_event_at(collection) == NOW_US
    hours = [(e.item_id, e.occurred_at // HOUR_US * HOUR_US, max(0.0, fresh_weight(e, 5.0))) for e in events]
    for window_s in WINDOWS_S:
        expected = trending_scores(hours, NOW_US, window_s)
        got = await stores.engagement.trending(collection, window_s, 1000)
        assert dict(got) == pytest.approx(dict(expected))
        assert [score for _, score in got] == sorted((score for _, score in got), reverse=True)
        assert await stores.engagement.trending(collection, window_s, 2) == got[:2]
        assert (await stores.engagement.trending_refreshed_at(collection, window_s) or 0) >= NOW_US
    assert len(await stores.engagement.trending(collection, HOUR_S, 1000)) < 30


async def test_an_archive_has_a_trend(stores: Stores, collection: Collection) -> None:
    """Windows end with the newest event where that is over."""
    then = NOW_US - 4000 * DAY_US
    await stores.events.record(
        collection, [event("old", "like", at=then - 30 * HOUR_US), event("new", "like", at=then)]
    )
    await stores.engagement.refresh_trending(collection)
    assert [i for i, _ in await stores.engagement.trending(collection, DAY_S, 10)] == ["new"]
    assert [i for i, _ in await stores.engagement.trending(collection, 7 * DAY_S, 10)] == ["new", "old"]


async def test_a_collection_without_events_has_no_trend(stores: Stores, collection: Collection) -> None:
    await stores.engagement.refresh_trending(collection)
    assert await stores.engagement.trending(collection, DAY_S, 10) == []
    assert await stores.engagement.trending_refreshed_at(collection, DAY_S) is None
    assert await stores.engagement.newest_event_at(collection) is None


async def test_trending_pages_show_what_the_viewer_may_see(stores: Stores, collection: Collection) -> None:
    items = [item(f"i{n:03d}", f"o{n % 5}", attributes={"genre": "jazz" if n % 2 else "rock"}) for n in range(300)]
    hidden = {n: replace(items[n], visibility=Visibility.PRIVATE) for n in range(0, 300, 7)}
    await upsert(stores, collection, *(hidden.get(n, i) for n, i in enumerate(items)))
    now = NOW_US - HOUR_US
    likes = [event(f"i{n:03d}", user=f"u{u}", at=now) for n in range(300) for u in range(2 + (300 - n) // 60)]
    for start in range(0, len(likes), 1000):
        await stores.events.record(collection, likes[start : start + 1000])
    # What is not stored, or no longer, is in the list, and never on a page.
    await stores.events.record(collection, [event("nowhere", user=f"u{u}", at=now) for u in range(50)])
    await stores.engagement.refresh_trending(collection)
    ranks = {i: n for n, (i, _) in enumerate(await stores.engagement.trending(collection, DAY_S, 1000), start=1)}
    assert ranks["nowhere"] == 1
    jazz = Filter(must=(MatchAny("genre", (TypedValue(AttributeType.KEYWORD, "jazz"),)),))
    for viewer in (None, Viewer("o3"), Viewer(unrestricted=True)):
        wanted = [
            i.item_id
            for n, i in enumerate(items)
            if n % 2 and (n not in hidden or (viewer and (viewer.unrestricted or viewer.user_id == i.owner_id)))
        ]
        pages = []
        after = 0
        while True:
            request = TrendingItems(collection.name, DAY_S, 40, after, jazz, viewer, View.BASIC)
            page = await list_trending_items(stores, request)
            assert len(page.hits) == 40 or not page.next_after
            pages += page.hits
            after = page.next_after
            if not after:
                break
        assert sorted(h.item_id for h in pages) == wanted
        assert [h.contributions[0].rank for h in pages] == [ranks[h.item_id] for h in pages]
        assert [ranks[h.item_id] for h in pages] == sorted(ranks[h.item_id] for h in pages)
        assert all(h.item is not None and h.item.attributes == {"genre": "jazz"} for h in pages)
    bare = await list_trending_items(stores, TrendingItems(collection.name, DAY_S, 3))
    assert [h.item for h in bare.hits] == [None] * 3


async def test_a_user_is_forgotten_and_nobody_else(stores: Stores, collection: Collection) -> None:
    await upsert(stores, collection, item("a", "o1"))
    old = NOW_US - 100 * DAY_US
    await stores.events.record(
        collection, [event("a", "view"), event("a", "follow_author"), event("a", "view", at=old)]
    )
    await stores.events.record(collection, [event("a", "follow_author", user="bob")])
    await stores.engagement.refresh_trending(collection)
    assert await erase_user(stores, collection.name, "ann") == ErasedRows(events=3, edges=1)
    assert await stores.events.history(collection, "ann", 10) == []
    assert await stores.engagement.edges(collection, "ann") == OwnerEdges()
    assert await erase_user(stores, collection.name, "ann") == ErasedRows()
    assert len(await stores.events.history(collection, "bob", 10)) == 1
    assert (await stores.engagement.edges(collection, "bob")).followed == ("o1",)
    assert await stores.engagement.counts(collection, ["a"]) == {"a": ItemCounts(2, 0)}


async def test_own_changes_are_told_before_the_write_returns(stores: Stores, collection: Collection) -> None:
    heard: list[tuple[int | None, frozenset[int]]] = []
    end = stores.user_feed.subscribe(lambda *change: heard.append(change))

    def told() -> set[int]:
        hashes = {h for where, some in heard for h in some if where == collection.collection_id}
        heard.clear()
        return hashes

    events = [event("a"), event("a", user="bob")]
    await stores.events.record(collection, events)
    assert told() == {user_hash("ann"), user_hash("bob")}
    await stores.engagement.set_edges(collection, "cid", [OwnerEdge("o", EdgeKind.MUTE)], [])
    assert user_hash("cid") in told()
    await stores.engagement.erase_user(collection, "dan")
    assert user_hash("dan") in told()
    end()
    await stores.events.record(collection, [event("b")])
    assert not heard


async def test_weights_of_a_collection(stores: Stores, collection: Collection) -> None:
    assert event_types_of(collection) is EVENT_TYPES
    own = EventType(-2.0, 5.0, against_owner=False)
    changed = await stores.collections.update(collection.name, {}, None, None, {"like": own})
    block = replace(EVENT_TYPES["block_author"], weight=-9.0)
    changed = await stores.collections.update(collection.name, {}, None, None, {"block_author": block})
    assert changed.event_types == {"like": own, "block_author": block}
    assert event_types_of(changed) == {**EVENT_TYPES, "like": own, "block_author": block}
    assert await stores.collections.get(collection.name) == changed
    kept = await stores.collections.update(collection.name, {}, None, None)
    assert kept.event_types == changed.event_types
    await stores.events.record(changed, [event("a", "like"), event("b", "view")])
    await stores.engagement.refresh_trending(changed)
    assert [i for i, _ in await stores.engagement.trending(changed, DAY_S, 10)] == ["b"]


EVENTS = st.builds(
    Event,
    user_id=st.sampled_from(["ann", "bob"]),
    item_id=st.sampled_from(["a", "b", "c"]),
    event_type=st.sampled_from(["view", "repost", "like", "follow_author"]),
    occurred_at=st.sampled_from([NOW_US - n * HOUR_US for n in range(4)]),
    event_id=st.sampled_from(["x", "y"]),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(EVENTS, min_size=1, max_size=12), max_size=5))
async def test_counters_are_the_events(batches: list[list[Event]], reference: Stores, postgres: Stores) -> None:
    """However often each is sent, and whatever else is in its batch: the first of a kind counts."""
    for stores in (reference, postgres):
        name = f"counted-{time.time_ns()}"
        data = make(name, 1, dimension=4)
        collection = await stores.collections.create(data.collection(), data.version())
        first: dict[tuple[str, int, str, str], Event] = {}
        for batch in batches:
            await stores.events.record(collection, batch)
            for each in batch:
                first.setdefault((each.user_id, each.occurred_at, each.item_id, each.event_id), each)
        await stores.engagement.refresh_trending(collection)
        views = Counter(e.item_id for e in first.values() if e.event_type == "view")
        reposts = Counter(e.item_id for e in first.values() if e.event_type == "repost")
        expected = {i: ItemCounts(views[i], reposts[i]) for i in "abc" if views[i] or reposts[i]}
        assert await stores.engagement.counts(collection, ["a", "b", "c"]) == expected
