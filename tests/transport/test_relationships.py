"""UpsertRelationships, DeleteRelationships and ListRelatedItems over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import json_format

from retrieval.client import error_reason
from retrieval.domain.relationships import Direction, RelationshipKind
from retrieval.transport import enums
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as pb

if TYPE_CHECKING:
    from tests.transport.conftest import Running

CITED, SIMILAR = "RELATIONSHIP_KIND_CITED", "RELATIONSHIP_KIND_SIMILAR"
EDGE = {"item_id": "a", "related_item_id": "b", "kind": CITED}


async def refusal(call: Any) -> tuple[str, str, grpc.StatusCode]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    reason, fields = error_reason(raised.value)
    return reason, fields[0][0] if fields else "", raised.value.code()


def upsert_of(*edges: dict[str, Any], **body: Any) -> items_pb.UpsertRelationshipsRequest:
    message = {"collection": "films", "relationships": edges, **body}
    return json_format.ParseDict(message, items_pb.UpsertRelationshipsRequest())


def related_of(**body: Any) -> pb.ListRelatedItemsRequest:
    return json_format.ParseDict({"collection": "films", "item_id": "a", **body}, pb.ListRelatedItemsRequest())


async def chain(run: Running) -> None:
    """The items a to e, c for ann alone; a to b to d, a to c to d, d to e."""
    items = [common_pb.Item(item_id=i, owner_id="ann", tags=[i], text=i) for i in "abcde"]
    items[2].visibility = common_pb.VISIBILITY_PRIVATE
    await run.client.upsert_items("films", items)
    steps = [
        {**EDGE, "weight": 0.5, "note": "n"},
        {**EDGE, "related_item_id": "c"},
        {**EDGE, "item_id": "b", "related_item_id": "d", "confidence": 0.5},
        {**EDGE, "item_id": "c", "related_item_id": "d"},
        {**EDGE, "item_id": "d", "related_item_id": "e"},
    ]
    assert (await run.client.items.UpsertRelationships(upsert_of(*steps))).upserted_count == 5


async def test_a_chain(run: Running) -> None:
    await chain(run)
    ask = run.client.retrieval.ListRelatedItems
    reply = await ask(related_of(depth=10))
    assert [(h.item_id, h.score) for h in reply.hits] == [("b", 0.5), ("d", 0.25), ("e", 0.25)]
    assert [(p.depth, list(p.item_ids), p.strength) for p in reply.paths] == [
        (1, ["a", "b"], 0.5),
        (2, ["a", "b", "d"], 0.25),
        (3, ["a", "b", "d", "e"], 0.25),
    ]
    assert list(reply.paths[1].kinds) == [common_pb.RELATIONSHIP_KIND_CITED] * 2
    assert not reply.hits[0].HasField("item")
    seen = await ask(related_of(depth=10, viewer={"user_id": "ann"}, view="VIEW_BASIC"))
    assert [(h.item_id, h.score, h.item.text) for h in seen.hits] == [
        ("c", 1, "c"),
        ("d", 1, "d"),
        ("e", 1, "e"),
        ("b", 0.5, "b"),
    ]
    assert list(seen.paths[1].item_ids) == ["a", "c", "d"]
    assert [h.item_id for h in (await ask(related_of())).hits] == ["b"]
    assert not (await ask(related_of(kinds=[SIMILAR], depth=3))).hits
    assert not (await ask(related_of(direction="RELATIONSHIP_DIRECTION_INCOMING"))).hits
    back = await ask(related_of(item_id="e", direction="RELATIONSHIP_DIRECTION_BOTH", depth=2, min_confidence=0.75))
    assert [h.item_id for h in back.hits] == ["d"]
    tagged = {"must": [{"match": {"attribute": "tags", "values": [{"keyword": "e"}]}}]}
    assert [h.item_id for h in (await ask(related_of(depth=10, filter=tagged))).hits] == ["e"]
    gone = json_format.ParseDict(
        {"collection": "films", "relationships": [EDGE, {**EDGE, "kind": SIMILAR}]},
        items_pb.DeleteRelationshipsRequest(),
    )
    assert (await run.client.items.DeleteRelationships(gone)).deleted_count == 1
    assert not (await ask(related_of(depth=10))).hits


async def test_pages(run: Running) -> None:
    await chain(run)
    ask = run.client.retrieval.ListRelatedItems
    whole = [h.item_id for h in (await ask(related_of(depth=9))).hits]
    found, token = [], ""
    while True:
        reply = await ask(related_of(depth=9, page_size=1, page_token=token))
        found += [h.item_id for h in reply.hits]
        assert len(reply.hits) == len(reply.paths) == 1
        token = reply.next_page_token
        if not token:
            break
        last = token
    assert found == whole
    for other in (
        {"depth": 8},
        {"item_id": "b"},
        {"kinds": [CITED]},
        {"direction": 3},
        {"min_confidence": 0.1},
        {"viewer": {"user_id": "ann"}},
        {"filter": {"must": [{"exists": {"attribute": "tags"}}]}},
    ):
        refused = await refusal(ask(related_of(**{"depth": 9, "page_token": last, **other})))
        assert refused[:2] == ("BAD_PAGE_TOKEN", "page_token"), other


@pytest.mark.parametrize(
    "place",
    [
        "",
        "x",
        "1 00 a",
        "0 3fe0000000000000 a",
        "11 3fe0000000000000 a",
        "1 7ff8000000000000 a",
        "1 4000000000000000 a",
        "99999999999999999999 3fe0000000000000 a",
    ],
)
async def test_a_token_that_was_made_up(run: Running, place: str) -> None:
    from retrieval.transport.paging import write_token
    from retrieval.transport.read_relationships import _same

    await chain(run)
    request = related_of()
    request.page_token = write_token(place or " ", *_same(request))
    refused = await refusal(run.client.retrieval.ListRelatedItems(request))
    assert refused[:2] == ("BAD_PAGE_TOKEN", "page_token")


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"collection": ""}, "collection", "INVALID_REQUEST"),
        ({"collection": "nope"}, "", "COLLECTION_NOT_FOUND"),
        ({"item_id": ""}, "item_id", "INVALID_REQUEST"),
        ({"item_id": "c"}, "", "ITEM_NOT_FOUND"),
        ({"item_id": "nowhere"}, "", "ITEM_NOT_FOUND"),
        ({"page_size": 1001}, "page_size", "INVALID_REQUEST"),
        ({"page_token": "x"}, "page_token", "BAD_PAGE_TOKEN"),
        ({"kinds": [0]}, "kinds[0]", "INVALID_REQUEST"),
        ({"kinds": [99]}, "kinds[0]", "UNKNOWN_ENUM_VALUE"),
        ({"kinds": [CITED, CITED]}, "kinds[1]", "INVALID_REQUEST"),
        ({"kinds": [1] * 10}, "kinds", "INVALID_REQUEST"),
        ({"direction": 9}, "direction", "UNKNOWN_ENUM_VALUE"),
        ({"min_confidence": -0.1}, "min_confidence", "INVALID_REQUEST"),
        ({"min_confidence": 1.1}, "min_confidence", "INVALID_REQUEST"),
        ({"min_confidence": "NaN"}, "min_confidence", "INVALID_REQUEST"),
        ({"depth": 11}, "depth", "INVALID_REQUEST"),
        ({"depth": -1}, "depth", "INVALID_REQUEST"),
        (
            {"filter": {"must": [{"exists": {"attribute": "nope"}}]}},
            "filter.must[0].exists.attribute",
            "UNDECLARED_ATTRIBUTE",
        ),
        ({"viewer": {"unrestricted": True}}, "", "UNRESTRICTED_VIEWER_DENIED"),
        ({"view": 9}, "view", "UNKNOWN_ENUM_VALUE"),
    ],
)
async def test_refused_walks(run: Running, body: dict[str, Any], field: str, reason: str) -> None:
    await chain(run)
    assert (await refusal(run.client.retrieval.ListRelatedItems(related_of(**body))))[:2] == (reason, field)


@pytest.mark.parametrize(
    ("edges", "field", "reason"),
    [
        ([], "relationships", "INVALID_REQUEST"),
        ([{**EDGE, "related_item_id": f"i{n}"} for n in range(1001)], "relationships", "INVALID_REQUEST"),
        ([EDGE, {**EDGE, "item_id": ""}], "relationships[1].item_id", "INVALID_REQUEST"),
        ([{**EDGE, "related_item_id": "x\ny"}], "relationships[0].related_item_id", "INVALID_REQUEST"),
        ([{**EDGE, "related_item_id": "a"}], "relationships[0].related_item_id", "SELF_RELATIONSHIP"),
        ([{**EDGE, "kind": 0}], "relationships[0].kind", "INVALID_REQUEST"),
        ([{**EDGE, "kind": 77}], "relationships[0].kind", "UNKNOWN_ENUM_VALUE"),
        ([EDGE, EDGE], "relationships[1]", "DUPLICATE_RELATIONSHIP"),
        (
            [{**EDGE, "kind": SIMILAR}, {"item_id": "b", "related_item_id": "a", "kind": SIMILAR}],
            "relationships[1]",
            "DUPLICATE_RELATIONSHIP",
        ),
        ([{**EDGE, "weight": 0}], "relationships[0].weight", "INVALID_REQUEST"),
        ([{**EDGE, "weight": 1.01}], "relationships[0].weight", "INVALID_REQUEST"),
        ([{**EDGE, "weight": "NaN"}], "relationships[0].weight", "INVALID_REQUEST"),
        ([{**EDGE, "confidence": -0.1}], "relationships[0].confidence", "INVALID_REQUEST"),
        ([{**EDGE, "confidence": 1.1}], "relationships[0].confidence", "INVALID_REQUEST"),
        ([{**EDGE, "note": "n" * 1001}], "relationships[0].note", "INVALID_REQUEST"),
        ([{**EDGE, "note": "\x00"}], "relationships[0].note", "INVALID_REQUEST"),
    ],
)
async def test_refused_relationships(run: Running, edges: list[dict[str, Any]], field: str, reason: str) -> None:
    refused = await refusal(run.client.items.UpsertRelationships(upsert_of(*edges)))
    assert refused == (reason, field, grpc.StatusCode.INVALID_ARGUMENT)
    collection = await run.service.stores.collections.get("films")
    assert not await run.service.stores.relationships.any(collection)
    known = {"item_id", "related_item_id", "kind"}
    if all(edge.keys() == known for edge in edges):
        request = items_pb.DeleteRelationshipsRequest()
        json_format.ParseDict({"collection": "films", "relationships": edges}, request)
        assert (await refusal(run.client.items.DeleteRelationships(request)))[:2] == (reason, field)


async def test_refused_collections(run: Running) -> None:
    for call in (
        run.client.items.UpsertRelationships(upsert_of(EDGE, collection="nope")),
        run.client.items.DeleteRelationships(
            items_pb.DeleteRelationshipsRequest(
                collection="nope", relationships=[items_pb.RelationshipKey(item_id="a", related_item_id="b", kind=1)]
            )
        ),
    ):
        assert await refusal(call) == ("COLLECTION_NOT_FOUND", "", grpc.StatusCode.NOT_FOUND)


async def test_a_boost(run: Running) -> None:
    await chain(run)
    vectors = {"a": [1, 0, 0, 0], "b": [1, 0.1, 0, 0], "d": [1, 0.5, 0, 0], "e": [1, 3, 0, 0]}
    items = [
        common_pb.Item(item_id=i, chunks=[{"vector": common_pb.Vector(floats=common_pb.FloatArray(values=v))}])
        for i, v in vectors.items()
    ]
    await run.client.upsert_items("films", items)
    options = common_pb.SearchOptions()
    options.boosts.related_to.item_ids.append("b")
    options.boosts.related_to.weight = 10
    for raised, order in ((False, ["b", "d", "e"]), (True, ["d", "b", "e"])):
        request = pb.SearchSimilarItemsRequest(collection="films", item_ids=["a"], options=options if raised else None)
        assert [h.item_id for h in (await run.client.retrieval.SearchSimilarItems(request)).hits] == order


def test_every_kind_and_direction_is_in_the_contract() -> None:
    assert set(enums.RELATIONSHIP_KIND.values()) == set(RelationshipKind)
    assert set(enums.RELATIONSHIP_KIND) == set(common_pb.RelationshipKind.values()) - {0}
    assert set(enums.RELATIONSHIP_DIRECTION.values()) == set(Direction)
    for number, kind in enums.RELATIONSHIP_KIND.items():
        assert common_pb.RelationshipKind.Name(number) == f"RELATIONSHIP_KIND_{kind.name}"
