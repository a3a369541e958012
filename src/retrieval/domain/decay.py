"""Halving by age, and what keeps weights that differ by many powers of ten within what a float tells apart.

Python rounds what is too small to 0 and goes on; Postgres ends the statement. Neither is to happen: what counted once
counts still, if next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_HALF_LIVES = 100.0
"""No age takes away more: beside anything fresh nothing is left that a float64 could tell from nothing."""
LEAST_WEIGHT = 1e-12
"""A smaller weight of an event type counts as this: far below any that decides something, far above what vanishes."""
LEAST_SHARE = 2.0**-MAX_HALF_LIVES


def halved(age: float, half_life: float) -> float:
    """2^(-age / half-life), in [2^-100, 1]; what lies in the future is new. Both in the same unit."""
    return float(2.0 ** -min(max(0.0, age) / half_life, MAX_HALF_LIVES))


def counted(weight: float) -> float:
    """The weight as products with it are made: its sign, and at least `LEAST_WEIGHT` where it is not 0."""
    if weight == 0.0 or abs(weight) >= LEAST_WEIGHT:
        return weight
    return LEAST_WEIGHT if weight > 0 else -LEAST_WEIGHT


def relative(weights: Sequence[float]) -> NDArray[np.float32]:
    """Positive weights, one at least, as shares of the greatest, (n,) float32 in [2^-100, 1], all told from 0."""
    given = np.array(weights, np.float64)
    return np.asarray(np.maximum(given / given.max(), LEAST_SHARE), np.float32)
