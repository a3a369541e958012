"""One collection under random operations, held against the in-memory reference after every one of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pytest

from retrieval.application.limits import Limits
from retrieval.application.matryoshka import Matryoshka, search_matryoshka
from retrieval.application.search import SearchPipeline
from retrieval.application.similar_items import SimilarItems, search_similar_items
from retrieval.domain.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError, UnavailableError
from retrieval.domain.filters import Exists, Filter, ItemIdIn, MatchAny, Range, TypedValue, matches
from retrieval.domain.model import (
    ANONYMOUS,
    AttributeType,
    Chunk,
    Collection,
    EmbeddingVersion,
    Item,
    ItemStatus,
    Metric,
    PopularThresholds,
    Viewer,
    Visibility,
)
from retrieval.domain.search import NO_FILTER, IndexScope, SearchOptions, SearchParams, Source, Stage
from retrieval.domain.vectors import distances as vector_distances
from retrieval.domain.vectors import to_half
from retrieval.domain.visibility import can_see
from tests.catalogue import ATTRIBUTES
from tests.patience import PATIENCE_S
from tests.property.strategies import GROUPS, NUMBERS, USERS, WORDS, random_item

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from retrieval.application.ports import Stores
    from retrieval.domain.search import SearchResult

T = TypeVar("T")

DIM = 16
PREFIX = 8
TOLERANCE = 4e-3
"""Distances come from half-precision rows by different routes."""
FLOOR = 0.95
STALE_S = 4.0
"""A search without a token may show what was so long ago: the bound of two seconds, and time for a busy machine."""


@dataclass(slots=True)
class Tally:
    """What was done, and how well approximate searches did."""

    operations: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    recalls: list[float] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return sum(self.recalls) / max(len(self.recalls), 1)


async def persistently(attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns once the database is there to answer."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await attempt()
        except UnavailableError as error:
            if error.reason in {"CACHE_BEHIND", "WRITE_CONFLICT"} or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


class Shelf:
    """Does one random operation after the other. `exact`: so few rows that the whole answer must be right.

    `stores` may be replaced between operations; `oracle` lives as long as the shelf.
    """

    def __init__(self, name: str, metric: Metric, size: int, chunks: int, chooser: Random, *, exact: bool) -> None:
        self.name = name
        self.metric = metric
        self.size = size
        self.chunks = chunks
        self.exact = exact
        self.chooser = chooser
        self.rng = np.random.default_rng(chooser.getrandbits(32))
        self.centres = self.rng.standard_normal((8, DIM))
        self.stores: Stores
        self.oracle: Stores
        self.token = ""
        self.tally = Tally()
        self.extra: list[str] = []
        self.requests = 0
        self.was: dict[str, deque[tuple[float, Item]]] = {}
        """What items were until then, as far as it can still be seen without a token."""

    async def open(self, stores: Stores, oracle: Stores) -> None:
        """Create the collection with some items."""
        self.stores, self.oracle = stores, oracle
        await self._create()
        await self._put([self._item() for _ in range(self.size // 2)])

    async def operate(self) -> None:
        """One operation, chosen at random."""
        searches = [(self.search, 40), (self.search_seeds, 6), (self.search_now, 20), (self.read, 4)]
        writes = [(self.upsert, 20), (self.restyle, 12), (self.rechunk, 4), (self.delete, 5)]
        rare = [
            (self.prewarm, 0.6),
            (self.thresholds, 0.5),
            (self.declare, 0.2),
            (self.versions, 0.3),
            (self.anew, 0.05),
        ]
        steps = [*searches, *writes, *rare]
        step = self.chooser.choices([s for s, _ in steps], [w for _, w in steps])[0]
        self.tally.operations += 1
        self.tally.kinds[step.__name__] += 1
        await step()

    # writes

    async def upsert(self) -> None:
        known = await self._ids()
        count = self.chooser.choice((1, 1, 3, 12))
        ids = [self._id() for _ in range(count)] if len(known) < self.size else self.chooser.choices(known, k=count)
        await self._put([self._item(i) for i in ids])

    async def restyle(self) -> None:
        """Same vectors, other visibility, owner or attributes."""
        item = await self._some_item()
        if item is None:
            return
        other = random_item(item.item_id, self.chooser)
        if self.chooser.random() < 0.5:
            other = replace(item, visibility=other.visibility, status=other.status, owner_id=other.owner_id)
        else:
            other = replace(item, attributes=self._attributes(other), tags=other.tags, rating_value=other.rating_value)
        await self._put([other])

    async def rechunk(self) -> None:
        """Other vectors, and another number of them."""
        item = await self._some_item()
        if item is not None:
            await self._put([replace(item, chunks=self._chunks(none=0.1))])

    async def delete(self) -> None:
        known = await self._ids()
        ids = self.chooser.sample(known, min(len(known), self.chooser.choice((1, 1, 4))))
        ids.append("nowhere")
        self._remember(ids, await self._current(ids))
        self.requests += 1
        request = f"request-{self.requests}"
        for stores in (self.stores, self.oracle):

            async def write(stores: Stores = stores) -> str:
                collection = await stores.collections.get(self.name)
                return (await stores.items.delete(collection, ids, request, b"d")).token

            token = await persistently(write)
            if stores is self.stores:
                self.token = token

    async def prewarm(self) -> None:
        cache = self.stores.cache
        if cache is not None:
            cache.prewarm((await persistently(lambda: self.stores.collections.get(self.name))).active)

    async def thresholds(self) -> None:
        """Other items are popular from now on."""
        popular = PopularThresholds(self.chooser.choice((-2.0, 0.5, 3.0)), self.chooser.choice((0, 2)))
        await self._redefine(lambda stores: stores.collections.update(self.name, {}, popular, None))

    async def declare(self) -> None:
        """An attribute that earlier items do not have."""
        if len(self.extra) == 6:
            return
        name = f"extra_{len(self.extra)}"
        kinds = {name: AttributeType.KEYWORD}
        await self._redefine(lambda stores: stores.collections.update(self.name, kinds, None, None))
        self.extra.append(name)
        await self._put([self._item()])

    async def versions(self) -> None:
        """Go back a version, or fill another one and make it active."""
        collection = await persistently(lambda: self.stores.collections.get(self.name))
        if len(collection.versions) > 4 or self.chooser.random() < 0.3:
            before = collection.active.version

            async def back(stores: Stores) -> None:
                if (await stores.collections.get(self.name)).active.version == before:
                    await stores.collections.rollback_version(self.name)

            try:
                await self._redefine(back)
            except FailedPreconditionError:
                return
        else:
            number = len(collection.versions) + 1
            await self._redefine(lambda stores: self._create_version(stores, number))
            items = [replace(i, chunks=self._chunks()) for i in await self._everything()]
            await self._put(items, number)
            if not items:
                return
            await self._redefine(lambda stores: stores.collections.activate_version(self.name, number))

    async def anew(self) -> None:
        """Another collection of the same name."""
        everything = await self._current(await self._ids())
        self._remember(list(everything), everything)
        for stores in (self.stores, self.oracle):

            async def drop(stores: Stores = stores) -> None:
                try:
                    await stores.collections.delete(self.name)
                except NotFoundError:
                    return  # an attempt before this one came through

            await persistently(drop)
        self.extra = []
        await self._create()
        await self._put([self._item() for _ in range(self.size // 2)])

    # searches

    async def search(self) -> None:
        """By vector, with whatever a search may ask for."""
        stages: tuple[Stage, ...] = ()
        options = self._options()
        if self.chooser.random() < 0.1:
            stages = (Stage(PREFIX, max(options.limit * 4, 100)), Stage(DIM, max(options.limit, 40)))
        request = Matryoshka(self.name, self._vector(), stages, options)
        await self._compare(request, lambda stores, r: search_matryoshka(SearchPipeline(stores, Limits()), r))

    async def search_seeds(self) -> None:
        """By items that the viewer sees."""
        item = await self._some_item()
        options = replace(self._options(), viewer=Viewer(unrestricted=True))
        if item is not None and item.chunks:
            request = SimilarItems(self.name, (item.item_id,), options=options)
            await self._compare(
                request, lambda stores, r: search_similar_items(stores, SearchPipeline(stores, Limits()), r)
            )

    async def search_now(self) -> None:
        """On the hot path, with and without a token."""
        cache = self.stores.cache
        options = self._options()
        if self.chooser.random() < 0.3:
            options = replace(options, min_consistency_token="")
        vectors = np.stack([self._vector() for _ in range(self.chooser.choice((1, 3)))])
        if cache is None:
            return
        # The native front asks from a thread of its own.
        hits = await asyncio.to_thread(cache.search_now, self.name, vectors, options)
        self.tally.sources["now" if hits is not None else "declined"] += 1
        if hits is None:
            return
        assert len(hits.item_ids) == len(hits.distances) == len(vectors) * options.limit
        for number, vector in enumerate(vectors):
            part = slice(number * options.limit, (number + 1) * options.limit)
            ids, distances = hits.item_ids[part], hits.distances[part]
            if not options.min_consistency_token:
                self._check_seen_lately(options, ids)
                continue
            request = Matryoshka(self.name, vector, (), options)
            pipeline = SearchPipeline(self.oracle, Limits())
            expected = await search_matryoshka(pipeline, self._oracles(request))
            self._check_hits(request, ids, distances, expected, await self._current(ids))

    async def read(self) -> None:
        """Vectors of items come from the cache as well."""
        ids = [*self.chooser.sample(known := await self._ids(), min(5, len(known))), "nowhere"]
        viewer = self._viewer() or ANONYMOUS
        found = []
        for stores in (self.stores, self.oracle):

            async def vectors(stores: Stores = stores) -> dict[str, np.ndarray]:
                collection = await stores.collections.get(self.name)
                token = self.token if stores is self.stores else ""
                return await stores.index.vectors(collection.active, ids, viewer, token)

            found.append(await persistently(vectors))
        assert found[0].keys() == found[1].keys()
        for item_id, rows in found[1].items():
            np.testing.assert_array_equal(np.sort(found[0][item_id], axis=0), np.sort(rows, axis=0))

    # checks

    async def _compare(
        self,
        request: Matryoshka | SimilarItems,
        search: Callable[[Stores, Matryoshka | SimilarItems], Awaitable[SearchResult]],
    ) -> None:
        expected = await search(self.oracle, self._oracles(request))
        try:
            got = await persistently(lambda: search(self.stores, request))
        except (FailedPreconditionError, UnavailableError) as error:
            named = request.options.params.source is Source.FAISS
            if not named or error.reason not in {"INDEX_NOT_READY", "CACHE_BEHIND"}:
                raise
            self.tally.sources[error.reason] += 1
            return
        self.tally.sources[got.report.source.name] += 1
        if request.options.params.source is not Source.AUTO:
            assert got.report.source is request.options.params.source
        ids, distances = [h.item_id for h in got.hits], [h.distance for h in got.hits]
        self._check_hits(request, ids, distances, expected, await self._current(ids))

    def _check_hits(
        self,
        request: Matryoshka | SimilarItems,
        ids: list[str],
        distances: list[float],
        expected: SearchResult,
        now: dict[str, Item],
    ) -> None:
        options = request.options
        assert len(set(ids)) == len(ids), "an item was returned twice"
        for item_id in ids:
            assert item_id in now, f"{item_id} is deleted, or never was"
            assert can_see(now[item_id], options.viewer or ANONYMOUS), f"{item_id} is hidden from the viewer"
            assert matches(options.filter, now[item_id]), f"{item_id} does not satisfy the filter"
            assert item_id not in options.exclude_item_ids
        assert distances == sorted(distances), f"{distances} are out of order"
        wanted = {h.item_id: h.distance for h in expected.hits}
        if isinstance(request, Matryoshka):
            # Of the chunks as they are now; an approximate search may miss the best one of an item.
            query = to_half(request.vector, DIM, self.metric, "v")
            for item_id, distance in zip(ids, distances, strict=True):
                own = vector_distances(query, np.stack([c.vector for c in now[item_id].chunks]), self.metric)
                assert np.abs(own - distance).min() < TOLERANCE, f"{item_id} is at {own}, not {distance}: {request}"
        if self.exact and not (isinstance(request, Matryoshka) and request.stages):
            truth = [h.distance for h in expected.hits]
            assert len(ids) == len(truth), f"{len(ids)} hits, not {len(truth)}: {request}"
            assert distances == pytest.approx(truth, abs=TOLERANCE), f"{request}"
        elif wanted:
            self.tally.recalls.append(len(wanted.keys() & set(ids)) / len(wanted))

    def _check_seen_lately(self, options: SearchOptions, ids: list[str]) -> None:
        """Without a token an item may be as it was a moment ago; before that it is not to be seen."""
        lately = time.monotonic() - STALE_S
        held = self.oracle.items._memory.named(self.name)
        for item_id in ids:
            states = [item for until, item in self.was.get(item_id, ()) if until > lately]
            if item_id in held.items:
                states.append(held.items[item_id])
            assert any(can_see(s, options.viewer or ANONYMOUS) for s in states), f"{item_id} is long gone or hidden"

    # the parts

    async def _put(self, items: list[Item], number: int = 0) -> None:
        """Write to both, and remember what was."""
        items = list({i.item_id: i for i in items}.values())
        self._remember([i.item_id for i in items], await self._current([i.item_id for i in items]))
        self.requests += 1
        request = f"request-{self.requests}"
        for stores in (self.stores, self.oracle):

            async def write(stores: Stores = stores) -> str:
                collection = await stores.collections.get(self.name)
                version = collection.versions[number - 1] if number else collection.active
                return (await stores.items.upsert(collection, version, items, request, b"u")).token

            token = await persistently(write)
            if stores is self.stores:
                self.token = token

    async def _redefine(self, change: Callable[[Stores], Awaitable[object]]) -> None:
        await persistently(lambda: change(self.stores))
        await change(self.oracle)
        self.token = await persistently(self.stores.items.token)

    async def _create(self) -> None:
        kinds = {**ATTRIBUTES, **dict.fromkeys(self.extra, AttributeType.KEYWORD)}
        made = Collection(0, self.name, self.metric, kinds, popular=PopularThresholds(0.5, 2))
        version = EmbeddingVersion(0, 0, "model", DIM, (PREFIX,))

        async def create(stores: Stores) -> None:
            try:
                await stores.collections.create(made, version)
            except AlreadyExistsError:
                return  # an attempt before this one came through

        await persistently(lambda: create(self.stores))
        await create(self.oracle)

    async def _create_version(self, stores: Stores, number: int) -> None:
        if len((await stores.collections.get(self.name)).versions) < number:
            await stores.collections.create_version(
                self.name, EmbeddingVersion(0, 0, f"model {number}", DIM, (PREFIX,))
            )

    def _remember(self, ids: list[str], before: dict[str, Item]) -> None:
        """Called ahead of a write: what was is seen until some time after it."""
        now = time.monotonic()
        for item_id in ids:
            states = self.was.setdefault(item_id, deque(maxlen=50))
            if item_id in before:
                states.append((now + 1.0, before[item_id]))

    async def _current(self, ids: list[str]) -> dict[str, Item]:
        collection = await self.oracle.collections.get(self.name)
        return await self.oracle.items.get(
            collection, collection.active, ids, Viewer(unrestricted=True), with_chunks=True
        )

    async def _ids(self) -> list[str]:
        return [i.item_id for i in await self._everything()]

    async def _everything(self) -> list[Item]:
        return list(self.oracle.items._memory.named(self.name).items.values())

    async def _some_item(self) -> Item | None:
        ids = await self._ids()
        return (await self._current([chosen := self.chooser.choice(ids)]))[chosen] if ids else None

    def _oracles(self, request: T) -> T:
        options = request.options
        params = replace(options.params, source=Source.AUTO)
        return replace(request, options=replace(options, params=params, min_consistency_token=""))

    def _id(self) -> str:
        return f"i{self.chooser.randrange(3 * self.size)}"

    def _item(self, item_id: str = "") -> Item:
        item = random_item(item_id or self._id(), self.chooser)
        if self.chooser.random() < 0.5:
            item = replace(item, visibility=Visibility.PUBLIC, status=ItemStatus.APPROVED)
        return replace(item, attributes=self._attributes(item), chunks=self._chunks())

    def _attributes(self, item: Item) -> dict[str, object]:
        own = {name: self.chooser.choice(WORDS) for name in self.extra if self.chooser.random() < 0.5}
        return {**item.attributes, **own}

    def _chunks(self, none: float = 0.0) -> tuple[Chunk, ...]:
        if self.chooser.random() < none:
            return ()
        count = self.chooser.randint(1, self.chunks)
        return tuple(Chunk(c, to_half(self._vector(), DIM, self.metric, "v")) for c in range(count))

    def _vector(self) -> np.ndarray:
        return (self.centres[self.rng.integers(8)] + 0.7 * self.rng.standard_normal(DIM)).astype(np.float32)

    def _viewer(self) -> Viewer | None:
        groups = tuple(self.chooser.sample(GROUPS, self.chooser.randint(0, 2)))
        return self.chooser.choice((None, Viewer(self.chooser.choice(USERS), groups), Viewer(unrestricted=True)))

    def _filter(self) -> Filter:
        def words() -> tuple[TypedValue, ...]:
            return tuple(TypedValue(AttributeType.KEYWORD, w) for w in self.chooser.sample(WORDS, 4))

        number = TypedValue(AttributeType.INT64, self.chooser.choice(NUMBERS))
        ids = tuple(f"i{n}" for n in self.chooser.sample(range(3 * self.size), self.size))
        some = [
            MatchAny("genre", words()),
            MatchAny("labels", words()),
            MatchAny("tags", words()),
            Range("rank", gt=number),
            Exists("price"),
            MatchAny("in_stock", (TypedValue(AttributeType.BOOL, self.chooser.random() < 0.5),)),
            ItemIdIn(ids),
            *(MatchAny(name, words()) for name in self.extra),
        ]
        first, second = self.chooser.sample(some, 2)
        forms = (Filter(must=(first,)), Filter(must_not=(first,)), Filter(should=(first, second)))
        return self.chooser.choice((*forms, Filter(must=(first,), must_not=(second,))))

    def _options(self) -> SearchOptions:
        scope = IndexScope.POPULAR if self.chooser.random() < 0.1 else IndexScope.FULL
        ef_search = self.chooser.choice((None, None, None, 64))
        excluded = [f"i{n}" for n in range(0, 3 * self.size, 5)] if self.chooser.random() < 0.15 else []
        return SearchOptions(
            limit=self.chooser.choice((1, 5, 10, 10, 30)),
            filter=self._filter() if self.chooser.random() < 0.4 else NO_FILTER,
            exclude_item_ids=tuple(excluded),
            viewer=self._viewer(),
            params=SearchParams(self.chooser.choice((Source.AUTO, Source.AUTO, Source.FAISS)), scope, ef_search),
            min_consistency_token=self.token,
        )
