"""One order from many sources: weighted reciprocal ranks, and a learned blend of what the sources say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

RRF_K = 60
"""The constant of Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion" (SIGIR 2009)."""


class Blend(NamedTuple):
    """A small network that scores a candidate by its features: `mean`, `scale` (d,), then a hidden layer beside a line.

    score = relu(z W + b) v + z u  with  z = (x - mean) / scale. `hidden` (d, h), `bias` (h,), `out` (h,), `line` (d,),
    all float32. Linear where the features say what they mean, curved where they need each other: how far a trend counts
    depends on how long the user was away.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    hidden: NDArray[np.float32]
    bias: NDArray[np.float32]
    out: NDArray[np.float32]
    line: NDArray[np.float32]

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n,) float32, higher is better, for `features` (n, d) float32."""
        z = (features - self.mean) / self.scale
        activated = np.maximum(z @ self.hidden + self.bias, 0.0)
        return np.asarray(activated @ self.out + z @ self.line, np.float32)


def fuse(lists: Mapping[str, Sequence[str]], weights: Mapping[str, float], k: int = RRF_K) -> dict[str, float]:
    """Items by fused score, best first: the sum over `lists` of weight / (k + rank), ranks from 1.

    A list without a weight counts as 1. Ties go by item id, so that the order is the same everywhere.
    """
    totals: dict[str, float] = {}
    for name, items in lists.items():
        weight = weights.get(name, 1.0)
        for rank, item_id in enumerate(items, start=1):
            totals[item_id] = totals.get(item_id, 0.0) + weight / (k + rank)
    return dict(sorted(totals.items(), key=lambda pair: (-pair[1], pair[0])))
