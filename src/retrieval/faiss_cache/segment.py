"""A segment as it is served: mapped files, shared with every process that maps them, never changed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from retrieval.domain.model import Metric
from retrieval.domain.search import IndexScope
from retrieval.faiss_cache.arrays import map_arrays
from retrieval.faiss_cache.bitmap import Bitmap
from retrieval.faiss_cache.build import COARSE, COLUMNS, NORMS, VECTORS
from retrieval.faiss_cache.columns import Columns
from retrieval.faiss_cache.funnel import Funnel
from retrieval.faiss_cache.manifest import SegmentError
from retrieval.faiss_cache.quantized import map_index

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.domain.model import Collection, PopularThresholds
    from retrieval.domain.search import Predicate
    from retrieval.faiss_cache.manifest import Manifest

KEPT_BITMAPS = 64
"""Filter bitmaps kept a segment, one bit a row each."""


@dataclass
class Segment:
    """Mapped files of a generation. `norms`: (rows,) float32. `bitmaps`: of recent filters, least recent first."""

    manifest: Manifest
    funnel: Funnel
    columns: Columns
    norms: NDArray[np.float32]
    bitmaps: OrderedDict[tuple[Predicate, PopularThresholds | None], Bitmap | None] = field(default_factory=OrderedDict)

    @cached_property
    def has_chunks(self) -> bool:
        """Whether an item may have several rows: then one of them has another chunk index than 0."""
        return bool(self.columns.chunk_indexes.any())

    def admitted(self, predicate: Predicate, scope: IndexScope, collection: Collection) -> Bitmap | None:
        """The rows that the predicate admits, excluded items aside; None for all. Kept for the next of its kind."""
        popular = collection.popular if scope is IndexScope.POPULAR else None
        key = (replace(predicate, excluded_item_ids=()) if predicate.excluded_item_ids else predicate, popular)
        try:
            self.bitmaps.move_to_end(key)
            return self.bitmaps[key]
        except KeyError:
            mask = self.columns.admitted(key[0], scope, collection)
            bitmap = self.bitmaps[key] = None if mask is None else Bitmap.of(mask)
            while len(self.bitmaps) > KEPT_BITMAPS:
                self.bitmaps.popitem(last=False)
            return bitmap


def open_segment(folder: Path, manifest: Manifest) -> Segment:
    """Map the files of a verified manifest. Raises: SegmentError."""
    try:
        coarse = map_index(folder / COARSE) if manifest.size_of(COARSE) else None
        vectors = map_index(folder / VECTORS) if manifest.size_of(VECTORS) else None
        funnel = Funnel(coarse, vectors, Metric(manifest.metric))
        return Segment(manifest, funnel, Columns.open(folder / COLUMNS), map_arrays(folder / NORMS)["norms"])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise SegmentError(f"{folder.name} cannot be mapped: {error}") from error
