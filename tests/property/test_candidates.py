"""Whatever is asked and whatever happens in between: nobody is shown what they must not be shown."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from retrieval.application.candidates import catalogue
from retrieval.application.candidates.engine import CandidateEngine
from retrieval.application.limits import Limits
from retrieval.application.search import SearchPipeline
from retrieval.bootstrap import cached
from retrieval.config import Settings
from retrieval.reference.adapter import ReferenceAdapter
from tests.caches import caught_up
from tests.candidate_world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from retrieval.application.candidates.engine import UserCandidates
    from retrieval.application.ports import Stores
    from retrieval.postgres.adapter import PostgresAdapter

WORLDS = 10
REQUESTS_A_WORLD = 1000
ANOTHER_MODEL = 400
"""Requests after which a world has a model, and then another."""


@asynccontextmanager
async def engine_over(stores: Stores) -> AsyncIterator[CandidateEngine]:
    engine = CandidateEngine(stores, SearchPipeline(stores, Limits()))
    engine.open()
    try:
        yield engine
    finally:
        await engine.close()


def asked_next(world: World, request: UserCandidates) -> UserCandidates:
    """The same again, so that results that are kept come to light; or something close to it, or something else."""
    drawn = world.chooser.random()
    return request if drawn < 0.3 else world.like(request) if drawn < 0.5 else world.request()


async def test_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand requests. Things happen in between, most of them to what was just shown."""
    # Facts of the collection are old after a moment: they are read again and again while requests come in.
    monkeypatch.setattr(catalogue, "REFRESH_S", 0.05)
    seen: Counter[str] = Counter()
    for seed in range(WORLDS):
        stores = await ReferenceAdapter().open()
        world = await World.made(stores, Random(seed), 60)
        async with engine_over(stores) as engine:
            request = world.request()
            for number in range(REQUESTS_A_WORLD):
                if number % ANOTHER_MODEL == ANOTHER_MODEL - 1:
                    await world.train()
                if world.chooser.random() < 0.2:
                    await world.change()
                request = asked_next(world, request)
                result = await engine.search(request)
                world.check(request, result)
                seen["cached"] += result.report.cached
                seen["trained"] += bool(result.report.model_version)
                seen["chosen"] += bool(result.report.decision_id)
                seen["full"] += result.report.shortfall is None
                seen.update({part.source for hit in result.hits for part in hit.contributions})
    # The requests reached what they are about.
    assert seen["cached"] > 1000, seen
    assert seen["trained"] > 4000, seen
    assert min(seen[name] for name in ("chosen", "full", "co_engagement", "interests", "in_network", "fresh")) > 200, (
        seen
    )


async def test_postgres_with_a_cache(
    adapter: PostgresAdapter, postgres: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests with the token of the latest write see it at once; others once the cache has followed."""
    monkeypatch.setattr(catalogue, "REFRESH_S", 0.05)
    seen: Counter[str] = Counter()
    async with cached(adapter, postgres, Settings(cache_dir=tmp_path)) as stores:
        world = await World.made(stores, Random(99), 120)
        await stores.engagement.refresh_trending(await stores.collections.get(world.data.name))
        async with engine_over(stores) as engine:
            await caught_up(stores, world.data.name)
            request = world.request()
            for number in range(400):
                if number == 200:
                    await world.train()
                changed = world.chooser.random() < 0.3
                if changed:
                    await world.change()
                request = asked_next(world, request)
                if changed and world.token and world.chooser.random() < 0.5:
                    asked = replace(request, options=replace(request.options, min_consistency_token=world.token))
                else:
                    await caught_up(stores, world.data.name)
                    asked = request
                result = await engine.search(asked)
                world.check(asked, result)
                seen["cached"] += result.report.cached
                seen["trained"] += bool(result.report.model_version)
                seen[result.report.source.value] += 1
        await stores.collections.delete(world.data.name)
    assert min(seen["cached"], seen["trained"], seen["faiss"]) > 20, seen
