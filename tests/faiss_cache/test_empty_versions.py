"""A version without rows needs no segment: nobody builds one for it, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.cache_ports import CacheState
from retrieval.application.ingest import delete_items
from retrieval.faiss_cache import keeper
from tests.caches import cache_of, caught_up, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.catalogue import DataSet
    from tests.faiss_cache.conftest import Ground


async def test_a_demand_for_an_empty_version_is_dropped(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    await delete_items(ground.stores, data.name, sorted(data.items), "")
    async with ground.cached(tmp_path) as cached:
        await caught_up(cached.stores, data.name)
        cache = cache_of(cached.stores)
        version = (await cached.stores.collections.get(data.name)).active
        cache.prewarm(version)
        await until(lambda: version.version_id not in cache.keeper._wanted, "the demand is dropped")
        assert cached.build.asked == 0


async def test_what_was_emptied_in_one_go_is_followed_again(
    ground: Ground, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More went away than a segment can be followed through; the build then finds nothing, once."""
    monkeypatch.setattr(keeper, "RETRY_S", 0.01)
    await ground.segment(data, tmp_path)
    async with ground.cached(tmp_path, cache_delta_rows=20) as cached:
        await caught_up(cached.stores, data.name, 1)
        cache = cache_of(cached.stores)
        version = (await cached.stores.collections.get(data.name)).active
        monkeypatch.setattr(cache._settings.__class__, "too_many", lambda *_: 100)
        await delete_items(cached.stores, data.name, sorted(data.items), "")
        await until(lambda: cached.build.asked > 0, "a build was tried")
        await until(lambda: cache.report(version).state is CacheState.RESIDENT, "it is followed")
        assert cache.report(version).generation == 0
        asked = cached.build.asked
        for _ in range(5):
            await cache._keep()
        assert cached.build.asked == asked
        assert cache.report(version).state is CacheState.RESIDENT
