"""Places of chunks over the wire: what is refused, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import json_format

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import Collection, EmbeddingVersion, VersionState
from retrieval.transport.read_items import read_items
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb

if TYPE_CHECKING:
    from tests.transport.conftest import Running

VERSION = EmbeddingVersion(1, 1, "test", 4, state=VersionState.ACTIVE)
COLLECTION = Collection(1, "films", versions=(VERSION,))
VECTOR = {"floats": {"values": [1, 0, 0, 0]}}
LONGEST = "315360000s"


def item(text: str = "", /, **chunk: Any) -> common_pb.Item:
    body = {"item_id": "i", "text": text, "chunks": [{"vector": VECTOR}, {"chunk_index": 3, "vector": VECTOR, **chunk}]}
    return json_format.ParseDict(body, common_pb.Item())


@pytest.mark.parametrize(
    ("text", "chunk", "field", "reason"),
    [
        ("abc", {"text_span": {"start": -1, "end": 2}}, "text_span.start", "BAD_TEXT_SPAN"),
        ("abc", {"text_span": {"start": 2, "end": 2}}, "text_span.end", "BAD_TEXT_SPAN"),
        ("abc", {"text_span": {"start": 2, "end": 1}}, "text_span.end", "BAD_TEXT_SPAN"),
        ("abc", {"text_span": {}}, "text_span.end", "BAD_TEXT_SPAN"),
        ("ab\U0001f600", {"text_span": {"end": 4}}, "text_span.end", "BAD_TEXT_SPAN"),
        ("abc", {"text_span": {"end": 2}, "text": "ab"}, "text", "CHUNK_TEXT_TWICE"),
        ("", {"text": "é" * 5_001}, "text", "INVALID_REQUEST"),
        ("", {"text": "a\x00"}, "text", "INVALID_REQUEST"),
        ("", {"time_range": {"start": "1s"}}, "time_range.end", "BAD_TIME_RANGE"),
        ("", {"time_range": {"start": "2s", "end": "2s"}}, "time_range.end", "BAD_TIME_RANGE"),
        ("", {"time_range": {"start": "2.0001s", "end": "2.0009s"}}, "time_range.end", "BAD_TIME_RANGE"),
        ("", {"time_range": {"start": "-0.001s", "end": "2s"}}, "time_range.start", "INVALID_REQUEST"),
        ("", {"time_range": {"end": "315360000.001s"}}, "time_range.end", "INVALID_REQUEST"),
    ],
)
def test_what_is_refused(text: str, chunk: dict[str, Any], field: str, reason: str) -> None:
    other = json_format.ParseDict({"item_id": "o", "chunks": [{"vector": VECTOR}]}, common_pb.Item())
    with pytest.raises(InvalidArgumentError) as raised:
        read_items([other, item(text, **chunk)], COLLECTION, VERSION)
    (violation,) = raised.value.violations
    assert (violation.field, raised.value.reason) == (f"items[1].chunks[1].{field}", reason)


def test_a_bulk_load_of_single_chunks_keeps_and_checks_places() -> None:
    def single(**chunk: Any) -> common_pb.Item:
        made = json_format.ParseDict({"item_id": "i", "text": "abc", "chunks": [chunk]}, common_pb.Item())
        made.chunks[0].vector.float32_le = b"\0\0\x80\x3f" * 4
        return made

    (read,) = read_items([single(text_span={"start": 1, "end": 3})], COLLECTION, VERSION)
    assert read.chunks[0].text_span == (1, 3)
    with pytest.raises(InvalidArgumentError, match=r"items\[0\].chunks\[0\].text_span.end: is 4"):
        read_items([single(text_span={"start": 1, "end": 4})], COLLECTION, VERSION)


@pytest.mark.parametrize(
    ("text", "chunk", "span", "moments"),
    [
        ("ab\U0001f600", {"text_span": {"start": 2, "end": 3}}, (2, 3), None),
        ("", {"text_span": {"start": 2**31 - 2, "end": 2**31 - 1}, "text": "own"}, (2**31 - 2, 2**31 - 1), None),
        ("abc", {"text": "own", "time_range": {"end": LONGEST}}, None, (0, 315_360_000_000)),
        ("", {"time_range": {"start": "0.0019s", "end": "0.0029s"}}, None, (1, 2)),
    ],
)
def test_what_is_read(
    text: str, chunk: dict[str, Any], span: tuple[int, int] | None, moments: tuple[int, int] | None
) -> None:
    read = read_items([item(text, **chunk)], COLLECTION, VERSION)[0].chunks[1]
    assert read.place == (3, span, moments, chunk.get("text", ""))


def search(view: common_pb.View, vector: list[float]) -> retrieval_pb.SearchMatryoshkaRequest:
    return retrieval_pb.SearchMatryoshkaRequest(
        collection="films",
        vector=common_pb.Vector(floats=common_pb.FloatArray(values=vector)),
        options=common_pb.SearchOptions(view=view),
    )


PLACE = {
    "chunkIndex": 3,
    "textSpan": {"start": 1, "end": 3},
    "timeRange": {"start": "1.500s", "end": "3600s"},
}


async def test_places_come_back(run: Running) -> None:
    chunk = {"text_span": PLACE["textSpan"], "time_range": PLACE["timeRange"]}
    film = item("abc", **chunk, vector={"floats": {"values": [0, 1, 0, 0]}})
    spoken = common_pb.Item(item_id="spoken", chunks=[common_pb.Chunk(text="said", vector=film.chunks[0].vector)])
    await run.client.items.UpsertItems(items_pb.UpsertItemsRequest(collection="films", items=[film, spoken]))
    views = (common_pb.VIEW_BASIC, common_pb.VIEW_FULL)
    for view in views:
        reply = await run.client.retrieval.SearchMatryoshka(search(view, [0, 1, 0, 0]))
        assert json_format.MessageToDict(reply.hits[0].place) == PLACE
        assert json_format.MessageToDict(reply.hits[1].place) == {"text": "said"}
    batch = await run.client.retrieval.BatchSearch(
        retrieval_pb.BatchSearchRequest(
            searches=[retrieval_pb.BatchSearchEntry(matryoshka=search(view, [0, 1, 0, 0])) for view in views]
        )
    )
    assert [json_format.MessageToDict(r.hits[0].place) for r in batch.results] == [PLACE, PLACE]
    bare = await run.client.retrieval.SearchMatryoshka(search(common_pb.VIEW_ID_SCORE, [0, 1, 0, 0]))
    assert (bare.hits[0].chunk_index, bare.hits[0].HasField("place")) == (3, False)
    got = await run.client.items.BatchGetItems(
        items_pb.BatchGetItemsRequest(collection="films", item_ids=["i"], view=common_pb.VIEW_FULL)
    )
    listed = await run.client.items.ListItems(items_pb.ListItemsRequest(collection="films", view=common_pb.VIEW_FULL))
    for message in (got.items[0], listed.items[0]):
        shown = json_format.MessageToDict(message.chunks[1])
        assert {name: shown[name] for name in PLACE} == PLACE
        assert not message.chunks[0].HasField("text_span")
        assert not message.chunks[0].HasField("time_range")


async def test_a_bad_place_writes_nothing(run: Running) -> None:
    request = items_pb.UpsertItemsRequest(
        collection="films",
        items=[common_pb.Item(item_id="good"), item("abc", text_span={"start": 1, "end": 9})],
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await run.client.items.UpsertItems(request)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "items[1].chunks[1].text_span.end: is 9, but the item's text has 3 code points" in str(
        raised.value.details()
    )
    listed = await run.client.items.ListItems(items_pb.ListItemsRequest(collection="films"))
    assert not listed.items
