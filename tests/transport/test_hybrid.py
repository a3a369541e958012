"""SearchHybrid over the wire, on both fronts: the reply, a batch, and what is refused, with the field it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from retrieval.client import error_reason, vector
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.transport.conftest import DIM

if TYPE_CHECKING:
    from tests.transport.conftest import Running

TEXTS = {
    "alien": "A crew in space meets a monster",
    "heat": "A thief & a detective in the city",
    "jaws": "A shark is a monster of the sea",
    "moon": "A man alone in space",
}
EAST = {"floats": {"values": [1.0, 0.0, 0.0, 0.0]}}


@pytest.fixture
async def films(run: Running) -> Running:
    rows = np.eye(DIM)
    items = [
        common_pb.Item(item_id=item_id, text=text, chunks=[common_pb.Chunk(vector=vector(row))])
        for (item_id, text), row in zip(TEXTS.items(), rows, strict=True)
    ]
    await run.client.upsert_items("films", items)
    return run


def request_of(**body: Any) -> pb.SearchHybridRequest:
    return json_format.ParseDict({"collection": "films", **body}, pb.SearchHybridRequest())


async def ask(run: Running, **body: Any) -> pb.SearchHybridResponse:
    return await run.client.retrieval.SearchHybrid(request_of(**body))  # type: ignore[no-any-return]


async def test_the_reply_says_how_it_came_about(films: Running) -> None:
    reply = await ask(films, text="space monster", vector=EAST, options={"limit": 3}, snippets={"startMarker": "*"})
    best = reply.hits[0]
    assert best.item_id == "alien"
    assert best.snippet.startswith("A crew in *space</b>")
    assert {part.source: part.rank for part in best.contributions} == {"text": 1, "vector": 1}
    assert best.score == pytest.approx(1.0)
    assert best.distance == pytest.approx(0, abs=1e-3)
    assert reply.info.source == common_pb.SOURCE_EXACT
    assert [(s.source, s.quota, s.returned_count) for s in reply.info.sources] == [("text", 100, 3), ("vector", 100, 4)]
    stages = [timing.stage for timing in reply.info.timings]
    assert stages[0] == "resolve"
    assert {"search", "snippets"} <= set(stages)
    assert (reply.info.requested_count, reply.info.returned_count) == (3, 3)


async def test_text_alone_needs_no_vector(films: Running) -> None:
    reply = await ask(films, text="shark OR thief", mode="HYBRID_MODE_TEXT", options={"view": "VIEW_BASIC"})
    assert {hit.item_id for hit in reply.hits} == {"heat", "jaws"}
    assert {hit.item.text for hit in reply.hits} == {TEXTS["heat"], TEXTS["jaws"]}
    assert reply.info.source == common_pb.SOURCE_TEXT
    assert reply.info.shortfall_reason == common_pb.SHORTFALL_REASON_FILTER_EXHAUSTED
    every = await ask(films, text="monster space", mode="HYBRID_MODE_TEXT", match="TEXT_MATCH_ALL")
    assert [hit.item_id for hit in every.hits] == ["alien"]


async def test_ranks_are_fused_on_request(films: Running) -> None:
    body = {"text": "shark", "vector": EAST, "fusion": "HYBRID_FUSION_RECIPROCAL_RANKS"}
    reply = await ask(films, **body, textWeight=1, vectorWeight=1, options={"limit": 2})
    scores = {hit.item_id: hit.score for hit in reply.hits}
    assert scores["jaws"] == pytest.approx(1 / 61 + 1 / 63)
    assert scores["alien"] == pytest.approx(1 / 61)


async def test_the_client_asks_likewise(films: Running) -> None:
    both = await films.client.hybrid("films", "shark", query=np.eye(DIM)[2], snippets=pb.SnippetOptions())
    assert both.hits[0].item_id == "jaws"
    assert {part.source for part in both.hits[0].contributions} == {"text", "vector"}
    assert "<b>shark</b>" in both.hits[0].snippet
    text = await films.client.hybrid("films", "shark", mode=pb.HYBRID_MODE_TEXT)
    assert [hit.item_id for hit in text.hits] == ["jaws"]


async def test_a_batch_takes_hybrid_searches(films: Running) -> None:
    batch = pb.BatchSearchRequest(
        searches=[
            pb.BatchSearchEntry(hybrid=request_of(text="shark", vector=EAST)),
            pb.BatchSearchEntry(hybrid=request_of(text="shark", textCandidates=1001)),
            pb.BatchSearchEntry(hybrid=request_of(text="shark")),
        ]
    )
    results = (await films.client.retrieval.BatchSearch(batch)).results
    assert results[0].hits[0].item_id == "jaws"
    assert (results[1].error.code, results[1].error.field) == (3, "text_candidates")
    assert results[2].error.reason == "NO_QUERY_EMBEDDER"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "text", "INVALID_REQUEST"),
    ({"text": "x", "collection": ""}, "collection", "INVALID_REQUEST"),
    ({"text": "  ... - "}, "text", "NO_WORDS"),
    ({"text": "-only -this"}, "text", "ONLY_EXCLUSIONS"),
    ({"text": "-40"}, "text", "ONLY_EXCLUSIONS"),
    ({"text": "x" * 16_385}, "text", "INVALID_REQUEST"),
    ({"text": "x\0y"}, "text", "INVALID_REQUEST"),
    ({"text": " ".join(f"w{n}" for n in range(1025))}, "text", "TOO_MANY_WORDS"),
    ({"text": '"' + "w " * 1025 + '"'}, "text", "TOO_MANY_WORDS"),
    ({"text": "x", "mode": "HYBRID_MODE_TEXT", "vector": EAST}, "vector", "INVALID_REQUEST"),
    ({"text": "x", "vector": {"floats": {"values": [1.0]}}}, "vector", "DIMENSION_MISMATCH"),
    ({"text": "x", "mode": 9}, "mode", "UNKNOWN_ENUM_VALUE"),
    ({"text": "x", "fusion": 9}, "fusion", "UNKNOWN_ENUM_VALUE"),
    ({"text": "x", "match": 9}, "match", "UNKNOWN_ENUM_VALUE"),
    ({"text": "x", "textWeight": -1}, "text_weight", "INVALID_REQUEST"),
    ({"text": "x", "vectorWeight": 1001}, "vector_weight", "INVALID_REQUEST"),
    ({"text": "x", "vectorWeight": "NaN"}, "vector_weight", "INVALID_REQUEST"),
    ({"text": "x", "textWeight": 0, "vectorWeight": 0}, "text_weight", "INVALID_REQUEST"),
    ({"text": "x", "textCandidates": -1}, "text_candidates", "INVALID_REQUEST"),
    ({"text": "x", "vectorCandidates": 1001}, "vector_candidates", "INVALID_REQUEST"),
    ({"text": "x", "snippets": {"maxWords": 4}}, "snippets.max_words", "INVALID_REQUEST"),
    ({"text": "x", "snippets": {"maxFragments": 6}}, "snippets.max_fragments", "INVALID_REQUEST"),
    ({"text": "x", "snippets": {"startMarker": "<" * 65}}, "snippets.start_marker", "INVALID_REQUEST"),
    ({"text": "x", "options": {"limit": -1}}, "options.limit", "LIMIT_OUT_OF_RANGE"),
    ({"text": "x", "options": {"params": {"source": 6}}}, "options.params.source", "UNKNOWN_ENUM_VALUE"),
]


@pytest.mark.parametrize(("body", "field", "reason"), REFUSED, ids=[f"{f}-{n}" for n, (_, f, _) in enumerate(REFUSED)])
async def test_what_is_wrong_is_refused(films: Running, body: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(films, **{"vector": EAST, **body} if "mode" not in body else body)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    given, ((where, what),) = error_reason(raised.value)
    assert (given, where) == (reason, field)
    assert what


async def test_without_vector_and_embedder_it_says_what_to_do(films: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(films, text="shark")
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error_reason(raised.value) == ("NO_QUERY_EMBEDDER", [])
    assert "HYBRID_MODE_TEXT" in (raised.value.details() or "")


async def test_the_language_of_a_collection(run: Running) -> None:
    def create(name: str, language: str) -> collections_pb.CreateCollectionRequest:
        return collections_pb.CreateCollectionRequest(
            collection=collections_pb.Collection(name=name, text_language=language),
            embedding_version=collections_pb.EmbeddingVersion(model="test", dimension=DIM),
        )

    for name, language in (("one", ""), ("two", "simple")):
        reply = await run.client.collections.CreateCollection(create(name, language))
        assert reply.collection.text_language == "simple"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await run.client.collections.CreateCollection(create("three", "klingon"))
    reason, ((field, _),) = error_reason(raised.value)
    assert (reason, field) == ("UNKNOWN_TEXT_LANGUAGE", "collection.text_language")
