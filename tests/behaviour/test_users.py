"""What a user should see next, and lists that the caller already has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from retrieval.application.candidates.engine import UserCandidates
from retrieval.application.rank_items import RankItems
from retrieval.domain.errors import FailedPreconditionError, NotFoundError
from retrieval.domain.filters import Filter, Range, TypedValue
from retrieval.domain.model import AttributeType, Event, Viewer
from retrieval.domain.search import Diversity, SearchOptions, Shortfall, Source
from retrieval.domain.visibility import can_see

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from tests.backends import Agreement, Backend
    from tests.catalogue import DataSet

HOUR_US = 3_600_000_000
NOW_US = time.time_ns() // 1000


def event(user: str, item: str, kind: str, hours_ago: int = 1, value: float | None = None) -> Event:
    return Event(user, item, kind, NOW_US - hours_ago * HOUR_US, f"{kind}-{item}", value)


def listed(data: DataSet) -> list[str]:
    return [i.item_id for i in data.items.values() if can_see(i, Viewer())]


async def record(data: DataSet, stores: tuple[Stores, ...], events: list[Event]) -> None:
    for each in stores:
        await each.events.record(await each.collections.get(data.name), events)


async def test_stored_history(agreement: Agreement, catalogue: DataSet, reference: Stores, postgres: Stores) -> None:
    ids = listed(catalogue)
    for start in range(0, 120, 8):
        user, own = f"reader-{start}", ids[start : start + 8]
        kinds = ("like", "view", "click", "purchase", "impression", "share", "save", "dwell")
        events = [event(user, i, k, hours_ago=30 * n) for n, (i, k) in enumerate(zip(own, kinds, strict=True))]
        await record(catalogue, (reference, postgres), events)
        result = await agreement.of(catalogue, UserCandidates(catalogue.name, user), excluded=own)
        assert len(result.hits) == 10
        assert result.report.degraded_reason == ""
        assert result.hits[0].contributions[0].source == "profile"


async def test_explicit_history(agreement: Agreement, catalogue: DataSet) -> None:
    ids = listed(catalogue)
    for start in range(0, 100, 5):
        own = ids[start : start + 5]
        history = tuple(event("", i, "like", hours_ago=n) for n, i in enumerate(own))
        result = await agreement.of(catalogue, UserCandidates(catalogue.name, "", history), excluded=own)
        assert len(result.hits) == 10


async def test_seen_items_come_back_when_asked_for(agreement: Agreement, catalogue: DataSet) -> None:
    ids = listed(catalogue)
    seen = 0
    for start in range(0, 50, 5):
        liked, disliked = ids[start], ids[start + 1]
        history = (event("", liked, "like"), event("", disliked, "not_interested"))
        request = UserCandidates(catalogue.name, "", history, include_seen=True)
        result = await agreement.of(catalogue, request, excluded=[disliked])
        seen += liked in {h.item_id for h in result.hits}
    assert seen == 10


async def test_negative_events_exclude(agreement: Agreement, catalogue: DataSet) -> None:
    """Whatever else happened with the item, and even where seen items may come back."""
    ids = listed(catalogue)
    for start in range(0, 50, 5):
        liked = ids[start]
        plain = await agreement.oracle.search(UserCandidates(catalogue.name, "", (event("", liked, "like"),)))
        against = plain.hits[0].item_id
        for kind, value in (("not_interested", None), ("report", None), ("rating", 1.0)):
            views = tuple(event("", against, "view", hours_ago=n) for n in range(20))
            history = (event("", liked, "like"), *views, event("", against, kind, value=value))
            request = UserCandidates(catalogue.name, "", history, include_seen=True)
            await agreement.of(catalogue, request, excluded=[against])


@pytest.mark.parametrize("kind", ["block_author", "mute_author"])
async def test_owners_turned_down_are_excluded(agreement: Agreement, catalogue: DataSet, kind: str) -> None:
    ids = [i for i in listed(catalogue) if catalogue.items[i].owner_id]
    for start in range(0, 50, 5):
        liked = ids[start]
        plain = await agreement.oracle.search(UserCandidates(catalogue.name, "", (event("", liked, "like"),)))
        against = next(h.item_id for h in plain.hits if catalogue.items[h.item_id].owner_id)
        owner = catalogue.items[against].owner_id
        history = (event("", liked, "like"), event("", against, kind))
        result = await agreement.of(
            catalogue,
            UserCandidates(catalogue.name, "", history),
            excluded=[i.item_id for i in catalogue.items.values() if i.owner_id == owner],
        )
        assert len(result.hits) == 10


async def test_own_private_items_are_visible_to_their_owner(agreement: Agreement, catalogue: DataSet) -> None:
    """The user is the viewer unless the options name another."""
    owner = "owner-5"
    hidden = {i.item_id for i in catalogue.items.values() if i.owner_id == owner and not can_see(i, Viewer())}
    tree = Filter(must=(Range("rank", lt=TypedValue(AttributeType.INT64, 1000)),))
    history = (event(owner, next(iter(hidden)), "like"),)
    options = SearchOptions(limit=1000, filter=tree)
    own = await agreement.backend.search(UserCandidates(catalogue.name, owner, history, True, options))
    assert hidden & {h.item_id for h in own.hits}
    other = SearchOptions(limit=1000, filter=tree, viewer=Viewer("stranger"))
    foreign = await agreement.backend.search(UserCandidates(catalogue.name, owner, history, True, other))
    assert not hidden & {h.item_id for h in foreign.hits}


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        ((), "NO_HISTORY"),
        ((("item-00001", "impression"), ("item-00002", "not_interested")), "NO_POSITIVE_HISTORY"),
        ((("nowhere", "like"),), "NO_VECTORS"),
    ],
)
async def test_without_a_profile_popular_items_stand_in(
    agreement: Agreement, catalogue: DataSet, history: tuple[tuple[str, str], ...], reason: str
) -> None:
    events = tuple(event("", item, kind) for item, kind in history)
    result = await agreement.of(
        catalogue,
        UserCandidates(catalogue.name, "", events),
        excluded=[item for item, _ in history],
        answers=Source.EXACT,
    )
    assert result.report.degraded_reason == reason
    assert len(result.hits) == 10
    counts = [catalogue.items[h.item_id].rating_count for h in result.hits]
    assert counts == sorted(counts, reverse=True)
    assert result.hits[0].contributions[0].source == "popular"


async def test_popular_stand_ins_run_out(agreement: Agreement, catalogue: DataSet) -> None:
    tree = Filter(must=(Range("rank", lt=TypedValue(AttributeType.INT64, 2)),))
    options = SearchOptions(limit=100, filter=tree)
    result = await agreement.of(catalogue, UserCandidates(catalogue.name, "new", options=options), answers=Source.EXACT)
    assert result.report.shortfall is Shortfall.FILTER_EXHAUSTED


async def test_rank_by_vector(agreement: Agreement, catalogue: DataSet) -> None:
    ids = tuple(sorted(catalogue.items)[:200])
    for query in catalogue.queries[:5]:
        options = SearchOptions(limit=200)
        request = RankItems(catalogue.name, (*ids, "nowhere"), query, options=options)
        result = await agreement.of(catalogue, request, answers=Source.EXACT)
        hidden = [i for i in ids if not can_see(catalogue.items[i], Viewer())]
        assert result.report.missing_item_ids == (*hidden, "nowhere")
        assert len(result.hits) == 200 - len(hidden)


async def test_rank_by_seed_with_chunks_and_caps(agreement: Agreement, chunked: DataSet) -> None:
    ids = tuple(listed(chunked)[:100])
    options = SearchOptions(limit=20, diversity=Diversity(0.6, 2), score_threshold=-0.5)
    request = RankItems(chunked.name, ids, seed_item_id=ids[0], options=options)
    result = await agreement.of(chunked, request, answers=Source.EXACT)
    assert len(result.hits) == 20


async def test_rank_for_a_user(agreement: Agreement, catalogue: DataSet, reference: Stores, postgres: Stores) -> None:
    ids = tuple(listed(catalogue)[:50])
    await record(catalogue, (reference, postgres), [event("ranker", ids[0], "like")])
    result = await agreement.of(catalogue, RankItems(catalogue.name, ids, user_id="ranker"), answers=Source.EXACT)
    assert result.hits[0].item_id == ids[0]


async def test_rank_refusals(backend: Backend, catalogue: DataSet) -> None:
    with pytest.raises(NotFoundError) as missing:
        await backend.search(RankItems(catalogue.name, ("item-00001",), seed_item_id="nowhere"))
    assert missing.value.reason == "SEEDS_NOT_FOUND"
    with pytest.raises(FailedPreconditionError) as unknown:
        await backend.search(RankItems(catalogue.name, ("item-00001",), user_id="nobody"))
    assert unknown.value.reason == "NO_PROFILE"
