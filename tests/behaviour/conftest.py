"""The data sets of the suite, each loaded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from retrieval.domain.model import Metric
from tests.catalogue import DataSet, make

if TYPE_CHECKING:
    from tests.conftest import Loader


@pytest.fixture(scope="session")
async def catalogue(loader: Loader) -> DataSet:
    """3,000 items of one chunk, 64 dimensions under cosine, resolutions 16 and 32."""
    return await loader(make("catalogue", 3000, resolutions=(16, 32)))


@pytest.fixture(scope="session")
async def chunked(loader: Loader) -> DataSet:
    """700 items of up to four chunks."""
    return await loader(make("chunked", 700, dimension=32, resolutions=(16,), max_chunks=4, seed=11))


@pytest.fixture(scope="session")
async def long_vectors(loader: Loader) -> DataSet:
    """Long enough that the default funnel has a coarse stage."""
    return await loader(make("long", 1100, dimension=256, resolutions=(64, 128), seed=13))


@pytest.fixture(scope="session", params=[Metric.L2, Metric.INNER_PRODUCT])
async def other_metric(request: pytest.FixtureRequest, loader: Loader) -> DataSet:
    return await loader(make(request.param.value, 1200, dimension=32, resolutions=(16,), metric=request.param, seed=17))
