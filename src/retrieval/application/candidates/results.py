"""Results that serve again, for as long as nothing has changed that they rest on."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.search import Hit, Predicate, SearchReport

TTL_S = 30.0
"""How long a result serves: what trends and what is new moves on."""
KEPT_HITS = 200_000
"""Hits over all results: some 500 bytes each."""


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

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, KeptResult] = OrderedDict()
        self._hits = 0

    def get(self, key: Any) -> KeptResult | None:
        """The result for a question, unless it is too old."""
        kept = self._kept.get(key)
        if kept is None or time.monotonic() - kept.kept_at_s < TTL_S:
            return kept
        self.drop(key)
        return None

    def put(self, key: Any, result: KeptResult) -> None:
        """Keep a result in place of the one that the question had."""
        self.drop(key)
        self._kept[key] = result
        self._hits += len(result.hits)
        while self._hits > KEPT_HITS or result.kept_at_s - next(iter(self._kept.values())).kept_at_s > TTL_S:
            self.drop(next(iter(self._kept)))

    def drop(self, key: Any) -> None:
        """Forget a result."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._hits -= len(kept.hits)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._hits = 0
