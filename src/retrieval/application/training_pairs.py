"""Making training pairs: user after user, each in batches, so that a run can be cut off anywhere and goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from retrieval.application.deadline import remaining_s
from retrieval.application.training_ports import PairRun, UserDone
from retrieval.domain.model import EVERYTHING
from retrieval.domain.training import ItemSnapshot, Timeline, TrainingPair, sort_out
from retrieval.domain.vectors import combine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from retrieval.application.training_ports import PairStore, RunProgress
    from retrieval.domain.model import Collection, Event, Item, Metric

T = TypeVar("T")

MAX_WINDOW_EVENTS = 50_000
"""Events of a user that are held at a time; nobody does more in a window that is worth training on."""
BATCH_PAIRS = 100
"""Pairs made and stored at a time."""
USERS_PAGE = 200
STOP_BEFORE_DEADLINE_S = 1.0
"""Left for the user in progress and for the reply."""


@dataclass(frozen=True, slots=True)
class GeneratePairs:
    """A checked request to make pairs; moments are microseconds since the epoch. `max_users` None: all of them."""

    collection: str
    run: PairRun
    window_start: int
    window_end: int
    negatives_per_positive: int = 4
    history_length: int = 50
    user_ids: tuple[str, ...] = ()
    seed: int = 0
    max_users: int | None = None


async def generate_pairs(stores: Stores, request: GeneratePairs) -> RunProgress:
    """Go on with the run, or start it, until it is complete, `max_users` are done or the deadline comes near."""
    collection = await stores.collections.get(request.collection)
    progress = await stores.pairs.begin(collection, request.run)
    if progress.complete:
        return progress
    maker = _PairMaker(stores, collection, request)
    done = 0
    async for user_id in _users(stores.pairs, collection, request, progress.last_user_id):
        if done == request.max_users or (done and remaining_s() < STOP_BEFORE_DEADLINE_S):
            return progress
        progress = await maker.make(user_id)
        done += 1
    return await stores.pairs.finish(collection, request.run)


async def _users(pairs: PairStore, collection: Collection, request: GeneratePairs, after: str) -> AsyncIterator[str]:
    if request.user_ids:
        for user_id in sorted(set(request.user_ids)):
            if user_id > after:
                yield user_id
        return
    while page := await pairs.users_after(
        collection, after, request.window_start, request.window_end, _page(request.max_users)
    ):
        for user_id in page:
            yield user_id
        after = page[-1]


def _page(max_users: int | None) -> int:
    """One more than are wanted, which tells whether the run is complete."""
    return USERS_PAGE if max_users is None else min(USERS_PAGE, max_users + 1)


class _PairMaker:
    """Makes the pairs of one user after the other."""

    def __init__(self, stores: Stores, collection: Collection, request: GeneratePairs) -> None:
        self._stores = stores
        self._collection = collection
        self._version = collection.active
        self._request = request

    async def make(self, user_id: str) -> RunProgress:
        """Store all pairs of a user, labelled ones first."""
        request, pairs = self._request, self._stores.pairs
        events = await pairs.window(
            self._collection, user_id, request.window_start, request.window_end, MAX_WINDOW_EVENTS + 1
        )
        truncated = len(events) > MAX_WINDOW_EVENTS
        events = events[:MAX_WINDOW_EVENTS]
        earlier = await pairs.before(self._collection, user_id, request.window_start, request.history_length)
        timeline = Timeline(earlier, events, request.history_length)
        found = sort_out(events, self._collection.rating_scale_max, request.seed)
        positives, negatives, skipped = 0, 0, 0
        waiting: list[TrainingPair] = []
        for batch in _batches(found.labelled):
            made, dropped = await self._pairs(timeline, batch)
            skipped += dropped
            positives += sum(pair.label for pair in made)
            negatives += sum(not pair.label for pair in made)
            waiting = await self._store(waiting + made)
        wanted = request.negatives_per_positive * positives - negatives
        for candidates in _batches(found.seen):
            if wanted <= 0:
                break
            ids = [event.item_id for event in candidates]
            engaged = await pairs.engaged_before(self._collection, user_id, ids, request.window_start)
            honest = [(event, False) for event in candidates if event.item_id not in engaged]
            made, dropped = await self._pairs(timeline, honest, wanted)
            skipped += dropped
            wanted -= len(made)
            waiting = await self._store(waiting + made)
        return await pairs.add(self._collection, request.run, waiting, UserDone(user_id, skipped, truncated))

    async def _store(self, waiting: list[TrainingPair]) -> list[TrainingPair]:
        """Store pairs once there is a batch of them; returns what is still to be stored."""
        if len(waiting) < BATCH_PAIRS:
            return waiting
        await self._stores.pairs.add(self._collection, self._request.run, waiting)
        return []

    async def _pairs(
        self, timeline: Timeline, batch: Sequence[tuple[Event, bool]], most: int = BATCH_PAIRS
    ) -> tuple[list[TrainingPair], int]:
        """The first `most` pairs of interactions with an item that is stored and was there already.

        The second of the two is how many interactions were passed over.
        """
        ids = list({event.item_id for event, _ in batch})
        if not ids:
            return [], 0
        items = await self._stores.items.get(self._collection, self._version, ids, EVERYTHING, with_chunks=True)
        kept: list[tuple[Event, bool, Item]] = []
        dropped = 0
        for event, label in batch:
            item = items.get(event.item_id)
            if item is None or _born(item) > event.occurred_at:
                dropped += 1
            else:
                kept.append((event, label, item))
                if len(kept) == most:
                    break
        counts = await self._stores.pairs.counts(self._collection, [(e.item_id, e.occurred_at) for e, _, _ in kept])
        return [
            TrainingPair(
                event.user_id,
                event.item_id,
                event.occurred_at,
                label,
                event.event_type,
                event.dwell_ms,
                event.value,
                timeline.before(event.occurred_at),
                ItemSnapshot(item.owner_id, item.text, item.tags, item.attributes, _born(item), count),
                self._version.version,
                _vector(item, self._collection.metric),
                self._request.run.model_version,
                self._request.run.run_id,
            )
            for (event, label, item), count in zip(kept, counts, strict=True)
        ], dropped


def _batches(interactions: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(interactions), BATCH_PAIRS):
        yield interactions[start : start + BATCH_PAIRS]


def _born(item: Item) -> int:
    return item.created_at or 0


def _vector(item: Item, metric: Metric) -> NDArray[np.float16] | None:
    """The mean of the item's chunks, (dim,) float16; None without any, or where they cancel out."""
    if len(item.chunks) < 2:
        return item.chunks[0].vector if item.chunks else None
    mean = combine(np.stack([chunk.vector for chunk in item.chunks]), None, None, metric)
    return None if mean is None else mean.astype(np.float16)
