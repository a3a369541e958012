"""A query or an item whose leading components are zero, or vanish in half precision, is at distance 1 to everything."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application.matryoshka import Matryoshka
from retrieval.application.rank_items import RankItems
from retrieval.application.similar_items import SeedStrategy, SimilarItems
from retrieval.domain.model import Chunk, Metric
from retrieval.domain.search import Diversity, SearchOptions, Source, Stage
from retrieval.domain.vectors import scores_of, to_half
from tests.catalogue import make

if TYPE_CHECKING:
    from tests.backends import Backend
    from tests.catalogue import DataSet
    from tests.conftest import Loader

PREFIX = 16
ENDS = ((Stage(PREFIX, 20),), (Stage(PREFIX, 200), Stage(64, 20)), ())


@pytest.fixture(scope="package", params=list(Metric))
async def hollow(request: pytest.FixtureRequest, loader: Loader) -> DataSet:
    """Every other item has a prefix of zeros, or of components that half precision cannot hold."""
    data = make("hollow", 1100, resolutions=(PREFIX,), metric=request.param, seed=31)
    items = {}
    for number, item in enumerate(data.items.values()):
        row = item.chunks[0].vector.astype(np.float32)
        if number % 2:
            row[:PREFIX] = 0.0 if number % 4 == 1 else 1e-9
        items[item.item_id] = replace(item, chunks=(Chunk(0, to_half(row, 64, data.metric, "vector")),))
    return await loader(replace(data, items=items), prefix=PREFIX)


def queries(data: DataSet) -> list[np.ndarray]:
    plain, hollow_one, faint = data.queries[0].copy(), data.queries[1].copy(), data.queries[2].copy()
    hollow_one[:PREFIX] = 0.0
    faint[:PREFIX] = 1e-9
    return [plain, hollow_one, faint]


@pytest.mark.parametrize("stages", ENDS, ids=lambda stages: "-".join(str(s.dimension) for s in stages) or "default")
async def test_scores_are_numbers_on_every_path(backend: Backend, hollow: DataSet, stages: tuple[Stage, ...]) -> None:
    if backend.source is Source.IVFFLAT and stages:
        return
    for query in queries(hollow):
        for options in (
            SearchOptions(limit=20),
            SearchOptions(limit=20, score_threshold=-1e9),
            SearchOptions(limit=20, diversity=Diversity(mmr_lambda=0.5)),
        ):
            result = await backend.search(Matryoshka(hollow.name, query, stages, options))
            assert len(result.hits) == 20
            half = to_half(query, 64, hollow.metric, "query")
            end = stages[-1].dimension if stages else 64
            for hit in result.hits:
                row = hollow.items[hit.item_id].chunks[0].vector
                expected = distance(half[:end], row[:end], hollow.metric)
                assert isfinite(hit.score)
                assert hit.distance == pytest.approx(expected, abs=2e-3)
                assert hit.score == pytest.approx(scores_of(expected, hollow.metric), abs=2e-3)


def distance(query: np.ndarray, row: np.ndarray, metric: Metric) -> float:
    q, r = query.astype(np.float64), row.astype(np.float64)
    if metric is Metric.L2:
        return float(np.linalg.norm(q - r))
    if metric is Metric.INNER_PRODUCT:
        return float(-(q @ r))
    norm = np.linalg.norm(q) * np.linalg.norm(r)
    return float(1.0 - q @ r / norm) if norm else 1.0


async def test_ranks_and_seeds_are_numbers(backend: Backend, hollow: DataSet) -> None:
    ids = tuple(list(hollow.items)[:60])
    ranked = await backend.search(RankItems(hollow.name, ids, vector=queries(hollow)[1]))
    assert all(isfinite(h.score) for h in ranked.hits)
    seeds = tuple(list(hollow.items)[1:4])
    for strategy in SeedStrategy:
        found = await backend.search(SimilarItems(hollow.name, seeds, strategy=strategy))
        assert found.hits
        assert all(isfinite(h.score) for h in found.hits)
