"""The hot path projects as the usual way does, once the projection is in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application.service import Service
from retrieval.domain.projection import Projection
from retrieval.postgres import collections
from retrieval.transport.hot_search import HotSearch
from retrieval.transport.retrieval_servicer import RetrievalServicer
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.caches import caught_up
from tests.catalogue import make

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.domain.model import Metric
    from tests.faiss_cache.conftest import Ground

DIM, SIZE = 8, 12


class _Nobody:
    def invocation_metadata(self) -> tuple[()]:
        return ()


async def alive() -> bool:
    return True


async def test_long_and_short_queries(
    ground: Ground, metric: Metric, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collections, "CACHE_TTL_S", 600.0)
    rng = np.random.default_rng(3)
    projection = Projection(
        rng.standard_normal((DIM, SIZE)).astype(np.float32), rng.standard_normal(DIM).astype(np.float32)
    )
    data = make(name, 60, dimension=DIM, metric=metric)
    made = await ground.stores.collections.create(data.collection(), data.version(), projection)
    await ground.stores.items.upsert(made, made.active, list(data.items.values()), "", b"")
    long = rng.standard_normal((4, SIZE)).astype(np.float32)
    short = projection.project(long)

    def request(vector: np.ndarray) -> pb.SearchMatryoshkaRequest:
        return pb.SearchMatryoshkaRequest(
            collection=data.name, vector=common_pb.Vector(float32_le=vector.astype("<f4").tobytes())
        )

    def now(*vectors: np.ndarray) -> list[list[tuple[str, float]] | None]:
        replies = hot.matryoshka([request(v).SerializeToString() for v in vectors])
        return [
            None if r is None else [(h.item_id, h.score) for h in pb.SearchMatryoshkaResponse.FromString(r).hits]
            for r in replies
        ]

    async with ground.cached(tmp_path, building=False, cache_max_staleness_ms=600_000) as cached:
        await caught_up(cached.stores, data.name)
        assert cached.stores.cache is not None
        hot = HotSearch(cached.stores.cache)
        servicer = RetrievalServicer(Service(cached.stores, alive), "")
        await cached.stores.collections.get(data.name)
        assert now(long[0], short[0])[0] is None, "nobody has read the projection yet"
        usual = [
            [(h.item_id, h.score) for h in (await servicer.SearchMatryoshka(request(v), _Nobody())).hits] for v in long
        ]
        together = now(*long, *short)
        for number, expected in enumerate(usual):
            for got in (together[number], together[number + len(long)], *now(long[number])):
                assert got is not None
                assert [i for i, _ in got] == [i for i, _ in expected]
                assert [s for _, s in got] == pytest.approx([s for _, s in expected], rel=2e-3, abs=2e-3)
        spoilt = long[0].copy()
        spoilt[5] = np.nan
        assert now(spoilt, long[0][:-1]) == [None, None]
    await ground.stores.collections.delete(data.name)
