"""Reads the latest events of a collection into `CoVisits`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.co_visits import CoVisits, Engagements
from retrieval.domain.engagement import event_types_of, fresh_weight

if TYPE_CHECKING:
    from retrieval.application.candidate_ports import EventArchive
    from retrieval.domain.model import Collection

LATEST_EVENTS = 500_000
"""Events that are read: some seconds of work, and at most 50 MB of what comes of them."""


async def co_visits(archive: EventArchive, collection: Collection) -> CoVisits | None:
    """What the latest events say; None where there are none that attract. What a user turned down is not counted."""
    types, scale = event_types_of(collection), collection.rating_scale_max
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    rows: list[tuple[int, int, int]] = []
    weights: list[float] = []
    turned_down: set[tuple[int, int]] = set()
    async for batch in archive.latest(collection, LATEST_EVENTS):
        for event in batch:
            weight = fresh_weight(event, scale, types)
            if weight == 0:
                continue
            user = users.setdefault(event.user_id, len(users))
            item = items.setdefault(event.item_id, len(items))
            if weight < 0:
                turned_down.add((user, item))
            elif (user, item) not in turned_down:
                rows.append((user, item, event.occurred_at))
                weights.append(weight)
        await asyncio.sleep(0)
    return await asyncio.to_thread(_made, list(items), rows, weights, turned_down) if rows else None


def _made(
    item_ids: list[str], rows: list[tuple[int, int, int]], weights: list[float], turned_down: set[tuple[int, int]]
) -> CoVisits:
    table = np.array(rows, np.int64)
    kept = (
        np.array([(user, item) not in turned_down for user, item, _ in rows])
        if turned_down
        else np.ones(len(rows), bool)
    )
    return CoVisits.of(
        item_ids, Engagements(table[kept, 0], table[kept, 1], table[kept, 2], np.array(weights, np.float64)[kept])
    )
