"""Boosts of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.limits import MAX_SEEDS
from retrieval.domain.boosts import Boosts, FreshnessBoost, PopularityBoost, RelatedBoost
from retrieval.transport.validate import identifiers, require

if TYPE_CHECKING:
    from retrieval.v1 import common_pb2 as common_pb

MAX_WEIGHT = 100.0
MAX_HALF_LIFE_S = 36_500 * 86_400


def read_boosts(message: common_pb.Boosts, field: str) -> Boosts:
    """What a request raises."""
    freshness = popularity = related_to = None
    if message.HasField("freshness"):
        half_life = message.freshness.half_life
        where = f"{field}.freshness.half_life"
        require(message.freshness.HasField("half_life"), where, "is required")
        valid = 1 <= half_life.seconds <= MAX_HALF_LIFE_S and 0 <= half_life.nanos <= 999_999_999
        require(valid, where, "must be between 1 second and 36500 days")
        half_life_us = half_life.seconds * 1_000_000 + half_life.nanos // 1000
        freshness = FreshnessBoost(half_life_us, _weight(message.freshness.weight, f"{field}.freshness"))
    if message.HasField("popularity"):
        popularity = PopularityBoost(_weight(message.popularity.weight, f"{field}.popularity"))
    if message.HasField("related_to"):
        where = f"{field}.related_to"
        anchors = identifiers(message.related_to.item_ids, f"{where}.item_ids", MAX_SEEDS, required=True)
        related_to = RelatedBoost(anchors, _weight(message.related_to.weight, where))
    return Boosts(freshness, popularity, related_to)


def _weight(value: float, field: str) -> float:
    # NaN is in no range.
    require(0.0 < value <= MAX_WEIGHT, f"{field}.weight", f"is required, above 0 and at most {MAX_WEIGHT:g}")
    return value
