"""FAISS caches over the Postgres of the run, and waiting for them."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from retrieval.application.cache_ports import CacheState
from retrieval.faiss_cache import build, keeper
from retrieval.faiss_cache.build_segment import SegmentBuilder
from retrieval.faiss_cache.index import CachedIndex
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from retrieval.application.cache_ports import CacheReport
    from retrieval.application.ports import Stores
    from retrieval.faiss_cache.cache import FaissCache
    from retrieval.faiss_cache.manifest import Manifest
    from retrieval.postgres.adapter import PostgresAdapter


async def until(condition: Callable[[], object], what: str) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        await asyncio.sleep(0.01)


def cache_of(stores: Stores) -> FaissCache:
    """The cache in front of the stores."""
    assert isinstance(stores.cache, CachedIndex)
    return stores.cache._cache


async def caught_up(stores: Stores, name: str, generation: int = 0) -> CacheReport:
    """Wait until the collection is held, from that generation on, with everything written so far; says how it is."""
    cache = cache_of(stores)
    collection = await stores.collections.get(name)
    token = await stores.items.token()
    assert await cache.wait_for(token, PATIENCE_S)

    def held() -> bool:
        report = cache.report(collection.active)
        return report.state in {CacheState.RESIDENT, CacheState.COARSE} and report.generation >= generation

    await until(held, f"generation {generation} of {name} in the cache")
    return cache.report(collection.active)


async def build_segment(adapter: PostgresAdapter, folder: Path, stores: Stores, name: str) -> Manifest:
    """Write the next segment of the active version, in this process."""
    collection = await stores.collections.get(name)
    return await SegmentBuilder(adapter.changes, folder).build(collection, collection.active)


@contextmanager
def graphs_of_few_rows(prefix: int | None = None) -> Iterator[None]:
    """Segments get a graph however few their rows are. `prefix`: on so many components, for versions that have more."""
    choose = build.choose_dimension

    def chosen(vectors: object, queries: object, resolutions: object, metric: object, make: object) -> int:
        if prefix is not None and vectors.shape[1] > prefix:
            return prefix
        return choose(vectors, queries, resolutions, metric, make)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "FLAT_ROWS", 100)
        patch.setattr(build, "choose_dimension", chosen)
        yield


@contextmanager
def hasty_builder() -> Iterator[None]:
    """Segments are built although writes go on, and soon again where that failed."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("CALM_S", 0.05), ("HURRY_S", 0.3), ("RETRY_S", 0.2)):
            patch.setattr(keeper, name, value)
        yield
