"""Events in memory; implements `EventStore`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from retrieval.application.ports import EventReceipt
from retrieval.domain.engagement import HOUR_US, REPOST, VIEW, ItemCounts, event_types_of, fresh_weight
from retrieval.domain.owner_edges import EDGE_EVENTS, OwnerEdge
from retrieval.reference.tokens import make_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection, Event
    from retrieval.reference.memory import Held, Memory
    from retrieval.reference.user_feed import ReferenceUserFeed


class ReferenceEvents:
    """Stores and reads events."""

    def __init__(self, memory: Memory, feed: ReferenceUserFeed) -> None:
        self._memory = memory
        self._feed = feed

    async def record(self, collection: Collection, events: Sequence[Event]) -> EventReceipt:
        """See `EventStore`."""
        held = self._memory.held(collection)
        fresh = []
        for event in events:
            key = (event.user_id, event.occurred_at, event.item_id, event.event_id)
            if key not in held.events:
                held.events[key] = event
                fresh.append(event)
                _count(held, event)
                self._memory.months[month_of(event.occurred_at)] = self._memory.now_us()
        self._memory.writes += 1
        if fresh:
            self._feed.announce(collection.collection_id, {e.user_id for e in events})
        return EventReceipt(len(fresh), len(events) - len(fresh), make_token(self._memory.writes))

    async def history(self, collection: Collection, user_id: str, count: int) -> list[Event]:
        """See `EventStore`."""
        found = [e for e in self._memory.held(collection).events.values() if e.user_id == user_id]
        found.sort(key=lambda e: (e.occurred_at, e.item_id, e.event_id), reverse=True)
        return found[:count]

    async def seen(self, collection: Collection, user_id: str, count: int) -> list[str]:
        """See `EventStore`."""
        everything = await self.history(collection, user_id, len(self._memory.held(collection).events))
        return list(dict.fromkeys(e.item_id for e in everything))[:count]

    async def turned_down(self, collection: Collection, user_id: str, count: int) -> list[str]:
        """See `EventStore`."""
        held = self._memory.held(collection)
        types, scale = event_types_of(collection), collection.rating_scale_max
        everything = await self.history(collection, user_id, len(held.events))
        return list(dict.fromkeys(e.item_id for e in everything if fresh_weight(e, scale, types) < 0))[:count]

    async def owners_of(self, collection: Collection, item_ids: Sequence[str]) -> set[str]:
        """See `EventStore`."""
        items = self._memory.held(collection).items
        return {items[i].owner_id for i in item_ids if i in items}


def month_of(micros: int) -> tuple[int, int]:
    """(year, month) of microseconds since the epoch."""
    moment = datetime.fromtimestamp(micros // 1_000_000, UTC)
    return moment.year, moment.month


def _count(held: Held, event: Event) -> None:
    """Add a new event to what events add up to."""
    held.newest_event_at = max(held.newest_event_at or event.occurred_at, event.occurred_at)
    weight = fresh_weight(event, held.collection.rating_scale_max, event_types_of(held.collection))
    bucket = (event.item_id, event.occurred_at // HOUR_US * HOUR_US)
    held.engagement[bucket] = held.engagement.get(bucket, 0.0) + max(0.0, weight)
    if event.event_type in {VIEW, REPOST}:
        counts = held.counts.get(event.item_id, ItemCounts())
        held.counts[event.item_id] = ItemCounts(
            counts.view_count + (event.event_type == VIEW), counts.repost_count + (event.event_type == REPOST)
        )
    kind, item = EDGE_EVENTS.get(event.event_type), held.items.get(event.item_id)
    if kind is not None and item is not None and item.owner_id:
        edge = (event.user_id, OwnerEdge(item.owner_id, kind))
        held.edges[edge] = max(held.edges.get(edge, event.occurred_at), event.occurred_at)
