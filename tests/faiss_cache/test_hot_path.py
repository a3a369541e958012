"""Replies of the hot path are those of the usual way, byte for byte of what they say; all else is declined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.application.service import Service
from retrieval.domain.model import Viewer
from retrieval.domain.search import SearchOptions
from retrieval.postgres import collections
from retrieval.transport.hot_search import HotSearch
from retrieval.transport.retrieval_servicer import RetrievalServicer
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.caches import cache_of, caught_up
from tests.catalogue import GROUPS, load, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.catalogue import DataSet
    from tests.faiss_cache.conftest import Cached, Ground


class Both:
    """The hot path and the usual one over the same stores."""

    def __init__(self, cached: Cached, data: DataSet) -> None:
        async def alive() -> bool:
            return True

        self.data = data
        self.cached = cached
        assert cached.stores.cache is not None
        self.hot = HotSearch(cached.stores.cache)
        self._usual = RetrievalServicer(Service(cached.stores, alive), "")

    def request(self, query: int = 0, **options: Any) -> pb.SearchMatryoshkaRequest:
        vector = common_pb.Vector(float32_le=self.data.queries[query].astype("<f4").tobytes())
        return pb.SearchMatryoshkaRequest(
            collection=self.data.name, vector=vector, options=common_pb.SearchOptions(**options)
        )

    async def now(self, *requests: pb.SearchMatryoshkaRequest) -> list[pb.SearchMatryoshkaResponse | None]:
        await self.cached.stores.collections.get(self.data.name)  # a catalogue that is not known is not waited for
        replies = self.hot.matryoshka([r.SerializeToString() for r in requests])
        assert len(replies) == len(requests)
        return [None if r is None else pb.SearchMatryoshkaResponse.FromString(r) for r in replies]

    async def batch_now(self, request: pb.BatchSearchRequest) -> pb.BatchSearchResponse | None:
        await self.cached.stores.collections.get(self.data.name)
        (reply,) = self.hot.batch([request.SerializeToString()])
        return None if reply is None else pb.BatchSearchResponse.FromString(reply)

    async def usual(self, request: pb.SearchMatryoshkaRequest) -> pb.SearchMatryoshkaResponse:
        return await self._usual.SearchMatryoshka(request, _Nobody())

    async def batch_usual(self, request: pb.BatchSearchRequest) -> pb.BatchSearchResponse:
        return await self._usual.BatchSearch(request, _Nobody())


class _Nobody:
    def invocation_metadata(self) -> tuple[()]:
        return ()


@pytest.fixture(scope="module", params=["segment", "delta"])
async def both(
    request: pytest.FixtureRequest, ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Both]:
    """A data set whose ids are long, short, and not all ASCII."""
    data = make("hot", 400, dimension=16, resolutions=(8,))
    items = {}
    for number, item in enumerate(data.items.values()):
        spelling = ("{}", "é-{}", "long-{}-" + "x" * (88 + number % 40), "{}-" + "日本" * 40, "a" * 240 + "{}")[
            number % 5
        ]
        items[spelling.format(number)] = item
    written = [_renamed(item, item_id) for item_id, item in items.items()]
    await load(ground.stores, data, written)
    root = tmp_path_factory.mktemp("hot")
    if request.param == "segment":
        await ground.segment(data, root)
        collection = await ground.stores.collections.get(data.name)
        await ground.stores.items.upsert(collection, collection.active, written[::9], "", b"")
        await ground.stores.items.delete(collection, [i.item_id for i in written[3::20]], "", b"")
    # However busy the machine is: a cache that is not fresh declines, and so does a catalogue that must be read again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collections, "CACHE_TTL_S", 600.0)
        async with ground.cached(root, building=False, cache_max_staleness_ms=600_000) as cached:
            report = await caught_up(cached.stores, data.name, int(request.param == "segment"))
            assert bool(report.generation) == bool(report.dead_rows) == (request.param == "segment")
            yield Both(cached, data)
    await ground.stores.collections.delete(data.name)


def _renamed(item: Any, item_id: str) -> Any:
    from dataclasses import replace

    return replace(item, item_id=item_id)


def plain(reply: Any) -> Any:
    """Without what differs from call to call."""
    for message in getattr(reply, "results", [reply]):
        message.info.ClearField("timings")
    return reply


FILTERS: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"must": [{"match": {"attribute": "genre", "values": [{"keyword": "jazz"}]}}]},
        {"must": [{"range": {"attribute": "rank", "lt": {"int64": 200}}}]},
        {"must_not": [{"match": {"attribute": "genre", "values": [{"keyword": "folk"}]}}]},
        {"must": [{"exists": {"attribute": "price"}}]},
    ]
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "limit": st.integers(0, 60),
        "filter": FILTERS,
        "exclude_item_ids": st.lists(st.sampled_from([str(n) for n in range(0, 400, 5)] + ["nowhere"]), max_size=9),
        "viewer": st.fixed_dictionaries(
            {},
            optional={
                "user_id": st.sampled_from(["owner-1", "owner-7", ""]),
                "group_ids": st.lists(st.sampled_from(GROUPS), max_size=2),
            },
        ),
        "params": st.fixed_dictionaries(
            {},
            optional={
                "source": st.sampled_from([0, common_pb.SOURCE_AUTO, common_pb.SOURCE_FAISS]),
                "index": st.sampled_from([0, common_pb.INDEX_SCOPE_FULL, common_pb.INDEX_SCOPE_POPULAR]),
                "ef_search": st.integers(1, 300),
                "target_recall": st.sampled_from([0.5, 0.9, 0.99, 1.0]),
            },
        ),
        "embedding_version": st.integers(0, 1),
    },
)


@settings(max_examples=120)
@given(options=OPTIONS, query=st.integers(0, 59))
async def test_what_the_hot_path_says_is_what_the_usual_one_says(
    both: Both, options: dict[str, Any], query: int
) -> None:
    request = both.request(query, **options)
    (got,) = await both.now(request)
    expected = await both.usual(request)
    if got is None:
        # Nothing was wrong: so the answer is short.
        assert len(expected.hits) < (request.options.limit or 10)
        return
    assert [t.stage for t in got.info.timings] == ["search"]
    assert plain(got) == plain(expected)
    assert len(got.hits) == (request.options.limit or 10)


@settings(max_examples=40)
@given(options=st.lists(OPTIONS, min_size=1, max_size=6), data=st.data())
async def test_batches(both: Both, options: list[dict[str, Any]], data: st.DataObject) -> None:
    for each in options:
        # Where a graph finds too few for one of them, all that came with it are compared with every row.
        each.get("params", {}).pop("ef_search", None)
    requests = [both.request(data.draw(st.integers(0, 59)), **o) for o in options for _ in range(2)]
    batch = pb.BatchSearchRequest(searches=[pb.BatchSearchEntry(matryoshka=r) for r in requests])
    singles = await both.now(*requests)
    assert [s if s is None else plain(s) for s in singles] == [
        s if s is None else plain(s) for r in requests for s in await both.now(r)
    ], "calls that come together are answered as each by itself"
    got = await both.batch_now(batch)
    if any(s is None for s in singles):
        assert got is None
        return
    assert got is not None
    assert plain(got) == plain(await both.batch_usual(batch))


async def test_long_ids_come_back_whole(both: Both) -> None:
    (got,) = await both.now(both.request(limit=200))
    assert got is not None
    lengths = {len(h.item_id.encode()) for h in got.hits}
    assert min(lengths) < 10
    assert max(lengths) >= 240
    assert plain(got) == plain(await both.usual(both.request(limit=200)))


def bad(change: Any) -> Any:
    def make_bad(both: Both) -> pb.SearchMatryoshkaRequest:
        request = both.request()
        change(request)
        return request

    return make_bad


DECLINED = {
    "undeclared attribute": bad(
        lambda r: r.options.filter.must.add().exists.CopyFrom(common_pb.Exists(attribute="colour"))
    ),
    "stages": bad(lambda r: r.stages.add(dimension=16, candidate_count=10)),
    "mmr": bad(lambda r: r.options.diversity.CopyFrom(common_pb.Diversity(mmr_lambda=0.5))),
    "owner cap": bad(lambda r: r.options.diversity.CopyFrom(common_pb.Diversity(max_per_owner=1))),
    "dpp": bad(lambda r: r.options.diversity.CopyFrom(common_pb.Diversity(dpp_theta=0.5))),
    "owner decay": bad(lambda r: r.options.diversity.CopyFrom(common_pb.Diversity(owner_decay=0.5))),
    "boost": bad(lambda r: setattr(r.options.boosts.popularity, "weight", 0.5)),
    "basic view": bad(lambda r: setattr(r.options, "view", common_pb.VIEW_BASIC)),
    "full view": bad(lambda r: setattr(r.options, "view", common_pb.VIEW_FULL)),
    "threshold": bad(lambda r: setattr(r.options, "score_threshold", 0.1)),
    "unrestricted": bad(lambda r: setattr(r.options.viewer, "unrestricted", True)),
    "exact": bad(lambda r: setattr(r.options.params, "exact", True)),
    "hnsw": bad(lambda r: setattr(r.options.params, "source", common_pb.SOURCE_HNSW)),
    "no vector": bad(lambda r: r.ClearField("vector")),
    "floats": bad(lambda r: r.vector.CopyFrom(common_pb.Vector(floats=common_pb.FloatArray(values=[1.0] * 16)))),
    "empty vector": bad(lambda r: setattr(r.vector, "float32_le", b"")),
    "odd vector": bad(lambda r: setattr(r.vector, "float32_le", b"\0" * 63)),
    "short vector": bad(lambda r: setattr(r.vector, "float32_le", np.ones(15, "<f4").tobytes())),
    "zero vector": bad(lambda r: setattr(r.vector, "float32_le", bytes(64))),
    "nan": bad(lambda r: setattr(r.vector, "float32_le", np.full(16, np.nan, "<f4").tobytes())),
    "infinite": bad(lambda r: setattr(r.vector, "float32_le", np.full(16, np.inf, "<f4").tobytes())),
    "no collection": bad(lambda r: r.ClearField("collection")),
    "unknown collection": bad(lambda r: setattr(r, "collection", "nowhere")),
    "unknown version": bad(lambda r: setattr(r.options, "embedding_version", 7)),
    "bad token": bad(lambda r: setattr(r.options, "min_consistency_token", "nonsense")),
    "bad limit": bad(lambda r: setattr(r.options, "limit", 1001)),
    "more than there is": bad(lambda r: setattr(r.options, "limit", 900)),
    "nothing admitted": bad(
        lambda r: (
            r.options.filter.must.add().exists.CopyFrom(common_pb.Exists(attribute="labels"))
            or setattr(r.options, "limit", 300)
        )
    ),
}


@pytest.mark.parametrize("case", DECLINED.values(), ids=DECLINED.keys())
async def test_what_is_not_plain_is_declined(both: Both, case: Any) -> None:
    """And does not keep others that come with it from their answers."""
    request, good = case(both), both.request()
    assert await both.now(request) == [None]
    first, second, third = await both.now(good, request, good)
    assert second is None
    if request.options != good.options or len(request.vector.float32_le) != 64:
        assert first is not None
        assert plain(first) == plain(third)
    batch = pb.BatchSearchRequest(searches=[pb.BatchSearchEntry(matryoshka=r) for r in (good, request)])
    assert await both.batch_now(batch) is None


async def test_batches_that_are_declined(both: Both) -> None:
    good = pb.BatchSearchEntry(matryoshka=both.request())
    assert await both.batch_now(pb.BatchSearchRequest()) is None
    assert await both.batch_now(pb.BatchSearchRequest(searches=[good] * 257)) is None
    assert await both.batch_now(pb.BatchSearchRequest(searches=[good, pb.BatchSearchEntry()])) is None
    ranked = pb.BatchSearchEntry(rank_items=pb.RankItemsRequest(collection=both.data.name, item_ids=["1"]))
    assert await both.batch_now(pb.BatchSearchRequest(searches=[good, ranked])) is None
    assert await both.batch_now(pb.BatchSearchRequest(searches=[good] * 32)) is not None
    # What takes longer than other calls may wait is for a thread.
    long = pb.BatchSearchRequest(searches=[good] * 256)
    assert await both.batch_now(long) is None
    assert both.hot.long_batch(long.SerializeToString()) is not None


@settings(max_examples=200)
@given(payload=st.binary(max_size=200))
def test_bytes_of_any_kind(both: Both, payload: bytes) -> None:
    for method in (both.hot.matryoshka, both.hot.batch):
        assert method([payload]) == [None]


@settings(max_examples=200)
@given(cut=st.integers(0, 400), flip=st.none() | st.integers(0, 400), byte=st.integers(0, 255))
def test_bytes_that_are_almost_right(both: Both, cut: int, flip: int | None, byte: int) -> None:
    payload = bytearray(both.request(limit=5, exclude_item_ids=["a", "b"]).SerializeToString()[:cut])
    if flip is not None and payload:
        payload[flip % len(payload)] = byte
    for method in (both.hot.matryoshka, both.hot.batch):
        (reply,) = method([bytes(payload)])
        assert reply is None or isinstance(reply, bytes)


async def test_few_of_many_recent_rows(ground: Ground, tmp_path: Path) -> None:
    """Rows that died or are hidden stand between those that are admitted; the graph must not give up among them."""
    data = await ground.load(1000)
    collection = await ground.stores.collections.get(data.name)
    everything = [_renamed(i, i.item_id) for i in data.items.values()]
    async with ground.cached(tmp_path, building=False, cache_delta_rows=5000, cache_max_staleness_ms=600_000) as cached:
        await caught_up(cached.stores, data.name)
        for _ in range(3):
            await ground.stores.items.upsert(collection, collection.active, everything, "", b"")
            await caught_up(cached.stores, data.name)
        assert (await caught_up(cached.stores, data.name)).delta_rows == 4000
        view = cache_of(cached.stores).view(data.name)
        assert view is not None
        for viewer in (None, Viewer(group_ids=(GROUPS[0],)), Viewer(unrestricted=True)):
            options = SearchOptions(limit=50, viewer=viewer)
            for query in range(20):
                await cached.stores.collections.get(data.name)
                hits = cached.stores.cache.search_now(data.name, data.queries[query : query + 1], options)
                assert hits is not None
                assert np.isfinite(hits.distances).all()
                seen = await ground.stores.items.get(
                    collection, collection.active, hits.item_ids, viewer or Viewer(), with_chunks=False
                )
                assert len(seen) == 50
    await ground.stores.collections.delete(data.name)
