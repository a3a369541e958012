"""Fusion of a text's and a vector's shortlists."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from retrieval.domain.blend import RRF_K
from retrieval.domain.search import Contribution

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT, VECTOR = "text", "vector"
"""Names of the arms, as contributions give them."""


class HybridMode(Enum):
    """Which arms propose."""

    HYBRID = "hybrid"
    TEXT = "text"
    VECTOR = "vector"


class Fusion(Enum):
    """How shortlists become one list."""

    SCORES = "scores"
    RECIPROCAL_RANKS = "reciprocal_ranks"


class Arm(NamedTuple):
    """A shortlist, best first: distinct items with the arm's own scores, and what the arm counts."""

    name: str
    item_ids: Sequence[str]
    scores: Sequence[float]
    weight: float


class Fused(NamedTuple):
    """An item with its score and where that comes from."""

    item_id: str
    score: float
    contributions: tuple[Contribution, ...]


def fuse_arms(arms: Sequence[Arm], fusion: Fusion) -> list[Fused]:
    """All items of the shortlists, best first; equal scores by item id. A contribution is what it adds to the score.

    RECIPROCAL_RANKS: the sum of weight / (60 + rank), as `blend.fuse`. SCORES: the sum of weight * share, weights
    scaled to add up to 1, where share = (score - lowest) / (highest - lowest) over the arm's shortlist (1 where all are
    equal): the convex combination with min-max scaling of S. Bruch, S. Gai and A. Ingber, "An Analysis of Fusion
    Functions for Hybrid Retrieval" (ACM TOIS 42(1), 2023). An item that is not in a shortlist gets nothing from it. An
    arm of weight 0 proposes nothing.
    """
    arms = [arm for arm in arms if arm.weight > 0]
    total = sum(arm.weight for arm in arms)
    parts: dict[str, list[Contribution]] = {}
    for arm in arms:
        added = _by_rank(arm) if fusion is Fusion.RECIPROCAL_RANKS else _by_score(arm, total)
        for rank, (item_id, score) in enumerate(zip(arm.item_ids, added, strict=True), start=1):
            parts.setdefault(item_id, []).append(Contribution(arm.name, rank, score))
    fused = [Fused(item_id, sum(p.score for p in found), tuple(found)) for item_id, found in parts.items()]
    return sorted(fused, key=lambda f: (-f.score, f.item_id))


def single(arm: Arm) -> list[Fused]:
    """One arm alone, with its own scores."""
    return [
        Fused(item_id, score, (Contribution(arm.name, rank, score),))
        for rank, (item_id, score) in enumerate(zip(arm.item_ids, arm.scores, strict=True), start=1)
    ]


def _by_rank(arm: Arm) -> list[float]:
    return [arm.weight / (RRF_K + rank) for rank in range(1, len(arm.item_ids) + 1)]


def _by_score(arm: Arm, total: float) -> list[float]:
    if not arm.scores:
        return []
    low, high = min(arm.scores), max(arm.scores)
    share = arm.weight / total
    return [share * ((score - low) / (high - low) if high > low else 1.0) for score in arm.scores]
