"""UpdateOwnerEdges, DeleteUserData, ListTrendingItems, counters of items and weights of collections, over the wire."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import json_format

from retrieval.client import error_reason
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb

if TYPE_CHECKING:
    from tests.transport.conftest import Running

NOW = int(time.time()) - 60


def event(item_id: str, kind: str, user_id: str = "ann", at: int = NOW) -> pb.Event:
    made = pb.Event(item_id=item_id, type=kind, user_id=user_id)
    made.occurred_at.FromSeconds(at)
    return made


def trending_of(body: dict[str, Any]) -> retrieval_pb.ListTrendingItemsRequest:
    return json_format.ParseDict({"collection": "films", **body}, retrieval_pb.ListTrendingItemsRequest())


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    reason, fields = error_reason(raised.value)
    return reason, fields[0][0] if fields else ""


async def load(run: Running, count: int = 5) -> None:
    """Items i0 to i<count - 1>; the lower the number, the more it was liked."""
    items = [
        common_pb.Item(item_id=f"i{n}", owner_id=f"o{n}", visibility=common_pb.VISIBILITY_PUBLIC) for n in range(count)
    ]
    items[1].visibility = common_pb.VISIBILITY_PRIVATE
    await run.client.upsert_items("films", items)
    likes = [event(f"i{n}", "like", f"u{u}") for n in range(count) for u in range(count - n)]
    await run.client.record_events("films", likes)


async def test_edges(run: Running) -> None:
    update = run.client.feedback.UpdateOwnerEdges
    follow = pb.OwnerEdge(owner_id="o", kind=pb.EDGE_KIND_FOLLOW)
    mute = pb.OwnerEdge(owner_id="o", kind=pb.EDGE_KIND_MUTE)
    request = pb.UpdateOwnerEdgesRequest(collection="films", user_id="ann", add=[follow, mute])
    assert await update(request) == pb.UpdateOwnerEdgesResponse(added_count=2)
    request = pb.UpdateOwnerEdgesRequest(collection="films", user_id="ann", add=[follow], remove=[mute])
    assert await update(request) == pb.UpdateOwnerEdgesResponse(removed_count=1)
    collection = await run.service.stores.collections.get("films")
    assert (await run.service.stores.engagement.edges(collection, "ann")).followed == ("o",)


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"collection": ""}, "collection", "INVALID_REQUEST"),
        ({"collection": "nope"}, "", "COLLECTION_NOT_FOUND"),
        ({"userId": ""}, "user_id", "INVALID_REQUEST"),
        ({"userId": "u" * 257}, "user_id", "INVALID_REQUEST"),
        ({"add": []}, "add", "INVALID_REQUEST"),
        ({"add": [{"ownerId": f"o{n}", "kind": 1} for n in range(1001)]}, "add", "INVALID_REQUEST"),
        ({"add": [{"ownerId": "", "kind": 1}]}, "add[0].owner_id", "INVALID_REQUEST"),
        ({"add": [{"ownerId": "o"}]}, "add[0].kind", "INVALID_REQUEST"),
        ({"add": [{"ownerId": "o", "kind": 9}]}, "add[0].kind", "UNKNOWN_ENUM_VALUE"),
        ({"remove": [{"ownerId": "o", "kind": 1}]}, "remove[0]", "INVALID_REQUEST"),
    ],
)
async def test_refused_edges(run: Running, body: dict[str, Any], field: str, reason: str) -> None:
    good = {"collection": "films", "userId": "ann", "add": [{"ownerId": "o", "kind": 1}]}
    request = json_format.ParseDict({**good, **body}, pb.UpdateOwnerEdgesRequest())
    assert await refusal(run.client.feedback.UpdateOwnerEdges(request)) == (reason, field)
    collection = await run.service.stores.collections.get("films")
    assert not (await run.service.stores.engagement.edges(collection, "ann")).followed


async def test_a_user_is_forgotten(run: Running) -> None:
    await load(run)
    await run.client.record_events("films", [event("i0", "follow_author", "u0"), event("i0", "view", "u0")])
    request = pb.DeleteUserDataRequest(collection="films", user_id="u0")
    reply = await run.client.feedback.DeleteUserData(request)
    assert reply == pb.DeleteUserDataResponse(event_count=7, edge_count=1)
    assert await run.client.feedback.DeleteUserData(request) == pb.DeleteUserDataResponse()
    bad = pb.DeleteUserDataRequest(collection="films")
    assert await refusal(run.client.feedback.DeleteUserData(bad)) == ("INVALID_REQUEST", "user_id")


async def test_trending(run: Running) -> None:
    ask = run.client.retrieval.ListTrendingItems
    assert await ask(trending_of({})) == retrieval_pb.ListTrendingItemsResponse()
    await load(run)
    reply = await ask(trending_of({}))
    assert [h.item_id for h in reply.hits] == ["i0", "i2", "i3", "i4"]
    assert [h.contributions[0].rank for h in reply.hits] == [1, 3, 4, 5]
    assert [h.contributions[0].source for h in reply.hits] == ["trending"] * 4
    assert reply.hits[0].score / reply.hits[3].score == pytest.approx(5)
    assert reply.hits[0].score == reply.hits[0].contributions[0].score
    assert not reply.hits[0].HasField("item")
    assert reply.refreshed_at.seconds >= NOW
    seen = await ask(trending_of({"viewer": {"userId": "o1"}, "view": "VIEW_BASIC", "window": "3600s"}))
    assert [h.item.owner_id for h in seen.hits] == ["o0", "o1", "o2", "o3", "o4"]
    some = {"must": [{"itemIds": {"values": ["i1", "i3", "i4"]}}]}
    assert [h.item_id for h in (await ask(trending_of({"filter": some}))).hits] == ["i3", "i4"]


async def test_pages_of_what_trends(run: Running) -> None:
    await load(run, 9)
    ask = run.client.retrieval.ListTrendingItems
    found, token = [], ""
    for expected in (3, 3, 2):
        reply = await ask(trending_of({"pageSize": 3, "pageToken": token}))
        assert len(reply.hits) == expected
        found += [h.item_id for h in reply.hits]
        token = reply.next_page_token
        assert bool(token) == (expected == 3)
    assert found == ["i0", *(f"i{n}" for n in range(2, 9))]
    first = (await ask(trending_of({"pageSize": 3}))).next_page_token
    for other in (
        {"window": "3600s"},
        {"viewer": {"userId": "x"}},
        {"filter": {"must": [{"exists": {"attribute": "year"}}]}},
    ):
        refused = await refusal(ask(trending_of({**other, "pageToken": first})))
        assert refused == ("BAD_PAGE_TOKEN", "page_token")


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"collection": "nope"}, "", "COLLECTION_NOT_FOUND"),
        ({"window": "0s"}, "window", "UNKNOWN_WINDOW"),
        ({"window": "7200s"}, "window", "UNKNOWN_WINDOW"),
        ({"window": "3600.5s"}, "window", "UNKNOWN_WINDOW"),
        ({"window": "-3600s"}, "window", "INVALID_REQUEST"),
        ({"pageSize": 1001}, "page_size", "INVALID_REQUEST"),
        ({"pageToken": "x"}, "page_token", "BAD_PAGE_TOKEN"),
        ({"view": 9}, "view", "UNKNOWN_ENUM_VALUE"),
        (
            {"filter": {"must": [{"exists": {"attribute": "nope"}}]}},
            "filter.must[0].exists.attribute",
            "UNDECLARED_ATTRIBUTE",
        ),
        ({"viewer": {"unrestricted": True}}, "", "UNRESTRICTED_VIEWER_DENIED"),
    ],
)
async def test_refused_trends(run: Running, body: dict[str, Any], field: str, reason: str) -> None:
    assert await refusal(run.client.retrieval.ListTrendingItems(trending_of(body))) == (reason, field)


async def test_counters_of_items(run: Running) -> None:
    await load(run)
    views = [event("i0", "view", at=NOW - n) for n in range(3)] + [event("i0", "repost")]
    await run.client.record_events("films", [*views, *views])
    got = await run.client.items.BatchGetItems(items_pb.BatchGetItemsRequest(collection="films", item_ids=["i0", "i2"]))
    assert [(i.view_count, i.repost_count) for i in got.items] == [(3, 1), (0, 0)]
    page = await run.client.items.ListItems(items_pb.ListItemsRequest(collection="films"))
    assert page.items[0].view_count == 3
    hits = (await run.client.retrieval.ListTrendingItems(trending_of({"view": "VIEW_FULL"}))).hits
    assert {h.item_id: h.item.view_count for h in hits}["i0"] == 3


async def test_weights_of_a_collection(run: Running) -> None:
    def asked(*settings: dict[str, Any]) -> collections_pb.UpdateCollectionRequest:
        body = {"collection": "films", "eventTypes": settings}
        return json_format.ParseDict(body, collections_pb.UpdateCollectionRequest())

    update = run.client.collections.UpdateCollection
    await update(asked({"type": "like", "weight": 2.5}))
    await update(asked({"type": "like", "halfLife": "86400s"}, {"type": "view", "weight": 0}))
    got = (
        await run.client.collections.GetCollection(collections_pb.GetCollectionRequest(collection="films"))
    ).collection
    assert [(t.type, t.weight, t.half_life.seconds) for t in got.event_types] == [
        ("like", 2.5, 86_400),
        ("view", 0.0, 14 * 86_400),
    ]
    for bad, field, reason in (
        ({"type": "sneeze"}, "type", "UNKNOWN_EVENT_TYPE"),
        ({"weight": 1}, "type", "INVALID_REQUEST"),
        ({"type": "like", "weight": "NaN"}, "weight", "INVALID_REQUEST"),
        ({"type": "like", "weight": -101}, "weight", "INVALID_REQUEST"),
        ({"type": "like", "halfLife": "3599s"}, "half_life", "INVALID_REQUEST"),
        ({"type": "like", "halfLife": "315360001s"}, "half_life", "INVALID_REQUEST"),
        ({"type": "share", "weight": 1}, "type", "INVALID_REQUEST"),
    ):
        call = update(asked({"type": "share", "weight": 9}, bad))
        assert await refusal(call) == (reason, f"event_types[1].{field}")
    assert (await update(asked())).collection == got
    request = {
        "collection": {"name": "books", "event_types": [{"type": "view", "weight": 7}]},
        "embedding_version": {"model": "test", "dimension": 4},
    }
    made = await run.client.collections.CreateCollection(
        json_format.ParseDict(request, collections_pb.CreateCollectionRequest())
    )
    assert [(t.type, t.weight) for t in made.collection.event_types] == [("view", 7)]
