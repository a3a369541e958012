"""A shop with vectors in three lengths keeps its tables: searched coarse to fine, by version, popular ones apart."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import asyncpg
import numpy as np
import pytest

from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from tests.acceptance.matryoshka_app import FULL, MIDDLE, SHORT, as_vector, fragrance, key, matryoshka_vectors
from tests.acceptance.matryoshka_world import COLUMNS, LAB, SHOP, World, world_of_fragrances
from tests.acceptance.serving import ADMIN, components, ids, nearest, options, overlap, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

FUNNEL = (
    common_pb.Stage(dimension=SHORT, candidate_count=120),
    common_pb.Stage(dimension=MIDDLE, candidate_count=40),
    common_pb.Stage(dimension=FULL, candidate_count=10),
)
EXACT = common_pb.SearchParams(exact=True)
FAISS = common_pb.SearchParams(source=common_pb.SOURCE_FAISS)
HNSW = common_pb.SearchParams(source=common_pb.SOURCE_HNSW)
POPULAR = common_pb.SearchParams(index=common_pb.INDEX_SCOPE_POPULAR, source=common_pb.SOURCE_HNSW)


@pytest.fixture(scope="module")
async def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world_of_fragrances(database_url, tmp_path_factory.mktemp("matryoshka")) as made:
        yield made


def queries(world: World, count: int = 25) -> list[NDArray[np.float64]]:
    """Between two fragrances of a family each, where neighbours are hard to tell apart; unit vectors."""
    rng = np.random.default_rng(5)
    rows = list(world.shop.vectors.values())
    found = []
    for _ in range(count):
        n = int(rng.integers(len(rows) - 1))
        query = rows[n] + rows[n + 1] + 0.01 * rng.standard_normal(FULL)
        found.append(query / np.linalg.norm(query))
    return found


@pytest.fixture(scope="module")
def truth(world: World) -> list[list[str]]:
    """The ten nearest to each of the queries, by all components."""
    return [nearest(query, world.shop.vectors, 10) for query in queries(world)]


async def recall(
    world: World, truth: list[list[str]], params: common_pb.SearchParams, *stages: common_pb.Stage
) -> float:
    """Mean share of the truth that a search finds."""
    given = options(10, params=params)
    replies = [await world.client.nearest(SHOP, query, stages=stages, options=given) for query in queries(world)]
    return float(np.mean([overlap(ids(r.hits), wanted) for r, wanted in zip(replies, truth, strict=True)]))


async def test_the_index_on_2048_components_as_drawn_is_refused_by_pgvector(world: World) -> None:
    """Which is why the service keeps half precision, and indexes that."""
    with pytest.raises(asyncpg.PostgresError, match="2000 dimensions"):
        await world.shop.connection.execute(
            "CREATE INDEX ON fragrance_embeddings_multi USING hnsw (embedding_2048 vector_cosine_ops)"
        )
    definitions = await world.index_definitions(f"({FULL})")
    assert definitions
    assert all("halfvec_cosine_ops" in definition for definition in definitions)


@pytest.mark.parametrize(
    ("dimension", "m", "ef_construction"), [(FULL, 32, 200), (MIDDLE, 16, 100), (SHORT, 8, 50)], ids=str
)
async def test_each_resolution_has_a_graph_of_its_own(
    world: World, dimension: int, m: int, ef_construction: int
) -> None:
    stats = await world.stats()
    (index,) = [i for i in stats.indexes if i.kind == collections_pb.INDEX_KIND_HNSW and i.dimension == dimension]
    assert index.state == collections_pb.INDEX_STATE_READY
    assert (index.m, index.ef_construction) == (m, ef_construction)
    definition = await world.shop.connection.fetchval(
        "SELECT indexdef FROM pg_indexes WHERE indexname = $1", index.name
    )
    assert f"m='{m}', ef_construction='{ef_construction}'" in definition


async def test_the_short_columns_are_prefixes_so_one_version_answers_all_three(world: World) -> None:
    rows = await world.shop.connection.fetch("SELECT fragrance_id, embedding_128::text FROM fragrance_embeddings_multi")
    short = {str(row[0]): np.array(json.loads(row[1])) for row in rows}
    for query in queries(world, 10):
        reply = await world.client.nearest(
            SHOP,
            query,
            stages=[common_pb.Stage(dimension=SHORT, candidate_count=10)],
            options=options(10, params=EXACT),
        )
        assert overlap(ids(reply.hits), nearest(query[:SHORT], short, 10)) >= 0.9


@pytest.mark.parametrize("params", [HNSW, FAISS], ids=["hnsw", "faiss"])
async def test_the_funnel_finds_what_an_exact_search_finds(
    world: World, truth: list[list[str]], params: common_pb.SearchParams
) -> None:
    assert await recall(world, truth, EXACT) >= 0.99
    assert await recall(world, truth, params, *FUNNEL) >= 0.95
    assert await recall(world, truth, params) >= 0.9, "the default funnel"


async def test_a_short_prefix_alone_is_coarser(world: World, truth: list[list[str]]) -> None:
    """Precision by use: the prefix for a preview, the funnel for the result."""
    coarse = await recall(world, truth, HNSW, common_pb.Stage(dimension=SHORT, candidate_count=10))
    assert 0.2 < coarse < await recall(world, truth, HNSW, *FUNNEL) - 0.1


async def test_the_reply_names_the_stages(world: World) -> None:
    reply = await world.client.nearest(SHOP, queries(world, 1)[0], stages=FUNNEL, options=options(10, params=HNSW))
    assert list(reply.stages) == list(FUNNEL)
    assert reply.info.source == common_pb.SOURCE_HNSW


async def test_a_row_with_the_long_vector_alone_is_found_by_its_prefix(world: World) -> None:
    """The application's first migration fills that column and no other."""
    item_id, row = key("late"), matryoshka_vectors(99)[str(fragrance("amber", 3))]
    await world.shop.connection.execute(
        "INSERT INTO fragrances (id, name, brand, notes) VALUES ($1, 'Late', 'Nordlicht', '{}')", item_id
    )
    await world.shop.connection.execute(
        "INSERT INTO fragrance_embeddings_multi (fragrance_id, embedding_2048) VALUES ($1, ($2::text)::vector)",
        item_id,
        as_vector(row),
    )
    await world.service.in_step(SHOP)
    reply = await world.client.nearest(SHOP, row, stages=FUNNEL, options=options(10, params=EXACT))
    assert ids(reply.hits)[0] == str(item_id)
    await world.shop.connection.execute("DELETE FROM fragrances WHERE id = $1", item_id)
    await world.service.in_step(SHOP)
    assert await world.service.item(SHOP, item_id) is None


@pytest.mark.parametrize(("version", "dimension"), [(1, FULL), (2, MIDDLE), (3, SHORT)])
async def test_three_columns_of_three_models_are_three_versions(world: World, version: int, dimension: int) -> None:
    """For short vectors that are no prefixes: each column has a version, and versions are never mixed."""
    item_id = str(fragrance("floral", 2))
    found = components(await world.service.item(COLUMNS, item_id, version))
    assert found.shape == (dimension,)
    reply = await world.client.nearest(COLUMNS, found, options=options(10, embedding_version=version, params=EXACT))
    assert (ids(reply.hits)[0], reply.info.embedding_version) == (item_id, version)
    assert [world.shop.family_of[i] for i in ids(reply.hits)].count("floral") >= 9


async def test_the_popular_index_holds_what_is_rated_well_and_often(world: World) -> None:
    (definition,) = await world.index_definitions("WHERE")
    assert "rating_value >= " in definition
    assert "rating_count >= 100" in definition
    rows = await world.shop.connection.fetch(
        "SELECT id FROM fragrances WHERE rating_value >= 4 AND rating_count >= 100"
    )
    popular = {str(row["id"]): world.shop.vectors[str(row["id"])] for row in rows}
    for query in queries(world, 10):
        reply = await world.client.nearest(SHOP, query, options=options(5, params=POPULAR, view=common_pb.VIEW_BASIC))
        assert reply.info.source == common_pb.SOURCE_HNSW
        assert all(h.item.rating_value >= 4.0 and h.item.rating_count >= 100 for h in reply.hits)
        assert overlap(ids(reply.hits), nearest(query, popular, 5)) >= 0.8


async def test_a_fragrance_becomes_popular_when_it_is_rated_so(world: World) -> None:
    rising = fragrance("spicy", 1)

    async def is_popular() -> bool:
        query = world.shop.vectors[str(rising)]
        reply = await world.client.nearest(SHOP, query, options=options(1, params=POPULAR))
        return ids(reply.hits) == [str(rising)]

    assert not await is_popular()
    rate = "UPDATE fragrances SET rating_value = $2, rating_count = $3 WHERE id = $1"
    await world.shop.connection.execute(rate, rising, 4.0, 100)
    await world.service.in_step(SHOP)
    assert await is_popular()
    await world.shop.connection.execute(rate, rising, 3.9, 100)
    await world.service.in_step(SHOP)
    assert not await is_popular()


async def test_the_service_measures_its_own_recall(world: World) -> None:
    request = collections_pb.EvaluateRecallRequest(collection=SHOP, sample_size=30, params=HNSW)
    reply = await world.client.collections.EvaluateRecall(request)
    assert reply.source == common_pb.SOURCE_HNSW
    assert reply.sample_size == 30
    assert reply.recall >= 0.9


async def test_a_new_model_comes_row_by_row_beside_the_old_one_and_goes_back(world: World) -> None:
    """`version` of a row is raised in place: the old vector is gone from the application, and not from the service."""
    app, collections = world.shop.connection, world.client.collections
    family = [fragrance("woody", n) for n in range(20)]
    await world.make_lab(family)
    new = matryoshka_vectors(2)
    await collections.CreateEmbeddingVersion(
        collections_pb.CreateEmbeddingVersionRequest(
            collection=LAB, embedding_version=collections_pb.EmbeddingVersion(model="2", dimension=FULL)
        )
    )
    with pytest.raises(Exception, match="FAILED_PRECONDITION"):
        await collections.ActivateEmbeddingVersion(
            collections_pb.ActivateEmbeddingVersionRequest(collection=LAB, version=2)
        )
    # From now on the rows of model 2 are followed; what was read of model 1 stays as it is.
    await collections.DetachTable(
        collections_pb.DetachTableRequest(collection=LAB, relation="lab.fragrances"), metadata=ADMIN
    )
    await world.attach_lab(embedding_version=2)

    async def counts() -> tuple[int, int]:
        found = [
            [components(await world.service.item(LAB, item_id, version)).size for item_id in family]
            for version in (1, 2)
        ]
        return np.count_nonzero(found[0]), np.count_nonzero(found[1])

    async def upgrade(rows: list[object]) -> None:
        await app.executemany(
            "UPDATE lab.fragrance_embeddings_multi SET embedding_2048 = ($2::text)::vector, version = 2"
            " WHERE fragrance_id = $1",
            [(item_id, as_vector(new[str(item_id)])) for item_id in rows],
        )
        await world.service.in_step(LAB)

    await upgrade(family[:7])
    assert await counts() == (20, 7)
    query = world.shop.vectors[str(family[0])]
    reply = await world.client.nearest(LAB, query, options=options(20, params=EXACT))
    assert (len(reply.hits), reply.hits[0].item_id, reply.info.embedding_version) == (20, str(family[0]), 1)
    await upgrade(family[7:])
    assert await counts() == (20, 20)
    await collections.ActivateEmbeddingVersion(
        collections_pb.ActivateEmbeddingVersionRequest(collection=LAB, version=2)
    )
    reply = await world.client.nearest(LAB, new[str(family[3])], options=options(20, params=EXACT))
    assert (reply.hits[0].item_id, reply.info.embedding_version) == (str(family[3]), 2)
    assert reply.hits[0].score > 0.999
    await collections.RollbackEmbeddingVersion(collections_pb.RollbackEmbeddingVersionRequest(collection=LAB))
    reply = await world.client.nearest(LAB, query, options=options(20, params=EXACT))
    assert (reply.hits[0].item_id, reply.info.embedding_version) == (str(family[0]), 1)
    assert reply.hits[0].score > 0.999


async def test_the_cache_and_postgres_give_the_same_answer(world: World) -> None:
    await until(world.is_cached)
    for query in queries(world, 10):
        both = await asyncio.gather(
            *(world.client.nearest(SHOP, query, options=options(10, params=p)) for p in (FAISS, EXACT))
        )
        assert overlap(ids(both[0].hits), ids(both[1].hits)) >= 0.9
