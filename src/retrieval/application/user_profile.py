"""A user's profile as one vector, read from events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.limits import MAX_HISTORY
from retrieval.domain.decay import relative
from retrieval.domain.engagement import event_types_of, read_history
from retrieval.domain.model import EVERYTHING
from retrieval.domain.vectors import combine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from retrieval.application.search import Scope

PROFILE_ITEMS = 200
"""Strongest items that make a profile: more change it little and cost a row read each."""


async def profile_vector(stores: Stores, scope: Scope, user_id: str) -> NDArray[np.float32] | None:
    """Weighted mean, (dim,) float32, of the embeddings of what attracted the user; None where there are none.

    The items are read without regard to the viewer's rights: a user's own engagement is the user's to use, and
    nothing of them is returned.
    """
    events = await stores.events.history(scope.collection, user_id, MAX_HISTORY)
    types = event_types_of(scope.collection)
    engagement = read_history(events, scope.collection.rating_scale_max, time.time_ns() // 1000, types)
    strongest = list(engagement.attracting)[:PROFILE_ITEMS]
    if not strongest:
        return None
    found = await stores.index.vectors(scope.version, strongest, EVERYTHING, scope.options.min_consistency_token)
    used = [i for i in strongest if i in found]
    if not used:
        return None
    rows = np.stack([found[i].astype(np.float32).mean(axis=0) for i in used]).astype(np.float16)
    weights = relative([engagement.attracting[i] for i in used])
    return combine(rows, None, weights, scope.collection.metric)
