"""What passes between a view and those who ask it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.domain.search import SearchParams, Stage
    from retrieval.faiss_cache.bitmap import Bitmap
    from retrieval.faiss_cache.plans import Effort


@dataclass(frozen=True, slots=True)
class Rows:
    """Answers to n queries: `rows` (n, count) int64, -1 for want of more, and `distances` (n, count) float64, nearest
    first. Rows of the delta follow those of the segment. `admitted`: rows the predicate admits. `effort`: ef of the
    graph, 0 where none was used. `stages`: those that ran. `reduced`: time was too short for the recall asked for.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]
    admitted: int
    effort: int
    stages: tuple[Stage, ...]
    reduced: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """What a predicate admits. `segment` None: all its rows. `selective`: more than the viewer restricts the rows.

    `efforts`: what was chosen for them by params and number of hits, with the stages that makes.
    """

    segment: Bitmap | None
    segment_count: int
    delta: Bitmap
    delta_count: int
    selective: bool
    efforts: dict[tuple[SearchParams, int], tuple[Effort, tuple[Stage, ...]]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Rows in all."""
        return self.segment_count + self.delta_count
