"""The sources of candidates. Each proposes item ids, best first; what may not be shown is taken out later."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.candidates import strategies as names
from retrieval.application.worker_threads import in_thread
from retrieval.domain.blend import fuse
from retrieval.domain.co_engagement import DAY_US, Past
from retrieval.domain.ranker import draw
from retrieval.domain.search import IndexQuery, SourceReport, Stage
from retrieval.domain.vectors import HALF_MAX, to_half_rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from retrieval.application.candidates.catalogue import Catalogue
    from retrieval.application.candidates.user_state import UserState, UserStates
    from retrieval.application.ports import Stores
    from retrieval.application.search import Scope
    from retrieval.domain.co_engagement import CoEngagement
    from retrieval.domain.co_visits import CoVisits
    from retrieval.domain.ranker import Crowd
    from retrieval.domain.search import IndexAnswer, Predicate

SIMILAR_SEEDS = 5
"""Latest positives whose neighbours are proposed."""
RELATED_SEEDS = 50
IN_NETWORK_ITEMS = 200
MAX_NEAREST = 4000
"""A user who has seen so many of the nearest items is served from other sources."""
LONG_DRAW = 20_000
"""Where the model has and the user has seen more items than this, drawing takes some 5 ms and more."""
STEPS_A_POSITIVE = 500
"""A positive of the user counts as so many: there are paths from it to follow."""


@dataclass(slots=True)
class Proposals:
    """What the sources proposed: item ids by source, best first, how long each took, and who answered the searches.

    `informed`: sources that knew something of the user, whether they had anything left to propose or not. `chunks`: the
    nearest chunk of each item that a vector found.
    """

    lists: dict[str, list[str]]
    informed: frozenset[str]
    reports: tuple[SourceReport, ...]
    answer: IndexAnswer | None
    chunks: Mapping[str, int]


class Banned:
    """Ids that must not be proposed. A user's seen items are looked up where they are: copying them takes too long."""

    def __init__(self, *ids: AbstractSet[str]) -> None:
        self._ids = ids

    def __contains__(self, item_id: str) -> bool:
        return any(item_id in some for some in self._ids)

    def __len__(self) -> int:
        """How many, those counted again that are there for several reasons."""
        return sum(map(len, self._ids))

    def first(self, count: int) -> tuple[str, ...]:
        """At most `count` of them."""
        return tuple(islice(chain.from_iterable(self._ids), count))


@dataclass(slots=True)
class Sources:
    """The sources of one request. `user_vector`: one that came with it.

    `matched`: distance and chunk by item, of the nearest of all vectors that found it.
    """

    stores: Stores
    states: UserStates
    scope: Scope
    state: UserState
    catalogue: Catalogue
    predicate: Predicate
    banned: Banned
    user_vector: NDArray[np.float16] | None
    seen_counts: bool
    answer: IndexAnswer | None = None
    matched: dict[str, tuple[float, int]] = field(default_factory=dict)
    informed: set[str] = field(default_factory=set)

    async def propose(self, quotas: Mapping[str, int]) -> Proposals:
        """Run the sources that have a quota."""
        run: dict[str, Callable[[int], Awaitable[list[str]]]] = {
            names.CO_ENGAGEMENT: self._co_engagement,
            names.INTERESTS: self._interests,
            names.SIMILAR: self._similar,
            names.USER_VECTOR: self._user_vector,
            names.IN_NETWORK: self._in_network,
            names.RELATED: self._related,
            names.TRENDING: self._trending,
            names.POPULAR: self._popular,
            names.FRESH: self._fresh,
        }
        lists: dict[str, list[str]] = {}
        reports: list[SourceReport] = []
        for name, source in run.items():
            quota = quotas.get(name, 0)
            if quota <= 0:
                continue
            since = time.perf_counter()
            found = await source(quota)
            reports.append(SourceReport(name, quota, len(found), time.perf_counter() - since))
            if found:
                lists[name] = found
        chunks = {i: chunk for i, (_, chunk) in self.matched.items()}
        return Proposals(lists, frozenset(self.informed), tuple(reports), self.answer, chunks)

    def _first(self, item_ids: Sequence[str], quota: int) -> list[str]:
        """The first `quota` of those that are not banned."""
        found: list[str] = []
        for item_id in item_ids:
            if item_id not in self.banned:
                found.append(item_id)
                if len(found) == quota:
                    break
        return found

    async def _co_engagement(self, quota: int) -> list[str]:
        """What the trained model and the crowd propose, in the order of the learned blend; worked out once a state.

        Without a model, what the latest events say.
        """
        catalogue = self.catalogue
        rests_on = catalogue.everybody or catalogue.visits
        if rests_on is None:
            return []
        key = (names.CO_ENGAGEMENT, self.seen_counts)
        known = self.state.drawn.get(key)
        if known is None or known[0] is not rests_on:
            now_us = time.time_ns() // 1000
            asked = catalogue, self.state, self.seen_counts, min(now_us, catalogue.newest_event_at or now_us)
            items = 0 if catalogue.model is None else len(catalogue.model)
            items += 0 if catalogue.visits is None else len(catalogue.visits.item_ids)
            long = items + len(self.state.seen) + STEPS_A_POSITIVE * len(self.state.positives) > LONG_DRAW
            known = rests_on, *(await in_thread(_proposed, *asked) if long else _proposed(*asked))
            self.state.drawn[key] = known
        if known[2]:
            self.informed.add(names.CO_ENGAGEMENT)
        return self._first(known[1], quota)

    async def _interests(self, quota: int) -> list[str]:
        """Near each interest, so many of each as it weighs."""
        found = await self.states.interests(self.state, self.scope.version)
        if not found:
            return []
        lists = await self._near(names.INTERESTS, {i.medoid: i.vector for i in found}, quota)
        return list(fuse(lists, {interest.medoid: interest.weight for interest in found}))[:quota]

    async def _similar(self, quota: int) -> list[str]:
        """Near the latest positives."""
        seeds = [item_id for item_id, _, _ in self.state.positives[-SIMILAR_SEEDS:]][::-1]
        if not seeds:
            return []
        key = (names.SIMILAR, self.scope.version.version_id)
        known: dict[str, NDArray[np.float32]] | None = self.state.drawn.get(key)
        if known is None:
            found = await self.states.item_vectors(self.scope.version, seeds)
            known = {item_id: found[item_id] for item_id in seeds if item_id in found}
            self.state.drawn[key] = known
        lists = await self._near(names.SIMILAR, known, quota)
        return list(fuse(lists, {}))[:quota]

    async def _user_vector(self, quota: int) -> list[str]:
        """Near the vector that stands for the user: the one in the request, else the one that was set."""
        vector = self.user_vector
        if vector is None:
            vector = await self.states.vector(self.state, self.scope.version)
        if vector is None:
            return []
        lists = await self._near(names.USER_VECTOR, {"": vector.astype(np.float32)}, quota)
        return lists.get("", [])[:quota]

    async def _in_network(self, quota: int) -> list[str]:
        """The newest items of owners whom the user follows."""
        if not self.state.edges.followed:
            return []
        found = await self.stores.engagement.newest(
            self.scope.collection, self.state.edges.followed, max(IN_NETWORK_ITEMS, quota)
        )
        if found:
            self.informed.add(names.IN_NETWORK)
        return self._first([item.item_id for item in found], quota)

    async def _related(self, quota: int) -> list[str]:
        """What is declared to be related to the latest positives."""
        seeds = [item_id for item_id, _, _ in self.state.positives[-RELATED_SEEDS:]]
        if not seeds or not self.catalogue.has_relations:
            return []
        found = await self.stores.relationships.neighbours(
            self.scope.collection, seeds, self.predicate.viewer, quota + RELATED_SEEDS
        )
        return self._first([item_id for item_id, _ in found], quota)

    async def _trending(self, quota: int) -> list[str]:
        return self._first(self.catalogue.trending, quota)

    async def _popular(self, quota: int) -> list[str]:
        return self._first(self.catalogue.popular, quota)

    async def _fresh(self, quota: int) -> list[str]:
        return self._first(self.catalogue.fresh, quota)

    async def _near(self, source: str, vectors: Mapping[str, NDArray[np.float32]], quota: int) -> dict[str, list[str]]:
        """Nearest admitted items to each vector of a source, `quota` in all, without those banned.

        Those banned are not excluded in the search, which knows of no user's history; a list that they leave too
        short is asked for again, four times as long.
        """
        if not vectors:
            return {}
        scope = self.scope
        each = max(10, quota // len(vectors))
        rows = {}
        for name, vector in vectors.items():
            # The middle of opposite vectors points nowhere.
            half = to_half_rows(np.clip(vector, -HALF_MAX, HALF_MAX)[np.newaxis], scope.collection.metric)
            if half is not None:
                rows[name] = half[0]
        if rows:
            self.informed.add(source)
        found = await asyncio.gather(*(self._nearest(row, each) for row in rows.values()))
        return dict(zip(rows, found, strict=True))

    async def _nearest(self, vector: NDArray[np.float16], wanted: int) -> list[str]:
        count = wanted * 2
        while True:
            answer = await self.stores.index.search(self._query(vector, count))
            self.answer = answer
            found = self._first(answer.item_ids, wanted)
            if len(found) >= wanted or len(answer.item_ids) < count or count >= MAX_NEAREST:
                break
            count = min(count * 4, MAX_NEAREST)
        matches = zip(answer.distances.tolist(), answer.chunk_indexes, strict=True)
        for item_id, match in zip(answer.item_ids, matches, strict=True):
            self.matched[item_id] = min(match, self.matched.get(item_id, match))
        return found

    def _query(self, vector: NDArray[np.float16], count: int) -> IndexQuery:
        scope = self.scope
        return IndexQuery(
            scope.collection,
            scope.version,
            vector,
            (Stage(scope.version.dimension, count),),
            self.predicate,
            scope.options.params,
            min_consistency_token=scope.options.min_consistency_token,
        )


def _proposed(catalogue: Catalogue, state: UserState, seen_counts: bool, now_us: int) -> tuple[list[str], bool]:
    """What others propose, best first, and whether anything is known that they and the user liked."""
    if catalogue.model is not None and catalogue.everybody is not None:
        return _drawn(state, catalogue.model, catalogue.everybody, seen_counts, now_us)
    return ([], False) if catalogue.visits is None else _visited(state, catalogue.visits, seen_counts, now_us)


def _gone(state: UserState, numbers: Mapping[str, int], seen_counts: bool) -> NDArray[np.bool_]:
    """(n,) whether an item must not be proposed to the user."""
    gone = np.zeros(len(numbers), bool)
    ids = state.seen if seen_counts else state.engagement.repelling
    gone[[numbers[item_id] for item_id in ids if item_id in numbers]] = True
    return gone


def _visited(state: UserState, visits: CoVisits, seen_counts: bool, now_us: int) -> tuple[list[str], bool]:
    numbers = visits.numbers
    seeds = np.array([numbers[i] for i, _, _ in state.positives if i in numbers], np.int64)
    away_days = max(0, now_us - (state.newest_at or now_us)) / DAY_US
    found = visits.ranked(seeds, away_days, _gone(state, numbers, seen_counts), names.MAX_QUOTA)
    return [visits.item_ids[number] for number in found.items.tolist()], found.paths > 0


def _drawn(
    state: UserState, model: CoEngagement, everybody: Crowd, seen_counts: bool, now_us: int
) -> tuple[list[str], bool]:
    numbers = model.numbers
    rows = [(numbers[i], at, weight) for i, at, weight in state.positives if i in numbers]
    past = Past(
        np.array([row[0] for row in rows], np.int64),
        np.minimum(np.array([row[2] for row in rows], np.float32) / np.float32(model.unit), 1.0),
        np.array([row[1] for row in rows], np.int64),
    )
    drawn = draw(model, everybody, past, _gone(state, numbers, seen_counts), now_us)
    if model.blend is not None:
        order = np.argsort(-model.blend.scores(drawn.features), kind="stable")
        return [model.item_ids[number] for number in drawn.items[order].tolist()], bool(rows)
    named = {name: [model.item_ids[i] for i in items.tolist()] for name, items in drawn.lists.items()}
    return list(fuse(named, {})), bool(rows)
