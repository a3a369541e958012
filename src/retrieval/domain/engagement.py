"""What a user's events say: weights by type and age, what they attract, what they repel.

Weights follow the order of costs a user pays (a purchase or share says more than a click, an explicit negative more
than a skipped post); half-lives are longer for deliberate acts. They are defaults of this service.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from retrieval.domain.model import Event

DAY_US = 86_400_000_000


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


def event_weight(event: Event, now_us: int, rating_scale_max: float) -> float:
    """Signed weight of one event: type weight x 2^(-age / half-life); a rating r counts by 2 r / max - 1."""
    kind = EVENT_TYPES[event.event_type]
    weight = kind.weight
    if event.event_type == "rating" and event.value is not None:
        weight *= max(-1.0, min(1.0, 2.0 * event.value / rating_scale_max - 1.0))
    age_days = max(0, now_us - event.occurred_at) / DAY_US
    return float(weight * 2.0 ** (-age_days / kind.half_life_days))


def read_history(events: Iterable[Event], rating_scale_max: float, now_us: int) -> Engagement:
    """What `events` say at `now_us` (microseconds since the epoch).

    Weights of one item add up; an explicit negative (a type with a negative weight, or a rating below the middle)
    repels whatever else happened, so that many views cannot drown it. Ages count from the newest event where that
    lies before now: a user who comes back after a year keeps a profile, and the ratios between events are the same.
    """
    history = list(events)
    if not history:
        return Engagement({}, frozenset(), frozenset(), frozenset())
    now_us = min(now_us, max(e.occurred_at for e in history))
    total: dict[str, float] = {}
    repelling: set[str] = set()
    owners: set[str] = set()
    for event in history:
        weight = event_weight(event, now_us, rating_scale_max)
        if weight < 0:
            repelling.add(event.item_id)
        if EVENT_TYPES[event.event_type].against_owner:
            owners.add(event.item_id)
        total[event.item_id] = total.get(event.item_id, 0.0) + weight
    attracting = {i: w for i, w in total.items() if w > 0 and i not in repelling}
    ordered = dict(sorted(attracting.items(), key=lambda pair: (-pair[1], pair[0])))
    return Engagement(ordered, frozenset(total), frozenset(repelling), frozenset(owners))
