"""Rewards of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from retrieval.domain.errors import InvalidArgumentError
from retrieval.transport.read_search import read_collection_name
from retrieval.transport.validate import require, text

if TYPE_CHECKING:
    from retrieval.v1 import feedback_service_pb2 as pb

_UUID_BYTES = 36


def read_reward(message: pb.ReportRewardRequest) -> tuple[str, str, float]:
    """Collection, decision id and reward of a request."""
    name = read_collection_name(message.collection)
    decision_id = text(message.decision_id, "decision_id", _UUID_BYTES, required=True)
    try:
        decision_id = str(UUID(decision_id))
    except ValueError as error:
        raise InvalidArgumentError.of(
            "decision_id",
            "is no decision id; pass ResponseInfo.decision_id as it came",
            reason="BAD_DECISION_ID",
        ) from error
    require(message.HasField("reward"), "reward", "is required")
    # NaN is in no range.
    require(0.0 <= message.reward <= 1.0, "reward", "must be between 0 and 1", "REWARD_OUT_OF_RANGE")
    return name, decision_id, message.reward
