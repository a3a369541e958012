"""Freshness, popularity and relationships as factors on relevance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FreshnessBoost:
    """A new item counts up to 1 + `weight` times; the extra halves with every half-life."""

    half_life_us: int
    weight: float


@dataclass(frozen=True, slots=True)
class PopularityBoost:
    """The most rated item of a pool counts 1 + `weight` times, an unrated one once."""

    weight: float


@dataclass(frozen=True, slots=True)
class RelatedBoost:
    """An item of strength 1 to any of `item_ids` counts 1 + `weight` times, one that is unrelated once."""

    item_ids: tuple[str, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Boosts:
    """What raises an item beside its score; None: off."""

    freshness: FreshnessBoost | None = None
    popularity: PopularityBoost | None = None
    related_to: RelatedBoost | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is raised."""
        return self.freshness is None and self.popularity is None and self.related_to is None


NO_BOOSTS = Boosts()


def unit_scaled(relevance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) float64 in [0, 1]: the least of `relevance` is 0, the greatest 1; all are 1 where they are equal.

    Scores may be negative and their range depends on metric and model; a weight would mean something else in each.
    """
    spread = float(relevance.max() - relevance.min()) if len(relevance) else 0.0
    return np.asarray((relevance - relevance.min()) / spread if spread > 0 else np.ones(len(relevance)))


def freshness_factors(created_at: NDArray[np.int64], boost: FreshnessBoost, now_us: int) -> NDArray[np.float64]:
    """1 + weight * 2^(-age / half-life), (n,) float64, of times `created_at`, (n,) int64 microseconds.

    Exponential decay, as Elasticsearch's `exp` decay function has it (Elasticsearch Reference, "Function score query"),
    raised by 1 so that age takes nothing away. What lies in the future is new.
    """
    ages = np.maximum(now_us - created_at, 0) / boost.half_life_us
    return np.asarray(1.0 + boost.weight * np.exp2(-ages))


def popularity_factors(rating_counts: NDArray[np.int64], boost: PopularityBoost) -> NDArray[np.float64]:
    """1 + weight * log(1 + count) / log(1 + the pool's highest count), (n,) float64; 1 where none has ratings.

    Counts are heavy-tailed: their logarithm is what `field_value_factor` with `log1p` takes (same page).
    """
    logs = np.log1p(np.maximum(rating_counts, 0).astype(np.float64))
    highest = float(logs.max(initial=0.0))
    return np.asarray(1.0 + boost.weight * logs / highest if highest > 0 else np.ones(len(logs)))


def related_factors(strengths: NDArray[np.float64], boost: RelatedBoost) -> NDArray[np.float64]:
    """1 + weight * strength, (n,) float64, of `strengths`, (n,) float64 in [0, 1], 0 where nothing is declared.

    The strength is weight x confidence of the strongest relationship to any of the boost's items (`Relationship`). Not
    scaled to the pool, as counts are: strengths have a range of their own, and a weak relationship is to stay weak.
    """
    return np.asarray(1.0 + boost.weight * strengths)


def boosted(
    relevance: NDArray[np.float64],
    boosts: Boosts,
    created_at: NDArray[np.int64],
    rating_counts: NDArray[np.int64],
    strengths: NDArray[np.float64],
    now_us: int,
) -> NDArray[np.float64]:
    """Relevance scaled to [0, 1] over the pool, times the factors; (n,) float64, never negative.

    A product, not a sum: what is hardly relevant stays so, however new or popular it is.
    """
    raised = unit_scaled(relevance)
    if boosts.freshness is not None:
        raised = raised * freshness_factors(created_at, boosts.freshness, now_us)
    if boosts.popularity is not None:
        raised = raised * popularity_factors(rating_counts, boosts.popularity)
    if boosts.related_to is not None:
        raised = raised * related_factors(strengths, boosts.related_to)
    return raised
