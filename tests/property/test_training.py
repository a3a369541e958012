"""No pair knows of what came later: whatever happens from a moment on, pairs up to it say the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.domain.engagement import EVENT_TYPES
from retrieval.domain.model import Event
from retrieval.domain.training import label_of, sort_out
from tests.training import HOUR_US, START_US, generate, item, pairs_of, run_of, shelf

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.training import TrainingPair

ITEMS = [f"i{n}" for n in range(6)]
USERS = ["ann", "bob", "eve"]
LAST_HOUR = 30

# Few moments, so that many events share one: the border between before and not before is where a leak would be.
EVENTS = st.builds(
    lambda user, item_id, kind, hour, value, number: Event(
        user, item_id, kind, START_US + hour * HOUR_US, f"{kind}-{number}", value if kind == "rating" else None
    ),
    st.sampled_from(USERS),
    st.sampled_from(ITEMS),
    st.sampled_from([*EVENT_TYPES, *["view", "impression", "like", "rating"] * 6]),
    st.integers(-5, LAST_HOUR),
    st.sampled_from([0.0, 1.0, 2.5, 3.0, 5.0]),
    st.integers(0, 2),
)


async def features(stores: Stores, events: list[Event], until: int) -> dict[tuple[str, str, int], TrainingPair]:
    """The pairs made from `events` whose interaction was at `until` or before, in a collection of their own."""
    collection = await shelf(stores, f"leak-{uuid4().hex[:12]}", [item(i) for i in ITEMS])
    try:
        distinct = {(e.user_id, e.occurred_at, e.item_id, e.event_id): e for e in events}
        if distinct:
            await stores.events.record(collection, list(distinct.values()))
        await generate(stores, collection, run_of(), history_length=4, negatives_per_positive=100)
        return {p.key: p for p in await pairs_of(stores, collection) if p.interaction_at <= until}
    finally:
        await stores.collections.delete(collection.name)


async def check(stores: Stores, past: list[Event], hour: int, futures: list[list[Event]]) -> None:
    cut = START_US + hour * HOUR_US
    common = [e for e in past if e.occurred_at < cut]
    # At the very border, where there is something to leak into and, close behind, much to leak.
    common += [Event(user, i, "like", cut, "border") for user, i in (("ann", "i0"), ("bob", "i1"))]
    later = [[replace(e, occurred_at=cut + e.occurred_at // HOUR_US % 3 * HOUR_US) for e in f] for f in futures]
    found = [await features(stores, common + events, cut) for events in later]
    for other in found[1:]:
        for key in found[0].keys() & other.keys():
            ours, theirs = found[0][key], other[key]
            assert (ours.history, ours.item) == (theirs.history, theirs.item)
            if key[2] < cut:
                assert ours == theirs
        # An engagement is a pair whatever follows; an item that was seen is a negative unless it is engaged with later.
        assert {k for k, p in found[0].items() if p.label and k[2] < cut} == {
            k for k, p in other.items() if p.label and k[2] < cut
        }
    for pairs in found:
        for pair in pairs.values():
            assert all(e.occurred_at < pair.interaction_at for e in pair.history)


WORLD = {
    "past": st.lists(EVENTS, max_size=30),
    "hour": st.integers(0, LAST_HOUR),
    "futures": st.lists(st.lists(EVENTS, max_size=20), min_size=2, max_size=2),
}


@given(**WORLD)
async def test_reference(reference: Stores, past: list[Event], hour: int, futures: list[list[Event]]) -> None:
    await check(reference, past, hour, futures)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(**WORLD)
async def test_postgres(postgres: Stores, past: list[Event], hour: int, futures: list[list[Event]]) -> None:
    await check(postgres, past, hour, futures)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(events=st.lists(EVENTS, max_size=40))
async def test_both_make_the_same_pairs(reference: Stores, postgres: Stores, events: list[Event]) -> None:
    end = START_US + 1000 * HOUR_US
    assert await features(reference, events, end) == await features(postgres, events, end)


@given(events=st.lists(EVENTS, max_size=40), seed=st.integers(-(2**63), 2**63 - 1))
def test_no_item_is_both_engaged_with_and_a_sampled_negative(events: list[Event], seed: int) -> None:
    own = sorted((replace(e, user_id="ann") for e in events), key=lambda e: (e.occurred_at, e.item_id, e.event_id))
    found = sort_out(own, 5.0, seed)
    seen = [e.item_id for e in found.seen]
    assert len(seen) == len(set(seen))
    assert not set(seen) & {e.item_id for e, _ in found.labelled}
    assert all(label_of(e.event_type, e.value, 5.0) is label for e, label in found.labelled)
    first = {}
    for event in own:
        if event.event_type in {"view", "impression"}:
            first.setdefault(event.item_id, event.occurred_at)
    assert all(e.occurred_at == first[e.item_id] for e in found.seen)
