"""A segment as it is served: mapped files, shared with every process that maps them, never changed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.bounded_cache import size_of
from retrieval.domain.model import Metric
from retrieval.domain.search import IndexScope
from retrieval.faiss_cache.arrays import map_arrays
from retrieval.faiss_cache.bitmap import Bitmap
from retrieval.faiss_cache.build import COARSE, COLUMNS, NORMS, VECTORS
from retrieval.faiss_cache.columns import Columns
from retrieval.faiss_cache.funnel import FULLY_COMPARED_ROWS, Funnel
from retrieval.faiss_cache.manifest import SegmentError
from retrieval.faiss_cache.plans import long_shortlist, probe_rows
from retrieval.faiss_cache.quantized import map_index

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from retrieval.domain.model import Collection, PopularThresholds
    from retrieval.domain.search import Predicate
    from retrieval.faiss_cache.manifest import Manifest
    from retrieval.faiss_cache.plans import Effort
    from retrieval.faiss_cache.quantized import Found

MIN_PROPOSED = 32
_SCANNED_SHARE = 0.3
"""Where more of the rows are admitted, walking over all of them is cheaper than gathering those."""
KEPT_BITMAPS = 64
"""Filter bitmaps kept a segment, one bit a row each."""
KEPT_PREDICATE_BYTES = 64 * 2**10
"""The bitmap of a larger predicate is not kept."""


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
            bitmap = None if mask is None else Bitmap.of(mask)
            if size_of(key[0], KEPT_PREDICATE_BYTES) is not None:
                self.bitmaps[key] = bitmap
                while len(self.bitmaps) > KEPT_BITMAPS:
                    self.bitmaps.popitem(last=False)
            return bitmap

    def search(self, queries: NDArray[np.float32], count: int, among: Bitmap | None, effort: Effort) -> Found:
        """Nearest rows of `among` (None: of all) to each of `queries`, as `Funnel.search` in form, and never short."""
        if effort.exact:
            return self._compare_all(queries, count, among, effort.shortlist)
        probed = 0 if among is None else probe_rows(count, among.count, among.rows)
        # As wide as what is probed: admitted rows that lie in between are found as well.
        ef_search = max(effort.ef_search, probed)
        similarities, rows = self.funnel.search(queries, count, ef_search, effort.shortlist, among)
        last = rows[:, min(count, self.manifest.rows if among is None else among.count) - 1]
        if among is None and min(last.tolist()) >= 0:
            return similarities, rows
        missed = last < 0
        if among is not None:
            missed |= self._is_far(queries, count, among, probed)
            if not _are_in(among, rows):
                missed[:] = True
        if missed.any():
            shortlist = long_shortlist(effort.shortlist)
            similarities[missed], rows[missed] = self._compare_all(queries[missed], count, among, shortlist)
        return similarities, rows

    def propose(
        self, query: NDArray[np.float32], count: int, among: Bitmap | None, ef_search: int
    ) -> NDArray[np.int64]:
        """At least `count` rows of `among` near one query by the coarse dimension, (n,), where there are so many."""
        if among is not None and among.count <= max(count, FULLY_COMPARED_ROWS):
            return among.members
        admitted = self.funnel.rows if among is None else among.count
        ef_search = ceil(max(count, ef_search, MIN_PROPOSED) * self.funnel.rows / admitted)
        found = self.funnel.shortlist(query, min(count, self.funnel.rows), ef_search, among)
        rows: NDArray[np.int64] = found[0][found[0] >= 0]
        if len(rows) < min(count, admitted) or not _are_in(among, rows):
            rows = self.funnel.scan(query, min(count, self.funnel.rows), among)[1][0]
        return rows[rows >= 0]

    def _compare_all(self, queries: NDArray[np.float32], count: int, among: Bitmap | None, shortlist: int) -> Found:
        if among is None or among.count > _SCANNED_SHARE * among.rows:
            found = self.funnel.scan(queries, count, among)
        else:
            found = self.funnel.exact(queries, count, shortlist, among.members)
        if not _are_in(among, found[1]):
            raise RuntimeError("the index returned rows that it was told to leave out")
        return found

    def _is_far(self, queries: NDArray[np.float32], count: int, among: Bitmap, probed: int) -> NDArray[np.bool_]:
        """For which queries, (n,), too few of the `probed` nearest rows are in the set to believe the graph."""
        if not probed:
            return np.zeros(len(queries), np.bool_)
        near = self.funnel.shortlist(queries, probed, probed)
        far: NDArray[np.bool_] = (among.holds(near) & (near >= 0)).sum(axis=1) < min(count, among.count)
        return far


def _are_in(bitmap: Bitmap | None, rows: NDArray[np.int64]) -> bool:
    """Whether the predicate admits what the index returned: nothing leaves on the index's word alone."""
    return bitmap is None or bool(bitmap.holds(rows[rows >= 0]).all())


def open_segment(folder: Path, manifest: Manifest) -> Segment:
    """Map the files of a verified manifest. Raises: SegmentError."""
    try:
        coarse = map_index(folder / COARSE) if manifest.size_of(COARSE) else None
        vectors = map_index(folder / VECTORS) if manifest.size_of(VECTORS) else None
        funnel = Funnel(coarse, vectors, Metric(manifest.metric))
        return Segment(manifest, funnel, Columns.open(folder / COLUMNS), map_arrays(folder / NORMS)["norms"])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise SegmentError(f"{folder.name} cannot be mapped: {error}") from error
