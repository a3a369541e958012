"""What changed since the segment was built: rows in memory, in a small graph of their own."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import faiss
import numpy as np

from retrieval.faiss_cache.columns import GrowingColumns
from retrieval.faiss_cache.growing_array import GrowingArray
from retrieval.faiss_cache.quantized import as_codes, codes_of, decoded, half_graph, storage_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from retrieval.application.ports import RowBatch
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.domain.search import IndexScope, Predicate
    from retrieval.faiss_cache.columns import Columns

COMPARED_ROWS = 1_500
"""Up to so many rows, or under a filter, all are compared; beyond, the graph is faster."""
M = 16
EF_CONSTRUCTION = 64
EF_SEARCH = 128
"""The delta is small: effort that a large graph could not afford costs little here and keeps recall beyond doubt."""


class Delta:
    """Rows appended one batch after the other; each batch makes a new view. One thread appends, many search."""

    def __init__(self, collection: Collection, version: EmbeddingVersion) -> None:
        self._metric = collection.metric
        self._graph = half_graph(version.dimension, collection.metric, M, EF_CONSTRUCTION)
        self._storage = storage_of(self._graph)
        self._columns = GrowingColumns(collection.attributes)
        self._norms = GrowingArray(np.float32)
        self._alive = np.zeros(0, np.bool_)
        # FAISS searches may run side by side, but not beside an append.
        self._lock = threading.Lock()

    def kill(self, item_ids: Iterable[str]) -> None:
        """The rows of these items are no more."""
        alive = self._alive.copy()
        alive[self._columns.view().item_ids.rows_of(item_ids)] = False
        self._alive = alive

    def append(self, batch: RowBatch) -> None:
        """Take in rows."""
        rows = decoded(as_codes(batch.vectors))
        for row in rows:
            with self._lock:  # between two searches, not in front of a queue of them
                self._graph.add(row[np.newaxis])
        self._norms.extend(np.linalg.norm(rows, axis=1).astype(np.float32))
        self._columns.append(batch.items, batch.chunk_indexes)
        self._alive = np.concatenate([self._alive, np.ones(len(rows), np.bool_)])

    @property
    def rows(self) -> int:
        """Rows, dead ones included."""
        return len(self._alive)

    def revert(self, view: DeltaView) -> None:
        """Give up what came after `view`: those rows are dead, those that died live again."""
        later = np.zeros(len(self._columns.view().listed) - view.rows, np.bool_)
        self._alive = np.concatenate([view.alive, later])

    def view(self) -> DeltaView:
        """The rows as they are now."""
        return DeltaView(self, self._columns.view(), self._norms.view(), self._alive)

    def search(
        self, queries: NDArray[np.float32], count: int, mask: NDArray[np.bool_], *, selective: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Nearest rows where `mask`, (rows,), is true; as `Funnel.search` in form."""
        # Bits beyond the mask are not set: rows that came after the view are not seen.
        selector = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        with self._lock:
            if selective or len(mask) <= COMPARED_ROWS:
                return self._storage.search(queries, count, params=faiss.SearchParameters(sel=selector))  # type: ignore[no-any-return]
            parameters = faiss.SearchParametersHNSW(efSearch=max(EF_SEARCH, 2 * count), sel=selector)
            return self._graph.search(queries, count, params=parameters)  # type: ignore[no-any-return]

    def codes(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Codes of `rows`, (n, 2 dim) bytes."""
        with self._lock:
            return codes_of(self._storage)[rows]


@dataclass(slots=True)
class DeltaView:
    """The delta at one moment. `alive`: (rows,) bool. Later appends and kills do not show."""

    delta: Delta
    columns: Columns
    norms: NDArray[np.float32]
    alive: NDArray[np.bool_]
    masks: dict[tuple[Predicate, IndexScope], NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows, dead ones included."""
        return len(self.alive)

    @property
    def living_rows(self) -> int:
        """Rows that live."""
        return int(self.alive.sum())

    def admitted(self, predicate: Predicate, scope: IndexScope, collection: Collection) -> NDArray[np.bool_]:
        """(rows,) mask of the living rows that the predicate admits. Kept while the view is."""
        key = (predicate, scope)
        mask = self.masks.get(key)
        if mask is None:
            admitted = self.columns.admitted(predicate, scope, collection)
            mask = self.alive if admitted is None else admitted & self.alive
            if len(self.masks) < 64:
                self.masks[key] = mask
        return mask
