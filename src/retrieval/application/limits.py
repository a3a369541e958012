"""Limits of the service. Those of the contract are constants; the operator may lower the others in the settings."""

from __future__ import annotations

from dataclasses import dataclass

MAX_LIMIT = 1000
MAX_BATCH_ITEMS = 1000
MAX_BATCH_SEARCHES = 256
MAX_EXCLUDED = 20_000
MAX_SEEDS = 64
MAX_HISTORY = 1000
MAX_ID_BYTES = 256
MAX_KEYWORD_BYTES = 256
MAX_LABELS = 256
MAX_ITEM_TEXT_BYTES = 100_000
MAX_PAYLOAD_BYTES = 65_536
MAX_CHUNK_TEXT_BYTES = 10_000
MAX_TIME_MS = 3650 * 86_400_000
"""Of a moment within an audio or video."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator sets."""

    batch_concurrency: int = 4
    max_pool_rows: int = 4000
    """Items fetched at most to fill a page that caps or MMR thin out."""
    widen_reserve_s: float = 0.02
    """A search is not widened when less time than this is left."""
