"""The change log is shortened: a cache that was further behind notices, starts over and is right."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.config import Settings
from retrieval.domain.model import Viewer
from retrieval.domain.search import SearchOptions, Source
from retrieval.postgres.bandits import PostgresBandits
from retrieval.postgres.embedding_job_store import PostgresEmbeddingJobs
from retrieval.postgres.pairs import PostgresPairs
from retrieval.postgres.pruning import Pruning
from tests.caches import cache_of, caught_up
from tests.faiss_cache.searching import THOROUGH, ask, assert_right

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.catalogue import DataSet
    from tests.faiss_cache.conftest import Cached, Ground

EVERYTHING = SearchOptions(viewer=Viewer(unrestricted=True), params=THOROUGH)


async def shorten_log(ground: Ground) -> None:
    """As a day later: all that was written so far is too old."""
    database = ground.adapter._database
    assert database is not None
    async with database.connection() as connection:
        await connection.execute("UPDATE retrieval.change_log SET created_at = created_at - interval '25 hours'")
    jobs = PostgresEmbeddingJobs(database, TaskSupervisor(), lambda: None)
    pruning = Pruning(database, Settings(), PostgresPairs(database), PostgresBandits(database), jobs, kept_changes=0)
    assert await pruning.changes() > 0


async def change(ground: Ground, data: DataSet) -> str:
    """Delete the item nearest to the first query, and move another one there; returns its id."""
    collection = await ground.stores.collections.get(data.name)
    nearest, other = (hit.item_id for hit in (await ask(ground.stores, data, options=EVERYTHING)).hits[:2])
    await ground.stores.items.delete(collection, [nearest], "", b"")
    moved = replace(data.items[other], chunks=data.items[nearest].chunks)
    await ground.stores.items.upsert(collection, collection.active, [moved], "", b"")
    return other


async def check(cached: Cached, data: DataSet, nearest: str) -> None:
    result = await ask(cached.stores, data, options=EVERYTHING)
    assert result.report.source is Source.FAISS
    assert result.hits[0].item_id == nearest
    await assert_right(cached, data)


async def test_a_segment_from_before_is_built_anew(
    ground: Ground, data: DataSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await ground.segment(data, tmp_path)
    await change(ground, data)
    await shorten_log(ground)
    nearest = await change(ground, data)
    async with ground.cached(tmp_path) as cached:
        await caught_up(cached.stores, data.name, 2)
        await check(cached, data, nearest)
    assert "older than the change log remembers" in caplog.text


async def test_a_segment_that_missed_nothing_outlives_the_log(
    ground: Ground, data: DataSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nearest = await change(ground, data)
    await ground.segment(data, tmp_path)
    await shorten_log(ground)
    async with ground.cached(tmp_path) as cached:
        report = await caught_up(cached.stores, data.name, 1)
        assert (report.generation, cached.build.asked) == (1, 0)
        await check(cached, data, nearest)
        later = await change(ground, data)
        await caught_up(cached.stores, data.name, 1)
        await check(cached, data, later)
    assert "older than the change log remembers" not in caplog.text


async def test_a_running_cache_that_fell_behind_starts_over(
    ground: Ground, data: DataSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await ground.segment(data, tmp_path)
    async with ground.cached(tmp_path) as cached:
        await caught_up(cached.stores, data.name, 1)
        async with cache_of(cached.stores).follower._stepping:
            await change(ground, data)
            await shorten_log(ground)
            nearest = await change(ground, data)
        await caught_up(cached.stores, data.name)
        await check(cached, data, nearest)
    assert "it starts over" in caplog.text
