"""A user's profile vector, read from events."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.limits import MAX_EXCLUDED, MAX_HISTORY
from retrieval.domain.engagement import Engagement, event_types_of, read_history
from retrieval.domain.model import Viewer
from retrieval.domain.vectors import combine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from retrieval.application.search import Scope
    from retrieval.domain.model import Event

_EVERYTHING = Viewer(unrestricted=True)

PROFILE_ITEMS = 200
"""Strongest items that make the vector: more change it little and cost a row read each."""


@dataclass(frozen=True, slots=True)
class Profile:
    """`vector`: (dim,) float32, None where nothing attracts; `reason` says why then."""

    vector: NDArray[np.float32] | None
    reason: str
    engagement: Engagement
    seen: tuple[str, ...]
    repelling_owners: tuple[str, ...]


async def profile_of(stores: Stores, scope: Scope, user_id: str, history: Sequence[Event] | None) -> Profile:
    """Weighted mean of the embeddings of what attracted the user, from `history` or else from the stored events.

    The items are read without regard to the viewer's rights: a user's own engagement is the user's to use, and
    nothing of them is returned.
    """
    stored = history is None
    events = (
        list(history) if history is not None else await stores.events.history(scope.collection, user_id, MAX_HISTORY)
    )
    engagement = read_history(
        events, scope.collection.rating_scale_max, time.time_ns() // 1000, event_types_of(scope.collection)
    )
    seen: Sequence[str] = tuple(engagement.seen)
    if stored and len(events) == MAX_HISTORY:
        seen = await stores.events.seen(scope.collection, user_id, MAX_EXCLUDED)
    owners: set[str] = set()
    if engagement.repelling_owner_items:
        owners = await stores.events.owners_of(scope.collection, sorted(engagement.repelling_owner_items))
    vector = None
    reason = "NO_HISTORY" if not events else "NO_POSITIVE_HISTORY"
    strongest = list(engagement.attracting)[:PROFILE_ITEMS]
    if strongest:
        reason = "NO_VECTORS"
        found = await stores.index.vectors(scope.version, strongest, _EVERYTHING, scope.options.min_consistency_token)
        used = [i for i in strongest if i in found]
        if used:
            rows = np.stack([found[i].astype(np.float32).mean(axis=0) for i in used]).astype(np.float16)
            weights = np.array([engagement.attracting[i] for i in used], dtype=np.float32)
            vector = combine(rows, None, weights, scope.collection.metric)
    return Profile(vector, "" if vector is not None else reason, engagement, tuple(seen), tuple(sorted(owners - {""})))
