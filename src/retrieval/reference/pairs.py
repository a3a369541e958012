"""Interactions and training pairs in memory; implements `PairStore`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.application.training_ports import MAX_COUNTED_EVENTS, RunProgress
from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.training import HISTORY_EXCLUDES, SEEN_TYPES, ItemCounts, label_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.application.training_ports import PairKey, PairQuery, PairRun, UserDone
    from retrieval.domain.model import Collection, Event
    from retrieval.domain.training import TrainingPair
    from retrieval.reference.memory import Memory


class ReferencePairs:
    """Reads events, and stores pairs and runs."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def _events(self, collection: Collection) -> list[Event]:
        return [event for _, event in sorted(self._memory.held(collection).events.items())]

    async def users_after(self, collection: Collection, user_id: str, start: int, end: int, count: int) -> list[str]:
        """See `InteractionLog`."""
        events = self._events(collection)
        users = {e.user_id for e in events if e.user_id > user_id and start <= e.occurred_at < end}
        return sorted(users)[:count]

    async def window(self, collection: Collection, user_id: str, start: int, end: int, count: int) -> list[Event]:
        """See `InteractionLog`."""
        return [e for e in self._events(collection) if e.user_id == user_id and start <= e.occurred_at < end][:count]

    async def before(self, collection: Collection, user_id: str, moment: int, count: int) -> list[Event]:
        """See `InteractionLog`."""
        earlier = [e for e in self._events(collection) if e.user_id == user_id and e.occurred_at < moment]
        return [e for e in reversed(earlier) if e.event_type != HISTORY_EXCLUDES][:count]

    async def engaged_before(
        self, collection: Collection, user_id: str, item_ids: Sequence[str], moment: int
    ) -> set[str]:
        """See `InteractionLog`."""
        wanted = set(item_ids)
        return {
            e.item_id
            for e in self._events(collection)
            if e.user_id == user_id and e.item_id in wanted and e.occurred_at < moment and _engages(e, collection)
        }

    async def counts(self, collection: Collection, moments: Sequence[tuple[str, int]]) -> list[ItemCounts]:
        """See `InteractionLog`."""
        events = self._events(collection)
        return [_count([e for e in events if e.item_id == i and e.occurred_at < m], collection) for i, m in moments]

    async def begin(self, collection: Collection, run: PairRun) -> RunProgress:
        """See `PairStore`."""
        runs = self._memory.held(collection).runs
        known, progress = runs.setdefault(run.run_id, (run, RunProgress()))
        if known != run:
            raise FailedPreconditionError(
                f"training run {run.run_id!r} has other settings; repeat its request as it was, or leave run_id empty",
                reason="RUN_ID_REUSED",
            )
        return progress

    async def add(
        self, collection: Collection, run: PairRun, pairs: Sequence[TrainingPair], done: UserDone | None = None
    ) -> RunProgress:
        """See `PairStore`."""
        held = self._memory.held(collection)
        _, progress = held.runs[run.run_id]
        stored = held.pairs.setdefault(run.model_version, {})
        now_us = self._memory.now_us()
        # A user without events was erased after these had been read.
        users = {user_id for user_id, *_ in held.events}
        fresh = [pair for pair in pairs if pair.key not in stored and pair.user_id in users]
        stored.update({pair.key: (now_us, pair) for pair in fresh})
        positives = sum(pair.label for pair in fresh)
        progress = replace(
            progress,
            positives=progress.positives + positives,
            negatives=progress.negatives + len(fresh) - positives,
        )
        if done is not None and done.user_id > progress.last_user_id:
            progress = replace(
                progress,
                last_user_id=done.user_id,
                skipped=progress.skipped + done.skipped,
                users=progress.users + 1,
                truncated=progress.truncated + done.truncated,
            )
        held.runs[run.run_id] = run, progress
        return progress

    async def finish(self, collection: Collection, run: PairRun) -> RunProgress:
        """See `PairStore`."""
        runs = self._memory.held(collection).runs
        runs[run.run_id] = run, replace(runs[run.run_id][1], complete=True)
        return runs[run.run_id][1]

    async def list_after(
        self, collection: Collection, query: PairQuery, after: PairKey | None, count: int
    ) -> list[TrainingPair]:
        """See `PairStore`."""
        stored = self._memory.held(collection).pairs.get(query.model_version, {})
        wanted = [
            pair
            for key, (_, pair) in sorted(stored.items())
            if (after is None or key > after)
            and query.label in {None, pair.label}
            and (query.since is None or pair.interaction_at >= query.since)
        ]
        return wanted[:count]

    async def erase_user(self, collection: Collection, user_id: str) -> int:
        """See `PairStore`."""
        erased = 0
        for stored in self._memory.held(collection).pairs.values():
            for key in [key for key in stored if key[0] == user_id]:
                del stored[key]
                erased += 1
        return erased

    async def prune(self, before: int) -> int:
        """See `PairStore`."""
        pruned = 0
        for held in self._memory.collections.values():
            used = {run_id for model in held.models.values() for run_id in model.training_run_ids}
            for stored in held.pairs.values():
                for key in [k for k, (made_at, pair) in stored.items() if made_at < before and pair.run_id in used]:
                    del stored[key]
                    pruned += 1
        return pruned


def _engages(event: Event, collection: Collection) -> bool:
    return label_of(event.event_type, event.value, collection.rating_scale_max) is True


def _count(events: list[Event], collection: Collection) -> ItemCounts:
    """Counts of the latest of `events`."""
    latest = sorted(events, key=lambda e: e.occurred_at)[-MAX_COUNTED_EVENTS:]
    ratings = [e.value for e in latest if e.event_type == "rating" and e.value is not None]
    return ItemCounts(
        sum(_engages(e, collection) for e in latest),
        sum(e.event_type in SEEN_TYPES for e in latest),
        len(ratings),
        sum(ratings) / len(ratings) if ratings else None,
    )
