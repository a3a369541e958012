"""A filter may admit half of the rows and none of those near the query: the graph's answer is not believed then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from retrieval.application.cache_ports import RowBatch
from retrieval.domain.model import Collection, EmbeddingVersion, Item
from retrieval.domain.search import SearchParams
from retrieval.domain.vectors import to_half_rows
from retrieval.faiss_cache.answers import Admitted
from retrieval.faiss_cache.bitmap import Bitmap
from retrieval.faiss_cache.build import SegmentBuild
from retrieval.faiss_cache.delta import Delta
from retrieval.faiss_cache.manifest import Plan
from retrieval.faiss_cache.plans import probe_rows
from retrieval.faiss_cache.segment import open_segment
from retrieval.faiss_cache.segment_files import SegmentFolder
from retrieval.faiss_cache.view import View

if TYPE_CHECKING:
    from pathlib import Path

ROWS, DIMENSION, EF_SEARCH = 6_000, 24, 100


@pytest.mark.parametrize(("admitted", "probed"), [(ROWS, 0), (ROWS // 2, 40), (ROWS // 100, 2000), (1, ROWS)])
def test_the_rarer_what_is_admitted_the_more_rows_are_probed(admitted: int, probed: int) -> None:
    assert probe_rows(10, admitted, ROWS) == probed


def test_rows_far_from_the_query_are_found_under_a_filter(tmp_path: Path) -> None:
    half = to_half_rows(
        np.random.default_rng(1).standard_normal((ROWS, DIMENSION)).astype(np.float32), Collection.metric
    )
    assert half is not None
    version = EmbeddingVersion(1, 1, "m", DIMENSION)
    collection = Collection(1, "c", versions=(version,))
    build = SegmentBuild(collection, version)
    build.add(RowBatch([Item(str(i)) for i in range(ROWS)], [0] * ROWS, half))
    folder = SegmentFolder(tmp_path, "id", 1)
    manifest = replace(build.finish(folder, "id", ""), filtered=(Plan(0.9, EF_SEARCH, 10, 0.9, 0.0, 0.5),))
    segment = open_segment(folder.at(manifest.generation), manifest)
    position: Any = None
    view = View(collection, version, segment, None, Delta(collection, version).view(), position)

    rows = segment.funnel.codes.view(np.float16).astype(np.float32)
    query = rows[:1]
    similarities = rows @ query[0]
    far = similarities <= np.median(similarities)
    bitmap = Bitmap.of(far)
    admitted = Admitted(bitmap, bitmap.count, Bitmap.full(0), 0, selective=True)
    found = view.search(query, 10, admitted, SearchParams(target_recall=0.9))
    exact = np.flatnonzero(far)[np.argsort(-similarities[far])[:10]]
    assert len(np.intersect1d(found.rows[0], exact)) >= 9
