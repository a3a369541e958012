"""Searching candidates at the largest size that the contract allows leaves the event loop to others."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from retrieval.application.candidates.engine import CandidateEngine, UserCandidates
from retrieval.application.candidates.strategies import MAX_QUOTA, QUOTAS, SourceSetting
from retrieval.application.limits import MAX_LIMIT, Limits
from retrieval.application.search import SearchPipeline
from retrieval.domain.model import Event, Viewer, Visibility
from retrieval.domain.search import Diversity, SearchOptions
from tests.catalogue import load, make
from tests.lateness import lateness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import Stores

NOW_US = time.time_ns() // 1000
MOST_S = 0.25
"""The service means to stay below 0.05; machines of tests are shared."""
TRIES = 4
"""What holds the loop by itself does so every time; another process that takes the cores does not."""
ITEMS, DIMENSION, SEEN, LIKED = 4500, 768, 10_000, 400


@pytest.fixture(scope="module")
async def asked(postgres: Stores) -> AsyncIterator[tuple[CandidateEngine, UserCandidates]]:
    """An engine, and a request of a user with a long history that every source answers with as much as it may."""
    data = make("pauses", ITEMS, dimension=DIMENSION, seed=31)
    items = [replace(i, visibility=Visibility.PUBLIC, status=type(i.status).APPROVED) for i in data.items.values()]
    collection = await load(postgres, data, items)
    liked = [Event("ann", i.item_id, "like", NOW_US - n * 1_000_000, "e") for n, i in enumerate(items[:LIKED])]
    seen = [Event("ann", f"seen-{n}", "view", NOW_US - 10**10 - n * 1_000_000, "e") for n in range(SEEN)]
    await postgres.events.record(collection, liked)
    await postgres.events.record(collection, seen)
    engine = CandidateEngine(postgres, SearchPipeline(postgres, Limits()))
    engine.open()
    quotas = {name: SourceSetting(MAX_QUOTA) for name in QUOTAS}
    viewer = Viewer(unrestricted=True)
    yield (
        engine,
        UserCandidates(
            collection.name, "ann", options=SearchOptions(MAX_LIMIT, viewer=viewer), sources=quotas, no_cache=True
        ),
    )
    await engine.close()
    await postgres.collections.delete(collection.name)


@pytest.mark.parametrize(
    "diversity",
    [Diversity(mmr_lambda=0.5), Diversity(dpp_theta=0.5), Diversity(owner_decay=0.5, max_per_owner=100)],
    ids=["mmr", "dpp", "owners"],
)
async def test_the_largest_answer_leaves_the_loop_to_others(
    asked: tuple[CandidateEngine, UserCandidates], diversity: Diversity
) -> None:
    engine, request = asked
    request = replace(request, options=replace(request.options, diversity=diversity))
    worst: list[float] = []
    while len(worst) < TRIES and min(worst, default=MOST_S) >= MOST_S:
        async with lateness() as late:
            result = await engine.search(request)
        assert len(result.hits) == MAX_LIMIT
        worst.append(late.worst_s)
    assert min(worst) < MOST_S, worst
