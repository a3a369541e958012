"""What is known of a user: history read, interests, edges; kept in memory until an event or an edge changes it."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from retrieval.application.limits import MAX_HISTORY
from retrieval.domain.engagement import Engagement, event_types_of, fresh_weight, read_history, user_hash
from retrieval.domain.interests import first_positives, interests
from retrieval.domain.model import Viewer
from retrieval.domain.owner_edges import OwnerEdges

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from retrieval.domain.interests import Interest
    from retrieval.domain.model import Collection, EmbeddingVersion, Event

MAX_SEEN = 1_000_000
"""Items a user has seen that are left out: the latest."""
PROFILE_ITEMS = 200
"""Strongest items that make the interests: more change them little and cost a row read each."""
KEPT_IDS = 5_000_000
"""Seen ids over all users in memory: some 100 bytes each."""
KEPT_USERS = 20_000

_EVERYTHING = Viewer(unrestricted=True)


@dataclass(slots=True)
class UserState:
    """A user at a moment. `positives`: (item, first time, strongest weight), oldest first; `event_count`: those read.

    `interests` and `vectors` by embedding version id; `vectors` are those that were set for the user. `drawn` and
    `results` keep what was worked out for this very state.
    """

    user_id: str
    events: Sequence[Event]
    engagement: Engagement
    positives: list[tuple[str, int, float]]
    seen: frozenset[str]
    turned_down_owners: frozenset[str]
    edges: OwnerEdges
    interests: dict[int, tuple[Interest, ...]] = field(default_factory=dict)
    vectors: dict[int, NDArray[np.float16] | None] = field(default_factory=dict)
    drawn: dict[Any, Any] = field(default_factory=dict)
    results: dict[Any, Any] = field(default_factory=dict)

    @property
    def missing(self) -> str:
        """Why there is nothing to go by; empty where there is something."""
        if not self.events:
            return "NO_HISTORY"
        return "" if self.positives else "NO_POSITIVE_HISTORY"


class _Older(NamedTuple):
    """What is known of a user by more events than are read one by one."""

    seen: frozenset[str] = frozenset()
    turned_down: frozenset[str] = frozenset()


class UserStates:
    """Loads states, and keeps them while `following` tells of every change."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._kept: OrderedDict[tuple[int, str], UserState] = OrderedDict()
        self._by_hash: dict[tuple[int, int], set[str]] = {}
        self._ids = 0
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
        if self._writes:
            await asyncio.wait(self._writes)

    async def of(self, collection: Collection, user_id: str, *, fresh: bool = False) -> UserState:
        """The state of a stored user; `fresh`: as of now, whatever is kept."""
        key = collection.collection_id, user_id
        state = None if fresh else self._kept.get(key)
        if state is not None:
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
        return _state(collection, "", events, _Older(), OwnerEdges(), frozenset(owners - {""}))

    async def interests(self, state: UserState, version: EmbeddingVersion) -> tuple[Interest, ...]:
        """The user's interests in an embedding version; those of a stored user are stored too, soon.

        Items are read without regard to the viewer's rights: a user's own engagement is the user's to use, and nothing
        of them is returned.
        """
        known = state.interests.get(version.version_id)
        if known is not None:
            return known
        strongest = list(state.engagement.attracting)[:PROFILE_ITEMS]
        found = await self._stores.index.vectors(version, strongest, _EVERYTHING) if strongest else {}
        used = [item_id for item_id in strongest if item_id in found]
        known = ()
        if used:
            rows = np.stack([found[item_id].astype(np.float32).mean(axis=0) for item_id in used])
            weights = np.array([state.engagement.attracting[item_id] for item_id in used], np.float32)
            known = interests(used, rows, weights)
        state.interests[version.version_id] = known
        if state.user_id and self._unsubscribe is not None:
            task = asyncio.create_task(self._stores.profiles.save_interests(version, state.user_id, known))
            self._writes.add(task)
            task.add_done_callback(self._written)
        return known

    async def vector(self, state: UserState, version: EmbeddingVersion) -> NDArray[np.float16] | None:
        """The vector that was set for a stored user."""
        if not state.user_id:
            return None
        if version.version_id not in state.vectors:
            state.vectors[version.version_id] = await self._stores.profiles.vector(version, state.user_id)
        return state.vectors[version.version_id]

    def forget(self, collection: Collection, user_id: str) -> None:
        """Read the user anew when asked for next."""
        self._changed(collection.collection_id, frozenset((user_hash(user_id),)))

    async def _load(self, collection: Collection, user_id: str) -> UserState:
        events, edges = await asyncio.gather(
            self._stores.events.history(collection, user_id, MAX_HISTORY),
            self._stores.engagement.edges(collection, user_id),
        )
        older = _Older()
        if len(events) == MAX_HISTORY:
            # What was seen, and what was turned down, stays so however much happened since.
            seen, turned_down = await asyncio.gather(
                self._stores.events.seen(collection, user_id, MAX_SEEN),
                self._stores.events.turned_down(collection, user_id, MAX_SEEN),
            )
            older = _Older(frozenset(seen), frozenset(turned_down))
        return _state(collection, user_id, events, older, edges, frozenset())

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            task.exception()  # stored again when the user is read anew; nobody waits for it

    def _keep(self, key: tuple[int, str], state: UserState) -> None:
        self._drop(key)
        self._kept[key] = state
        self._by_hash.setdefault((key[0], user_hash(key[1])), set()).add(key[1])
        self._ids += len(state.seen)
        while len(self._kept) > KEPT_USERS or self._ids > KEPT_IDS:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[int, str]) -> None:
        state = self._kept.pop(key, None)
        if state is not None:
            self._ids -= len(state.seen)
            watched = key[0], user_hash(key[1])
            users = self._by_hash[watched]
            users.discard(key[1])
            if not users:
                del self._by_hash[watched]

    def _changed(self, collection_id: int | None, hashes: frozenset[int]) -> None:
        if collection_id is None:
            self._kept.clear()
            self._by_hash.clear()
            self._ids = 0
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


def _state(
    collection: Collection,
    user_id: str,
    events: Sequence[Event],
    older: _Older,
    edges: OwnerEdges,
    owners: frozenset[str],
) -> UserState:
    types = event_types_of(collection)
    scale = collection.rating_scale_max
    engagement = read_history(events, scale, time.time_ns() // 1000, types)
    if older.turned_down:
        engagement = replace(
            engagement,
            attracting={i: weight for i, weight in engagement.attracting.items() if i not in older.turned_down},
            repelling=engagement.repelling | older.turned_down,
        )
    fresh = [fresh_weight(event, scale, types) for event in events]
    return UserState(
        user_id,
        events,
        engagement,
        first_positives(events, engagement, fresh),
        engagement.seen | older.seen,
        edges.blocked | edges.muted | owners,
        edges,
    )
