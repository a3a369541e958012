"""A small world of items, users and what they did, which knows by itself what no candidate may be."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest

from retrieval.application.candidates.engine import UserCandidates
from retrieval.application.candidates.strategies import QUOTAS, STRATEGIES, SourceSetting, Strategy
from retrieval.domain.boosts import NO_BOOSTS, Boosts, FreshnessBoost, PopularityBoost
from retrieval.domain.filters import Exists, Filter, ItemIdIn, MatchAny, Range, TypedValue, matches
from retrieval.domain.model import AttributeType, Event, ItemStatus, Viewer, Visibility
from retrieval.domain.owner_edges import EDGE_EVENTS, EdgeKind, OwnerEdge
from retrieval.domain.search import Diversity, SearchOptions, View
from retrieval.domain.visibility import can_see
from tests.catalogue import GROUPS, DataSet, load, make
from tests.models import activate, blended, two_communities

if TYPE_CHECKING:
    from random import Random

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Item
    from retrieval.domain.search import SearchResult

HOUR_US = 3_600_000_000
NEGATIVES = ("not_interested", "report", "block_author", "mute_author")
KINDS = (
    *["like", "view", "click", "impression", "purchase", "dwell", "search"] * 3,
    "rating",
    "follow_author",
    *NEGATIVES,
)
USERS = (*(f"user-{n}" for n in range(8)), "owner-1", "owner-2", "nobody")
OWNERS = tuple(f"owner-{n}" for n in range(40))


def turns_down(event: Event) -> bool:
    """Whether the user does not want the item: an explicit negative, or a rating below the middle of 0 to 5."""
    return event.event_type in NEGATIVES or (event.event_type == "rating" and (event.value or 0.0) < 2.5)


@dataclass(slots=True)
class World:
    """What the stores were told, in the order of time. Writes go through here."""

    stores: Stores
    data: DataSet
    chooser: Random
    items: dict[str, Item] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)
    turned_down: dict[str, set[tuple[str, EdgeKind]]] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    models: int = 0
    token: str = ""

    @classmethod
    async def made(cls, stores: Stores, chooser: Random, count: int) -> World:
        """A world of `count` items of one or two chunks, some not to be seen by all, and users with histories."""
        data = make(f"world-{uuid4().hex[:6]}", count, dimension=8, max_chunks=2, seed=chooser.randrange(1000))
        await load(stores, data)
        world = cls(stores, data, chooser, dict(data.items))
        for user in USERS[:-1]:
            await world.act(user, chooser.randint(0, count // 4))
        return world

    async def act(self, user: str, count: int) -> None:
        """The user does `count` things."""
        events = [self.event(user) for _ in range(count)]
        if not events:
            return
        collection = await self.stores.collections.get(self.data.name)
        self.token = (await self.stores.events.record(collection, events)).token
        for event in events:
            self.events.setdefault(user, []).append(event)
            item = self.items.get(event.item_id)
            kind = EDGE_EVENTS.get(event.event_type)
            if kind in {EdgeKind.BLOCK, EdgeKind.MUTE} and item is not None and item.owner_id:
                self.turned_down.setdefault(user, set()).add((item.owner_id, kind))

    def event(self, user: str) -> Event:
        """Something that the user did, with an item that there is or was, or that there never was."""
        item_id = "nowhere" if self.chooser.random() < 0.02 else self.chooser.choice(sorted(self.data.items))
        at = time.time_ns() // 1000 - self.chooser.randrange(2000) * HOUR_US
        kind = self.chooser.choice(KINDS)
        value = self.chooser.choice((0.0, 1.0, 2.0, 3.0, 5.0)) if kind == "rating" else None
        return Event(user, item_id, kind, at, uuid4().hex, value, dwell_ms=9000 if kind == "dwell" else None)

    async def change(self) -> None:
        """Something happens that candidates must reflect at once."""
        collection = await self.stores.collections.get(self.data.name)
        user, item_id = self.chooser.choice(USERS[:-1]), self.chooser.choice(sorted(self.data.items))
        if self.shown and self.chooser.random() < 0.5:
            item_id = self.chooser.choice(self.shown)
        match self.chooser.randrange(7):
            case 0 | 1:
                await self.act(user, self.chooser.randint(1, 3))
            case 2:
                edge = OwnerEdge(self.chooser.choice(OWNERS), self.chooser.choice(list(EdgeKind)))
                await self.stores.engagement.set_edges(collection, user, [edge], [])
                if edge.kind is not EdgeKind.FOLLOW:
                    self.turned_down.setdefault(user, set()).add(edge)
            case 3:
                known = sorted(self.turned_down.get(user, set()), key=str)
                if known:
                    owner, kind = self.chooser.choice(known)
                    await self.stores.engagement.set_edges(collection, user, [], [OwnerEdge(owner, kind)])
                    self.turned_down[user].discard((owner, kind))
            case 4:
                self.token = (await self.stores.items.delete(collection, [item_id], "", b"")).token
                self.items.pop(item_id, None)
            case _:
                # Back from the dead, or out of sight, or with another genre.
                chosen = self.chooser.choice((Visibility.PUBLIC, Visibility.PRIVATE, Visibility.GROUPS))
                audience = (self.chooser.choice(GROUPS),) if chosen is Visibility.GROUPS else ()
                item = replace(
                    self.data.items[item_id],
                    visibility=chosen,
                    audience=audience,
                    status=self.chooser.choice((ItemStatus.APPROVED, ItemStatus.APPROVED, ItemStatus.FLAGGED)),
                    attributes={"genre": self.chooser.choice(("jazz", "rock")), "rank": self.chooser.randrange(100)},
                )
                receipt = await self.stores.items.upsert(collection, collection.active, [item], "", b"")
                self.token, self.items[item_id] = receipt.token, item

    async def train(self) -> None:
        """Another model becomes the active one."""
        self.models += 1
        log = two_communities([*sorted(self.data.items), "gone"], users=12, each=6, seed=self.models)
        collection = await self.stores.collections.get(self.data.name)
        await activate(self.stores, collection, blended(log), str(self.models))

    def request(self) -> UserCandidates:
        """A random request."""
        chooser = self.chooser
        user = chooser.choice(USERS)
        history = None
        if chooser.random() < 0.25:
            history = tuple(self.event("") for _ in range(chooser.randint(0, 12)))
            user = chooser.choice((user, ""))
        return UserCandidates(
            self.data.name,
            user,
            history,
            include_seen=chooser.random() < 0.3,
            options=SearchOptions(
                chooser.choice((1, 5, 10, 10, 40)),
                filter=self._filter(),
                exclude_item_ids=tuple(chooser.sample(sorted(self.data.items), chooser.choice((0, 0, 3, 20)))),
                viewer=self._viewer(),
                diversity=self._diversity(),
                boosts=self._boosts(),
                view=chooser.choice((View.ID_SCORE, View.ID_SCORE, View.BASIC)),
            ),
            strategies=self._strategies(),
            sources={
                name: SourceSetting(chooser.choice((None, 0, 1, 7)), chooser.choice((None, 0.0, 2.5)))
                for name in chooser.sample(sorted(QUOTAS), chooser.choice((0, 0, 1, 3)))
            },
            user_vector=self.data.queries[0] if chooser.random() < 0.1 else None,
        )

    def like(self, request: UserCandidates) -> UserCandidates:
        """A request that differs in one thing: it must not be given the other's result."""
        options, chooser = request.options, self.chooser
        hidden = tuple(chooser.sample(self.shown, min(3, len(self.shown))))
        return chooser.choice(
            (
                replace(request, options=replace(options, viewer=self._viewer())),
                replace(request, options=replace(options, filter=self._filter())),
                replace(request, options=replace(options, exclude_item_ids=hidden)),
                replace(request, options=replace(options, limit=3)),
                replace(request, include_seen=not request.include_seen),
                replace(request, user_id=chooser.choice(USERS)),
                replace(request, strategies=self._strategies()),
            )
        )

    def _filter(self) -> Filter:
        genre = MatchAny("genre", (TypedValue(AttributeType.KEYWORD, self.chooser.choice(("jazz", "rock", "folk"))),))
        low = Range("rank", lt=TypedValue(AttributeType.INT64, self.chooser.choice((5, 30))))
        some = ItemIdIn(tuple(self.chooser.sample(sorted(self.data.items), 10)))
        return self.chooser.choice(
            (
                *[Filter()] * 4,
                Filter(must=(genre,)),
                Filter(must=(low,), must_not=(genre,)),
                Filter(should=(some, genre), must_not=(Exists("price"),)),
            )
        )

    def _viewer(self) -> Viewer | None:
        named = Viewer(self.chooser.choice(USERS), tuple(self.chooser.sample(GROUPS, 2)))
        return self.chooser.choice((None, None, named, Viewer(unrestricted=True)))

    def _diversity(self) -> Diversity:
        spreads = Diversity(0.6), Diversity(dpp_theta=0.5), Diversity(owner_decay=0.5), Diversity(max_per_owner=1)
        return self.chooser.choice((*[Diversity()] * 6, *spreads))

    def _boosts(self) -> Boosts:
        fresh = Boosts(freshness=FreshnessBoost(24 * HOUR_US, 0.5))
        return self.chooser.choice((*[NO_BOOSTS] * 6, fresh, Boosts(popularity=PopularityBoost(1.0))))

    def _strategies(self) -> tuple[Strategy, ...]:
        built_in = [Strategy(name) for name in STRATEGIES]
        own = Strategy("mine", {n: self.chooser.choice((0.5, 3.0)) for n in self.chooser.sample(sorted(QUOTAS), 3)})
        return tuple(self.chooser.sample([*built_in, own], self.chooser.choice((0, 0, 1, 1, 2))))

    def allowed(self, request: UserCandidates) -> set[str]:
        """All items that may be returned, by what the world knows."""
        options = request.options
        viewer = options.viewer or Viewer(request.user_id)
        if request.history is None:
            history = self.events.get(request.user_id, [])
            owners = {owner for owner, _ in self.turned_down.get(request.user_id, set())}
        else:
            history = list(request.history)
            against = [e.item_id for e in history if e.event_type in {"block_author", "mute_author"}]
            owners = {self.items[i].owner_id for i in against if i in self.items} - {""}
        gone = {e.item_id for e in history if turns_down(e)} | set(options.exclude_item_ids)
        if not request.include_seen:
            gone |= {e.item_id for e in history}
        return {
            item.item_id
            for item in self.items.values()
            if item.item_id not in gone
            and item.owner_id not in owners
            and can_see(item, viewer)
            and matches(options.filter, item)
        }

    def check(self, request: UserCandidates, result: SearchResult) -> None:
        """Nothing that must not be there, all that there is room for, in order, and with scores that add up."""
        options, allowed = request.options, self.allowed(request)
        self.shown = ids = [hit.item_id for hit in result.hits]
        assert not set(ids) - allowed, (request, set(ids) - allowed)
        assert len(set(ids)) == len(ids)
        # A result that is kept may lack what has come into sight since, for as long as it is kept.
        if not options.diversity.max_per_owner and not result.report.cached:
            assert len(ids) == min(options.limit, len(allowed)), (request, allowed - set(ids))
        assert (result.report.shortfall is None) == (len(ids) == options.limit)
        proposed = {report.name: report for report in result.report.sources}
        for hit in result.hits:
            assert hit.score == pytest.approx(sum(part.score for part in hit.contributions), rel=1e-9)
            for part in hit.contributions:
                assert 1 <= part.rank <= proposed[part.source].returned <= proposed[part.source].quota
            if options.view is View.BASIC:
                assert hit.item is not None
                assert hit.item.attributes == self.items[hit.item_id].attributes
        if options.boosts.empty and options.diversity == Diversity():
            scores = np.array([hit.score for hit in result.hits])
            assert (np.diff(scores) <= 1e-15).all()
