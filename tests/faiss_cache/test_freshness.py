"""Whatever changes in the store shows in the cache, without a token, within its bound."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.domain.filters import Filter, MatchAny, TypedValue
from retrieval.domain.model import AttributeType, Chunk, ItemStatus, Viewer, Visibility
from retrieval.domain.search import SearchOptions, Source
from retrieval.faiss_cache import resident
from tests.caches import cache_of, caught_up, until
from tests.catalogue import load
from tests.faiss_cache.searching import THOROUGH, ask, assert_right
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from retrieval.domain.search import SearchResult
    from tests.catalogue import DataSet
    from tests.faiss_cache.conftest import Cached, Ground

EVERYTHING = SearchOptions(viewer=Viewer(unrestricted=True), params=THOROUGH)
BOUND_S = 10.0
"""The bound of two seconds, and time for a busy machine."""


async def soon(
    cached: Cached, data: DataSet, condition: Callable[[SearchResult], bool], options: SearchOptions = EVERYTHING
) -> None:
    """The cache, asked without a token, comes to answer so within its bound."""
    started = time.monotonic()
    while True:
        result = await ask(cached.stores, data, options=options)
        if result.report.source is Source.FAISS and condition(result):
            break
        assert time.monotonic() - started < BOUND_S, [h.item_id for h in result.hits]
        await asyncio.sleep(0.01)


def first(item_id: str) -> Callable[[SearchResult], bool]:
    return lambda result: bool(result.hits) and result.hits[0].item_id == item_id


def without(item_id: str) -> Callable[[SearchResult], bool]:
    return lambda result: item_id not in [h.item_id for h in result.hits]


def version_folders(root: Path) -> set[str]:
    return {p.name for p in root.glob("*/v*")}


async def test_writes_of_every_kind(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    await ground.segment(data, tmp_path)
    items = ground.stores.items
    collection = await ground.stores.collections.get(data.name)
    async with ground.cached(tmp_path, building=False) as cached:
        await caught_up(cached.stores, data.name, 1)
        nearest = (await ask(cached.stores, data, options=EVERYTHING)).hits[0].item_id
        item = replace(data.items[nearest], visibility=Visibility.PUBLIC, status=ItemStatus.APPROVED)
        anybody = replace(EVERYTHING, viewer=None)

        await items.upsert(collection, collection.active, [item], "", b"")
        await soon(cached, data, first(nearest), anybody)
        await items.upsert(collection, collection.active, [replace(item, visibility=Visibility.PRIVATE)], "", b"")
        await soon(cached, data, without(nearest), anybody)
        await soon(
            cached,
            data,
            first(nearest),
            replace(EVERYTHING, viewer=Viewer(item.owner_id or "nobody")) if item.owner_id else EVERYTHING,
        )
        await items.upsert(collection, collection.active, [replace(item, status=ItemStatus.REJECTED)], "", b"")
        await soon(cached, data, without(nearest), anybody)

        polka = Filter(must=(MatchAny("genre", (TypedValue(AttributeType.KEYWORD, "polka"),)),))
        await items.upsert(collection, collection.active, [replace(item, attributes={"genre": "polka"})], "", b"")
        await soon(cached, data, first(nearest), replace(anybody, filter=polka))
        await items.upsert(collection, collection.active, [item], "", b"")
        await soon(cached, data, lambda result: not result.hits, replace(anybody, filter=polka))

        new = replace(item, item_id="new")
        await items.upsert(collection, collection.active, [new], "", b"")
        await soon(cached, data, lambda r: "new" in [h.item_id for h in r.hits[:2]])
        await items.delete(collection, ["new", nearest], "", b"")
        await soon(cached, data, lambda r: without("new")(r) and without(nearest)(r))
        await items.upsert(collection, collection.active, [replace(item, chunks=())], "", b"")
        await caught_up(cached.stores, data.name)
        await soon(cached, data, without(nearest))
        await assert_right(cached, data, EVERYTHING)


async def test_the_number_of_chunks_changes(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    """The hot path, which takes a row for an item, is told in the same step."""
    await ground.segment(data, tmp_path)
    collection = await ground.stores.collections.get(data.name)
    async with ground.cached(tmp_path, building=False, cache_max_staleness_ms=600_000) as cached:
        await caught_up(cached.stores, data.name, 1)
        hot = cached.stores.cache
        await cached.stores.collections.get(data.name)
        assert hot.search_now(data.name, data.queries[:1], EVERYTHING) is not None
        nearest = (await ask(cached.stores, data, options=EVERYTHING)).hits[0].item_id
        vector = data.items[nearest].chunks[0].vector
        many = replace(data.items[nearest], chunks=tuple(Chunk(n, vector) for n in range(3)))
        token = (await cached.stores.items.upsert(collection, collection.active, [many], "", b"")).token
        while not cache_of(cached.stores).reflects(token):
            await asyncio.sleep(0)
        assert hot.search_now(data.name, data.queries[:1], EVERYTHING) is None
        result = await ask(cached.stores, data, options=replace(EVERYTHING, min_consistency_token=token))
        assert [h.item_id for h in result.hits].count(nearest) == 1
        assert (await caught_up(cached.stores, data.name)).delta_rows == 3
        token = (await cached.stores.items.upsert(collection, collection.active, [data.items[nearest]], "", b"")).token
        assert await cache_of(cached.stores).wait_for(token, PATIENCE_S)
        await assert_right(cached, data, EVERYTHING)


async def test_an_attribute_that_is_declared_later(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    """Whoever has the token of a write with it finds it."""
    await ground.segment(data, tmp_path)
    async with ground.cached(tmp_path, building=False) as cached:
        await caught_up(cached.stores, data.name, 1)
        for number in range(5):
            name = f"colour{number}"
            await cached.stores.collections.update(data.name, {name: AttributeType.KEYWORD}, None, None)
            collection = await cached.stores.collections.get(data.name)
            item = replace(data.items[f"item-{number:05d}"], attributes={name: "red"})
            token = (await cached.stores.items.upsert(collection, collection.active, [item], "", b"")).token
            red = Filter(must=(MatchAny(name, (TypedValue(AttributeType.KEYWORD, "red"),)),))
            options = replace(EVERYTHING, filter=red, min_consistency_token=token)
            assert await cache_of(cached.stores).wait_for(token, PATIENCE_S)
            result = await ask(cached.stores, data, options=options, source=Source.FAISS)
            assert [h.item_id for h in result.hits] == [item.item_id]


async def test_versions_are_activated_and_rolled_back(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    await ground.segment(data, tmp_path)
    async with ground.cached(tmp_path) as cached:
        await caught_up(cached.stores, data.name, 1)
        before = [h.item_id for h in (await ask(cached.stores, data)).hits]
        second = await cached.stores.collections.create_version(data.name, data.version("second"))
        collection = await cached.stores.collections.get(data.name)
        turned = [
            replace(i, chunks=tuple(Chunk(c.chunk_index, np.ascontiguousarray(c.vector[::-1])) for c in i.chunks))
            for i in data.items.values()
        ]
        await cached.stores.items.upsert(collection, second, turned, "", b"")
        await cached.stores.collections.activate_version(data.name, 2)
        await soon(cached, data, lambda r: r.report.embedding_version == 2)
        await assert_right(cached, data)
        assert [h.item_id for h in (await ask(cached.stores, data)).hits] != before
        await cached.stores.collections.rollback_version(data.name)
        await soon(cached, data, lambda r: r.report.embedding_version == 1)
        await assert_right(cached, data)
        assert [h.item_id for h in (await ask(cached.stores, data)).hits] == before


async def test_a_collection_of_the_same_name(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    """Nothing of the one before is found, by any path, by whoever has a token of the new one."""
    await ground.segment(data, tmp_path)
    async with ground.cached(tmp_path, building=False) as cached:
        await caught_up(cached.stores, data.name, 1)
        folders = version_folders(tmp_path)
        assert folders
        await cached.stores.collections.delete(data.name)
        few = list(data.items.values())[:20]
        await load(cached.stores, data, few)
        token = await cached.stores.items.token()
        while not cache_of(cached.stores).reflects(token):
            await asyncio.sleep(0)
        options = replace(EVERYTHING, min_consistency_token=token)
        hits = cached.stores.cache.search_now(data.name, data.queries[:1], options)
        assert hits is None or set(hits.item_ids) <= {i.item_id for i in few}
        await soon(cached, data, lambda r: {h.item_id for h in r.hits} <= {i.item_id for i in few})
        assert (await caught_up(cached.stores, data.name)).generation == 0
        await until(lambda: not folders & version_folders(tmp_path), "old files to go")


async def test_a_compaction_loses_no_write(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    await ground.segment(data, tmp_path)
    collection = await ground.stores.collections.get(data.name)
    async with ground.cached(tmp_path) as cached:
        await caught_up(cached.stores, data.name, 1)
        ids = sorted(data.items)
        for number, generation in enumerate((2, 3)):
            cached.stores.cache.prewarm(collection.active)
            written = 0
            while (await caught_up(cached.stores, data.name)).generation < generation:
                item_id = ids[(number * 150 + written) % len(ids)]
                item = replace(data.items[item_id], owner_id=f"writer-{number}", attributes={"rank": written})
                await cached.stores.items.upsert(collection, collection.active, [item], "", b"")
                if written % 5 == 0:
                    await cached.stores.items.delete(collection, [ids[-1 - written % 40]], "", b"")
                written += 1
                assert written < 5000
            assert written
            await caught_up(cached.stores, data.name)
            await assert_right(cached, data, replace(EVERYTHING, limit=300))
    # And what is on disk is as good.
    async with ground.cached(tmp_path, building=False) as cached:
        await caught_up(cached.stores, data.name, 3)
        await assert_right(cached, data, replace(EVERYTHING, limit=300))


async def test_a_search_that_gives_up_waiting_does_no_harm(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    """Its token's step ends in the middle; nothing of it may mix with the next one."""
    collection = await ground.stores.collections.get(data.name)
    async with ground.cached(tmp_path, building=False, cache_heartbeat_ms=60_000) as cached:
        await caught_up(cached.stores, data.name)
        items = list(data.items.values())
        for number in range(40):
            changed = [replace(i, owner_id=f"owner-{number}") for i in items[number % 7 :: 2]]
            token = (await cached.stores.items.upsert(collection, collection.active, changed, "", b"")).token
            await cache_of(cached.stores).wait_for(token, 0.001 * (number % 12))
        await caught_up(cached.stores, data.name)
        await assert_right(cached, data, replace(EVERYTHING, limit=300))
        for item in items:
            found = await cached.stores.index.vectors(collection.active, [item.item_id], Viewer(unrestricted=True))
            np.testing.assert_array_equal(found[item.item_id][0], item.chunks[0].vector)


async def test_an_append_that_is_cancelled_is_waited_for() -> None:
    """It runs in a thread, which cannot be stopped: until it ends nobody else may touch the delta."""
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    class Slow:
        def append(self, _: object) -> None:
            begun.set()
            go_on.wait(PATIENCE_S)
            ended.set()

    appending = asyncio.create_task(resident._append(Slow(), None))  # type: ignore[arg-type]
    await until(begun.is_set, "an append")
    appending.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not appending.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await appending
    assert ended.is_set()
