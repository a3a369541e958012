"""Who answers: the cache where it may, Postgres where it must, nobody where the caller named one that cannot."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest

from retrieval.application.cache_ports import CacheState
from retrieval.application.deadline import set_remaining_s
from retrieval.bootstrap import serving
from retrieval.client import RetrievalClient, error_reason
from retrieval.config import Settings
from retrieval.domain.boosts import Boosts, PopularityBoost
from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from retrieval.domain.filters import Filter, MatchAny, Range, TypedValue
from retrieval.domain.model import AttributeType, Viewer
from retrieval.domain.rerank import RerankPool, rerank
from retrieval.domain.search import Diversity, IndexScope, SearchOptions, SearchParams, Shortfall, Source
from retrieval.faiss_cache.budget import coarse_bytes
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.caches import cache_of, caught_up, until
from tests.catalogue import GROUPS, crowd, load, make
from tests.faiss_cache.searching import THOROUGH, ask, assert_right

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import grpc

    from tests.catalogue import DataSet
    from tests.faiss_cache.conftest import Cached, Ground

EVERYTHING = Viewer(unrestricted=True)
JAZZ = Filter(must=(MatchAny("genre", (TypedValue(AttributeType.KEYWORD, "jazz"),)),))
FEW = Filter(must=(Range("rank", lt=TypedValue(AttributeType.INT64, 12)),))


class Stalled:
    """Looks at the store wait, for as long as it says."""

    def __init__(self, patch: pytest.MonkeyPatch, ground: Ground) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.waiting = 0
        look = ground.adapter.changes.snapshot

        @asynccontextmanager
        async def snapshot() -> AsyncIterator[object]:
            self.waiting += 1
            await self.free.wait()
            self.waiting -= 1
            async with look() as made:
                yield made

        patch.setattr(ground.adapter.changes, "snapshot", snapshot)

    async def stall(self) -> None:
        """From now on nothing is looked at."""
        self.free.clear()
        await until(lambda: self.waiting, "a look that waits")


@pytest.fixture
def stalled(patch: pytest.MonkeyPatch, ground: Ground) -> Stalled:
    return Stalled(patch, ground)


@pytest.fixture
def deadline() -> Iterator[None]:
    set_remaining_s(0.4)
    yield
    set_remaining_s(None)


async def test_the_cache_answers_where_it_may(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    async with ground.cached(tmp_path) as cached:
        await caught_up(cached.stores, data.name)
        for source in (Source.AUTO, Source.FAISS):
            assert (await ask(cached.stores, data, source=source)).report.source is Source.FAISS
        assert (await ask(cached.stores, data, source=Source.EXACT)).report.source is Source.EXACT


async def test_a_version_that_is_not_active(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    collection = await ground.stores.collections.get(data.name)
    second = await ground.stores.collections.create_version(data.name, data.version("second"))
    await ground.stores.items.upsert(collection, second, list(data.items.values()), "", b"")
    options = SearchOptions(embedding_version=2)
    async with ground.cached(tmp_path) as cached:
        await caught_up(cached.stores, data.name)
        assert (await ask(cached.stores, data, options=options)).report.source is Source.EXACT
        with pytest.raises(FailedPreconditionError) as caught:
            await ask(cached.stores, data, options=options, source=Source.FAISS)
        assert caught.value.reason == "INDEX_NOT_READY"
        active = SearchOptions(embedding_version=1)
        assert (await ask(cached.stores, data, options=active)).report.source is Source.FAISS


async def test_a_cache_that_lags_too_much_is_not_asked(
    ground: Ground, data: DataSet, tmp_path: Path, stalled: Stalled
) -> None:
    async with ground.cached(tmp_path, cache_max_staleness_ms=1500, cache_heartbeat_ms=50) as cached:
        await caught_up(cached.stores, data.name)
        assert (await ask(cached.stores, data)).report.source is Source.FAISS
        await stalled.stall()
        await until(lambda: not cache_of(cached.stores).follower.is_fresh, "a stale cache")
        await assert_right(cached, data, source=Source.EXACT)
        assert cached.stores.cache.search_now(data.name, data.queries[:1], SearchOptions()) is None
        with pytest.raises(FailedPreconditionError) as caught:
            await ask(cached.stores, data, source=Source.FAISS)
        assert caught.value.reason == "INDEX_NOT_READY"
        stalled.free.set()
        await until(lambda: cache_of(cached.stores).follower.is_fresh, "a cache that is up to date again")
        await assert_right(cached, data)


async def test_a_token_turns_a_search_to_postgres_while_the_cache_is_behind(
    ground: Ground, data: DataSet, tmp_path: Path, stalled: Stalled, deadline: None
) -> None:
    collection = await ground.stores.collections.get(data.name)
    async with ground.cached(tmp_path, cache_max_staleness_ms=60_000, cache_heartbeat_ms=50) as cached:
        set_remaining_s(None)
        await caught_up(cached.stores, data.name)
        await stalled.stall()
        nearest = (await ask(cached.stores, data)).hits[0].item_id
        token = (await ground.stores.items.delete(collection, [nearest], "", b"")).token
        options = SearchOptions(min_consistency_token=token)
        # Without the token: within the bound, so from the cache, as it was.
        stale = await ask(cached.stores, data)
        assert (stale.report.source, stale.hits[0].item_id) == (Source.FAISS, nearest)

        set_remaining_s(1.5)
        started = time.monotonic()
        result = await ask(cached.stores, data, options=options)
        assert time.monotonic() - started < 1.5
        assert result.report.source is Source.EXACT
        assert nearest not in [h.item_id for h in result.hits]
        assert cached.stores.cache.search_now(data.name, data.queries[:1], options) is None

        set_remaining_s(1.5)
        started = time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            await ask(cached.stores, data, options=options, source=Source.FAISS)
        assert caught.value.reason == "CACHE_BEHIND"
        assert 0.75 < time.monotonic() - started < 4.0

        set_remaining_s(5.0)
        waiting = asyncio.create_task(ask(cached.stores, data, options=options, source=Source.FAISS))
        await asyncio.sleep(0)
        stalled.free.set()
        result = await waiting
        assert result.report.source is Source.FAISS
        assert nearest not in [h.item_id for h in result.hits]


async def test_a_token_that_is_none_is_refused(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    options = SearchOptions(min_consistency_token="nonsense")
    async with ground.cached(tmp_path) as cached:
        await caught_up(cached.stores, data.name)
        for source in (Source.AUTO, Source.FAISS, Source.EXACT):
            with pytest.raises(InvalidArgumentError) as caught:
                await ask(cached.stores, data, options=options, source=source)
            assert caught.value.reason == "BAD_CONSISTENCY_TOKEN"


@asynccontextmanager
async def coarse(ground: Ground, data: DataSet, folder: Path) -> AsyncIterator[Cached]:
    """A cache with room for the coarse index alone."""
    manifest = await ground.segment(data, folder, prefix=32)
    room = coarse_bytes(manifest) + 100
    assert room < manifest.size_bytes
    async with ground.cached(folder, building=False, cache_memory_budget_bytes=room) as cached:
        await caught_up(cached.stores, data.name, 1)
        yield cached


async def test_postgres_refines_what_the_coarse_index_proposes(ground: Ground, tmp_path: Path) -> None:
    data = await ground.load(600, dimension=64, resolutions=(8, 16))
    viewers = (None, Viewer("owner-7"), Viewer("owner-12", GROUPS[:2]), EVERYTHING)
    async with coarse(ground, data, tmp_path) as cached:
        report = await caught_up(cached.stores, data.name)
        assert (report.state, report.generation) == (CacheState.COARSE, 1)
        for viewer in viewers:
            for tree in (Filter(), JAZZ):
                excluded = tuple(sorted(data.items)[::7])
                options = SearchOptions(viewer=viewer, filter=tree, exclude_item_ids=excluded)
                found = wanted = from_cache = 0
                for query in range(20):
                    got = await ask(cached.stores, data, query, options)
                    expected = await ask(ground.stores, data, query, options, Source.EXACT)
                    from_cache += got.report.source is Source.FAISS
                    truth = {h.item_id: h.distance for h in expected.hits}
                    found += len(truth.keys() & {h.item_id for h in got.hits})
                    wanted += len(truth)
                    for hit in got.hits:
                        assert hit.distance == pytest.approx(truth.get(hit.item_id, hit.distance), abs=2e-3)
                    admitted = await ground.stores.items.get(
                        await ground.stores.collections.get(data.name),
                        (await ground.stores.collections.get(data.name)).active,
                        [h.item_id for h in got.hits],
                        viewer or Viewer(),
                        with_chunks=False,
                    )
                    assert admitted.keys() == {h.item_id for h in got.hits}
                    assert not {h.item_id for h in got.hits} & set(excluded)
                assert found >= 0.95 * wanted
                assert from_cache > 10
        # Of few admitted items too few are proposed: Postgres answers by itself.
        result = await ask(cached.stores, data, options=SearchOptions(filter=FEW, viewer=EVERYTHING))
        assert (len(result.hits), result.report.source) == (10, Source.EXACT)
        options = SearchOptions(limit=500, filter=FEW, viewer=EVERYTHING)
        result = await ask(cached.stores, data, options=options, source=Source.FAISS)
        assert (result.report.source, result.report.shortfall) == (Source.FAISS, Shortfall.SCAN_LIMIT)
        assert cached.stores.cache.search_now(data.name, data.queries[:1], SearchOptions()) is None
        vectors = await cached.stores.index.vectors(
            (await ground.stores.collections.get(data.name)).active, ["item-00001"], EVERYTHING
        )
        assert vectors["item-00001"].shape == (1, 64)
    await ground.stores.collections.delete(data.name)


async def test_what_the_coarse_index_proposes_is_as_many_items_as_asked_for(ground: Ground, tmp_path: Path) -> None:
    data = crowd(make(f"cache-{uuid4().hex[:6]}", 150, dimension=64, resolutions=(32,)), seed=5)
    await load(ground.stores, data)
    async with coarse(ground, data, tmp_path) as cached:
        assert (await caught_up(cached.stores, data.name)).state is CacheState.COARSE
        for query in range(10):
            options = SearchOptions(limit=30, viewer=EVERYTHING)
            got = await ask(cached.stores, data, query, options, Source.FAISS)
            assert (len(got.hits), got.report.source, got.report.shortfall) == (30, Source.FAISS, None)
    await ground.stores.collections.delete(data.name)


async def test_candidates_of_the_coarse_index_are_reranked(ground: Ground, tmp_path: Path) -> None:
    data = await ground.load(600, dimension=64, resolutions=(8, 16))
    popular = Boosts(popularity=PopularityBoost(5.0))
    async with coarse(ground, data, tmp_path) as cached:
        moved = 0
        for query in range(5):
            # A limit of four times as many hits proposes the pool that is reranked.
            plain = SearchOptions(40, viewer=EVERYTHING)
            pool = (await ask(cached.stores, data, query, plain, Source.FAISS)).hits
            options = SearchOptions(10, viewer=EVERYTHING, boosts=popular, diversity=Diversity(owner_decay=0.5))
            got = await ask(cached.stores, data, query, options, Source.FAISS)
            items = [data.items[h.item_id] for h in pool]
            facts = RerankPool(
                np.array([h.score for h in pool]),
                [i.owner_id for i in items],
                rating_counts=np.array([i.rating_count for i in items], dtype=np.int64),
            )
            expected = rerank(facts, popular, options.diversity, 0, 10)
            assert [h.item_id for h in got.hits] == [pool[i].item_id for i in expected]
            moved += expected != list(range(10))
        assert moved
    await ground.stores.collections.delete(data.name)


async def test_changes_show_where_only_the_coarse_index_is_held(ground: Ground, tmp_path: Path) -> None:
    data = await ground.load(600, dimension=64, resolutions=(8, 16))
    collection = await ground.stores.collections.get(data.name)
    async with coarse(ground, data, tmp_path) as cached:
        for query in range(5):
            first = (await ask(cached.stores, data, query, SearchOptions(viewer=EVERYTHING))).hits[0].item_id
            token = (await ground.stores.items.delete(collection, [first], "", b"")).token
            options = SearchOptions(viewer=EVERYTHING, min_consistency_token=token)
            assert first not in [h.item_id for h in (await ask(cached.stores, data, query, options)).hits]
            again = await ground.stores.items.upsert(collection, collection.active, [data.items[first]], "", b"")
            options = replace(options, min_consistency_token=again.token)
            result = await ask(cached.stores, data, query, options)
            assert (result.hits[0].item_id, result.report.source) == (first, Source.FAISS)
    await ground.stores.collections.delete(data.name)


async def test_a_segment_that_does_not_fit_leaves_postgres_to_answer(
    ground: Ground, data: DataSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await ground.segment(data, tmp_path)
    async with ground.cached(tmp_path, building=False, cache_memory_budget_bytes=1000) as cached:
        await assert_right(cached, data, source=Source.EXACT)
        report = cached.stores.cache.report((await ground.stores.collections.get(data.name)).active)
        assert report.state is CacheState.ABSENT
    assert "does not fit" in caplog.text


async def test_without_a_budget_there_is_no_cache(ground: Ground, data: DataSet) -> None:
    settings = Settings(
        database_url=ground.adapter._settings.database_url, port=0, cache_memory_budget_bytes=0, drain_s=0.5
    )
    async with serving(settings) as server, RetrievalClient(f"127.0.0.1:{server.port}") as client:
        request = pb.SearchMatryoshkaRequest(
            collection=data.name, vector=common_pb.Vector(float32_le=data.queries[0].tobytes())
        )
        reply = await client.retrieval.SearchMatryoshka(request)
        assert reply.info.source == common_pb.SOURCE_EXACT
        request.options.params.source = common_pb.SOURCE_FAISS
        with pytest.raises(Exception, match="SOURCE_AUTO") as caught:
            await client.retrieval.SearchMatryoshka(request)
        error: grpc.aio.AioRpcError = caught.value
        assert error_reason(error)[0] == "SOURCE_UNAVAILABLE"


async def test_popular_items_follow_their_thresholds(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    """Also in a segment that was asked before they changed."""
    await ground.segment(data, tmp_path)
    options = SearchOptions(limit=300, viewer=EVERYTHING, params=replace(THOROUGH, scope=IndexScope.POPULAR))
    async with ground.cached(tmp_path, building=False) as cached:
        await caught_up(cached.stores, data.name, 1)
        await assert_right(cached, data, options, queries=1)
        before = len((await ask(cached.stores, data, options=options)).hits)
        popular = replace((await ground.stores.collections.get(data.name)).popular, min_rating_count=300)
        await cached.stores.collections.update(data.name, {}, popular, None)
        await caught_up(cached.stores, data.name)
        await assert_right(cached, data, options, queries=1)
        assert 0 < len((await ask(cached.stores, data, options=options)).hits) < before


async def test_the_graph_on_a_prefix_answers_where_most_is_admitted(ground: Ground, tmp_path: Path) -> None:
    """The other tests would pass where every row is compared."""
    data = await ground.load(600, dimension=64, resolutions=(8,))
    await ground.segment(data, tmp_path)
    async with ground.cached(tmp_path, building=False) as cached:
        await caught_up(cached.stores, data.name, 1)
        view = cache_of(cached.stores).view(data.name)
        assert (view.segment.manifest.kind, view.segment.manifest.dimension) == ("hnsw", 8)
        result = await ask(
            cached.stores, data, options=SearchOptions(viewer=EVERYTHING, params=SearchParams(ef_search=40))
        )
        assert (result.report.effort, result.report.index_generation) == (40, 1)
        assert [s.dimension for s in result.report.stages] == [8, 64]
    await ground.stores.collections.delete(data.name)
