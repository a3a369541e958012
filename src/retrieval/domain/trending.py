"""What trends: engagement of late, the later the more.

score = sum over the hours of a window of engagement x 2^(-(now - hour) / half-life), half-life = window / 3, with
`hour` the beginning of the hour. At the far end of the window an event counts an eighth of a fresh one, so that nothing
drops out of a list with a jump. The halving is that of event weights (see `engagement.event_weight`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.decay import halved
from retrieval.domain.engagement import HOUR_US

if TYPE_CHECKING:
    from collections.abc import Iterable

HOUR_S = 3600
DAY_S = 24 * HOUR_S
WINDOWS_S = (HOUR_S, DAY_S, 7 * DAY_S, 30 * DAY_S, 90 * DAY_S)
DEFAULT_WINDOW_S = 7 * DAY_S
MAX_TRENDING = 1000
"""Items a list holds."""
LEAST_ENGAGEMENT = 1e-100
"""What an item's engagement in an hour must be above to count: any event has more, see `decay.counted`."""


def trending_scores(hours: Iterable[tuple[str, int, float]], now_us: int, window_s: int) -> list[tuple[str, float]]:
    """(item id, score), best first, of (item id, hour in microseconds, engagement).

    Hours that the window cuts count whole; equal scores are ordered by item id.
    """
    half_life_us = window_s * 1_000_000 / 3
    scores: dict[str, float] = {}
    for item_id, hour, engagement in hours:
        if engagement > LEAST_ENGAGEMENT and now_us - window_s * 1_000_000 - HOUR_US < hour <= now_us:
            scores[item_id] = scores.get(item_id, 0.0) + engagement * halved(now_us - hour, half_life_us)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_TRENDING]
