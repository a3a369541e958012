"""Reads the latest events of a collection into `CoVisits`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.co_visits import CoVisits, Engagements
from retrieval.domain.engagement import event_types_of, fresh_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.application.candidate_ports import EventArchive
    from retrieval.domain.model import Collection

LATEST_EVENTS = 500_000
"""Events that are read: some seconds of work, and at most 50 MB of what comes of them."""


async def co_visits(archive: EventArchive, collection: Collection) -> CoVisits | None:
    """What the latest events say; None where there are none that attract. What a user turned down is not counted."""
    types, scale = event_types_of(collection), collection.rating_scale_max
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    # An array a batch: a list of all would be turned into one in a single step that lets nobody else run.
    parts: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float64]] = []
    async for batch in archive.latest(collection, LATEST_EVENTS):
        weighed = [(event, fresh_weight(event, scale, types)) for event in batch]
        rows = [
            (users.setdefault(e.user_id, len(users)), items.setdefault(e.item_id, len(items)), e.occurred_at)
            for e, weight in weighed
            if weight
        ]
        parts.append(np.array(rows, np.int64).reshape(-1, 3))
        weights.append(np.array([weight for _, weight in weighed if weight], np.float64))
        await asyncio.sleep(0)
    if not items:
        return None
    return await asyncio.to_thread(_made, list(items), parts, weights)


def _made(item_ids: list[str], parts: list[NDArray[np.int64]], weights: list[NDArray[np.float64]]) -> CoVisits | None:
    table, weight = np.concatenate(parts), np.concatenate(weights)
    pairs = table[:, 0] * len(item_ids) + table[:, 1]
    kept = (weight > 0) & ~np.isin(pairs, pairs[weight < 0])
    if not kept.any():
        return None
    return CoVisits.of(item_ids, Engagements(table[kept, 0], table[kept, 1], table[kept, 2], weight[kept]))
