"""GetUserProfile, SetUserVector and projections, over the wire."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from retrieval.client import error_reason
from retrieval.client.calls import vector
from retrieval.domain.projection import Projection
from retrieval.transport.read_vectors import read_chunks
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import profile_service_pb2 as pb
from tests.transport.conftest import DIM
from tests.transport.test_reading import COLLECTION, VERSION, le

if TYPE_CHECKING:
    from tests.transport.conftest import Running

NOW = int(time.time()) - 60
SWAP = {"input_dimension": 2, "matrix": {"floats": {"values": [0, 1, 1, 0, 0, 0, 0, 0]}}}
"""From 2 components to 4: the two change places."""


def event(item_id: str, kind: str = "like", at: int = NOW) -> feedback_pb.Event:
    made = feedback_pb.Event(item_id=item_id, type=kind, user_id="ann")
    made.occurred_at.FromSeconds(at)
    return made


def item(item_id: str, *components: float, genres: tuple[str, ...] = ()) -> common_pb.Item:
    made = common_pb.Item(item_id=item_id, chunks=[common_pb.Chunk(vector=vector(np.array(components)))])
    if genres:
        made.attributes["genres"].keywords.values.extend(genres)
    return made


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert raised.value.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    reason, fields = error_reason(raised.value)
    return reason, fields[0][0] if fields else ""


async def profile(run: Running, **rest: Any) -> pb.UserProfile:
    request = pb.GetUserProfileRequest(collection="films", user_id="ann", **rest)
    return (await run.client.profiles.GetUserProfile(request)).profile


async def test_an_empty_profile(run: Running) -> None:
    got = await profile(run)
    assert got.computed_at.seconds >= NOW
    got.ClearField("computed_at")
    assert got == pb.UserProfile(embedding_version=1)


async def test_a_profile(run: Running) -> None:
    near = [item(f"n{n}", 1, 0.01 * n, 0, 0, genres=("drama",)) for n in range(8)]
    await run.client.upsert_items("films", [*near, item("far", 0, 0, 0, 1, genres=("war", "drama"))])
    likes = [event(f"n{n}", at=NOW - n) for n in range(7)]
    receipt = await run.client.record_events("films", [*likes, event("n7", "not_interested", NOW - 9)])
    got = await profile(run, min_consistency_token=receipt.consistency_token)
    (interest,) = got.interests
    assert interest.weight == pytest.approx(1)
    assert interest.medoid_item_id in {f"n{n}" for n in range(7)}
    assert list(interest.item_ids) == [f"n{n}" for n in range(5)]
    assert interest.item_count == 7
    assert not got.facets, "everything is drama"
    assert [(g.attribute, g.value) for g in got.gaps] == [("genres", "war")]
    assert got.gaps[0].catalogue_share == pytest.approx(1 / 9)
    assert dict(got.event_counts) == {"like": 7, "not_interested": 1}
    assert (got.positive_item_count, got.negative_item_count, got.seen_item_count) == (7, 1, 8)
    assert (got.newest_event_at.seconds, got.oldest_event_at.seconds) == (NOW, NOW - 9)
    assert NOW <= got.interests_at.seconds <= got.computed_at.seconds
    assert not got.has_user_vector
    await run.client.record_events("films", [event("far", "follow_author")])
    got = await profile(run)
    assert [(f.value, round(f.user_share, 1)) for f in got.facets] == [("war", 0.1)]
    edges = [
        feedback_pb.OwnerEdge(owner_id="o", kind=kind)
        for kind in (feedback_pb.EDGE_KIND_FOLLOW, feedback_pb.EDGE_KIND_BLOCK, feedback_pb.EDGE_KIND_MUTE)
    ]
    await run.client.feedback.UpdateOwnerEdges(
        feedback_pb.UpdateOwnerEdgesRequest(collection="films", user_id="ann", add=edges)
    )
    got = await profile(run)
    assert (got.followed_owner_count, got.blocked_owner_count, got.muted_owner_count) == (1, 1, 1)


async def test_a_user_vector_is_set_and_removed_and_erased(run: Running) -> None:
    up = np.array([0.0, 3.0, 0.0, 0.0])
    token = (await run.client.set_user_vector("films", "ann", up)).consistency_token
    got = await profile(run, min_consistency_token=token)
    assert got.has_user_vector
    assert got.user_vector_set_at.seconds >= NOW
    collection = await run.service.stores.collections.get("films")
    kept = await run.service.stores.profiles.vector(collection.active, "ann")
    assert kept is not None
    assert kept.tolist() == [0, 1, 0, 0]
    await run.client.set_user_vector("films", "ann", None)
    got = await run.client.user_profile("films", "ann")
    assert (got.has_user_vector, got.HasField("user_vector_set_at")) == (False, False)
    await run.client.set_user_vector("films", "ann", up, embedding_version=1)
    request = feedback_pb.DeleteUserDataRequest(collection="films", user_id="ann")
    assert (await run.client.feedback.DeleteUserData(request)).profile_count == 1
    assert not (await run.client.user_profile("films", "ann", embedding_version=1)).has_user_vector


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"collection": ""}, "collection", "INVALID_REQUEST"),
        ({"collection": "nope"}, "", "COLLECTION_NOT_FOUND"),
        ({"user_id": ""}, "user_id", "INVALID_REQUEST"),
        ({"user_id": "u" * 257}, "user_id", "INVALID_REQUEST"),
        ({"embedding_version": -1}, "embedding_version", "INVALID_REQUEST"),
        ({"embedding_version": 2}, "", "EMBEDDING_VERSION_NOT_FOUND"),
        ({"facet_limit": -1}, "facet_limit", "LIMIT_OUT_OF_RANGE"),
        ({"facet_limit": 101}, "facet_limit", "LIMIT_OUT_OF_RANGE"),
        ({"group_ids": ["g"] * 1001}, "group_ids", "INVALID_REQUEST"),
        ({"group_ids": ["ok", "g" * 257]}, "group_ids[1]", "INVALID_REQUEST"),
        ({"min_consistency_token": "x" * 257}, "min_consistency_token", "INVALID_REQUEST"),
        ({"min_consistency_token": "x"}, "min_consistency_token", "BAD_CONSISTENCY_TOKEN"),
    ],
)
async def test_refused_profiles(run: Running, body: dict[str, Any], field: str, reason: str) -> None:
    good = {"collection": "films", "user_id": "ann"}
    request = json_format.ParseDict({**good, **body}, pb.GetUserProfileRequest())
    assert await refusal(run.client.profiles.GetUserProfile(request)) == (reason, field)


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"collection": ""}, "collection", "INVALID_REQUEST"),
        ({"collection": "nope"}, "", "COLLECTION_NOT_FOUND"),
        ({"user_id": ""}, "user_id", "INVALID_REQUEST"),
        ({"embedding_version": -1}, "embedding_version", "INVALID_REQUEST"),
        ({"embedding_version": 2}, "", "EMBEDDING_VERSION_NOT_FOUND"),
        ({"vector": {}}, "vector", "VECTOR_MISSING"),
        ({"vector": {"float32_le": "AAA="}}, "vector", "VECTOR_BYTES"),
        ({"vector": {"floats": {"values": [1, 2]}}}, "vector", "DIMENSION_MISMATCH"),
        ({"vector": {"floats": {"values": [0, 0, 0, 0]}}}, "vector", "VECTOR_ZERO"),
        ({"vector": {"floats": {"values": [0, 0, "NaN", 0]}}}, "vector", "VECTOR_NOT_FINITE"),
    ],
)
async def test_refused_vectors(run: Running, body: dict[str, Any], field: str, reason: str) -> None:
    good = {"collection": "films", "user_id": "ann", "vector": {"floats": {"values": [1, 0, 0, 0]}}}
    request = json_format.ParseDict({**good, **body}, pb.SetUserVectorRequest())
    assert await refusal(run.client.profiles.SetUserVector(request)) == (reason, field)
    assert not (await profile(run)).has_user_vector


def version_request(**projection: Any) -> collections_pb.CreateEmbeddingVersionRequest:
    body = {
        "collection": "films",
        "embedding_version": {"model": "m", "dimension": DIM},
        "projection": {**SWAP, **projection},
    }
    return json_format.ParseDict(body, collections_pb.CreateEmbeddingVersionRequest())


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"input_dimension": 0}, "input_dimension", "INVALID_REQUEST"),
        ({"input_dimension": 4097}, "input_dimension", "INVALID_REQUEST"),
        ({"input_dimension": DIM}, "input_dimension", "AMBIGUOUS_INPUT_DIMENSION"),
        ({"input_dimension": 3}, "matrix", "PROJECTION_SHAPE_MISMATCH"),
        ({"matrix": {}}, "matrix", "VECTOR_MISSING"),
        ({"matrix": {"float32_le": "AAA="}}, "matrix", "VECTOR_BYTES"),
        ({"matrix": {"floats": {"values": [1, 0, 0, 1, 0, 0, 0, "Infinity"]}}}, "matrix", "VECTOR_NOT_FINITE"),
        ({"bias": {}}, "bias", "VECTOR_MISSING"),
        ({"bias": {"floats": {"values": [1, 2]}}}, "bias", "PROJECTION_SHAPE_MISMATCH"),
        ({"bias": {"floats": {"values": [1, 2, 3, "NaN"]}}}, "bias", "VECTOR_NOT_FINITE"),
    ],
)
async def test_refused_projections(run: Running, change: dict[str, Any], field: str, reason: str) -> None:
    asked = version_request(**change)
    create = run.client.collections.CreateEmbeddingVersion
    assert await refusal(create(asked)) == (reason, f"projection.{field}")
    first = collections_pb.CreateCollectionRequest(
        collection=collections_pb.Collection(name="books"),
        embedding_version=asked.embedding_version,
        projection=asked.projection,
    )
    assert await refusal(run.client.collections.CreateCollection(first)) == (reason, f"projection.{field}")
    names = [
        c.name
        for c in (await run.client.collections.ListCollections(collections_pb.ListCollectionsRequest())).collections
    ]
    assert names == ["films"]
    assert len((await run.service.stores.collections.get("films")).versions) == 1


async def test_a_projection_shows_its_input_dimension(run: Running) -> None:
    made = await run.client.collections.CreateEmbeddingVersion(version_request())
    assert made.embedding_version.input_dimension == 2
    got = await run.client.collections.GetCollection(collections_pb.GetCollectionRequest(collection="films"))
    assert [v.input_dimension for v in got.collection.embedding_versions] == [0, 2]


async def test_items_with_long_and_short_vectors(run: Running) -> None:
    """In one batch, encoded either way, of a call or a stream; one that fits neither refuses all of them."""
    await run.client.collections.CreateEmbeddingVersion(version_request())
    readable = common_pb.Item(item_id="readable")
    readable.chunks.add(vector=common_pb.Vector(floats=common_pb.FloatArray(values=[5, 0])))
    await run.client.upsert_items("films", [item("a", 1, 0), item("b", 1, 0, 0, 0), readable], embedding_version=2)

    async def batches() -> Any:
        for name, components in (("c", (0.0, 2.0)), ("d", (0.0, 0.0, 0.0, 2.0))):
            yield items_pb.UpsertItemsRequest(
                collection="films", items=[item(name, *components), item(f"{name}2", *components)], embedding_version=2
            )

    assert [reply.upserted_count async for reply in run.client.stream_upsert(batches())] == [2, 2]
    request = items_pb.BatchGetItemsRequest(
        collection="films", item_ids=["a", "b", "readable", "c", "d"], view=common_pb.VIEW_FULL, embedding_version=2
    )
    got = await run.client.items.BatchGetItems(request)
    found = {i.item_id: np.frombuffer(i.chunks[0].vector.float32_le, "<f4").tolist() for i in got.items}
    assert found == {
        "a": [0, 1, 0, 0],
        "b": [1, 0, 0, 0],
        "readable": [0, 1, 0, 0],
        "c": [1, 0, 0, 0],
        "d": [0, 0, 0, 1],
    }
    call = run.client.upsert_items("films", [item("e", 1, 0), item("f", 1, 0, 0)], embedding_version=2)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert error_reason(raised.value)[0] == "DIMENSION_MISMATCH"
    assert "items[1].chunks[0].vector: has 3 components, the embedding version takes 4, or 2 to be projected" in str(
        raised.value.details()
    )
    missing = items_pb.BatchGetItemsRequest(collection="films", item_ids=["e"], embedding_version=2)
    assert (await run.client.items.BatchGetItems(missing)).missing_item_ids == ["e"]


def test_a_bulk_of_vectors_is_projected_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    project = Projection.project
    monkeypatch.setattr(Projection, "project", lambda self, rows: calls.append(len(rows)) or project(self, rows))
    projection = Projection(np.eye(4, 6, dtype=np.float32))
    items = [
        common_pb.Item(chunks=[common_pb.Chunk(vector=common_pb.Vector(float32_le=le(0, n, 1, 0, 9, 9)))])
        for n in range(9)
    ]
    found = read_chunks(items, VERSION, COLLECTION.metric, projection)
    assert calls == [9]
    for number, (chunk,) in enumerate(found):
        length = np.hypot(number, 1)
        assert chunk.vector.tolist() == pytest.approx([0, number / length, 1 / length, 0], abs=1e-3)
