"""Results that are kept: they serve again, and never once anything has happened that would change them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from retrieval.application.candidates import catalogue as catalogues
from retrieval.application.candidates import engine as engines
from retrieval.application.candidates import results
from retrieval.application.candidates.engine import CandidateEngine, UserCandidates
from retrieval.application.candidates.results import TTL_S
from retrieval.application.candidates.strategies import SourceSetting, Strategy
from retrieval.application.erase_user import erase_user
from retrieval.application.limits import MAX_HISTORY, Limits
from retrieval.application.search import SearchPipeline
from retrieval.domain.engagement import user_hash
from retrieval.domain.model import Event, Viewer, Visibility
from retrieval.domain.owner_edges import EdgeKind, OwnerEdge
from retrieval.domain.search import Diversity, SearchOptions, Shortfall, View
from retrieval.reference.user_feed import ReferenceUserFeed
from tests.catalogue import load, make
from tests.models import activate, blended, two_communities
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection
    from retrieval.domain.search import SearchResult

NOW_US = time.time_ns() // 1000


@dataclass(slots=True)
class Shop:
    """A collection of sixty items that ann likes some of, and an engine that keeps results."""

    stores: Stores
    collection: Collection
    engine: CandidateEngine
    ids: list[str]

    async def ask(self, user: str = "ann", **changes: object) -> SearchResult:
        return await self.engine.search(UserCandidates(self.collection.name, user, **changes))  # type: ignore[arg-type]

    async def told(self) -> None:
        """Return once everybody heard of all that has happened: Postgres tells it twice, the second time later."""
        heard: Counter[int] = Counter()
        unsubscribe = self.stores.user_feed.subscribe(lambda _, hashes: heard.update(hashes))
        times = 1 if isinstance(self.stores.user_feed, ReferenceUserFeed) else 2
        async with asyncio.timeout(PATIENCE_S):
            while True:
                marker = uuid4().hex
                await self.like(marker, "nowhere")
                for _ in range(50):
                    if heard[user_hash(marker)] == times:
                        unsubscribe()
                        return
                    await asyncio.sleep(0.01)

    async def kept(self) -> list[str]:
        """Ask until the result serves again; the ids of its hits."""
        await self.told()
        first = await self.ask()
        again = await self.ask()
        assert again.report.cached
        assert [h.item_id for h in again.hits] == [h.item_id for h in first.hits]
        return [h.item_id for h in again.hits]

    async def like(self, user: str, *item_ids: str, kind: str = "like") -> str:
        events = [Event(user, i, kind, NOW_US - n * 1_000_000, f"{kind}-{n}") for n, i in enumerate(item_ids)]
        return (await self.stores.events.record(self.collection, events)).token


@pytest.fixture
async def shop(stores: Stores) -> AsyncIterator[Shop]:
    data = make("shop", 60, dimension=8, seed=3)
    items = [
        replace(i, visibility=Visibility.PUBLIC, owner_id=f"owner-{n % 7}") for n, i in enumerate(data.items.values())
    ]
    collection = await load(stores, data, items)
    engine = CandidateEngine(stores, SearchPipeline(stores, Limits()))
    engine.open()
    made = Shop(stores, collection, engine, [i.item_id for i in items if i.status.value == "approved"])
    await made.like("ann", *made.ids[:4])
    await made.told()
    yield made
    await engine.close()


async def test_a_result_serves_again(shop: Shop) -> None:
    first, again = await shop.ask(), await shop.ask()
    assert (first.report.cached, again.report.cached) == (False, True)
    assert again.hits == first.hits
    assert again.report.sources == first.report.sources
    assert again.report.degraded_reason == first.report.degraded_reason == ""
    assert "cached" in dict(again.report.timings_s)
    assert "sources" not in dict(again.report.timings_s)
    assert not (await shop.ask("bob")).report.cached


async def test_another_question_has_another_answer(shop: Shop) -> None:
    """Whatever tells two requests apart; each of them serves again."""
    await shop.kept()
    others = (
        {"include_seen": True},
        {"strategies": (Strategy("content"),)},
        {"strategies": (Strategy("mine", {"popular": 1.0}),)},
        {"sources": {"popular": SourceSetting(weight=9.0)}},
        {"options": SearchOptions(limit=3)},
        {"options": SearchOptions(exclude_item_ids=(shop.ids[9],))},
        {"options": SearchOptions(viewer=Viewer("owner-1"))},
    )
    for other in others:
        assert not (await shop.ask(**other)).report.cached, other
        assert (await shop.ask(**other)).report.cached, other


async def test_only_so_many_are_kept(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest have to go."""
    await shop.kept()
    one = shop.engine._results.size_bytes
    kept = results.KeptResults(int(2.5 * one))
    monkeypatch.setattr(shop.engine, "_results", kept)
    for limit in (10, 9, 8, 7):
        await shop.ask(options=SearchOptions(limit=limit))
        assert kept.size_bytes <= 2.5 * one
    assert (await shop.ask(options=SearchOptions(limit=7))).report.cached
    assert not (await shop.ask(options=SearchOptions(limit=10))).report.cached


async def test_some_answers_are_not_kept(shop: Shop) -> None:
    await shop.kept()
    history = (Event("", shop.ids[0], "like", NOW_US, "e"),)
    vector = make("one", 1, dimension=8).queries[0]
    for request in ({"history": history}, {"user_vector": vector}, {"no_cache": True}):
        for _ in range(2):
            assert not (await shop.ask(**request)).report.cached, request


async def event_of_the_user(shop: Shop, hits: list[str]) -> None:
    await shop.like("ann", hits[0], kind="view")


async def turned_down(shop: Shop, hits: list[str]) -> None:
    await shop.like("ann", hits[0], kind="not_interested")


async def edge_to_an_owner(shop: Shop, hits: list[str]) -> None:
    item = (await shop.stores.items.get(shop.collection, shop.collection.active, hits, Viewer(), with_chunks=False))[
        hits[0]
    ]
    edge = OwnerEdge(item.owner_id, EdgeKind.BLOCK)
    await shop.stores.engagement.set_edges(shop.collection, "ann", [edge], [])


async def item_deleted(shop: Shop, hits: list[str]) -> None:
    await shop.stores.items.delete(shop.collection, hits[:1], "", b"")


async def item_hidden(shop: Shop, hits: list[str]) -> None:
    version = shop.collection.active
    item = (await shop.stores.items.get(shop.collection, version, hits, Viewer(), with_chunks=True))[hits[0]]
    await shop.stores.items.upsert(shop.collection, version, [replace(item, visibility=Visibility.PRIVATE)], "", b"")


@pytest.mark.parametrize("happens", [event_of_the_user, turned_down, edge_to_an_owner, item_deleted, item_hidden])
async def test_what_happens_shows_at_once(shop: Shop, happens: Callable[[Shop, list[str]], Awaitable[None]]) -> None:
    hits = await shop.kept()
    await happens(shop, hits)
    fresh = await shop.ask()
    assert not fresh.report.cached
    assert hits[0] not in [h.item_id for h in fresh.hits]
    assert len(fresh.hits) == 10
    await shop.kept()


async def test_what_happens_to_others_changes_nothing(shop: Shop) -> None:
    hits = await shop.kept()
    await shop.like("bob", hits[0])
    elsewhere = next(i for i in shop.ids if i not in hits)
    await shop.stores.items.delete(shop.collection, [elsewhere], "", b"")
    await shop.told()
    assert (await shop.ask()).report.cached


async def test_what_happens_while_a_user_is_read(shop: Shop) -> None:
    """What was read before it, and is done with after it, is not kept."""
    events, was_read, go_on = shop.stores.events, asyncio.Event(), asyncio.Event()

    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(events, name)

        async def history(self, collection: Collection, user_id: str, count: int) -> list[Event]:
            found = await events.history(collection, user_id, count)
            was_read.set()
            await go_on.wait()
            return found

    stores = replace(shop.stores, events=Slow())
    shop.engine = CandidateEngine(stores, SearchPipeline(stores, Limits()))
    shop.engine.open()
    try:
        options = SearchOptions(limit=60)
        asking = asyncio.create_task(shop.ask(options=options))
        await was_read.wait()
        await shop.like("ann", shop.ids[20], kind="not_interested")
        go_on.set()
        assert len((await asking).hits) > 30
        assert shop.ids[20] not in [h.item_id for h in (await shop.ask(options=options)).hits]
    finally:
        await shop.engine.close()


async def test_a_forgotten_user_is_forgotten(shop: Shop) -> None:
    await shop.kept()
    await erase_user(shop.stores, shop.collection.name, "ann")
    fresh = await shop.ask()
    assert (fresh.report.cached, fresh.report.degraded_reason) == (False, "NO_HISTORY")


async def test_items_are_shown_as_they_are(shop: Shop) -> None:
    options = SearchOptions(view=View.BASIC)
    hits = (await shop.ask(options=options)).hits
    version = shop.collection.active
    first = hits[0].item
    assert first is not None
    stored = await shop.stores.items.get(shop.collection, version, [first.item_id], Viewer(), with_chunks=True)
    await shop.stores.items.upsert(
        shop.collection, version, [replace(stored[first.item_id], text="another text")], "", b""
    )
    again = await shop.ask(options=options)
    assert again.report.cached
    assert again.hits[0].item is not None
    assert (hits[0].item_id, again.hits[0].item.text) == (again.hits[0].item_id, "another text")
    assert first.text != "another text"


async def test_results_get_old(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.kept()
    started = time.monotonic()
    clock = SimpleNamespace(monotonic=lambda: started + TTL_S - 5, time_ns=time.time_ns)
    monkeypatch.setattr(engines, "time", clock)
    monkeypatch.setattr(results, "time", clock)
    assert (await shop.ask()).report.cached
    clock.monotonic = lambda: started + TTL_S + 5
    assert not (await shop.ask()).report.cached
    assert (await shop.ask()).report.cached


async def test_a_cap_looks_as_far_as_it_takes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one owner has all that comes first, others are found behind it."""
    monkeypatch.setattr(engines, "POOL_PER_HIT", 2)
    popular = {"strategies": (Strategy("mine", {"popular": 1.0}),), "include_seen": True}
    everything = await shop.ask(**popular, options=SearchOptions(limit=60))
    ids = [h.item_id for h in everything.hits]
    version = shop.collection.active
    items = await shop.stores.items.get(shop.collection, version, ids, Viewer(unrestricted=True), with_chunks=False)
    owner = items[ids[0]].owner_id
    own = [i for i in ids if items[i].owner_id == owner]
    last = next(i for i in reversed(ids) if items[i].owner_id != owner)
    assert ids.index(last) > ids.index(own[4])
    options = SearchOptions(
        limit=2,
        exclude_item_ids=tuple(set(ids) - {*own, last}),
        diversity=Diversity(max_per_owner=1),
    )
    capped = await shop.ask(**popular, options=options)
    assert [h.item_id for h in capped.hits] == [own[0], last]


async def test_a_token_asks_for_what_is_now(shop: Shop) -> None:
    hits = await shop.kept()
    token = await shop.like("bob", hits[0])
    fresh = await shop.ask(options=SearchOptions(min_consistency_token=token))
    assert not fresh.report.cached
    # The answer to a token is good for those without one.
    assert (await shop.ask()).report.cached


async def test_what_was_not_told_is_read_where_asked_for(shop: Shop) -> None:
    """A change that went unheard is seen by who names the write."""
    hits = await shop.kept()
    assert shop.engine.states._unsubscribe is not None
    shop.engine.states._unsubscribe()
    token = await shop.like("ann", hits[0], kind="view")
    assert hits[0] in [h.item_id for h in (await shop.ask()).hits]
    fresh = await shop.ask(options=SearchOptions(min_consistency_token=token))
    assert hits[0] not in [h.item_id for h in fresh.hits]
    assert not fresh.report.cached


async def test_another_model_has_other_answers(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its activation is seen by an engine that runs, as soon as the facts of the collection are read again."""
    await shop.kept()
    for version in ("1", "2"):
        model = blended(two_communities(shop.ids, users=12, each=6, seed=int(version)))
        await activate(shop.stores, shop.collection, model, version)
        assert (await shop.ask()).report.cached
        monkeypatch.setattr(catalogues, "REFRESH_S", 0.0)
        await shop.ask()
        reading = shop.engine._catalogues._reading.get(shop.collection.collection_id)
        if reading is not None:
            await reading
        monkeypatch.setattr(catalogues, "REFRESH_S", 60.0)
        fresh = await shop.ask()
        assert (fresh.report.cached, fresh.report.model_version) == (False, version)
        assert {report.name for report in fresh.report.sources} >= {"co_engagement"}
        assert (await shop.ask()).report.cached


async def test_a_model_that_cannot_be_read_is_done_without(shop: Shop) -> None:
    model = blended(two_communities(shop.ids, users=12, each=6))
    registered = await activate(shop.stores, shop.collection, model, "1")
    await shop.stores.artifacts.save(registered, b"no model")
    result = await shop.ask()
    assert (result.report.model_version, len(result.hits)) == ("", 10)


async def test_a_hundred_thousand_seen_items(stores: Stores, name: str) -> None:
    """None of them comes back, and the page is full, although all but a few hundred items were seen."""
    data = make(name, 600, dimension=8, seed=4)
    collection = await load(stores, data)
    seen = [f"seen-{n:06d}" for n in range(99_500)] + sorted(data.items)[:500]
    start_us = NOW_US - 200_000 * 1_000_000
    # Those that exist are the oldest: no page of a history has them.
    events = [Event("ann", item_id, "view", start_us + n * 1_000_000, "e") for n, item_id in enumerate(reversed(seen))]
    for first in range(0, len(events), 10_000):
        await stores.events.record(collection, events[first : first + 10_000])
    assert len(await stores.events.history(collection, "ann", MAX_HISTORY)) == MAX_HISTORY
    engine = CandidateEngine(stores, SearchPipeline(stores, Limits()))
    engine.open()
    try:
        anybody = Viewer(unrestricted=True)
        request = UserCandidates(collection.name, "ann", options=SearchOptions(limit=100, viewer=anybody))
        for cached in (False, True):
            result = await engine.search(request)
            assert result.report.cached is cached
            assert {h.item_id for h in result.hits} == set(data.items) - set(seen)
        everything = await engine.search(replace(request, include_seen=True))
        assert len(everything.hits) == 100
    finally:
        await engine.close()
        await stores.collections.delete(collection.name)


@pytest.mark.parametrize(("kind", "value"), [("not_interested", None), ("report", None), ("rating", 2.0)])
async def test_what_was_turned_down_long_ago_stays_away(shop: Shop, kind: str, value: float | None) -> None:
    """However much happened since, and even where seen items may come back; liking it lately changes nothing."""
    away, rated = shop.ids[10], shop.ids[11]
    long_ago = NOW_US - 10**13
    against = [
        Event("eve", away, kind, long_ago, "e", value),
        Event("eve", rated, "rating", long_ago, "e", 3.0),
        Event("eve", rated, "dwell", long_ago, "d", dwell_ms=0),
    ]
    await shop.stores.events.record(shop.collection, against)
    assert dict(await shop.stores.events.seen(shop.collection, "eve", 10)) == {away: True, rated: False}
    since = [Event("eve", shop.ids[n % 5], "view", NOW_US - n * 1_000_000, "e") for n in range(1, MAX_HISTORY)]
    await shop.stores.events.record(shop.collection, [*since, Event("eve", away, "like", NOW_US - 1, "e")])
    assert all(e.item_id != rated for e in await shop.stores.events.history(shop.collection, "eve", MAX_HISTORY))
    for include_seen in (True, False):
        result = await shop.ask("eve", include_seen=include_seen, options=SearchOptions(limit=60))
        shown = {h.item_id for h in result.hits}
        assert away not in shown
        assert (rated in shown) is include_seen
        state = await shop.engine.states.of(shop.collection, "eve")
        assert away not in {item_id for item_id, _, _ in state.positives}


async def test_who_has_seen_everything_is_known_all_the_same(shop: Shop) -> None:
    """Nothing is left to propose; what is known of the user was there. Whoever has no vectors is told so."""
    collection = shop.collection
    everything = [Event("dee", i, "like", NOW_US - n, "e") for n, i in enumerate(shop.ids)]
    nowhere = Event("fay", "nowhere", "like", NOW_US, "e")
    await shop.stores.events.record(collection, [*everything, nowhere])
    anybody = SearchOptions(viewer=Viewer())
    seen = await shop.ask("dee", options=anybody)
    assert (seen.hits, seen.report.degraded_reason) == ([], "")
    assert seen.report.shortfall is Shortfall.FILTER_EXHAUSTED
    unknown = await shop.ask("fay", options=anybody)
    assert (len(unknown.hits) > 0, unknown.report.degraded_reason) == (True, "NO_VECTORS")
    # A strategy that asks nothing of the user lacks nothing.
    assert not (await shop.ask("fay", strategies=(Strategy("trending"),))).report.degraded_reason
