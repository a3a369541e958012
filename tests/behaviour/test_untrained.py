"""Candidates before any training: others speak as far as there are any, a trend as far as there is traffic."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from retrieval.application.candidates import catalogue as catalogues
from retrieval.application.candidates.catalogue import Catalogues
from retrieval.application.candidates.engine import CandidateEngine, UserCandidates
from retrieval.application.candidates.strategies import (
    CROWDED,
    STRATEGIES,
    UNTRAINED,
    Evidence,
    Strategy,
    untrained,
    weights_of,
)
from retrieval.application.limits import Limits
from retrieval.application.search import SearchPipeline
from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.domain.engagement import DAY_US
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import Event, Visibility
from tests.catalogue import load, make

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection
    from retrieval.domain.search import SearchResult

NOW_US = time.time_ns() // 1000
YEARS_AGO = NOW_US - 5 * 365 * DAY_US


async def town(stores: Stores, name: str, users: int) -> tuple[Collection, list[str]]:
    """Forty items; even users liked most of the first nineteen, the others of the twenty-first on, years ago."""
    data = make(name, 40, dimension=8)
    items = [
        replace(i, visibility=Visibility.PUBLIC, status=type(i.status).APPROVED, rating_count=0)
        for i in data.items.values()
    ]
    collection = await load(stores, data, items)
    ids = [item.item_id for item in items]
    events = [
        Event(f"user-{user}", ids[20 * (user % 2) + place], "like", YEARS_AGO + place * 1_000_000, "e")
        for user in range(users)
        for place in range(19)
        if (user // 2 + place) % 4
    ]
    await stores.events.record(collection, events)
    await stores.engagement.refresh_trending(collection)
    return collection, ids


async def ask(stores: Stores, collection: Collection, user: str, **changes: object) -> SearchResult:
    engine = CandidateEngine(stores, SearchPipeline(stores, Limits()))
    return await engine.search(UserCandidates(collection.name, user, **changes))  # type: ignore[arg-type]


async def test_others_with_such_a_history_speak(stores: Stores, name: str) -> None:
    collection, ids = await town(stores, name, 200)
    liked = [Event("ann", ids[20 + n], "like", NOW_US - n, "e") for n in range(3)]
    await stores.events.record(collection, liked)
    result = await ask(stores, collection, "ann")
    assert {h.item_id for h in result.hits} <= set(ids[23:])
    assert result.report.degraded_reason == ""
    assert all(h.contributions[0].source == "co_engagement" for h in result.hits)
    # So for a history that comes with the request.
    given = await ask(stores, collection, "", history=tuple(replace(e, user_id="") for e in liked))
    assert {h.item_id for h in given.hits} <= set(ids[23:])


async def test_a_few_speak_for_nobody(stores: Stores, name: str) -> None:
    """As few as these have the weights of a catalogue that nobody engages with."""
    collection, ids = await town(stores, name, 20)
    result = await ask(stores, collection, "user-0")
    assert "co_engagement" not in {part.source for h in result.hits for part in h.contributions}
    assert {report.name for report in result.report.sources} == set(UNTRAINED)
    assert ids


@pytest.mark.parametrize(("late", "wins"), [(4, False), (400, True)])
async def test_a_trend_needs_traffic(stores: Stores, name: str, late: int, wins: bool) -> None:
    """What a few did in the last days does not outvote what hundreds liked before; what hundreds did, does."""
    collection, ids = await town(stores, name, 300)
    new = ids[19]
    events = [Event(f"late-{n}", new, "like", NOW_US - DAY_US - n, "e") for n in range(late)]
    await stores.events.record(collection, events)
    await stores.engagement.refresh_trending(collection)
    assert [i for i, _ in await stores.engagement.trending(collection, 30 * 86_400, 10)] == [new]
    hits = [h.item_id for h in (await ask(stores, collection, "nobody")).hits]
    assert (hits[0] == new) is wins


async def test_what_was_turned_down_speaks_for_nothing(stores: Stores, name: str) -> None:
    collection, ids = await town(stores, name, 100)
    against = [Event(f"user-{user}", ids[1], "not_interested", NOW_US - user, "n") for user in range(0, 100, 2)]
    await stores.events.record(collection, against)
    ranked = [
        h.item_id for h in (await ask(stores, collection, "nobody", strategies=(Strategy("collaborative"),))).hits
    ]
    assert ids[1] not in ranked[:5]
    catalogue = await Catalogues(stores, TaskSupervisor()).of(collection)
    assert catalogue.visits is not None
    assert catalogue.visits.popularity[catalogue.visits.numbers[ids[1]]] == 0
    assert ids[1] not in catalogue.popular[:30]


async def test_the_latest_events_come_first(stores: Stores, name: str) -> None:
    collection, ids = await town(stores, name, 30)
    latest = [Event("ann", i, "like", NOW_US - 40 * DAY_US * n, "e") for n, i in enumerate(ids[:5])]
    await stores.events.record(collection, latest)
    read = [event async for batch in stores.archive.latest(collection, 4) for event in batch]
    assert [(e.user_id, e.item_id, e.occurred_at) for e in read] == [
        (e.user_id, e.item_id, e.occurred_at) for e in latest[:4]
    ]


async def test_a_first_caller_does_not_wait_for_many_events(
    stores: Stores, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection, _ = await town(stores, name, 100)
    monkeypatch.setattr(catalogues, "FIRST_LOOK_S", 0.0)
    monkeypatch.setattr(catalogues, "REFRESH_S", 0.0)
    read = Catalogues(stores, TaskSupervisor())
    assert (await read.of(collection)).visits is None
    await read.settled()
    later = await read.of(collection)
    await read.settled()
    later = await read.of(collection)
    assert later.visits is not None
    # What was just read serves for a while.
    await read.settled()
    assert (await read.of(collection)).visits is later.visits
    await read.close()


async def test_what_is_kept_has_a_budget(stores: Stores, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collections that were asked for lately stay."""
    made = [(await town(stores, f"{name}-{n}", 40))[0] for n in range(3)]
    read = Catalogues(stores, TaskSupervisor())
    for collection in made:
        await read.of(collection)
    assert len(read._known) == 3
    monkeypatch.setattr(catalogues, "KEPT_BYTES", 1)
    monkeypatch.setattr(catalogues, "REFRESH_S", 0.0)
    await read.of(made[0])
    await read.settled()
    assert list(read._known) == [made[0].collection_id]
    await read.close()


def test_weights_go_from_one_end_to_the_other() -> None:
    assert untrained(Evidence(0.0, 1.0)) == UNTRAINED
    assert untrained(Evidence(1.0, 1.0)) == pytest.approx(dict(CROWDED))
    between = untrained(Evidence(0.5, 0.1))
    assert between["co_engagement"] == 0.5
    assert between["popular"] == pytest.approx((UNTRAINED["popular"] + CROWDED["popular"]) / 2)
    assert between["trending"] == pytest.approx((UNTRAINED["trending"] + CROWDED["trending"]) / 20)
    assert weights_of(Strategy("hybrid")) == STRATEGIES["hybrid"]
    with pytest.raises(InvalidArgumentError):
        weights_of(Strategy("unknown"))
