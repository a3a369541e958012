"""The backends, and the data sets of the suite, each loaded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from retrieval.bootstrap import cached
from retrieval.config import Settings
from retrieval.domain.model import Metric
from tests.backends import BACKENDS, Agreement, Backend, Oracle, make_backend
from tests.caches import caught_up
from tests.catalogue import crowd, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from retrieval.application.ports import Stores
    from retrieval.postgres.adapter import PostgresAdapter
    from tests.catalogue import DataSet
    from tests.conftest import Loader


@pytest.fixture(scope="package")
async def faiss(adapter: PostgresAdapter, postgres: Stores, segments: Path) -> AsyncIterator[Stores]:
    """Served from segments, and a delta for what changed since."""
    async with cached(adapter, postgres, Settings(cache_dir=segments)) as stores:
        yield stores


@pytest.fixture(scope="package")
async def faiss_delta(
    adapter: PostgresAdapter, postgres: Stores, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stores]:
    """Served from memory alone: there is no segment."""
    async with cached(adapter, postgres, Settings(cache_dir=tmp_path_factory.mktemp("none"))) as stores:
        yield stores


@pytest.fixture(scope="package", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every way to answer a search, in turn."""
    stores = {"exact": "postgres", "hnsw": "postgres", "ivfflat": "postgres"}.get(request.param, request.param)
    return make_backend(request.param, request.getfixturevalue(stores))


@pytest.fixture
def agreement(backend: Backend, oracle: Oracle) -> Iterator[Agreement]:
    made = Agreement(backend, oracle)
    yield made
    made.settle()


@pytest.fixture(scope="package")
async def catalogue(loader: Loader) -> DataSet:
    """3,000 items of one chunk, 64 dimensions under cosine, resolutions 16 and 32."""
    return await loader(make("catalogue", 3000, resolutions=(16, 32)))


@pytest.fixture(scope="package")
async def chunked(loader: Loader) -> DataSet:
    """700 items of up to four chunks."""
    return await loader(make("chunked", 700, dimension=32, resolutions=(16,), max_chunks=4, seed=11))


@pytest.fixture(scope="package")
async def crowded(loader: Loader) -> DataSet:
    """150 items, of which each tenth has 64 to 256 chunks nearer to every query than most others have any."""
    return await loader(crowd(make("crowded", 150, dimension=16, resolutions=(8,), seed=23), seed=29))


@pytest.fixture(scope="package")
async def long_vectors(loader: Loader) -> DataSet:
    """Long enough that the default funnel has a coarse stage."""
    return await loader(make("long", 1100, dimension=256, resolutions=(64, 128), seed=13), prefix=64)


@pytest.fixture(scope="package", params=[Metric.L2, Metric.INNER_PRODUCT])
async def other_metric(request: pytest.FixtureRequest, loader: Loader) -> DataSet:
    data = make(request.param.value, 1200, dimension=32, resolutions=(16,), metric=request.param, seed=17)
    return await loader(data, prefix=16)


@pytest.fixture(autouse=True)
async def served_from_the_segment(request: pytest.FixtureRequest) -> None:
    """The backend `faiss` is to answer from segments, as soon as the data sets are there."""
    if "backend" not in request.fixturenames:
        return
    backend = request.getfixturevalue("backend")
    for name in ("catalogue", "chunked", "crowded", "long_vectors", "other_metric"):
        if name in request.fixturenames and backend.name in {"faiss", "faiss_delta"}:
            data = request.getfixturevalue(name)
            report = await caught_up(backend.stores, data.name, generation=int(backend.name == "faiss"))
            assert (report.generation, report.rows) == (
                int(backend.name == "faiss"),
                sum(len(i.chunks) for i in data.items.values()),
            )
            assert bool(report.dead_rows) == (backend.name == "faiss")
            assert report.delta_rows
