"""What this process acknowledged is in its next search, without a token."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.application.ingest import PreparedUpsert, delete_items, write_upsert
from retrieval.domain.errors import UnavailableError
from retrieval.domain.model import Viewer
from retrieval.domain.search import SearchOptions, Source
from retrieval.faiss_cache import cache as module
from tests.caches import cache_of, caught_up
from tests.faiss_cache.searching import ask

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.catalogue import DataSet
    from tests.faiss_cache.conftest import Cached, Ground

EVERYTHING = SearchOptions(limit=1000, viewer=Viewer(unrestricted=True))


async def found(cached: Cached, data: DataSet) -> tuple[set[str], Source]:
    result = await ask(cached.stores, data, options=EVERYTHING)
    return {h.item_id for h in result.hits}, result.report.source


async def put(cached: Cached, data: DataSet, item_id: str) -> None:
    collection = await cached.stores.collections.get(data.name)
    item = replace(next(iter(data.items.values())), item_id=item_id)
    await write_upsert(cached.stores, PreparedUpsert(collection, collection.active, [item], "", b""))


async def test_an_acknowledged_write_is_in_the_next_search(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    """The heartbeat is so slow, and the bound so wide, that only the write itself can have brought it in."""
    slow = {"cache_heartbeat_ms": 600_000, "cache_max_staleness_ms": 600_000}
    async with ground.cached(tmp_path, building=False, **slow) as cached:
        await caught_up(cached.stores, data.name)
        for number in range(30):
            item_id = f"own-{number}"
            await put(cached, data, item_id)
            ids, source = await found(cached, data)
            assert (item_id in ids, source) == (True, Source.FAISS)
            await delete_items(cached.stores, data.name, [item_id], "")
            ids, source = await found(cached, data)
            assert (item_id in ids, source) == (False, Source.FAISS)


async def test_a_cache_that_cannot_take_it_in_is_not_asked(
    ground: Ground, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {"cache_max_staleness_ms": 600_000}
    async with ground.cached(tmp_path, building=False, **wide) as cached:
        await caught_up(cached.stores, data.name)
        follower = cache_of(cached.stores).follower
        monkeypatch.setattr(module, "WRITE_WAIT_S", 0.05)

        async def away(_until: str = "") -> None:
            raise UnavailableError("as in an outage")

        with monkeypatch.context() as patch:
            patch.setattr(follower, "step", away)
            await put(cached, data, "owed")
            ids, source = await found(cached, data)
            assert "owed" in ids
            assert source is not Source.FAISS
        await follower.step()
        ids, source = await found(cached, data)
        assert ("owed" in ids, source) == (True, Source.FAISS)
