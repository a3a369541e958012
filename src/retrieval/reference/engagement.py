"""Edges, counters and what trends in memory; implements `EngagementStore`. Lists are made when asked for."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from heapq import nsmallest
from typing import TYPE_CHECKING

from retrieval.application.engagement_ports import EdgeReceipt, ErasedRows, NewItem
from retrieval.domain.model import ANONYMOUS
from retrieval.domain.owner_edges import MAX_FOLLOWED, MAX_TURNED_DOWN, EdgeKind, OwnerEdges
from retrieval.domain.trending import trending_scores
from retrieval.domain.visibility import can_see
from retrieval.reference.events import month_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.engagement import ItemCounts
    from retrieval.domain.model import Collection
    from retrieval.domain.owner_edges import OwnerEdge
    from retrieval.reference.memory import Memory
    from retrieval.reference.user_feed import ReferenceUserFeed


class ReferenceEngagement:
    """Reads what events add up to; writes edges."""

    def __init__(self, memory: Memory, feed: ReferenceUserFeed) -> None:
        self._memory = memory
        self._feed = feed

    async def edges(self, collection: Collection, user_id: str) -> OwnerEdges:
        """See `EngagementStore`."""
        held = self._memory.held(collection)
        newest = sorted(
            ((-since, edge) for (user, edge), since in held.edges.items() if user == user_id),
            key=lambda pair: (pair[0], pair[1].owner_id),
        )

        def of(kind: EdgeKind, most: int) -> list[str]:
            return [edge.owner_id for _, edge in newest if edge.kind is kind][:most]

        return OwnerEdges(
            tuple(of(EdgeKind.FOLLOW, MAX_FOLLOWED)),
            frozenset(of(EdgeKind.BLOCK, MAX_TURNED_DOWN)),
            frozenset(of(EdgeKind.MUTE, MAX_TURNED_DOWN)),
        )

    async def set_edges(
        self, collection: Collection, user_id: str, add: Sequence[OwnerEdge], remove: Sequence[OwnerEdge]
    ) -> EdgeReceipt:
        """See `EngagementStore`."""
        edges = self._memory.held(collection).edges
        fresh = [e for e in add if (user_id, e) not in edges]
        gone = [e for e in remove if (user_id, e) in edges]
        now_us = self._memory.now_us()
        for edge in fresh:
            edges[user_id, edge] = now_us
        for edge in gone:
            del edges[user_id, edge]
        if fresh or gone:
            self._feed.announce(collection.collection_id, [user_id])
        return EdgeReceipt(len(fresh), len(gone))

    async def counts(self, collection: Collection, item_ids: Sequence[str]) -> dict[str, ItemCounts]:
        """See `EngagementStore`."""
        counts = self._memory.held(collection).counts
        return {i: counts[i] for i in item_ids if i in counts}

    async def newest(self, collection: Collection, owner_ids: Sequence[str] | None, count: int) -> list[NewItem]:
        """See `EngagementStore`."""
        owners = None if owner_ids is None else set(owner_ids)
        found = (
            i
            for i in self._memory.held(collection).items.values()
            if (owners is None or i.owner_id in owners) and can_see(i, ANONYMOUS)
        )
        newest = nsmallest(count, found, key=lambda i: (-(i.created_at or 0), i.item_id))
        return [NewItem(i.item_id, i.owner_id, i.created_at or 0) for i in newest]

    async def newest_event_at(self, collection: Collection) -> int | None:
        """See `EngagementStore`."""
        return self._memory.held(collection).newest_event_at

    async def trending(self, collection: Collection, window_s: int, count: int) -> list[tuple[str, float]]:
        """See `EngagementStore`."""
        newest = await self.newest_event_at(collection)
        if newest is None:
            return []
        hours = ((item_id, hour, e) for (item_id, hour), e in self._memory.held(collection).engagement.items())
        return trending_scores(hours, min(newest, time.time_ns() // 1000), window_s)[:count]

    async def trending_refreshed_at(self, collection: Collection, window_s: int) -> int | None:  # noqa: ARG002
        """See `EngagementStore`; the list is always of now."""
        return None if self._memory.held(collection).newest_event_at is None else time.time_ns() // 1000

    async def refresh_trending(self, collection: Collection) -> None:
        """See `EngagementStore`; there is nothing to do."""

    async def prune_events(self, before: int) -> int:
        """See `EngagementStore`."""
        months = self._memory.months
        dropped = [m for m, recorded_at in months.items() if _end_of(m) <= before and recorded_at < before]
        for month in dropped:
            del months[month]
        now_us = time.time_ns() // 1000
        for held in self._memory.collections.values():
            for key in [k for k in held.events if month_of(k[1]) in dropped]:
                del held.events[key]
            idle_us = max(0, now_us - (held.newest_event_at or now_us))
            for bucket in [b for b in held.engagement if b[1] < before - idle_us]:
                del held.engagement[bucket]
        return len(dropped)

    async def erase_user(self, collection: Collection, user_id: str) -> ErasedRows:
        """See `EngagementStore`."""
        held = self._memory.held(collection)
        events = [key for key in held.events if key[0] == user_id]
        edges = [key for key in held.edges if key[0] == user_id]
        for event in events:
            del held.events[event]
        for edge in edges:
            del held.edges[edge]
        self._feed.announce(collection.collection_id, [user_id])
        return ErasedRows(len(events), len(edges))


def _end_of(month: tuple[int, int]) -> int:
    """The first microsecond after a (year, month)."""
    year, number = month
    return int(datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
