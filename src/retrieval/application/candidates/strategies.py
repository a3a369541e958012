"""Named ways to weigh the sources of candidates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from retrieval.domain.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

CO_ENGAGEMENT = "co_engagement"
INTERESTS = "interests"
SIMILAR = "similar"
USER_VECTOR = "user_vector"
IN_NETWORK = "in_network"
RELATED = "related"
TRENDING = "trending"
POPULAR = "popular"
FRESH = "fresh"

QUOTAS: Mapping[str, int] = {
    CO_ENGAGEMENT: 500,
    INTERESTS: 100,
    SIMILAR: 100,
    USER_VECTOR: 100,
    IN_NETWORK: 100,
    RELATED: 50,
    TRENDING: 100,
    POPULAR: 100,
    FRESH: 20,
}
"""Candidates a source may propose. Co-engagement has more: its list is an order of what several sources propose."""
MAX_QUOTA = 1000

DEFAULT_STRATEGY = "hybrid"
STRATEGIES: Mapping[str, Mapping[str, float]] = {
    "collaborative": {CO_ENGAGEMENT: 1.0, TRENDING: 0.1, POPULAR: 0.1},
    "content": {INTERESTS: 1.0, SIMILAR: 1.0, USER_VECTOR: 1.0, RELATED: 0.5},
    "trending": {TRENDING: 1.0, POPULAR: 0.1},
    "hybrid": {
        CO_ENGAGEMENT: 1.0,
        INTERESTS: 0.05,
        SIMILAR: 0.05,
        USER_VECTOR: 1.0,
        IN_NETWORK: 1.0,
        RELATED: 0.3,
        TRENDING: 0.05,
        POPULAR: 0.02,
        FRESH: 0.02,
    },
}
"""Weights of sources in reciprocal rank fusion, measured by `benchmarks/candidates.py` where a model is trained."""
UNTRAINED: Mapping[str, float] = {
    INTERESTS: 0.1,
    SIMILAR: 0.1,
    USER_VECTOR: 1.0,
    IN_NETWORK: 1.0,
    RELATED: 0.3,
    TRENDING: 0.5,
    POPULAR: 1.0,
    FRESH: 0.05,
}
"""The default strategy where few have engaged with anything so far: what everybody likes says more than texts that look
alike. The more there are, the nearer the weights come to `CROWDED`."""
CROWDED: Mapping[str, float] = {
    CO_ENGAGEMENT: 1.0,
    INTERESTS: 0.01,
    SIMILAR: 0.01,
    USER_VECTOR: 1.0,
    IN_NETWORK: 1.0,
    RELATED: 0.3,
    TRENDING: 0.01,
    POPULAR: 0.02,
    FRESH: 0.005,
}
"""The same where many have: what they say has popularity and trends in it, and no learned blend makes up for what other
sources displace."""


class Evidence(NamedTuple):
    """How far other users speak for one, `crowd`, and how far they make a trend, `traffic`; both in [0, 1]."""

    crowd: float
    traffic: float


LEARNED = Evidence(1.0, 1.0)
"""A trained model has weighed them."""
NO_EVIDENCE = Evidence(0.0, 1.0)


class SourceSetting(NamedTuple):
    """What a request changes of a source; None leaves it."""

    quota: int | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy of a request: a built-in one by its name, or one's own with weights by source."""

    name: str
    weights: Mapping[str, float] = field(default_factory=dict)


def weights_of(strategy: Strategy, evidence: Evidence = LEARNED) -> Mapping[str, float]:
    """Weights by source. Raises: InvalidArgumentError (UNKNOWN_STRATEGY)."""
    if strategy.weights:
        return strategy.weights
    if strategy.name == DEFAULT_STRATEGY and evidence is not LEARNED:
        return untrained(evidence)
    if strategy.name not in STRATEGIES:
        raise InvalidArgumentError.of(
            "strategies",
            f"{strategy.name!r} is none of {', '.join(sorted(STRATEGIES))}: give source_weights to one of your own",
            reason="UNKNOWN_STRATEGY",
        )
    return STRATEGIES[strategy.name]


def untrained(evidence: Evidence) -> Mapping[str, float]:
    """The default strategy without a model: between `UNTRAINED` and `CROWDED`, as far as others speak."""
    if evidence == NO_EVIDENCE:
        return UNTRAINED
    share = evidence.crowd
    weights = {name: (1.0 - share) * UNTRAINED.get(name, 0.0) + share * weight for name, weight in CROWDED.items()}
    weights[TRENDING] *= evidence.traffic
    return {name: weight for name, weight in weights.items() if weight > 0}
