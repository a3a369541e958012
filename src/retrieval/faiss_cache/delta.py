"""What changed since the segment was built: rows in memory, in a small graph of their own."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from retrieval.faiss_cache.bitmap import Bitmap
from retrieval.faiss_cache.columns import GrowingColumns
from retrieval.faiss_cache.growing_array import GrowingArray
from retrieval.faiss_cache.quantized import (
    as_codes,
    codes_of,
    decoded,
    half_graph,
    padded,
    padded_dimension,
    searched,
    storage_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from retrieval.application.cache_ports import RowBatch
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.domain.search import IndexScope, Predicate
    from retrieval.faiss_cache.columns import Columns
    from retrieval.faiss_cache.quantized import Found

COMPARED_ROWS = 1_500
"""Up to so many rows, or under a filter, all are compared; beyond, the graph is faster."""
GRAPH_SHARE = 0.2
"""Where fewer of the rows are admitted or alive, the graph passes too many others to be worth it."""
M = 16
EF_CONSTRUCTION = 64
EF_SEARCH = 128
"""The delta is small: effort that a large graph could not afford costs little here and keeps recall beyond doubt."""


class Delta:
    """Rows appended one batch after the other; each batch makes a new view. One thread appends, many search."""

    def __init__(self, collection: Collection, version: EmbeddingVersion) -> None:
        self._metric = collection.metric
        self._graph = half_graph(padded_dimension(version.dimension), collection.metric, M, EF_CONSTRUCTION)
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
        rows = decoded(as_codes(padded(batch.vectors)))
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
        self, queries: NDArray[np.float32], count: int, among: Bitmap, *, selective: bool, ef_search: int = 0
    ) -> Found:
        """Nearest rows in `among`; as `Funnel.search` in form. `queries`: padded. `ef_search`: look at so many
        rows at least.
        """
        # Bits beyond the set are not set: rows that came after the view are not seen.
        if not selective and among.rows > COMPARED_ROWS and among.count > GRAPH_SHARE * among.rows:
            wide = ceil(max(EF_SEARCH, 2 * count, ef_search) * among.rows / among.count)
            parameters = among.parameters(wide, partial(_by_graph, wide))
            with self._lock:
                found = searched(self._graph, queries, count, parameters)
            if (found[1][:, : min(count, among.count)] >= 0).all():
                return found
        parameters = among.parameters("all", _compare_all)
        with self._lock:
            return searched(self._storage, queries, count, parameters)

    def codes(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Codes of `rows`, (n, 2 dim) bytes."""
        with self._lock:
            return codes_of(self._storage)[rows]


def _compare_all(selector: Any) -> Any:
    return faiss.SearchParameters(sel=selector)


def _by_graph(ef_search: int, selector: Any) -> Any:
    return faiss.SearchParametersHNSW(efSearch=ef_search, sel=selector)


@dataclass(slots=True)
class DeltaView:
    """The delta at one moment. `alive`: (rows,) bool. Later appends and kills do not show."""

    delta: Delta
    columns: Columns
    norms: NDArray[np.float32]
    alive: NDArray[np.bool_]

    @property
    def rows(self) -> int:
        """Rows, dead ones included."""
        return len(self.alive)

    @property
    def living_rows(self) -> int:
        """Rows that live."""
        return int(self.alive.sum())

    def admitted(self, predicate: Predicate, scope: IndexScope, collection: Collection) -> Bitmap:
        """The living rows that the predicate admits."""
        admitted = self.columns.admitted(predicate, scope, collection)
        return Bitmap.of(self.alive if admitted is None else admitted & self.alive)
