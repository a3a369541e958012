"""Rows whose length FAISS is slow with are kept longer, and nobody can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from retrieval.application.cache_ports import RowBatch
from retrieval.domain.model import Collection, EmbeddingVersion, Item, Metric, Viewer
from retrieval.domain.search import IndexScope, Predicate, SearchParams, Stage
from retrieval.domain.vectors import to_half_rows
from retrieval.faiss_cache.build import SegmentBuild
from retrieval.faiss_cache.delta import Delta
from retrieval.faiss_cache.quantized import LANES
from retrieval.faiss_cache.segment import open_segment
from retrieval.faiss_cache.segment_files import SegmentFolder
from retrieval.faiss_cache.view import View

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DIMENSION = 50
EVERYTHING = Predicate(viewer=Viewer(unrestricted=True))


def halves(seed: int, rows: int, metric: Metric) -> NDArray[np.float16]:
    found = to_half_rows(np.random.default_rng(seed).standard_normal((rows, DIMENSION)).astype(np.float32), metric)
    assert found is not None
    return found


def batch(vectors: NDArray[np.float16], prefix: str) -> RowBatch:
    return RowBatch([Item(f"{prefix}{i}") for i in range(len(vectors))], [0] * len(vectors), vectors)


def distances(metric: Metric, query: NDArray[np.float32], rows: NDArray[np.float16]) -> NDArray[np.float32]:
    wide = rows.astype(np.float32)
    if metric is Metric.L2:
        return np.asarray(np.linalg.norm(wide - query, axis=1))
    products = wide @ query
    if metric is Metric.INNER_PRODUCT:
        return np.asarray(-products)
    return np.asarray(1 - products / np.linalg.norm(wide, axis=1) / np.linalg.norm(query))


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("rows", [500, 2_500])
def test_rows_of_any_length_are_found_and_handed_out_as_they_came(tmp_path: Path, metric: Metric, rows: int) -> None:
    version = EmbeddingVersion(1, 1, "m", DIMENSION)
    collection = Collection(1, "c", metric, versions=(version,))
    old, new = halves(1, rows, metric), halves(2, 40, metric)
    build = SegmentBuild(collection, version)
    build.add(batch(old, "old"))
    folder = SegmentFolder(tmp_path, "id", 1)
    manifest = build.finish(folder, "id", "")
    assert (manifest.dimension, manifest.full_dimension) == (DIMENSION, DIMENSION)
    delta = Delta(collection, version)
    delta.append(batch(new, "new"))
    segment = open_segment(folder.at(manifest.generation), manifest)
    assert segment.funnel.full_dimension % LANES == 0
    position: Any = None
    view = View(collection, version, segment, None, delta.view(), position)

    everything = np.concatenate([old, new])
    ids = [*(f"old{i}" for i in range(rows)), *(f"new{i}" for i in range(len(new)))]
    query = halves(3, 1, metric).astype(np.float32)
    exact = np.sort(distances(metric, query[0], everything))[:10]
    admitted = view.admitted(EVERYTHING, IndexScope.FULL)
    found = view.search(query, 10, admitted, SearchParams(target_recall=0.999))
    refined = view.refine(query, [Stage(20, len(ids)), Stage(DIMENSION, 10)], admitted, SearchParams())
    for answer in (found, refined):
        np.testing.assert_allclose(answer.distances[0], exact, atol=1e-3)
        for row, item_id in zip(view.vectors(answer.rows[0]), view.item_ids(answer.rows[0]), strict=True):
            assert row.shape == (DIMENSION,)
            np.testing.assert_array_equal(row, everything[ids.index(item_id)])
