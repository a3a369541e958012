"""A perfume shop's fragrances: their vectors, and what is similar. The tables are the shop's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import grpc
import numpy as np
import pytest

from retrieval.client import error_reason
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import embedding_job_service_pb2 as jobs_pb
from retrieval.v1 import maintenance_service_pb2 as maintenance_pb
from tests.acceptance.attached_app import ADMIN, eventually
from tests.acceptance.fragrances_app import (
    ADD,
    BINDING,
    COLLECTION,
    DIM,
    EACH,
    FAMILIES,
    TOPICS,
    WITHOUT_VECTOR,
    fragrance_id,
)
from tests.acceptance.fragrances_world import NEXT_DIM, NEXT_MODEL, Shop, keyword, shop_of
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(scope="module")
async def shop(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with shop_of(database_url, tmp_path_factory.mktemp("fragrances")) as made:
        yield made


# Fragrances and their vectors


async def test_every_fragrance_is_an_item_with_its_names(shop: Shop) -> None:
    rows = await shop.app.fetch("SELECT id FROM {schema}.fragrances")
    assert await shop.app.ids(shop.name) == {str(r["id"]) for r in rows}
    item = await shop.app.item(shop.name, str(fragrance_id("woody", 3)))
    (row,) = await shop.app.fetch("SELECT * FROM {schema}.fragrances WHERE id = $1", fragrance_id("woody", 3))
    assert [item.payload[c] for c in ("name", "brand", "description")] == [
        row["name"],
        row["brand"],
        row["description"],
    ]


async def test_a_vector_of_2048_components_is_taken_as_it_is(shop: Shop) -> None:
    chosen = fragrance_id("woody", 3)
    item = await shop.app.item(shop.name, str(chosen))
    (row,) = await shop.app.fetch("SELECT embedding::real[] AS v FROM {schema}.fragrances WHERE id = $1", chosen)
    stored = np.frombuffer(item.chunks[0].vector.float32_le, "<f4")
    assert stored.shape == (DIM,)
    assert np.allclose(stored, row["v"], atol=1e-3)


async def test_missing_vectors_and_no_others_are_made_from_the_texts(shop: Shop) -> None:
    rows = await shop.app.fetch("SELECT name, description FROM {schema}.fragrances WHERE embedding IS NULL")
    assert len(shop.before) == len(FAMILIES) * WITHOUT_VECTOR
    assert {text.partition("\n")[0] for text in shop.before} <= {r["name"] for r in rows}
    hits = (await shop.similar(fragrance_id("floral", EACH - 1), limit=10)).hits
    assert (await shop.families(hits))["floral"] == 10


async def test_vectors_of_another_model_are_not_mixed_in(shop: Shop) -> None:
    odd, of_woody = uuid4(), [float(x) for x in TOPICS.vector("cedar vetiver")]
    await shop.app.run(ADD, odd, "Loud Neon", "Halden", "lemon, lemon", ["lemon"], "citrus", 1, 2.0, 1, None)
    await shop.app.run(
        "UPDATE {schema}.fragrances SET embedding = $2::real[]::vector, embedding_model = 'older' WHERE id = $1",
        odd,
        of_woody,
    )
    await shop.embedded()
    assert (await shop.families((await shop.similar(odd, limit=5)).hits)).most_common(1)[0][0] == "citrus"
    await shop.app.run("DELETE FROM {schema}.fragrances WHERE id = $1", odd)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "Harvest Moon"),
        ("brand", "Elm & Ember"),
        ("description", "Tonka and cocoa by the fire."),
        ("notes", ["praline", "almond"]),
    ],
)
async def test_a_changed_text_is_embedded_anew(shop: Shop, column: str, value: object) -> None:
    seen = await shop.embedded()
    chosen = fragrance_id("gourmand", 30)
    await shop.app.run(f"UPDATE {{schema}}.fragrances SET {column} = $2 WHERE id = $1", chosen, value)
    now = await shop.embedded()
    assert len(now) == len(seen) + 1
    assert (value if isinstance(value, str) else "praline,almond") in now[-1]
    item = await shop.app.item(shop.name, str(chosen))
    stored = np.frombuffer(item.chunks[0].vector.float32_le, "<f4")
    assert np.allclose(stored, TOPICS.vector(now[-1]), atol=1e-3)


async def test_any_other_change_embeds_nothing(shop: Shop) -> None:
    seen = await shop.embedded()
    await shop.app.run(
        "UPDATE {schema}.fragrances SET price = price + 1, rating_count = rating_count + 1, name = name, "
        "embedding_generated_at = now() WHERE scent_family = 'woody'"
    )
    assert await shop.embedded() == seen
    item = await shop.app.item(shop.name, str(fragrance_id("woody", 1)))
    assert item.attributes["price"].double == 44


async def test_a_vector_that_the_shop_takes_away_is_not_missed(shop: Shop) -> None:
    chosen = fragrance_id("aquatic", 40)
    await shop.app.run("UPDATE {schema}.fragrances SET embedding = NULL WHERE id = $1", chosen)
    await shop.embedded()
    assert (await shop.families((await shop.similar(chosen, limit=10)).hits))["aquatic"] == 10


async def test_a_new_fragrance_is_found_by_its_meaning(shop: Shop) -> None:
    new = uuid4()
    await shop.app.run(ADD, new, "Low Tide", "Ostrea", "seaweed and ozone", ["algae"], "aquatic", 1, 2.0, 1, None)
    await shop.embedded()

    async def found() -> bool:
        query = TOPICS.vector("Low Tide\n\nOstrea\n\nseaweed and ozone\n\n{algae}")
        reply = await shop.app.client.nearest(shop.name, query, options=common_pb.SearchOptions(limit=1))
        return reply.hits[0].item_id == str(new)

    await eventually(found)
    await shop.app.run("DELETE FROM {schema}.fragrances WHERE id = $1", new)
    await shop.app.settled(shop.name)
    assert str(new) not in await shop.app.ids(shop.name)


# Similar fragrances


async def test_similar_fragrances_reach_the_threshold_best_first(shop: Shop) -> None:
    reply = await shop.similar(fragrance_id("citrus", 1), limit=20, score_threshold=0.7, view=common_pb.VIEW_FULL)
    scores = [h.score for h in reply.hits]
    assert len(scores) == 20
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] >= 0.7
    assert (await shop.families(reply.hits)) == {"citrus": 20}
    assert all(set(h.item.payload) == {"name", "brand", "description"} for h in reply.hits)


async def test_what_is_below_the_threshold_is_left_out_and_the_reply_says_so(shop: Shop) -> None:
    reply = await shop.similar(fragrance_id("citrus", 1), limit=200, score_threshold=0.7)
    assert (await shop.families(reply.hits)) == {"citrus": EACH - 1}
    assert reply.info.shortfall_reason == common_pb.SHORTFALL_REASON_THRESHOLD


@pytest.mark.parametrize("source", [common_pb.SOURCE_AUTO, common_pb.SOURCE_EXACT])
async def test_excluded_fragrances_are_not_returned(shop: Shop, source: common_pb.Source) -> None:
    params = common_pb.SearchParams(source=source)
    first = [h.item_id for h in (await shop.similar(fragrance_id("citrus", 1), limit=10, params=params)).hits]
    excluded = first[::2]
    reply = await shop.similar(fragrance_id("citrus", 1), limit=20, exclude_item_ids=excluded, params=params)
    found = [h.item_id for h in reply.hits]
    assert not set(found) & set(excluded)
    assert found[:5] == first[1::2]


async def test_a_vector_of_the_shops_own_may_ask(shop: Shop) -> None:
    options = common_pb.SearchOptions(limit=20, score_threshold=0.7)
    reply = await shop.app.client.nearest(shop.name, TOPICS.vector("rose, jasmine and iris"), options=options)
    assert (await shop.families(reply.hits)) == {"floral": 20}


async def test_an_index_of_2048_components_answers_as_exactly_as_no_index(shop: Shop) -> None:
    kinds = [
        collections_pb.INDEX_KIND_HNSW,
        collections_pb.INDEX_KIND_ATTRIBUTE,
        collections_pb.INDEX_KIND_POPULAR_HNSW,
    ]
    collections = shop.app.client.collections
    await collections.BuildIndex(collections_pb.BuildIndexRequest(collection=shop.name, kinds=kinds))
    stats = collections_pb.GetIndexStatsResponse()

    async def built() -> bool:
        stats.CopyFrom(await collections.GetIndexStats(collections_pb.GetIndexStatsRequest(collection=shop.name)))
        assert not any(index.error for index in stats.indexes)
        return all(index.state == collections_pb.INDEX_STATE_READY for index in stats.indexes)

    await eventually(built)
    assert DIM in {i.dimension for i in stats.indexes if i.kind == collections_pb.INDEX_KIND_HNSW}
    query, found = TOPICS.vector("sandalwood, oakmoss and guaiac"), {}
    for source in (common_pb.SOURCE_HNSW, common_pb.SOURCE_EXACT):
        options = common_pb.SearchOptions(limit=20, params=common_pb.SearchParams(source=source))
        reply = await shop.app.client.nearest(shop.name, query, options=options)
        assert reply.info.source == source
        found[source] = {h.item_id for h in reply.hits}
    assert len(found[common_pb.SOURCE_HNSW] & found[common_pb.SOURCE_EXACT]) >= 19


async def test_lists_wait_for_a_thousand_vectors(shop: Shop) -> None:
    request = collections_pb.BuildIndexRequest(collection=shop.name, kinds=[collections_pb.INDEX_KIND_IVFFLAT])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shop.app.client.collections.BuildIndex(request)
    assert error_reason(caught.value)[0] == "TOO_FEW_ROWS"


@pytest.mark.parametrize("source", [common_pb.SOURCE_AUTO, common_pb.SOURCE_HNSW, common_pb.SOURCE_EXACT])
async def test_a_family_narrows_a_search_by_vector(shop: Shop, source: common_pb.Source) -> None:
    reply = await shop.similar(
        fragrance_id("citrus", 1),
        limit=20,
        filter=keyword("scent_family", "woody", "floral"),
        params=common_pb.SearchParams(source=source),
    )
    families = await shop.families(reply.hits)
    assert set(families) <= {"woody", "floral"}
    assert families.total() == 20


async def test_a_brand_narrows_a_search_by_vector(shop: Shop) -> None:
    reply = await shop.similar(
        fragrance_id("citrus", 1), limit=20, filter=keyword("brand", "Ostrea"), view=common_pb.VIEW_BASIC
    )
    assert {h.item.attributes["brand"].keyword for h in reply.hits} == {"Ostrea"}
    assert (await shop.families(reply.hits[:5])) == {"citrus": 5}


async def test_a_search_may_look_at_popular_fragrances_alone(shop: Shop) -> None:
    reply = await shop.similar(
        fragrance_id("citrus", 1),
        limit=15,
        params=common_pb.SearchParams(index=common_pb.INDEX_SCOPE_POPULAR),
        view=common_pb.VIEW_BASIC,
    )
    assert len(reply.hits) == 15
    assert all(h.item.rating_value >= 4 and h.item.rating_count >= 100 for h in reply.hits)
    assert (await shop.families(reply.hits)) == {"citrus": 15}


async def test_words_find_notes_and_brands(shop: Shop) -> None:
    reply = await shop.app.client.hybrid(shop.name, "vetiver by Halden", options=common_pb.SearchOptions(limit=5))
    assert (await shop.families(reply.hits)) == {"woody": 5}


# The queue of texts to embed


@pytest.fixture(scope="module")
async def queue(shop: Shop) -> str:
    """A collection of fragrances whose model the server does not know: its texts wait for a worker."""
    app = shop.app
    name = await app.create("queue", COLLECTION, {"model": "in-house", "dimension": DIM, "embeds_text": True})
    await app.run("CREATE TABLE {schema}.samples (LIKE {schema}.fragrances INCLUDING ALL)")
    await app.run("INSERT INTO {schema}.samples SELECT * FROM {schema}.fragrances WHERE scent_family = 'floral'")
    await app.run("UPDATE {schema}.samples SET embedding = NULL")
    await app.attach(name, BINDING | {"relation": "{schema}.samples", "vectors": [{"column": "embedding"}]})
    return name


def made(job: jobs_pb.EmbeddingJob) -> jobs_pb.EmbeddingJobResult:
    """What a worker makes of a job."""
    vector = common_pb.Vector(float32_le=TOPICS.vector(job.text).tobytes())
    return jobs_pb.EmbeddingJobResult(job_id=job.job_id, chunks=[common_pb.Chunk(vector=vector)])


async def test_jobs_are_counted_by_state(shop: Shop, queue: str) -> None:
    stats = await shop.stats(queue)
    assert (stats.queued, stats.leased, stats.dead, stats.done, stats.total) == (EACH, 0, 0, 0, EACH)
    lease = await shop.app.client.embedding_jobs.lease(queue, 10)
    assert (lease.model, lease.dimension) == ("in-house", DIM)
    assert (await shop.stats(queue)).leased == 10
    await shop.app.client.embedding_jobs.complete(lease.lease_id, [made(job) for job in lease.jobs])
    stats = await shop.stats(queue)
    assert (stats.queued, stats.leased, stats.done) == (EACH - 10, 0, 10)


async def test_what_is_written_now_goes_before_a_rework_of_all(shop: Shop, queue: str) -> None:
    version = collections_pb.EmbeddingVersion(model="in-house-2", dimension=DIM, embeds_text=True)
    made = await shop.app.client.collections.CreateEmbeddingVersion(
        collections_pb.CreateEmbeddingVersionRequest(collection=queue, embedding_version=version)
    )
    number = made.embedding_version.version

    async def all_queued() -> bool:
        return (await shop.stats(queue)).queued == EACH

    await eventually(all_queued)
    written = fragrance_id("floral", 44)
    await shop.app.run("UPDATE {schema}.samples SET name = 'Urgent Rose' WHERE id = $1", written)
    await shop.app.settled(queue)
    lease = await shop.app.client.embedding_jobs.lease(queue, 1, embedding_version=number)
    assert [job.item_id for job in lease.jobs] == [str(written)]


async def test_a_failed_job_is_tried_again_and_then_held_with_its_message(shop: Shop, queue: str) -> None:
    jobs = shop.app.client.embedding_jobs
    await shop.app.run("DELETE FROM {schema}.samples WHERE id <> $1", fragrance_id("floral", 20))
    await shop.app.settled(queue)
    attempts = 0
    while True:
        lease = await jobs.lease(queue, 1)
        assert [job.item_id for job in lease.jobs] == [str(fragrance_id("floral", 20))]
        attempts += 1
        assert lease.jobs[0].attempt == attempts
        failure = jobs_pb.EmbeddingJobFailure(job_id=lease.jobs[0].job_id, error=f"no answer {attempts}")
        failure.retry_after.FromMilliseconds(0)
        (outcome,) = (await jobs.fail(lease.lease_id, [failure])).outcomes
        if outcome.state == jobs_pb.EMBEDDING_JOB_STATE_DEAD:
            break
        assert outcome.state == jobs_pb.EMBEDDING_JOB_STATE_RETRY
        async with asyncio.timeout(PATIENCE_S):
            while await retrying(shop, queue):
                await asyncio.sleep(0.02)
    assert attempts == 8
    (failed,) = (await jobs.list_failed(queue)).jobs
    assert (failed.item_id, failed.error, failed.attempts) == (lease.jobs[0].item_id, "no answer 8", 8)
    assert (await jobs.retry_failed(queue)).job_count == 1
    lease = await jobs.lease(queue, 1)
    assert lease.jobs[0].item_id == failed.item_id
    await jobs.complete(lease.lease_id, [made(lease.jobs[0])])


async def retrying(shop: Shop, name: str) -> bool:
    """Whether a job of the first version waits for its next attempt."""
    return bool((await shop.app.client.embedding_jobs.stats(name)).versions[0].retrying)


async def test_failed_jobs_are_kept_for_seven_days(shop: Shop, queue: str) -> None:
    client = shop.app.client
    await shop.app.run("UPDATE {schema}.samples SET name = 'Cannot be embedded'")
    await shop.app.settled(queue)
    lease = await client.embedding_jobs.lease(queue, 1)
    failure = jobs_pb.EmbeddingJobFailure(job_id=lease.jobs[0].job_id, error="refused", permanent=True)
    await client.embedding_jobs.fail(lease.lease_id, [failure])
    await client.maintenance.run("prune-embedding-jobs")
    assert len((await client.embedding_jobs.list_failed(queue)).jobs) == 1
    await shop.app.run(
        "UPDATE retrieval.pgqueuer SET updated = now() - interval '8 days' WHERE id = $1", lease.jobs[0].job_id
    )
    run = await client.maintenance.run("prune-embedding-jobs")
    assert run.outcome == maintenance_pb.MaintenanceRun.OUTCOME_SUCCEEDED
    assert not (await client.embedding_jobs.list_failed(queue)).jobs


# Another model


async def test_all_vectors_are_made_anew_while_the_old_ones_answer(shop: Shop) -> None:
    client = shop.app.client
    version = collections_pb.EmbeddingVersion(model=NEXT_MODEL, dimension=NEXT_DIM, embeds_text=True)
    request = collections_pb.CreateEmbeddingVersionRequest(collection=shop.name, embedding_version=version)
    number = (await client.collections.CreateEmbeddingVersion(request)).embedding_version.version
    assert (await shop.similar(fragrance_id("citrus", 1))).info.embedding_version == 1

    async def done() -> bool:
        stats = await shop.stats()
        return stats.embedding_version == number and stats.done == stats.total == len(FAMILIES) * EACH

    await eventually(done)
    assert await shop.embedded()
    await client.collections.ActivateEmbeddingVersion(
        collections_pb.ActivateEmbeddingVersionRequest(collection=shop.name, version=number)
    )
    reply = await shop.similar(fragrance_id("citrus", 1), limit=10)
    assert reply.info.embedding_version == number
    assert (await shop.families(reply.hits)) == {"citrus": 10}
    back = collections_pb.RollbackEmbeddingVersionRequest(collection=shop.name)
    await client.collections.RollbackEmbeddingVersion(back)
    assert (await shop.similar(fragrance_id("citrus", 1))).info.embedding_version == 1


async def test_attaching_takes_the_admin_token(shop: Shop) -> None:
    request = collections_pb.ListAttachedTablesRequest(collection=shop.name)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shop.app.client.collections.ListAttachedTables(request)
    assert error_reason(caught.value)[0] == "ADMIN_TOKEN_REQUIRED"
    assert (await shop.app.client.collections.ListAttachedTables(request, metadata=ADMIN)).attached_tables
