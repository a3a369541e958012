"""What a segment promises holds for queries that it has never seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application.cache_ports import RowBatch
from retrieval.domain.model import Collection, EmbeddingVersion, Item, Metric
from retrieval.domain.search import SearchParams
from retrieval.domain.vectors import to_half_rows
from retrieval.faiss_cache import build
from retrieval.faiss_cache.answers import Admitted
from retrieval.faiss_cache.bitmap import Bitmap
from retrieval.faiss_cache.build import SegmentBuild
from retrieval.faiss_cache.delta import Delta
from retrieval.faiss_cache.plans import Effort
from retrieval.faiss_cache.segment import Segment, open_segment
from retrieval.faiss_cache.segment_files import SegmentFolder, verified_manifest
from retrieval.faiss_cache.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ROWS, DIM, PREFIX = 11_000, 96, 32
QUERIES = 400
VERSION = EmbeddingVersion(1, 1, "m", DIM, (PREFIX,))


def rows_of(count: int, seed: int) -> NDArray[np.float32]:
    """Clusters that are the same for every seed, with noise that is not."""
    spectrum = (1.0 + np.arange(DIM) / 12.0) ** -0.7
    centres = np.random.default_rng(0).standard_normal((100, DIM)) * spectrum
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count, DIM)) * spectrum * 0.8
    return np.asarray(centres[rng.integers(100, size=count)] + noise, np.float32)


@pytest.fixture(
    scope="module", params=[(Metric.COSINE, PREFIX), (Metric.L2, PREFIX), (Metric.INNER_PRODUCT, DIM)], ids=str
)
def segment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segment]:
    """A segment on a prefix, or on all components."""
    metric, dimension = request.param
    stored = to_half_rows(rows_of(ROWS, 1), metric)
    assert stored is not None
    built = SegmentBuild(Collection(1, "c", metric), VERSION)
    for start in range(0, ROWS, 1000):
        items = [Item(f"i{n}") for n in range(start, min(start + 1000, ROWS))]
        built.add(RowBatch(items, [0] * len(items), stored[start : start + len(items)]))
    folder = SegmentFolder(tmp_path_factory.mktemp("calibration"), "id", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "choose_dimension", lambda *_: dimension)
        manifest = built.finish(folder, "id", "1:1:", cores=2)
    assert (manifest.rows, manifest.dimension, manifest.kind) == (ROWS, dimension, "hnsw")
    return open_segment(folder.at(1), verified_manifest(folder.at(1)))


@pytest.fixture(scope="module")
def view(segment: Segment) -> View:
    collection = Collection(1, "c", Metric(segment.manifest.metric))
    delta = Delta(collection, VERSION)
    return View(collection, VERSION, segment, None, delta.view(), position=None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def queries(view: View) -> NDArray[np.float32]:
    fresh = to_half_rows(rows_of(QUERIES, 2), view.collection.metric)
    assert fresh is not None
    return fresh.astype(np.float32)


def recall(view: View, queries: NDArray[np.float32], admitted: Admitted, params: SearchParams) -> float:
    """Of the nearest ten by comparing all, the share that single searches find."""
    assert view.segment is not None
    truth = view.segment.funnel.scan(queries, 10, admitted.segment)[1]
    found = [view.search(np.ascontiguousarray(q[np.newaxis]), 10, admitted, params).rows[0] for q in queries]
    return float(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, truth, strict=True)]))


def among(view: View, bitmap: Bitmap | None) -> Admitted:
    nothing = Bitmap.of(np.zeros(0, np.bool_))
    return Admitted(bitmap, ROWS if bitmap is None else bitmap.count, nothing, 0, bitmap is not None)


@pytest.mark.parametrize("target", [0.9, 0.95, 0.99])
def test_recall_targets_hold(view: View, queries: NDArray[np.float32], target: float) -> None:
    assert view.segment is not None
    plan = next(p for p in view.segment.manifest.frontier if p.target_recall == target)
    assert plan.ef_search > 0, "a graph of so many rows is worth its while"
    assert recall(view, queries, among(view, None), SearchParams(target_recall=target)) >= target - 0.01


@pytest.mark.parametrize(
    ("share", "shape"),
    [
        (0.5, "random"),
        (0.1, "random"),
        (0.01, "random"),
        (0.5, "one cluster"),
        (0.1, "one cluster"),
        (0.01, "one cluster"),
    ],
)
def test_filters_keep_recall(view: View, queries: NDArray[np.float32], share: float, shape: str) -> None:
    assert view.segment is not None
    mask = np.random.default_rng(3).random(ROWS) < share
    if shape == "one cluster":
        # Rows that are alike, as those of a genre are: all near one query, and far from most others.
        near = view.segment.funnel.scan(queries[:1], int(share * ROWS))[1][0]
        mask = np.zeros(ROWS, np.bool_)
        mask[near] = True
    assert recall(view, queries[:150], among(view, Bitmap.of(mask)), SearchParams()) >= 0.95


@pytest.mark.parametrize("share", [0.25, 0.1, 0.05])
def test_the_graph_finds_what_is_all_in_one_cluster(view: View, queries: NDArray[np.float32], share: float) -> None:
    """By a plan that is calibrated with random filters, which a busy machine may find cheaper than comparing."""
    assert view.segment is not None
    near = view.segment.funnel.scan(queries[:1], int(share * ROWS))[1][0]
    mask = np.zeros(ROWS, np.bool_)
    mask[near] = True
    among = Bitmap.of(mask)
    truth = view.segment.funnel.scan(queries[:150], 10, among)[1]
    found = [
        view.segment.search(np.ascontiguousarray(q[np.newaxis]), 10, among, Effort(80, 64))[1][0] for q in queries[:150]
    ]
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, truth, strict=True)]) >= 0.97


def test_ef_search_means_something(view: View, queries: NDArray[np.float32]) -> None:
    """It did not, once: the parameters of a graph without a prefix were lost."""
    few, many = (recall(view, queries, among(view, None), SearchParams(ef_search=ef)) for ef in (10, 400))
    assert few < many
    assert many > 0.99
