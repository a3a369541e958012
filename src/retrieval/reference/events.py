"""Events in memory; implements `EventStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.ports import EventReceipt
from retrieval.reference.tokens import make_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection, Event
    from retrieval.reference.memory import Memory


class ReferenceEvents:
    """Stores and reads events."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def record(self, collection: Collection, events: Sequence[Event]) -> EventReceipt:
        """See `EventStore`."""
        stored = self._memory.held(collection).events
        before = len(stored)
        for event in events:
            stored.setdefault((event.user_id, event.occurred_at, event.item_id, event.event_id), event)
        recorded = len(stored) - before
        self._memory.writes += 1
        return EventReceipt(recorded, len(events) - recorded, make_token(self._memory.writes))

    async def history(self, collection: Collection, user_id: str, count: int) -> list[Event]:
        """See `EventStore`."""
        found = [e for e in self._memory.held(collection).events.values() if e.user_id == user_id]
        found.sort(key=lambda e: (e.occurred_at, e.item_id, e.event_id), reverse=True)
        return found[:count]

    async def seen(self, collection: Collection, user_id: str, count: int) -> list[str]:
        """See `EventStore`."""
        everything = await self.history(collection, user_id, len(self._memory.held(collection).events))
        return list(dict.fromkeys(e.item_id for e in everything))[:count]

    async def owners_of(self, collection: Collection, item_ids: Sequence[str]) -> set[str]:
        """See `EventStore`."""
        items = self._memory.held(collection).items
        return {items[i].owner_id for i in item_ids if i in items}
