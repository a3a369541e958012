"""What the cache may use and how far it may lag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

REBUILT_SHARE = 0.1
"""A segment is rebuilt when this share of its rows has changed: by then the delta starts to cost."""
GIVEN_UP_SHARE = 0.5
"""Where more than this has changed, Postgres answers until the next segment is there."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """`delta_rows`: rows kept in memory before a segment is worth building. `memory_budget_bytes`: of all segments."""

    folder: Path
    memory_budget_bytes: int
    max_staleness_s: float
    heartbeat_s: float
    delta_rows: int

    def worth_a_build(self, segment_rows: int) -> int:
        """Changed rows from which on the next segment is due."""
        return max(self.delta_rows, int(REBUILT_SHARE * segment_rows))

    def too_many(self, segment_rows: int) -> int:
        """Changed rows that are not followed any more."""
        return max(4 * self.delta_rows, int(GIVEN_UP_SHARE * segment_rows))
