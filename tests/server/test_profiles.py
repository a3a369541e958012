"""A projection of 384 to 256 dimensions, and profiles, on a real server with Postgres and the FAISS cache."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from retrieval.client import error_reason
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import profile_service_pb2 as pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from tests.server.process import vector

if TYPE_CHECKING:
    from tests.server.process import Stubs

LONG, SHORT, COUNT = 384, 256, 300
RNG = np.random.default_rng(11)
MATRIX = (RNG.standard_normal((SHORT, LONG)) / np.sqrt(LONG)).astype(np.float32)
BIAS = (RNG.standard_normal(SHORT) / 10).astype(np.float32)
ROWS = RNG.standard_normal((COUNT, LONG)).astype(np.float32)
NOW = int(time.time()) - 60


def projected(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float64) @ MATRIX.T.astype(np.float64) + BIAS


@pytest.fixture
async def films(stubs: Stubs, name: str) -> str:
    """A collection whose second version, the active one, has a projection and holds items that were sent long."""
    plain = collections_pb.EmbeddingVersion(model="other", dimension=8)
    await stubs.collections.CreateCollection(
        collections_pb.CreateCollectionRequest(collection=collections_pb.Collection(name=name), embedding_version=plain)
    )
    version = collections_pb.EmbeddingVersion(model="long model, projected", dimension=SHORT)
    projection = collections_pb.Projection(input_dimension=LONG, matrix=vector(MATRIX.ravel()), bias=vector(BIAS))
    await stubs.collections.CreateEmbeddingVersion(
        collections_pb.CreateEmbeddingVersionRequest(collection=name, embedding_version=version, projection=projection)
    )
    items = [
        common_pb.Item(
            item_id=f"i{number:03d}",
            tags=["even"] if number % 2 == 0 else [],
            chunks=[common_pb.Chunk(vector=vector(row))],
        )
        for number, row in enumerate(ROWS)
    ]
    await stubs.items.UpsertItems(items_pb.UpsertItemsRequest(collection=name, items=items, embedding_version=2))
    await stubs.collections.ActivateEmbeddingVersion(
        collections_pb.ActivateEmbeddingVersionRequest(collection=name, version=2)
    )
    return name


def matryoshka(name: str, query: np.ndarray, **options: object) -> retrieval_pb.SearchMatryoshkaRequest:
    asked = common_pb.SearchOptions(limit=10, **options)
    return retrieval_pb.SearchMatryoshkaRequest(collection=name, vector=vector(query), options=asked)


async def test_long_vectors_search_as_the_short_ones_they_become(stubs: Stubs, films: str) -> None:
    stored = await stubs.items.BatchGetItems(
        items_pb.BatchGetItemsRequest(collection=films, item_ids=["i007"], view=common_pb.VIEW_FULL)
    )
    kept = np.frombuffer(stored.items[0].chunks[0].vector.float32_le, "<f4")
    short = projected(ROWS)
    np.testing.assert_allclose(kept, short[7] / np.linalg.norm(short[7]), atol=1e-3)
    units = short / np.linalg.norm(short, axis=1, keepdims=True)
    for query in RNG.standard_normal((5, LONG)).astype(np.float32):
        near = projected(query[np.newaxis])[0]
        expected = [f"i{n:03d}" for n in np.argsort(-(units @ near))[:10]]
        exact = common_pb.SearchParams(exact=True)
        replies = [
            await stubs.retrieval.SearchMatryoshka(matryoshka(films, given, **options))
            for given in (query, near)
            for options in ({}, {"params": exact})
        ]
        entries = [retrieval_pb.BatchSearchEntry(matryoshka=matryoshka(films, given)) for given in (query, near)]
        batch = await stubs.retrieval.BatchSearch(retrieval_pb.BatchSearchRequest(searches=entries))
        ranked = [
            await stubs.retrieval.RankItems(
                retrieval_pb.RankItemsRequest(collection=films, item_ids=sorted(expected), vector=vector(given))
            )
            for given in (query, near)
        ]
        for reply in (*replies, *batch.results, *ranked):
            assert [hit.item_id for hit in reply.hits] == expected
        scores = [[hit.score for hit in reply.hits] for reply in replies]
        assert scores[0] == pytest.approx(scores[2], abs=1e-3)


async def test_other_lengths_are_refused_with_both(stubs: Stubs, films: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stubs.retrieval.SearchMatryoshka(matryoshka(films, np.ones(300)))
    assert error_reason(raised.value)[0] == "DIMENSION_MISMATCH"
    assert "takes 256, or 384 to be projected" in str(raised.value.details())


async def nearest_of_user(stubs: Stubs, name: str, user_id: str) -> list[str]:
    """What the user's vector proposes, best first."""
    request = retrieval_pb.SearchUserCandidatesRequest(collection=name, user_id=user_id)
    request.options.limit = 5
    request.strategies.add(name="vector-alone", source_weights={"user_vector": 1.0})
    reply = await stubs.retrieval.SearchUserCandidates(request)
    return [hit.item_id for hit in reply.hits if any(c.source == "user_vector" for c in hit.contributions)]


async def test_a_users_vector_of_either_length(stubs: Stubs, films: str) -> None:
    assert await nearest_of_user(stubs, films, "ann") == []
    for given, nearest in ((ROWS[3], "i003"), (projected(ROWS[40:41])[0], "i040")):
        request = pb.SetUserVectorRequest(collection=films, user_id="ann", vector=vector(given))
        await stubs.profiles.SetUserVector(request)
        assert (await nearest_of_user(stubs, films, "ann"))[0] == nearest
    await stubs.profiles.SetUserVector(pb.SetUserVectorRequest(collection=films, user_id="ann"))
    assert await nearest_of_user(stubs, films, "ann") == []


async def test_a_profile_at_once_and_nothing_after_the_user_is_erased(stubs: Stubs, films: str) -> None:
    async def profile() -> pb.UserProfile:
        request = pb.GetUserProfileRequest(collection=films, user_id="ann")
        return (await stubs.profiles.GetUserProfile(request)).profile

    assert not (await profile()).interests
    for number in range(3):
        event = feedback_pb.Event(user_id="ann", item_id=f"i{2 * number:03d}", type="like")
        event.occurred_at.FromSeconds(NOW - number)
        await stubs.feedback.RecordEvents(feedback_pb.RecordEventsRequest(collection=films, events=[event]))
        got = await profile()
        assert got.event_counts["like"] == got.positive_item_count == number + 1
        assert sum(interest.item_count for interest in got.interests) == number + 1
    assert [(f.value, f.user_share, f.catalogue_share) for f in got.facets] == [("even", 1.0, 0.5)]
    await stubs.profiles.SetUserVector(pb.SetUserVectorRequest(collection=films, user_id="ann", vector=vector(ROWS[0])))
    assert (await profile()).has_user_vector
    await stubs.feedback.DeleteUserData(feedback_pb.DeleteUserDataRequest(collection=films, user_id="ann"))
    gone = await profile()
    gone.ClearField("computed_at")
    assert gone == pb.UserProfile(embedding_version=2)
