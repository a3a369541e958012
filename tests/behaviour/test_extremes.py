"""Weights, ages and ratings as far apart as the contract allows: nothing vanishes that counts, and nothing breaks."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application.candidates.engine import CandidateEngine, UserCandidates
from retrieval.application.candidates.profile import ProfileRequest, UserProfiles
from retrieval.application.limits import Limits
from retrieval.application.rank_items import RankItems, rank_items
from retrieval.application.search import SearchPipeline
from retrieval.domain.engagement import DAY_US, EventType
from retrieval.domain.model import Event, Viewer, Visibility
from retrieval.domain.relationships import LEAST_SHARE, Relationship, RelationshipKind, Walk
from retrieval.domain.search import Predicate, SearchOptions
from retrieval.domain.trending import WINDOWS_S
from tests.catalogue import make

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

NOW_US = time.time_ns() // 1000
LEAST = 5e-324
"""The least float64 above 0."""
EVERYBODY = SearchOptions(100, viewer=Viewer(unrestricted=True))


async def made(stores: Stores, name: str, **settings: object) -> tuple[Collection, list[str]]:
    data = make(name, 14, dimension=4)
    items = [replace(i, visibility=Visibility.PUBLIC, status=type(i.status).APPROVED) for i in data.items.values()]
    collection = await stores.collections.create(replace(data.collection(), **settings), data.version())  # type: ignore[arg-type]
    await stores.items.upsert(collection, collection.active, items, "", b"")
    return await stores.collections.get(data.name), [item.item_id for item in items]


def event(item_id: str, kind: str, age_days: float, value: float | None = None, dwell_ms: int | None = None) -> Event:
    return Event("ann", item_id, kind, NOW_US - int(age_days * DAY_US), kind, value, dwell_ms)


@pytest.mark.parametrize("since", ["impression", "like"])
@pytest.mark.parametrize("half_life_days", [14.0, 1 / 24])
async def test_a_history_of_six_years(stores: Stores, name: str, since: str, half_life_days: float) -> None:
    """Old views beside something fresh make a profile, whatever the half-life."""
    settings = {"view": EventType(0.1, half_life_days)}
    collection, ids = await made(stores, name, event_types=settings)
    history = (event(ids[0], "view", 2190), event(ids[1], "view", 2191), event(ids[2], since, 0))
    await stores.events.record(collection, history)
    pipeline = SearchPipeline(stores, Limits())
    engine = CandidateEngine(stores, pipeline)
    asked = UserCandidates(collection.name, "ann", options=EVERYBODY)
    by_user, by_history = await engine.search(asked), await engine.search(replace(asked, user_id="", history=history))
    for result in (by_user, by_history):
        assert result.report.degraded_reason == ""
        assert {h.item_id for h in result.hits} == set(ids[3:])
        assert {r.name: r.returned for r in result.report.sources}["interests"] > 0
        assert np.isfinite([h.score for h in result.hits]).all()
    ranked = await rank_items(stores, pipeline, RankItems(collection.name, tuple(ids), user_id="ann"))
    assert np.isfinite([h.score for h in ranked.hits]).all()
    profile = await UserProfiles(stores, engine.states).read(ProfileRequest(collection.name, "ann"))
    assert sum(interest.weight for interest in profile.interests) == pytest.approx(1.0)
    assert profile.positive_items == (3 if since == "like" else 2)


async def test_relationships_that_hardly_hold(stores: Stores, name: str) -> None:
    """Ten steps of the least weight and confidence lead as far as any others, and weigh next to nothing."""
    collection, ids = await made(stores, name)
    least = [Relationship(a, b, RelationshipKind.SEQUEL, LEAST, LEAST) for a, b in itertools.pairwise(ids)]
    unsure = Relationship(ids[0], ids[13], RelationshipKind.SEQUEL, LEAST, 0.0)
    assert await stores.relationships.upsert(collection, [*least, unsure]) == len(ids)
    found = await stores.relationships.walk(
        collection, Walk(ids[0], depth=10), Predicate(viewer=Viewer(unrestricted=True)), None, 100
    )
    assert [reached.item_id for reached in found] == ids[1:11]
    strengths = [reached.strength for reached in found]
    assert strengths == pytest.approx([LEAST_SHARE ** (2 * n) for n in range(1, 11)], rel=1e-9, abs=0)
    near = await stores.relationships.neighbours(collection, [ids[0]], Viewer(unrestricted=True), 10)
    assert [item_id for item_id, _ in near] == [ids[1]]
    await stores.events.record(collection, [event(ids[0], "like", 0)])
    result = await CandidateEngine(stores, SearchPipeline(stores, Limits())).search(
        UserCandidates(collection.name, "ann", options=EVERYBODY)
    )
    assert "related" in {part.source for h in result.hits if h.item_id == ids[1] for part in h.contributions}


@pytest.mark.parametrize("weight", [LEAST, -LEAST, 1e-300, 100.0])
async def test_event_types_that_hardly_weigh(stores: Stores, name: str, weight: float) -> None:
    """Whatever the weight, events are recorded, trend where it is positive, and repel where it is not."""
    kinds = ("like", "dwell", "rating")
    collection, ids = await made(stores, name, event_types={kind: EventType(weight, 1 / 24) for kind in kinds})
    events = [
        event(ids[0], "like", 0),
        event(ids[1], "like", 0.04),
        event(ids[2], "dwell", 0.02, dwell_ms=1),
        event(ids[3], "rating", 0.01, value=5.0),
        event(ids[4], "rating", 0.01, value=LEAST),
        event(ids[5], "dwell", 3000, dwell_ms=1),
    ]
    assert (await stores.events.record(collection, events)).recorded == len(events)
    await stores.engagement.refresh_trending(collection)
    up, down = set(ids[:4]), {ids[4]}
    if weight < 0:
        up, down = {ids[4]}, {*ids[:4], ids[5]}
    for window_s in WINDOWS_S:
        trending = dict(await stores.engagement.trending(collection, window_s, 100))
        assert set(trending) == up
        assert all(score > 0 for score in trending.values())
    seen = dict(await stores.events.seen(collection, "ann", 100))
    assert {item_id for item_id, repelled in seen.items() if repelled} == down
    result = await CandidateEngine(stores, SearchPipeline(stores, Limits())).search(
        UserCandidates(collection.name, "ann", options=EVERYBODY, include_seen=True)
    )
    assert {h.item_id for h in result.hits} == set(ids) - down


@pytest.mark.parametrize("scale", [1e-100, 5.0, 1e100])
async def test_scales_of_ratings(stores: Stores, name: str, scale: float) -> None:
    collection, ids = await made(stores, name, rating_scale_max=scale)
    values = [0.0, LEAST, scale / 4, scale / 2, scale * 0.75, scale]
    await stores.events.record(
        collection, [event(i, "rating", n / 100, value) for n, (i, value) in enumerate(zip(ids, values, strict=False))]
    )
    seen = dict(await stores.events.seen(collection, "ann", 100))
    assert [seen[i] for i in ids[:6]] == [True, True, True, False, False, False]
    # A scale that was another one when the ratings came.
    for other in (1e-100, 1e100):
        await stores.collections.update(collection.name, {}, None, other)
        changed = await stores.collections.get(collection.name)
        assert len(await stores.events.seen(changed, "ann", 100)) == 6
        await CandidateEngine(stores, SearchPipeline(stores, Limits())).search(UserCandidates(collection.name, "ann"))
    await stores.engagement.refresh_trending(collection)
