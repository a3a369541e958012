"""Vectors of another length, projected wherever a version takes one. On both stores alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application.candidates.engine import UserCandidates
from retrieval.application.ingest import Upsert, upsert_items
from retrieval.application.matryoshka import Matryoshka
from retrieval.application.rank_items import RankItems
from retrieval.application.service import Service
from retrieval.domain.errors import InvalidArgumentError, NotFoundError
from retrieval.domain.model import Chunk, EmbeddingVersion, Item, Metric, Viewer
from retrieval.domain.projection import Projection, settle
from retrieval.domain.search import SearchOptions
from retrieval.postgres import projections
from tests.backends import exact_backend
from tests.catalogue import make

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

DIM, SIZE = 6, 9
RNG = np.random.default_rng(5)
PROJECTION = Projection(
    RNG.standard_normal((DIM, SIZE)).astype(np.float32), RNG.standard_normal(DIM).astype(np.float32)
)
ROWS = RNG.standard_normal((40, SIZE)).astype(np.float32)
QUERY = RNG.standard_normal(SIZE).astype(np.float32)
EVERYTHING = Viewer(unrestricted=True)


@pytest.fixture(params=[Metric.COSINE, Metric.L2])
async def collection(stores: Stores, name: str, request: pytest.FixtureRequest) -> Collection:
    data = make(name, 1, dimension=DIM, metric=request.param)
    return await stores.collections.create(data.collection(), data.version(), PROJECTION)


async def test_a_projection_comes_with_its_version(stores: Stores, collection: Collection) -> None:
    first = (await stores.collections.get(collection.name)).active
    plain = await stores.collections.create_version(collection.name, EmbeddingVersion(0, 0, "plain", DIM))
    bare = Projection(PROJECTION.weights[:2, :4].copy())
    second = await stores.collections.create_version(collection.name, EmbeddingVersion(0, 0, "short", 2), bare)
    assert [v.input_dimension for v in (first, plain, second)] == [SIZE, 0, 4]
    versions = (await stores.collections.get(collection.name)).versions
    assert [v.input_dimension for v in versions] == [SIZE, 0, 4]
    for version, expected in ((first, PROJECTION), (second, bare)):
        for found in (await stores.projections.of(version), stores.projections.peek(version)):
            assert found is not None
            assert np.array_equal(found.weights, expected.weights)
            assert (found.bias is None) == (expected.bias is None)
            assert found.bias is None or np.array_equal(found.bias, expected.bias)
    assert (await stores.projections.of(plain), stores.projections.peek(plain)) == (None, None)


async def test_the_projection_of_a_version_that_is_gone(stores: Stores, collection: Collection) -> None:
    await stores.collections.delete(collection.name)
    with pytest.raises(NotFoundError):
        await stores.projections.of(collection.active)


async def write(stores: Stores, collection: Collection, rows: Sequence[np.ndarray]) -> None:
    def read(_: Collection, version: EmbeddingVersion, projection: Projection | None) -> list[Item]:
        return [
            Item(f"i{n:02d}", (Chunk(0, settle(row, version.dimension, collection.metric, "v", projection)),))
            for n, row in enumerate(rows)
        ]

    await upsert_items(stores, Upsert(collection.name, read))


async def test_every_way_to_give_a_query(stores: Stores, collection: Collection) -> None:
    """Long vectors are as the short ones they are projected to, stored or asked for."""
    await write(stores, collection, [ROWS[0], *PROJECTION.project(ROWS[1:])])
    stored = await stores.index.vectors(collection.active, [f"i{n:02d}" for n in range(40)], EVERYTHING)
    short_rows = PROJECTION.project(ROWS)
    for number, row in enumerate(short_rows):
        expected = row / np.linalg.norm(row) if collection.metric is Metric.COSINE else row
        np.testing.assert_allclose(stored[f"i{number:02d}"][0], expected, atol=4e-3)
    short = PROJECTION.project(QUERY[np.newaxis])[0]
    backend, options = exact_backend(stores), SearchOptions(limit=7)
    ids = tuple(stored)
    for ask in (
        lambda v: Matryoshka(collection.name, v, options=options),
        lambda v: RankItems(collection.name, ids, v, options=options),
        lambda v: UserCandidates(collection.name, "ann", options=options, user_vector=v),
    ):
        long_hits = (await backend.search(ask(QUERY))).hits
        short_hits = (await backend.search(ask(short))).hits
        assert [h.item_id for h in long_hits] == [h.item_id for h in short_hits]
        assert [h.score for h in long_hits] == pytest.approx([h.score for h in short_hits], abs=1e-3)
        with pytest.raises(InvalidArgumentError) as raised:
            await backend.search(ask(QUERY[:-1]))
        assert raised.value.reason == "DIMENSION_MISMATCH"
        assert f"takes {DIM}, or {SIZE} to be projected" in raised.value.message


async def test_a_users_vector_of_either_length(stores: Stores, collection: Collection) -> None:
    async def alive() -> bool:
        return True

    service = Service(stores, alive)
    half = []
    for given in (QUERY, PROJECTION.project(QUERY[np.newaxis])[0]):
        await service.profiles.set_vector(collection.name, "ann", 0, given)
        found = await stores.profiles.vector(collection.active, "ann")
        assert found is not None
        assert found.shape == (DIM,)
        half.append(found)
    np.testing.assert_allclose(half[0], half[1], atol=2e-3)
    with pytest.raises(InvalidArgumentError) as raised:
        await service.profiles.set_vector(collection.name, "ann", 0, QUERY[:3])
    assert f"takes {DIM}, or {SIZE}" in raised.value.message


async def test_what_is_kept_of_projections_is_bounded(
    postgres: Stores, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projections, "KEPT_BYTES", 2 * PROJECTION.weights.nbytes)
    data = make(name, 1, dimension=DIM)
    made = await postgres.collections.create(data.collection(), data.version(), PROJECTION)
    versions = [made.active]
    for number in range(3):
        version = replace(data.version(), model=f"m{number}")
        versions.append(await postgres.collections.create_version(made.name, version, PROJECTION))
    for version in versions:
        assert await postgres.projections.of(version) is not None
    assert [postgres.projections.peek(version) is not None for version in versions] == [False, False, True, True]
    assert await postgres.projections.of(versions[0]) is not None, "what went is read again"
