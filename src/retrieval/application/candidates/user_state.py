"""What is known of a user: history read, interests, edges; kept in memory until an event or an edge changes it."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.application.limits import MAX_HISTORY
from retrieval.application.user_profile import PROFILE_ITEMS
from retrieval.application.worker_threads import in_thread
from retrieval.domain.decay import relative
from retrieval.domain.engagement import Engagement, event_types_of, fresh_weight, read_history, user_hash
from retrieval.domain.interests import first_positives, interests
from retrieval.domain.model import EVERYTHING
from retrieval.domain.owner_edges import OwnerEdges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from retrieval.application.task_supervisor import TaskSupervisor
    from retrieval.domain.engagement import EventType
    from retrieval.domain.interests import Interest
    from retrieval.domain.model import Collection, EmbeddingVersion, Event

MAX_SEEN = 1_000_000
"""Items a user has seen that are left out: the latest."""
KEPT_BYTES = 512 * 2**20
"""States in memory over all users, as estimated by `_size`."""
LONG_GROUPING = 10_000
"""Grouping more numbers than this takes some 5 ms and more."""
LONG_HISTORY = 5_000
"""The same for taking in so many seen items."""

_numbers = itertools.count(1)


@dataclass(slots=True)
class UserState:
    """A user at a moment, which `number` tells from all others. Times are in microseconds since the epoch.

    `event_counts`: by type, of the events that were read, which happened from `oldest_at` to `newest_at`. `positives`:
    (item, first time, strongest weight), oldest first. `weighing`: how events counted, see `_weighing`. `interests`,
    `interests_at` and `vectors` by embedding version id: the interests, when they were worked out, and the vectors that
    were set for the user. `drawn` keeps what sources worked out for this very state.
    """

    number: int
    user_id: str
    event_counts: Mapping[str, int]
    oldest_at: int | None
    newest_at: int | None
    engagement: Engagement
    positives: list[tuple[str, int, float]]
    seen: frozenset[str]
    turned_down_owners: frozenset[str]
    edges: OwnerEdges
    weighing: tuple[Mapping[str, EventType], float]
    interests: dict[int, tuple[Interest, ...]] = field(default_factory=dict)
    interests_at: dict[int, int] = field(default_factory=dict)
    vectors: dict[int, NDArray[np.float16] | None] = field(default_factory=dict)
    drawn: dict[Any, Any] = field(default_factory=dict)

    @property
    def missing(self) -> str:
        """Why there is nothing to go by; empty where there is something."""
        if not self.event_counts:
            return "NO_HISTORY"
        return "" if self.positives else "NO_POSITIVE_HISTORY"


class UserStates:
    """Loads states, and keeps them while `following` tells of every change."""

    def __init__(self, stores: Stores, tasks: TaskSupervisor) -> None:
        self._stores = stores
        self._tasks = tasks
        self._kept: OrderedDict[tuple[int, str], UserState] = OrderedDict()
        self._by_hash: dict[tuple[int, int], set[str]] = {}
        self._bytes = 0
        self._loading: dict[tuple[int, int], list[asyncio.Future[None]]] = {}
        self._unsubscribe: Callable[[], None] | None = None
        self._writes: set[asyncio.Task[None]] = set()

    def follow(self) -> None:
        """Keep states from now on."""
        self._unsubscribe = self._stores.user_feed.subscribe(self._changed)

    async def close(self) -> None:
        """Keep nothing any more; returns when nothing is being written."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self._kept.clear()
        await self.settle()

    async def settle(self) -> None:
        """Return when the interests worked out so far are stored."""
        if self._writes:
            await asyncio.wait(self._writes)

    async def of(self, collection: Collection, user_id: str, *, fresh: bool = False) -> UserState:
        """The state of a stored user; `fresh`: as of now, whatever is kept."""
        key = collection.collection_id, user_id
        state = None if fresh else self._kept.get(key)
        if state is not None and state.weighing == _weighing(collection):
            self._kept.move_to_end(key)
            return state
        # A change that comes in while the state is read may or may not be in what was read.
        watch: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watched = collection.collection_id, user_hash(user_id)
        self._loading.setdefault(watched, []).append(watch)
        try:
            state = await self._load(collection, user_id)
        finally:
            self._loading[watched].remove(watch)
            if not self._loading[watched]:
                del self._loading[watched]
        if self._unsubscribe is not None and not watch.done():
            self._keep(key, state)
        watch.cancel()
        return state

    async def of_history(self, collection: Collection, events: Sequence[Event]) -> UserState:
        """The state of a user whose history came with the request: owners are turned down by its events alone."""
        types = event_types_of(collection)
        against = sorted({e.item_id for e in events if types[e.event_type].against_owner})
        owners = await self._stores.events.owners_of(collection, against) if against else set()
        return _state(collection, "", events, OwnerEdges(), frozenset(owners - {""}))

    async def interests(self, state: UserState, version: EmbeddingVersion) -> tuple[Interest, ...]:
        """The user's interests in an embedding version; those of a stored user are stored too, soon.

        Items are read without regard to the viewer's rights: a user's own engagement is the user's to use, and nothing
        of them is returned.
        """
        known = state.interests.get(version.version_id)
        if known is not None:
            return known
        strongest = list(state.engagement.attracting)[:PROFILE_ITEMS]
        found = await self.item_vectors(version, strongest)
        used = [item_id for item_id in strongest if item_id in found]
        known = ()
        if used:
            rows = np.stack([found[item_id] for item_id in used])
            weights = relative([state.engagement.attracting[item_id] for item_id in used])
            grouping = used, rows, weights
            known = await in_thread(interests, *grouping) if rows.size > LONG_GROUPING else interests(*grouping)
        state.interests[version.version_id] = known
        state.interests_at[version.version_id] = time.time_ns() // 1000
        if state.user_id and self._unsubscribe is not None:
            task = self._tasks.once(
                "save-interests", self._stores.profiles.save_interests(version, state.user_id, known)
            )
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)
        return known

    async def item_vectors(self, version: EmbeddingVersion, item_ids: list[str]) -> dict[str, NDArray[np.float32]]:
        """The mean of an item's chunks, (dim,) float32, by item; what comes of them is kept for as long as the state.

        So what a cache does not have yet the store is asked for.
        """
        if not item_ids:
            return {}
        index = self._stores.index
        found = await index.vectors(version, item_ids, EVERYTHING)
        missing = [item_id for item_id in item_ids if item_id not in found]
        if missing:
            found |= await index.vectors(version, missing, EVERYTHING, await self._stores.items.token())
        return {item_id: chunks.astype(np.float32).mean(axis=0) for item_id, chunks in found.items()}

    async def vector(self, state: UserState, version: EmbeddingVersion) -> NDArray[np.float16] | None:
        """The vector that was set for a stored user."""
        if not state.user_id:
            return None
        if version.version_id not in state.vectors:
            state.vectors[version.version_id] = await self._stores.profiles.vector(version, state.user_id)
        return state.vectors[version.version_id]

    async def _load(self, collection: Collection, user_id: str) -> UserState:
        events, edges = await asyncio.gather(
            self._stores.events.history(collection, user_id, MAX_HISTORY),
            self._stores.engagement.edges(collection, user_id),
        )
        earlier: list[tuple[str, bool]] = []
        if len(events) == MAX_HISTORY:
            earlier = await self._stores.events.seen(collection, user_id, MAX_SEEN)
        known = collection, user_id, events, edges, frozenset[str](), earlier
        return await in_thread(_state, *known) if len(earlier) > LONG_HISTORY else _state(*known)

    def _keep(self, key: tuple[int, str], state: UserState) -> None:
        self._drop(key)
        self._kept[key] = state
        self._by_hash.setdefault((key[0], user_hash(key[1])), set()).add(key[1])
        self._bytes += _size(state)
        while self._bytes > KEPT_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[int, str]) -> None:
        state = self._kept.pop(key, None)
        if state is not None:
            self._bytes -= _size(state)
            watched = key[0], user_hash(key[1])
            users = self._by_hash[watched]
            users.discard(key[1])
            if not users:
                del self._by_hash[watched]

    def _changed(self, collection_id: int | None, hashes: frozenset[int]) -> None:
        if collection_id is None:
            self._kept.clear()
            self._by_hash.clear()
            self._bytes = 0
            watched = list(self._loading.values())
        else:
            told = [(collection_id, number) for number in hashes]
            for user in [user for both in told for user in self._by_hash.get(both, ())]:
                self._drop((collection_id, user))
            watched = [self._loading[both] for both in told if both in self._loading]
        for futures in watched:
            for future in futures:
                if not future.done():
                    future.set_result(None)


def _size(state: UserState) -> int:
    """Estimated bytes: of what sources work out later, of a set's entry and a part of its string, which users share,
    and of two tables of positives.
    """
    return 40_000 + 100 * len(state.seen) + 400 * len(state.positives)


def _state(
    collection: Collection,
    user_id: str,
    events: Sequence[Event],
    edges: OwnerEdges,
    owners: frozenset[str],
    earlier: Sequence[tuple[str, bool]] = (),
) -> UserState:
    """From the latest `events`, and what of items with `earlier` ones must be known: see `EventStore.seen`."""
    types = event_types_of(collection)
    scale = collection.rating_scale_max
    engagement = read_history(events, scale, time.time_ns() // 1000, types)
    repelling = frozenset(item_id for item_id, repelled in earlier if repelled)
    if repelling:
        engagement = replace(
            engagement,
            attracting={i: weight for i, weight in engagement.attracting.items() if i not in repelling},
            repelling=engagement.repelling | repelling,
        )
    fresh = [fresh_weight(event, scale, types) for event in events]
    times = [event.occurred_at for event in events]
    return UserState(
        next(_numbers),
        user_id,
        Counter(event.event_type for event in events),
        min(times, default=None),
        max(times, default=None),
        engagement,
        first_positives(events, engagement, fresh),
        engagement.seen.union(sys.intern(item_id) for item_id, _ in earlier),
        edges.blocked | edges.muted | owners,
        edges,
        _weighing(collection),
    )


def _weighing(collection: Collection) -> tuple[Mapping[str, EventType], float]:
    """What makes weights of events: a state goes by what was set when it was made."""
    return collection.event_types, collection.rating_scale_max
