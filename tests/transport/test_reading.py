"""Every bad request has a status, a reason and the path of the field."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from retrieval.application.ports import IndexKind
from retrieval.domain.boosts import Boosts, FreshnessBoost, PopularityBoost
from retrieval.domain.errors import InvalidArgumentError, PermissionDeniedError
from retrieval.domain.filters import Filter, ItemIdIn, MatchAny, Range, TypedValue
from retrieval.domain.model import (
    AttributeType,
    Collection,
    EmbeddingVersion,
    ItemStatus,
    Metric,
    VersionState,
    Visibility,
    VisibilityMode,
)
from retrieval.domain.search import Diversity, IndexScope, Source, View
from retrieval.domain.vectors import to_half
from retrieval.transport.caller import Caller
from retrieval.transport.read_collections import (
    read_added_attributes,
    read_build,
    read_new_collection,
    read_new_version,
)
from retrieval.transport.read_events import read_event
from retrieval.transport.read_items import read_items
from retrieval.transport.read_search import (
    read_matryoshka,
    read_options,
    read_rank_items,
    read_similar_items,
    read_user_candidates,
)
from retrieval.transport.write_items import write_item
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = Caller(lambda: ())
VERSION = EmbeddingVersion(1, 1, "test", 4, state=VersionState.ACTIVE)
COLLECTION = Collection(
    1,
    "films",
    attributes={kind.value: kind for kind in AttributeType},
    versions=(VERSION,),
)
NAN = float("nan")
GOOD_VECTOR = {"floats": {"values": [1, 0, 0, 0]}}
NOW_US = time.time_ns() // 1000
GOOD_EVENT = {"user_id": "u", "item_id": "i", "type": "like", "occurred_at": "2026-01-01T00:00:00Z"}


def le(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def refused(read: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(InvalidArgumentError) as raised:
        read()
    assert len(raised.value.violations) == 1
    return raised.value.violations[0].field, raised.value.reason


def options_of(body: dict[str, Any]) -> Any:
    return read_options(json_format.ParseDict(body, common_pb.SearchOptions()), NOBODY)


def any_of(*values: dict[str, Any], attribute: str = "keyword") -> dict[str, Any]:
    return {"filter": {"must": [{"match": {"attribute": attribute, "values": list(values)}}]}}


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"limit": -1}, "limit", "LIMIT_OUT_OF_RANGE"),
        ({"limit": 1001}, "limit", "LIMIT_OUT_OF_RANGE"),
        ({"score_threshold": "NaN"}, "score_threshold", "INVALID_REQUEST"),
        ({"exclude_item_ids": ["a", ""]}, "exclude_item_ids[1]", "INVALID_REQUEST"),
        ({"exclude_item_ids": ["a\x00"]}, "exclude_item_ids[0]", "INVALID_REQUEST"),
        ({"exclude_item_ids": ["é" * 129]}, "exclude_item_ids[0]", "INVALID_REQUEST"),
        ({"exclude_item_ids": ["a"] * 20_001}, "exclude_item_ids", "INVALID_REQUEST"),
        ({"viewer": {"user_id": "u\x00"}}, "viewer.user_id", "INVALID_REQUEST"),
        ({"viewer": {"group_ids": ["g"] * 1001}}, "viewer.group_ids", "INVALID_REQUEST"),
        ({"diversity": {"mmr_lambda": 1.5}}, "diversity.mmr_lambda", "INVALID_REQUEST"),
        ({"diversity": {"mmr_lambda": "NaN"}}, "diversity.mmr_lambda", "INVALID_REQUEST"),
        ({"diversity": {"max_per_owner": -1}}, "diversity.max_per_owner", "INVALID_REQUEST"),
        ({"diversity": {"mmr_lambda": 0.5, "dpp_theta": 0.5}}, "diversity.dpp_theta", "INVALID_REQUEST"),
        ({"diversity": {"dpp_theta": 1.0}}, "diversity.dpp_theta", "INVALID_REQUEST"),
        ({"diversity": {"dpp_theta": "NaN"}}, "diversity.dpp_theta", "INVALID_REQUEST"),
        ({"diversity": {"owner_decay": 0.0}}, "diversity.owner_decay", "INVALID_REQUEST"),
        ({"diversity": {"owner_decay": 1.01}}, "diversity.owner_decay", "INVALID_REQUEST"),
        ({"boosts": {"freshness": {"weight": 1}}}, "boosts.freshness.half_life", "INVALID_REQUEST"),
        (
            {"boosts": {"freshness": {"weight": 1, "half_life": "0.9s"}}},
            "boosts.freshness.half_life",
            "INVALID_REQUEST",
        ),
        (
            {"boosts": {"freshness": {"weight": 1, "half_life": "3153600001s"}}},
            "boosts.freshness.half_life",
            "INVALID_REQUEST",
        ),
        ({"boosts": {"freshness": {"half_life": "1s"}}}, "boosts.freshness.weight", "INVALID_REQUEST"),
        ({"boosts": {"related_to": {"weight": 1}}}, "boosts.related_to.item_ids", "INVALID_REQUEST"),
        (
            {"boosts": {"related_to": {"weight": 1, "item_ids": ["a"] * 65}}},
            "boosts.related_to.item_ids",
            "INVALID_REQUEST",
        ),
        (
            {"boosts": {"related_to": {"weight": 1, "item_ids": ["a", ""]}}},
            "boosts.related_to.item_ids[1]",
            "INVALID_REQUEST",
        ),
        ({"boosts": {"related_to": {"item_ids": ["a"]}}}, "boosts.related_to.weight", "INVALID_REQUEST"),
        ({"boosts": {"popularity": {}}}, "boosts.popularity.weight", "INVALID_REQUEST"),
        ({"boosts": {"popularity": {"weight": 100.1}}}, "boosts.popularity.weight", "INVALID_REQUEST"),
        ({"boosts": {"popularity": {"weight": "NaN"}}}, "boosts.popularity.weight", "INVALID_REQUEST"),
        ({"view": 99}, "view", "UNKNOWN_ENUM_VALUE"),
        ({"params": {"ef_search": 1001}}, "params.ef_search", "INVALID_REQUEST"),
        ({"params": {"ef_search": -1}}, "params.ef_search", "INVALID_REQUEST"),
        ({"params": {"nprobe": 32769}}, "params.nprobe", "INVALID_REQUEST"),
        ({"params": {"source": 99}}, "params.source", "UNKNOWN_ENUM_VALUE"),
        ({"params": {"index": 99}}, "params.index", "UNKNOWN_ENUM_VALUE"),
        ({"params": {"exact": True, "source": "SOURCE_HNSW"}}, "params.exact", "INVALID_REQUEST"),
        ({"params": {"target_recall": 1.1}}, "params.target_recall", "INVALID_REQUEST"),
        ({"params": {"target_recall": "NaN"}}, "params.target_recall", "INVALID_REQUEST"),
        ({"embedding_version": -1}, "embedding_version", "INVALID_REQUEST"),
        ({"min_consistency_token": "\x00"}, "min_consistency_token", "INVALID_REQUEST"),
        ({"filter": {"must": [{}]}}, "filter.must[0]", "INVALID_REQUEST"),
        (any_of(), "filter.must[0].match.values", "INVALID_REQUEST"),
        (any_of({"keyword": "a"}, {}), "filter.must[0].match.values[1]", "INVALID_REQUEST"),
        (any_of({"keyword": "a\x00"}), "filter.must[0].match.values[0]", "INVALID_REQUEST"),
        (any_of({"keyword": "a" * 257}), "filter.must[0].match.values[0]", "INVALID_REQUEST"),
        (any_of({"double": "NaN"}), "filter.must[0].match.values[0]", "INVALID_REQUEST"),
        (any_of({"keywords": {"values": ["a"]}}), "filter.must[0].match.values[0]", "INVALID_REQUEST"),
        (any_of(*[{"int64": 1}] * 1001), "filter.must[0].match.values", "INVALID_REQUEST"),
        (any_of({"int64": 1}, attribute=""), "filter.must[0].match.attribute", "INVALID_REQUEST"),
        (
            {"filter": {"should": [{"range": {"attribute": "int64"}}]}},
            "filter.should[0].range",
            "INVALID_REQUEST",
        ),
        (
            {"filter": {"should": [{"range": {"attribute": "int64", "gt": {"int64": 1}, "gte": {"int64": 1}}}]}},
            "filter.should[0].range.gte",
            "INVALID_REQUEST",
        ),
        (
            {"filter": {"must_not": [{"filter": {"must": [{"item_ids": {"values": []}}]}}]}},
            "filter.must_not[0].filter.must[0].item_ids.values",
            "INVALID_REQUEST",
        ),
    ],
)
def test_options(body: dict[str, Any], field: str, reason: str) -> None:
    assert refused(lambda: options_of(body)) == (f"options.{field}", reason)


def test_a_time_out_of_range_is_refused() -> None:
    message = common_pb.SearchOptions()
    match = message.filter.must.add().match
    match.attribute = "timestamp"
    match.values.add().timestamp.seconds = 253_402_300_800
    assert refused(lambda: read_options(message, NOBODY))[0] == "options.filter.must[0].match.values[0]"


def test_defaults_and_what_is_given() -> None:
    plain = options_of({})
    assert (plain.limit, plain.view, plain.params.source, plain.viewer) == (10, View.ID_SCORE, Source.AUTO, None)
    full = options_of(
        {
            "limit": 1000,
            "score_threshold": 0.0,
            "filter": {
                "must": [{"range": {"attribute": "created_at", "gte": {"timestamp": "1970-01-01T00:00:01.000002Z"}}}],
                "should": [{"match": {"attribute": "tags", "values": [{"keyword": "x"}]}}],
                "must_not": [{"item_ids": {"values": ["a"]}}],
            },
            "viewer": {"user_id": "u", "group_ids": ["g"]},
            "diversity": {"mmr_lambda": 0.0, "max_per_owner": 2, "owner_decay": 1.0},
            "boosts": {"freshness": {"half_life": "1.5s", "weight": 0.5}, "popularity": {"weight": 100}},
            "params": {"exact": True, "index": "INDEX_SCOPE_POPULAR", "target_recall": 1.0},
        }
    )
    assert full.filter == Filter(
        must=(Range("created_at", gte=TypedValue(AttributeType.TIMESTAMP, 1_000_002)),),
        should=(MatchAny("tags", (TypedValue(AttributeType.KEYWORD, "x"),)),),
        must_not=(ItemIdIn(("a",)),),
    )
    assert full.score_threshold == 0.0
    assert full.diversity == Diversity(0.0, 2, None, 1.0)
    assert full.boosts == Boosts(FreshnessBoost(1_500_000, 0.5), PopularityBoost(100.0))
    assert options_of({"diversity": {"dpp_theta": 0.0}}).diversity == Diversity(dpp_theta=0.0)
    assert (plain.diversity, plain.boosts) == (Diversity(), Boosts())
    assert (full.params.source, full.params.scope) == (Source.EXACT, IndexScope.POPULAR)
    assert full.viewer.group_ids == ("g",)


@pytest.mark.parametrize(
    ("token", "header", "allowed"),
    [
        ("", "Bearer ", False),
        ("s3cret", "", False),
        ("s3cret", "s3cret", False),
        ("s3cret", "Bearer s3creT", False),
        ("s3cret", "Bearer s3cret", True),
    ],
)
def test_an_unrestricted_viewer_needs_the_token(token: str, header: str, allowed: bool) -> None:
    caller = Caller(lambda: (("authorization", header),), token)
    message = common_pb.Viewer(unrestricted=True)
    if allowed:
        assert caller.viewer(message, "viewer").unrestricted
    else:
        with pytest.raises(PermissionDeniedError) as raised:
            caller.viewer(message, "viewer")
        assert raised.value.reason == "UNRESTRICTED_VIEWER_DENIED"


@pytest.mark.parametrize(
    ("read", "body", "field", "reason"),
    [
        (read_similar_items, {"collection": "", "item_ids": ["a"]}, "collection", "INVALID_REQUEST"),
        (read_similar_items, {"collection": "c\x00", "item_ids": ["a"]}, "collection", "INVALID_REQUEST"),
        (read_similar_items, {"collection": "c"}, "item_ids", "INVALID_REQUEST"),
        (read_similar_items, {"collection": "c", "item_ids": ["a"] * 65}, "item_ids", "INVALID_REQUEST"),
        (read_similar_items, {"collection": "c", "item_ids": ["a\n"]}, "item_ids[0]", "INVALID_REQUEST"),
        (
            read_similar_items,
            {"collection": "c", "item_ids": ["a"], "negative_item_ids": ["b", ""]},
            "negative_item_ids[1]",
            "INVALID_REQUEST",
        ),
        (
            read_similar_items,
            {"collection": "c", "item_ids": ["a"], "strategy": 9},
            "strategy",
            "UNKNOWN_ENUM_VALUE",
        ),
        (read_user_candidates, {"collection": "c"}, "user_id", "INVALID_REQUEST"),
        (read_user_candidates, {"collection": "c", "history": [{}]}, "history[0].item_id", "INVALID_REQUEST"),
        (
            read_user_candidates,
            {"collection": "c", "history": [{"item_id": "a", "type": "hug"}]},
            "history[0].type",
            "UNKNOWN_EVENT_TYPE",
        ),
        (
            read_user_candidates,
            {"collection": "c", "history": [{"item_id": "a"}] * 1001},
            "history",
            "INVALID_REQUEST",
        ),
        (read_matryoshka, {"collection": "c"}, "vector", "VECTOR_MISSING"),
        (read_matryoshka, {"collection": "c", "vector": {"float32_le": "AAAA"}}, "vector", "VECTOR_BYTES"),
        (read_matryoshka, {"collection": "c", "vector": GOOD_VECTOR, "stages": [{}] * 9}, "stages", "INVALID_REQUEST"),
        (read_rank_items, {"collection": "c", "item_ids": ["a"]}, "query", "INVALID_REQUEST"),
        (read_rank_items, {"collection": "c", "user_id": "u"}, "item_ids", "INVALID_REQUEST"),
        (read_rank_items, {"collection": "c", "item_ids": ["a"], "user_id": ""}, "user_id", "INVALID_REQUEST"),
        (
            read_rank_items,
            {"collection": "c", "item_ids": ["a"], "seed_item_id": ""},
            "seed_item_id",
            "INVALID_REQUEST",
        ),
    ],
)
def test_searches(read: Callable[[Any, Caller], Any], body: dict[str, Any], field: str, reason: str) -> None:
    kinds = {
        read_similar_items: retrieval_pb.SearchSimilarItemsRequest,
        read_user_candidates: retrieval_pb.SearchUserCandidatesRequest,
        read_matryoshka: retrieval_pb.SearchMatryoshkaRequest,
        read_rank_items: retrieval_pb.RankItemsRequest,
    }
    message = json_format.ParseDict(body, kinds[read]())
    assert refused(lambda: read(message, NOBODY)) == (field, reason)


def test_the_limit_of_a_ranking_is_the_length_of_its_list() -> None:
    message = retrieval_pb.RankItemsRequest(collection="c", item_ids=["a", "b", "c"], user_id="u")
    assert read_rank_items(message, NOBODY).options.limit == 3


def test_both_encodings_of_a_vector_read_alike() -> None:
    floats = common_pb.Vector(floats=common_pb.FloatArray(values=[0.5, -2, 3e-5]))
    raw = common_pb.Vector(float32_le=le(0.5, -2, 3e-5))
    one, other = (
        read_matryoshka(retrieval_pb.SearchMatryoshkaRequest(collection="c", vector=v), NOBODY).vector
        for v in (floats, raw)
    )
    assert one.dtype == other.dtype == np.float32
    assert np.array_equal(one, other)


def item(item_id: str = "i", *vectors: common_pb.Vector, **fields: Any) -> common_pb.Item:
    return common_pb.Item(
        item_id=item_id,
        chunks=[common_pb.Chunk(chunk_index=n, vector=v) for n, v in enumerate(vectors)],
        **fields,
    )


def raw(*values: float) -> common_pb.Vector:
    return common_pb.Vector(float32_le=le(*values))


GOOD = raw(1, 0, 0, 0)


def struct(**values: Any) -> Struct:
    made = Struct()
    made.update(values)
    return made


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        (item(""), "item_id", "INVALID_REQUEST"),
        (item("é" * 129), "item_id", "INVALID_REQUEST"),
        (item("a\tb"), "item_id", "INVALID_REQUEST"),
        (item("a\x85b"), "item_id", "INVALID_REQUEST"),
        (item("first"), "item_id", "DUPLICATE_ITEM_ID"),
        (item("i", raw(1, 0, 0)), "chunks[0].vector", "DIMENSION_MISMATCH"),
        (item("i", GOOD, raw(1, 0, 0)), "chunks[1].vector", "DIMENSION_MISMATCH"),
        (item("i", raw(1, NAN, 0, 0)), "chunks[0].vector", "VECTOR_NOT_FINITE"),
        (item("i", raw(1, float("inf"), 0, 0)), "chunks[0].vector", "VECTOR_NOT_FINITE"),
        (item("i", raw(0, 0, 0, 0)), "chunks[0].vector", "VECTOR_ZERO"),
        (item("i", common_pb.Vector(float32_le=b"\0" * 15)), "chunks[0].vector", "VECTOR_BYTES"),
        (item("i", common_pb.Vector()), "chunks[0].vector", "VECTOR_MISSING"),
        (
            common_pb.Item(item_id="i", chunks=[common_pb.Chunk(chunk_index=32768, vector=GOOD)]),
            "chunks[0].chunk_index",
            "INVALID_REQUEST",
        ),
        (
            common_pb.Item(item_id="i", chunks=[common_pb.Chunk(chunk_index=3, vector=GOOD)] * 2),
            "chunks[1].chunk_index",
            "DUPLICATE_CHUNK",
        ),
        (item("i", *[GOOD] * 257), "chunks", "INVALID_REQUEST"),
        (item(owner_id="o" * 257), "owner_id", "INVALID_REQUEST"),
        (item(visibility=9), "visibility", "UNKNOWN_ENUM_VALUE"),
        (item(status=9), "status", "UNKNOWN_ENUM_VALUE"),
        (item(audience=["g"] * 257), "audience", "INVALID_REQUEST"),
        (item(tags=["ok", "t\x00"]), "tags[1]", "INVALID_REQUEST"),
        (item(rating_value=NAN), "rating_value", "INVALID_REQUEST"),
        (item(rating_count=-1), "rating_count", "INVALID_REQUEST"),
        (item(text="x" * 100_001), "text", "INVALID_REQUEST"),
        (item(text="x\x00"), "text", "INVALID_REQUEST"),
        (item(payload=struct(a="x" * 65_536)), "payload", "INVALID_REQUEST"),
        (item(payload=struct(a=NAN)), "payload", "INVALID_REQUEST"),
        (item(payload=struct(a="\x00")), "payload", "INVALID_REQUEST"),
        (item(attributes={"mood": common_pb.AttributeValue(int64=1)}), "attributes.mood", "UNDECLARED_ATTRIBUTE"),
        (item(attributes={"owner_id": common_pb.AttributeValue()}), "attributes.owner_id", "UNDECLARED_ATTRIBUTE"),
        (item(attributes={"int64": common_pb.AttributeValue(double=1)}), "attributes.int64", "ATTRIBUTE_TYPE_MISMATCH"),
        (item(attributes={"int64": common_pb.AttributeValue()}), "attributes.int64", "INVALID_REQUEST"),
        (item(attributes={"double": common_pb.AttributeValue(double=NAN)}), "attributes.double", "INVALID_REQUEST"),
    ],
)
def test_items(bad: common_pb.Item, field: str, reason: str) -> None:
    assert refused(lambda: read_items([item("first", GOOD), bad], COLLECTION, VERSION)) == (f"items[1].{field}", reason)


def test_a_component_beyond_half_precision_is_refused_where_length_counts() -> None:
    euclidean = Collection(1, "c", Metric.L2, versions=(VERSION,))
    for vectors in ([raw(1e6, 0, 0, 0)], [GOOD, raw(0, 1e6, 0, 0)]):
        assert refused(lambda v=vectors: read_items([item("i", *v)], euclidean, VERSION))[1] == "VECTOR_OUT_OF_RANGE"
    assert read_items([item("i", raw(0, 0, 0, 0))], euclidean, VERSION)[0].chunks[0].vector.any() is np.False_


def test_counts_of_items() -> None:
    assert refused(lambda: read_items([], COLLECTION, VERSION))[0] == "items"
    assert refused(lambda: read_items([item("i")] * 1001, COLLECTION, VERSION))[0] == "items"


@pytest.mark.parametrize("metric", list(Metric))
def test_reading_many_vectors_at_once_changes_nothing(metric: Metric) -> None:
    collection = Collection(1, "c", metric, versions=(VERSION,))
    rows = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    found = read_items([item(f"i{n}", raw(*row)) for n, row in enumerate(rows)], collection, VERSION)
    for row, read in zip(rows, found, strict=True):
        one_by_one = to_half(row, 4, metric, "v").astype(np.float32)
        assert np.allclose(read.chunks[0].vector.astype(np.float32), one_by_one, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-25, 1e-19, 1e19, 1e25])
def test_the_length_of_a_vector_does_not_matter_to_cosine(scale: float) -> None:
    (read,) = read_items([item("i", raw(3 * scale, 4 * scale, 0, 0))], COLLECTION, VERSION)
    assert np.allclose(read.chunks[0].vector.astype(float), [0.6, 0.8, 0, 0], atol=1e-3)


def test_an_item_comes_back_as_it_was_sent() -> None:
    sent = item(
        "Ünï",
        GOOD,
        owner_id="o",
        visibility=common_pb.VISIBILITY_GROUPS,
        audience=["g"],
        status=common_pb.ITEM_STATUS_PENDING,
        rating_value=4.5,
        rating_count=7,
        tags=["t"],
        text="words",
        attributes={
            "keyword": common_pb.AttributeValue(keyword=""),
            "keyword_list": common_pb.AttributeValue(keywords=common_pb.KeywordList(values=["a", "b"])),
            "int64": common_pb.AttributeValue(int64=-(2**63)),
            "double": common_pb.AttributeValue(double=0.0),
            "bool": common_pb.AttributeValue(bool=False),
        },
        payload=struct(a={"b": [1, None, "é", True]}),
    )
    sent.attributes["timestamp"].timestamp.FromMicroseconds(-1)
    sent.created_at.FromMicroseconds(1_700_000_000_123_456)
    (read,) = read_items([sent], COLLECTION, VERSION)
    assert read.payload_json == '{"a":{"b":[1,null,"é",true]}}'
    back = common_pb.Item()
    write_item(read, COLLECTION.attributes, back)
    assert back == sent


def test_defaults_of_an_item() -> None:
    private = Collection(1, "c", visibility_mode=VisibilityMode.PRIVATE_BY_DEFAULT, versions=(VERSION,))
    (read,) = read_items([item("i")], private, VERSION)
    assert (read.visibility, read.status) == (Visibility.PRIVATE, ItemStatus.APPROVED)
    assert (read.rating_value, read.payload_json, read.created_at, read.chunks) == (None, None, None, ())


def test_a_backslash_before_u0000_is_no_nul() -> None:
    (read,) = read_items([item("i", payload=struct(a="\\u0000"))], COLLECTION, VERSION)
    assert read.payload_json == r'{"a":"\\u0000"}'


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"user_id": ""}, "user_id", "INVALID_REQUEST"),
        ({"user_id": "u" * 257}, "user_id", "INVALID_REQUEST"),
        ({"item_id": ""}, "item_id", "INVALID_REQUEST"),
        ({"type": ""}, "type", "INVALID_REQUEST"),
        ({"type": "hug"}, "type", "UNKNOWN_EVENT_TYPE"),
        ({"occurred_at": None}, "occurred_at", "INVALID_REQUEST"),
        ({"occurred_at": "1969-12-31T23:59:59Z"}, "occurred_at", "INVALID_REQUEST"),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, "occurred_at", "INVALID_REQUEST"),
        ({"event_id": "e" * 129}, "event_id", "INVALID_REQUEST"),
        ({"type": "rating"}, "value", "INVALID_REQUEST"),
        ({"type": "rating", "value": 5.5}, "value", "INVALID_REQUEST"),
        ({"value": "Infinity"}, "value", "INVALID_REQUEST"),
        ({"dwell_ms": -1}, "dwell_ms", "INVALID_REQUEST"),
        ({"position": -1}, "position", "INVALID_REQUEST"),
        ({"predicted_score": "NaN"}, "predicted_score", "INVALID_REQUEST"),
        ({"algorithm": "a" * 257}, "algorithm", "INVALID_REQUEST"),
        ({"device": "d" * 65}, "device", "INVALID_REQUEST"),
        ({"context": {"a": "x" * 16_384}}, "context", "INVALID_REQUEST"),
    ],
)
def test_events(change: dict[str, Any], field: str, reason: str) -> None:
    message = json_format.ParseDict(GOOD_EVENT | change, feedback_pb.Event())
    assert refused(lambda: read_event(message, "events[2]", NOW_US, 5.0)) == (f"events[2].{field}", reason)


def test_an_event_without_an_id_gets_one_of_type_and_item() -> None:
    event = read_event(json_format.ParseDict(GOOD_EVENT, feedback_pb.Event()), "e", NOW_US, 5.0)
    assert event.event_id == "auto:like:i"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "Films"}, "name"),
        ({"name": "f" * 64}, "name"),
        ({"name": "films\n"}, "name"),
        ({"metric": 9}, "metric"),
        ({"attributes": [{"name": "a"}]}, "attributes[0].type"),
        ({"attributes": [{"name": "A", "type": 1}]}, "attributes[0].name"),
        ({"attributes": [{"name": "tags", "type": 1}]}, "attributes[0].name"),
        ({"attributes": [{"name": "a", "type": 1}] * 2}, "attributes[1].name"),
        ({"attributes": [{"name": f"a{n}", "type": 1} for n in range(65)]}, "attributes"),
        ({"visibility_mode": 9}, "visibility_mode"),
        ({"popular_thresholds": {"min_rating_count": -1}}, "popular_thresholds.min_rating_count"),
        ({"popular_thresholds": {"min_rating_value": "NaN"}}, "popular_thresholds.min_rating_value"),
        ({"rating_scale_max": -1}, "rating_scale_max"),
        ({"rating_scale_max": "Infinity"}, "rating_scale_max"),
    ],
)
def test_collections(change: dict[str, Any], field: str) -> None:
    message = json_format.ParseDict({"name": "films"} | change, collections_pb.Collection())
    assert refused(lambda: read_new_collection(message, "collection"))[0] == f"collection.{field}"


def test_an_attribute_keeps_its_type() -> None:
    same = collections_pb.AttributeDefinition(name="int64", type=common_pb.ATTRIBUTE_TYPE_INT64)
    other = collections_pb.AttributeDefinition(name="int64", type=common_pb.ATTRIBUTE_TYPE_DOUBLE)
    assert read_added_attributes([same], COLLECTION) == {"int64": AttributeType.INT64}
    assert refused(lambda: read_added_attributes([other], COLLECTION)) == (
        "add_attributes[0].type",
        "ATTRIBUTE_TYPE_MISMATCH",
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": ""}, "model"),
        ({"dimension": 0}, "dimension"),
        ({"dimension": 4001}, "dimension"),
        ({"resolutions": [8, 16]}, "resolutions[1]"),
        ({"resolutions": [0]}, "resolutions[0]"),
        ({"resolutions": [8, 8]}, "resolutions"),
        ({"resolutions": list(range(1, 10))}, "resolutions"),
    ],
)
def test_versions(change: dict[str, Any], field: str) -> None:
    message = json_format.ParseDict({"model": "m", "dimension": 16} | change, collections_pb.EmbeddingVersion())
    assert refused(lambda: read_new_version(message, "v"))[0] == f"v.{field}"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"m": 1}, "m"),
        ({"m": 101}, "m"),
        ({"ef_construction": 3}, "ef_construction"),
        ({"m": 40, "ef_construction": 79}, "ef_construction"),
        ({"lists": 40_000}, "lists"),
        ({"kinds": [9]}, "kinds[0]"),
    ],
)
def test_builds(body: dict[str, Any], field: str) -> None:
    message = json_format.ParseDict(body, collections_pb.BuildIndexRequest())
    assert refused(lambda: read_build(message))[0] == field


def test_no_kinds_stand_for_all_but_ivfflat() -> None:
    assert read_build(collections_pb.BuildIndexRequest()).kinds == set(IndexKind) - {IndexKind.IVFFLAT}
