"""ReportReward over the wire, and decisions in the replies of searches."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import grpc
import pytest

from retrieval.application.bandit import choose_strategy
from retrieval.client import error_reason
from retrieval.domain.search import SearchReport, SearchResult, Source
from retrieval.transport.write_hits import write_result
from retrieval.v1 import feedback_service_pb2 as pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb

if TYPE_CHECKING:
    from tests.transport.conftest import Running


async def test_a_reward_is_applied_once(run: Running) -> None:
    stores = run.service.stores
    films = await stores.collections.get("films")
    decision = await choose_strategy(stores, films, "ann", {}, ("content", "trending"))
    # A reward of 0 is a reward.
    request = pb.ReportRewardRequest(collection="films", decision_id=decision.decision_id, reward=0.0)
    for applied in (True, False):
        reply = await run.client.feedback.ReportReward(request)
        assert (reply.applied, reply.strategy) == (applied, decision.strategy)
    (arm,) = await stores.bandits.arms(films, "", (decision.strategy,))
    assert (arm.alpha, arm.beta) == (1.0, 2.0)


GOOD = {"collection": "films", "decision_id": str(uuid4()), "reward": 1.0}


@pytest.mark.parametrize(
    ("changes", "code", "reason", "field"),
    [
        ({}, "NOT_FOUND", "DECISION_NOT_FOUND", None),
        ({"collection": "nowhere"}, "NOT_FOUND", "COLLECTION_NOT_FOUND", None),
        ({"collection": ""}, "INVALID_ARGUMENT", "INVALID_REQUEST", "collection"),
        ({"decision_id": ""}, "INVALID_ARGUMENT", "INVALID_REQUEST", "decision_id"),
        ({"decision_id": "17"}, "INVALID_ARGUMENT", "BAD_DECISION_ID", "decision_id"),
        ({"decision_id": "x" * 1000}, "INVALID_ARGUMENT", "INVALID_REQUEST", "decision_id"),
        ({"reward": None}, "INVALID_ARGUMENT", "INVALID_REQUEST", "reward"),
        ({"reward": 1.01}, "INVALID_ARGUMENT", "REWARD_OUT_OF_RANGE", "reward"),
        ({"reward": -0.01}, "INVALID_ARGUMENT", "REWARD_OUT_OF_RANGE", "reward"),
        ({"reward": float("nan")}, "INVALID_ARGUMENT", "REWARD_OUT_OF_RANGE", "reward"),
    ],
)
async def test_refusals(run: Running, changes: dict[str, object], code: str, reason: str, field: str | None) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await run.client.feedback.ReportReward(pb.ReportRewardRequest(**GOOD | changes))
    assert raised.value.code() is grpc.StatusCode[code]
    found, fields = error_reason(raised.value)
    assert found == reason
    assert [f for f, _ in fields] == ([field] if field else [])


def test_a_reply_names_the_decision() -> None:
    report = SearchReport(Source.EXACT, 1, 10, decision_id="d", strategy="hybrid", propensity=0.25)
    reply = retrieval_pb.SearchUserCandidatesResponse()
    write_result(SearchResult([], report), {}, "", reply)
    assert (reply.info.decision_id, reply.info.strategy, reply.info.propensity) == ("d", "hybrid", 0.25)
