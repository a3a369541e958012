"""Results that serve again, for as long as nothing has changed that they rest on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from retrieval.application.bounded_cache import BoundedCache, size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.search import Hit, Predicate, SearchReport

TTL_S = 30.0
"""How long a result serves: what trends and what is new moves on."""
KEPT_BYTES = 128 * 2**20
"""Over all results."""
HIT_BYTES = 500
KEPT_KEY_BYTES = 64 * 2**10
"""The result of a longer question, one that excludes thousands of items, is not kept: it is hardly asked again."""


class KeptResult(NamedTuple):
    """A result as of `kept_at_s` (monotonic). `hits` carry no items; `predicate` says what may be shown."""

    kept_at_s: float
    generation: int
    model_version: str
    hits: Sequence[Hit]
    report: SearchReport
    predicate: Predicate


class KeptResults:
    """Results by question; the oldest go first."""

    def __init__(self, budget: int = KEPT_BYTES) -> None:
        self._kept: BoundedCache[Any, KeptResult] = BoundedCache(budget, budget)

    @property
    def size_bytes(self) -> int:
        """Estimated bytes of all that is kept."""
        return self._kept.size_bytes

    def get(self, key: Any) -> KeptResult | None:
        """The result for a question, unless it is too old."""
        kept = self._kept.get(key)
        if kept is None or time.monotonic() - kept.kept_at_s < TTL_S:
            return kept
        self.drop(key)
        return None

    def put(self, key: Any, result: KeptResult) -> None:
        """Keep a result in place of the one that the question had."""
        size = size_of((key, result.predicate), KEPT_KEY_BYTES)
        if size is None:
            self._kept.drop(key)
        else:
            self._kept.put(key, result, size + HIT_BYTES * len(result.hits))

    def drop(self, key: Any) -> None:
        """Forget a result."""
        self._kept.drop(key)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
