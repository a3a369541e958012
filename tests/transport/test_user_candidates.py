"""SearchUserCandidates over the wire: strategies, sources, decisions and their rewards."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from retrieval.application.candidates.strategies import QUOTAS, STRATEGIES, UNTRAINED
from retrieval.client import error_reason, vector
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.models import activate, blended, two_communities
from tests.transport.conftest import DIM

if TYPE_CHECKING:
    from tests.transport.conftest import Running

NOW = int(time.time()) - 60
COUNT = 40


async def load(run: Running) -> None:
    """Films with owners and ratings; ann liked the first four, of which others like the second and those after it."""
    rows = np.random.default_rng(2).standard_normal((COUNT, DIM))
    items = [
        common_pb.Item(
            item_id=f"film-{n:02d}",
            owner_id=f"studio-{n % 4}",
            rating_count=n,
            chunks=[common_pb.Chunk(vector=vector(row))],
        )
        for n, row in enumerate(rows)
    ]
    await run.client.upsert_items("films", items)
    events = [("ann", f"film-{n:02d}") for n in range(4)] + [(f"user-{n % 7}", f"film-{n:02d}") for n in range(1, 20)]
    made = [feedback_pb.Event(user_id=user, item_id=item, type="like") for user, item in events]
    for event in made:
        event.occurred_at.FromSeconds(NOW)
    await run.client.record_events("films", made)


def request_of(**body: Any) -> pb.SearchUserCandidatesRequest:
    return json_format.ParseDict({"collection": "films", "userId": "ann", **body}, pb.SearchUserCandidatesRequest())


async def ask(run: Running, **body: Any) -> pb.SearchUserCandidatesResponse:
    reply = await run.client.retrieval.SearchUserCandidates(request_of(**body))
    # Whatever is asked: hits are distinct, in order, with scores that are the sum of what named sources gave.
    ids = [hit.item_id for hit in reply.hits]
    assert len(set(ids)) == len(ids) == reply.info.returned_count
    sources = {source.source: source for source in reply.info.sources}
    for hit in reply.hits:
        assert hit.score == pytest.approx(sum(part.score for part in hit.contributions))
        for part in hit.contributions:
            assert 1 <= part.rank <= sources[part.source].returned_count <= sources[part.source].quota
    scores = [hit.score for hit in reply.hits]
    assert scores == sorted(scores, reverse=True)
    for source in reply.info.sources:
        assert source.duration.ToNanoseconds() > 0
    return reply


def ran(reply: pb.SearchUserCandidatesResponse) -> dict[str, int]:
    return {source.source: source.quota for source in reply.info.sources}


async def test_the_default_is_hybrid(run: Running) -> None:
    await load(run)
    reply = await ask(run)
    assert len(reply.hits) == 10
    assert ran(reply) == {name: QUOTAS[name] for name in UNTRAINED}
    assert (reply.info.strategy, reply.info.decision_id, reply.info.propensity) == ("hybrid", "", 0.0)
    assert (reply.info.degraded, reply.info.model_version, reply.info.cached) == (False, "", False)
    assert {"profile", "sources", "blend", "admit"} <= {timing.stage for timing in reply.info.timings}
    assert not {hit.item_id for hit in reply.hits} & {f"film-{n:02d}" for n in range(4)}


@pytest.mark.parametrize("name", sorted(STRATEGIES))
async def test_a_built_in_strategy(run: Running, name: str) -> None:
    await load(run)
    reply = await ask(run, strategies=[{"name": name}])
    assert (reply.info.strategy, reply.info.decision_id) == (name, "")
    weights = UNTRAINED if name == "hybrid" else STRATEGIES[name]
    assert ran(reply) == {source: QUOTAS[source] for source in weights}
    assert len(reply.hits) == 10


async def test_own_weights(run: Running) -> None:
    await load(run)
    reply = await ask(run, strategies=[{"name": "mine", "sourceWeights": {"popular": 3.0, "fresh": 0.0}}])
    assert reply.info.strategy == "mine"
    # A source without a weight does not run.
    assert ran(reply) == {"popular": QUOTAS["popular"]}
    assert [hit.item_id for hit in reply.hits] == [f"film-{n:02d}" for n in range(COUNT - 1, COUNT - 11, -1)]
    assert [part.score for hit in reply.hits for part in hit.contributions] == pytest.approx(
        [3.0 / (60 + rank) for rank in range(1, 11)]
    )


async def test_sources_of_the_request(run: Running) -> None:
    await load(run)
    sources = [
        {"source": "popular", "quota": 3},
        {"source": "fresh", "weight": 0.0},
        {"source": "trending", "quota": 0},
    ]
    reply = await ask(run, strategies=[{"name": "content"}], sources=sources, options={"limit": 40})
    assert ran(reply) == {name: QUOTAS[name] for name in STRATEGIES["content"]} | {"popular": 3}
    counts = Counter(part.source for hit in reply.hits for part in hit.contributions)
    assert counts["popular"] == 3
    # Sources that the strategy leaves out count 1 where they are named.
    assert {p.rank: p.score for h in reply.hits for p in h.contributions if p.source == "popular"}[1] == 1 / 61


async def test_a_strategy_is_chosen_and_rewarded(run: Running) -> None:
    await load(run)
    names = ["content", "trending", "mine"]
    strategies = [{"name": names[0]}, {"name": names[1]}, {"name": names[2], "sourceWeights": {"popular": 1}}]
    seen: Counter[str] = Counter()
    for _ in range(40):
        reply = await ask(run, strategies=strategies, context={"device": "mobile"})
        assert reply.info.strategy in names
        assert 0 < reply.info.propensity <= 1
        seen[reply.info.strategy] += 1
        reward = feedback_pb.ReportRewardRequest(
            collection="films", decision_id=reply.info.decision_id, reward=float(reply.info.strategy == "mine")
        )
        answer = await run.client.feedback.ReportReward(reward)
        assert (answer.applied, answer.strategy) == (True, reply.info.strategy)
        assert not (await run.client.feedback.ReportReward(reward)).applied
    # The one that is rewarded is chosen most.
    assert seen.most_common(1)[0][0] == "mine", seen


async def test_a_model_is_named(run: Running) -> None:
    await load(run)
    stores = run.service.stores
    ids = [f"film-{n:02d}" for n in range(COUNT)]
    await activate(stores, await stores.collections.get("films"), blended(two_communities(ids, 12, 6)), "2026-11")
    reply = await ask(run)
    assert reply.info.model_version == "2026-11"
    assert ran(reply) == {name: QUOTAS[name] for name in STRATEGIES["hybrid"]}
    assert any(part.source == "co_engagement" for hit in reply.hits for part in hit.contributions)


async def test_a_history_and_a_vector_in_the_request(run: Running) -> None:
    await load(run)
    history = [{"itemId": "film-30"}, {"itemId": "film-31", "type": "not_interested"}]
    reply = await ask(run, userId="", history=history, options={"limit": 40})
    ids = {hit.item_id for hit in reply.hits}
    assert ids == {f"film-{n:02d}" for n in range(COUNT)} - {"film-30", "film-31"}
    again = await ask(run, userId="", history=history, includeSeen=True, options={"limit": 40})
    assert {hit.item_id for hit in again.hits} - ids == {"film-30"}
    near = await ask(run, userVector={"floats": {"values": [1, 0, 0, 0]}}, strategies=[{"name": "content"}])
    assert "user_vector" in {part.source for hit in near.hits for part in hit.contributions}


async def test_a_stranger_is_told_so(run: Running) -> None:
    await load(run)
    reply = await ask(run, userId="stranger")
    assert (reply.info.degraded, reply.info.degraded_reason) == (True, "NO_HISTORY")
    assert len(reply.hits) == 10


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        ({"userId": ""}, "INVALID_REQUEST", "user_id"),
        ({"history": [{"itemId": "i"}] * 1001}, "INVALID_REQUEST", "history"),
        ({"strategies": [{"name": "best"}]}, "UNKNOWN_STRATEGY", "strategies[0].source_weights"),
        ({"strategies": [{"name": ""}]}, "INVALID_REQUEST", "strategies[0].name"),
        ({"strategies": [{"name": "content"}, {"name": "Mine"}]}, "INVALID_REQUEST", "strategies[1].name"),
        ({"strategies": [{"name": "content"}, {"name": "content"}]}, "INVALID_REQUEST", "strategies[1]"),
        (
            {"strategies": [{"name": f"s{n}", "sourceWeights": {"popular": 1}} for n in range(17)]},
            "INVALID_REQUEST",
            "strategies",
        ),
        (
            {"strategies": [{"name": "mine", "sourceWeights": {"magic": 1}}]},
            "UNKNOWN_SOURCE",
            "strategies[0].source_weights['magic']",
        ),
        (
            {"strategies": [{"name": "mine", "sourceWeights": {"popular": -1}}]},
            "INVALID_REQUEST",
            "strategies[0].source_weights['popular']",
        ),
        (
            {"strategies": [{"name": "mine", "sourceWeights": {"popular": "NaN"}}]},
            "INVALID_REQUEST",
            "strategies[0].source_weights['popular']",
        ),
        ({"sources": [{"source": "magic"}]}, "UNKNOWN_SOURCE", "sources[0].source"),
        ({"sources": [{"quota": 1}]}, "INVALID_REQUEST", "sources[0].source"),
        ({"sources": [{"source": "fresh"}, {"source": "fresh"}]}, "INVALID_REQUEST", "sources[1].source"),
        ({"sources": [{"source": "fresh", "quota": 1001}]}, "INVALID_REQUEST", "sources[0].quota"),
        ({"sources": [{"source": "fresh", "quota": -1}]}, "INVALID_REQUEST", "sources[0].quota"),
        ({"sources": [{"source": "fresh", "weight": 1001.0}]}, "INVALID_REQUEST", "sources[0].weight"),
        ({"sources": [{"source": "fresh", "weight": "NaN"}]}, "INVALID_REQUEST", "sources[0].weight"),
        ({"userVector": {"floats": {"values": [1, 0, 0]}}}, "DIMENSION_MISMATCH", "user_vector"),
        ({"userVector": {}}, "VECTOR_MISSING", "user_vector"),
        (
            {"strategies": [{"name": "content"}, {"name": "trending"}], "context": {f"k{n}": "v" for n in range(17)}},
            "INVALID_REQUEST",
            "context",
        ),
        ({"context": {"device": "x" * 257}}, "INVALID_REQUEST", "context"),
    ],
)
async def test_refusals(run: Running, body: dict[str, Any], reason: str, field: str) -> None:
    await load(run)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await run.client.retrieval.SearchUserCandidates(request_of(**body))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    found, fields = error_reason(raised.value)
    assert (found, [path for path, _ in fields]) == (reason, [field])
    # What was refused left no decision behind.
    stores = run.service.stores
    assert not stores.bandits._memory.held(await stores.collections.get("films")).decisions  # type: ignore[attr-defined]


async def test_the_client_asks_with_everything(run: Running) -> None:
    await load(run)
    reply = await run.client.candidates(
        "films",
        "ann",
        strategies=[pb.CandidateStrategy(name="mine", source_weights={"popular": 2.0, "user_vector": 1.0})],
        context={"device": "mobile"},
        sources=[pb.CandidateSourceSetting(source="popular", quota=3)],
        user_vector=np.ones(DIM, np.float32),
        no_cache=True,
    )
    assert (reply.info.strategy, reply.info.cached) == ("mine", False)
    assert {s.source: s.quota for s in reply.info.sources} == {"popular": 3, "user_vector": QUOTAS["user_vector"]}
    assert {p.source for hit in reply.hits for p in hit.contributions} == {"popular", "user_vector"}
