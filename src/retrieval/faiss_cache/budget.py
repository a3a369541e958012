"""Which segments fit in memory, and how much of each."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from retrieval.faiss_cache.build import COARSE, COLUMNS, NORMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.faiss_cache.manifest import Manifest


class Residency(Enum):
    """How much of a segment is held: `COARSE` proposes rows that Postgres refines and filters by id."""

    NONE = "none"
    COARSE = "coarse"
    FULL = "full"


def share_out(manifests: Sequence[Manifest], budget_bytes: int) -> list[Residency]:
    """Residency of each segment, given in order of importance.

    The coarse indexes come first, for they save the most work a byte; then, where everything else of a segment fits as
    well, all of it.
    """
    granted = [Residency.NONE] * len(manifests)
    left = budget_bytes
    for number, manifest in enumerate(manifests):
        coarse = coarse_bytes(manifest)
        if coarse <= left:
            granted[number] = Residency.COARSE
            left -= coarse
    for number, manifest in enumerate(manifests):
        rest = manifest.size_bytes - coarse_bytes(manifest)
        if granted[number] is Residency.COARSE and rest <= left:
            granted[number] = Residency.FULL
            left -= rest
    # A segment that compares all rows has no coarse index to propose with.
    return [
        Residency.NONE if g is Residency.COARSE and not m.size_of(COARSE) else g
        for g, m in zip(granted, manifests, strict=True)
    ]


def coarse_bytes(manifest: Manifest) -> int:
    """Bytes of the coarse index with the ids of its rows."""
    return manifest.size_of(COARSE) + manifest.size_of(NORMS) + _share_of_ids(manifest)


def _share_of_ids(manifest: Manifest) -> int:
    """The ids stand in the file of the columns; only they are touched for a coarse search. At least 24 bytes each."""
    return min(manifest.size_of(COLUMNS), 24 * manifest.rows)
