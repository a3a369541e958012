"""Limits of the service. Those of the contract are constants; the operator may lower the others in the settings."""

from __future__ import annotations

from dataclasses import dataclass

MAX_LIMIT = 1000
MAX_BATCH_ITEMS = 1000
MAX_BATCH_SEARCHES = 256
MAX_EXCLUDED = 20_000
MAX_SEEDS = 64
MAX_HISTORY = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator sets."""

    batch_concurrency: int = 4
    max_pool_rows: int = 4000
    """Items fetched at most to fill a page that caps or MMR thin out."""
    widen_reserve_s: float = 0.02
    """A search is not widened when less time than this is left."""
