"""Which interactions become training pairs, and what a pair may know.

Labels look at a user's whole window, since an item that was engaged with later is no honest negative. Features look
at what happened strictly before the interaction, and at nothing else: otherwise a model learns from the future.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.domain.engagement import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.domain.model import AttributeValue, Event

SEEN_TYPES = ("impression", "view")
"""What shows that a user saw an item, and nothing more."""
HISTORY_EXCLUDES = "impression"
"""What was merely shown would fill a history of fifty within minutes, and says nothing of the user."""
ENGAGING_TYPES = tuple(
    name for name, kind in EVENT_TYPES.items() if kind.weight > 0 and name not in {*SEEN_TYPES, "search", "rating"}
)
"""Types that always make a positive; a rating does above the middle of the scale."""


@dataclass(frozen=True, slots=True)
class PairEvent:
    """An event of a user's history, as a pair holds it."""

    item_id: str
    event_type: str
    value: float | None
    occurred_at: int


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """What had happened with an item before a moment; `rating_mean` is None without ratings."""

    positives: int = 0
    views: int = 0
    ratings: int = 0
    rating_mean: float | None = None


@dataclass(frozen=True, slots=True)
class ItemSnapshot:
    """An item as a pair holds it."""

    owner_id: str
    text: str
    tags: tuple[str, ...]
    attributes: Mapping[str, AttributeValue]
    created_at: int
    counts: ItemCounts


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """A labelled interaction. `embedding`: (dim,) float16 in stored form, None where the item has none."""

    user_id: str
    item_id: str
    interaction_at: int
    label: bool
    event_type: str
    dwell_ms: int | None
    value: float | None
    history: tuple[PairEvent, ...]
    item: ItemSnapshot
    embedding_version: int
    embedding: NDArray[np.float16] | None = field(compare=False)
    model_version: str = ""
    run_id: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What a pair is found by within its model version; pairs are listed in this order."""
        return self.user_id, self.item_id, self.interaction_at


def rating_middle(rating_scale_max: float) -> float:
    """The rating that is neither good nor bad; scales begin at 0."""
    return rating_scale_max / 2


def label_of(event_type: str, value: float | None, rating_scale_max: float) -> bool | None:
    """True for an engagement, False where the user turned the item down, None for what says neither.

    A rating in the very middle says neither; one without a value counts as engagement, as in a user's profile.
    """
    if event_type == "rating" and value is not None:
        middle = rating_middle(rating_scale_max)
        return None if value == middle else value > middle
    if event_type in ENGAGING_TYPES or event_type == "rating":
        return True
    return False if EVENT_TYPES[event_type].weight < 0 else None


@dataclass(frozen=True, slots=True)
class Interactions:
    """A user's window, sorted out. `labelled`: (event, label) by time; `seen`: candidates for negatives, best first."""

    labelled: tuple[tuple[Event, bool], ...]
    seen: tuple[Event, ...]


def sort_out(events: Iterable[Event], rating_scale_max: float, seed: int) -> Interactions:
    """Label the events of one user, given in order of time.

    Events of one item at one moment make one pair: the one of the weightiest type. A candidate is the first sight of
    an item with which the user never engages in these events and which they do not turn down. The order of candidates
    is that of a seeded hash of user and item: the same in every run, whatever else happened.
    """
    labelled: dict[tuple[int, str], tuple[Event, bool]] = {}
    seen: dict[str, Event] = {}
    for event in events:
        label = label_of(event.event_type, event.value, rating_scale_max)
        if label is not None:
            key = event.occurred_at, event.item_id
            known = labelled.get(key)
            if known is None or _precedence(event) > _precedence(known[0]):
                labelled[key] = event, label
        elif event.event_type in SEEN_TYPES:
            seen.setdefault(event.item_id, event)
    settled = {item_id for _, item_id in labelled}
    candidates = [event for item_id, event in seen.items() if item_id not in settled]
    candidates.sort(key=lambda event: (_draw(seed, event), event.item_id))
    return Interactions(tuple(labelled[key] for key in sorted(labelled)), tuple(candidates))


def _precedence(event: Event) -> tuple[float, str, str]:
    return abs(EVENT_TYPES[event.event_type].weight), event.event_type, event.event_id


def _draw(seed: int, event: Event) -> bytes:
    user = event.user_id.encode()
    drawn = hashlib.blake2b(digest_size=8, key=seed.to_bytes(8, "big", signed=True))
    drawn.update(len(user).to_bytes(4, "big") + user + event.item_id.encode())
    return drawn.digest()


class Timeline:
    """A user's events in order of time, from which histories are cut."""

    def __init__(self, before: Sequence[Event], window: Sequence[Event], length: int) -> None:
        """`before`: what came before the window, newest first; `window`: oldest first; `length`: of a history."""
        kept = [e for e in (*reversed(before), *window) if e.event_type != HISTORY_EXCLUDES]
        self._events = [PairEvent(e.item_id, e.event_type, e.value, e.occurred_at) for e in kept]
        self._times = [e.occurred_at for e in kept]
        self._length = length

    def before(self, moment: int) -> tuple[PairEvent, ...]:
        """The latest events strictly before `moment`, newest first."""
        end = bisect_left(self._times, moment)
        return tuple(reversed(self._events[max(0, end - self._length) : end]))
