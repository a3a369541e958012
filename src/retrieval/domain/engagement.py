"""What a user's events say: weights by type and age, what they attract, what they repel.

Weights follow the order of costs a user pays (a purchase or share says more than a click, an explicit negative more
than a skipped post); half-lives are longer for deliberate acts. They are defaults of this service, and each collection
may have its own; docs/events.md has the table, the reasons and the sources.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.domain.decay import counted, halved

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from retrieval.domain.model import Collection, Event

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

USUAL_DWELL_S = 30.0
"""A dwell of as long counts by the type's weight; the measure is logarithmic, as the first seconds say the most."""
MAX_DWELL_FACTOR = 2.0
"""A page that was left open says no more than this."""
LEAST_RATING = 1e-20
"""A rating of a smaller part of its scale is none at all: the difference is lost in 2 r / max - 1."""

VIEW = "view"
REPOST = "repost"
"""The types that items count."""


@dataclass(frozen=True, slots=True)
class EventType:
    """How an event counts: signed weight, half-life in days, and whether it turns the user off the item's owner."""

    weight: float
    half_life_days: float = 30.0
    against_owner: bool = False


EVENT_TYPES: dict[str, EventType] = {
    "like": EventType(1.0, 60),
    "reply": EventType(1.2, 60),
    "repost": EventType(1.5, 60),
    "view": EventType(0.1, 14),
    "click": EventType(0.3, 14),
    "share": EventType(1.5, 60),
    "profile_click": EventType(0.4, 14),
    "dwell": EventType(0.3, 14),
    "not_interested": EventType(-1.5, 90),
    "block_author": EventType(-3.0, 365, against_owner=True),
    "mute_author": EventType(-2.0, 365, against_owner=True),
    "report": EventType(-3.0, 365),
    "impression": EventType(0.0, 7),
    "preview_finished": EventType(0.3, 14),
    "play": EventType(0.4, 30),
    "complete": EventType(1.0, 60),
    "save": EventType(1.5, 90),
    "quote": EventType(1.5, 60),
    "follow_author": EventType(1.0, 90),
    "rating": EventType(1.5, 180),
    "favorite": EventType(1.5, 90),
    "search": EventType(0.2, 14),
    "purchase_intent": EventType(1.2, 30),
    "purchase": EventType(2.0, 180),
}


@dataclass(frozen=True, slots=True)
class Engagement:
    """A user's history, read: weights of attracting items, items seen, items and owners that repel.

    `attracting`: positive weight by item, the strongest first. `seen`: every item with any event.
    `repelling_owner_items`: items whose owner the user blocked or muted.
    """

    attracting: dict[str, float]
    seen: frozenset[str]
    repelling: frozenset[str]
    repelling_owner_items: frozenset[str]


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """How often an item was seen and passed on."""

    view_count: int = 0
    repost_count: int = 0


def event_types_of(collection: Collection) -> Mapping[str, EventType]:
    """The event types as they count in a collection: the defaults, but for those it has settings of its own for."""
    return {**EVENT_TYPES, **collection.event_types} if collection.event_types else EVENT_TYPES


def user_hash(user_id: str) -> int:
    """32 bits that stand for a user in a notification: who hears it forgets what it keeps of all users with them."""
    return zlib.crc32(user_id.encode())


def fresh_weight(event: Event, rating_scale_max: float, types: Mapping[str, EventType] = EVENT_TYPES) -> float:
    """Signed weight of one event at the moment it happens.

    It is the type's weight; for a rating r of max times 2 r / max - 1, for a dwell of t seconds times
    min(2, ln(1 + t) / ln(1 + 30)).
    """
    weight = counted(types[event.event_type].weight)
    if event.event_type == "rating" and event.value is not None:
        weight *= max(-1.0, min(1.0, 2.0 * event.value / rating_scale_max - 1.0))
    elif event.event_type == "dwell" and event.dwell_ms is not None:
        weight *= min(MAX_DWELL_FACTOR, math.log1p(event.dwell_ms / 1000) / math.log1p(USUAL_DWELL_S))
    return weight


def event_weight(
    event: Event, now_us: int, rating_scale_max: float, types: Mapping[str, EventType] = EVENT_TYPES
) -> float:
    """Signed weight of one event now: `fresh_weight` x 2^(-age / half-life)."""
    age_days = max(0, now_us - event.occurred_at) / DAY_US
    return fresh_weight(event, rating_scale_max, types) * halved(age_days, types[event.event_type].half_life_days)


def read_history(
    events: Iterable[Event], rating_scale_max: float, now_us: int, types: Mapping[str, EventType] = EVENT_TYPES
) -> Engagement:
    """What `events` say at `now_us` (microseconds since the epoch), by the `types` of their collection.

    Weights of one item add up; an explicit negative (a type with a negative weight, or a rating below the middle)
    repels whatever else happened, so that many views cannot drown it. Ages count from the newest event that weighs
    anything, where that lies before now: a user who comes back after a year keeps a profile, whatever was put before
    the user since, and the ratios between events are the same.
    """
    history = list(events)
    if not history:
        return Engagement({}, frozenset(), frozenset(), frozenset())
    weighing = (e.occurred_at for e in history if fresh_weight(e, rating_scale_max, types) != 0)
    now_us = min(now_us, max(weighing, default=now_us))
    total: dict[str, float] = {}
    repelling: set[str] = set()
    owners: set[str] = set()
    for event in history:
        weight = event_weight(event, now_us, rating_scale_max, types)
        if weight < 0:
            repelling.add(event.item_id)
        if types[event.event_type].against_owner:
            owners.add(event.item_id)
        total[event.item_id] = total.get(event.item_id, 0.0) + weight
    attracting = {i: w for i, w in total.items() if w > 0 and i not in repelling}
    ordered = dict(sorted(attracting.items(), key=lambda pair: (-pair[1], pair[0])))
    return Engagement(ordered, frozenset(total), frozenset(repelling), frozenset(owners))
