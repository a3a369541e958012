"""Coarse to fine inside FAISS: a graph over a prefix, then the shortlist on all components, in one call.

`IndexRefine` re-ranks what the graph returns on the float16 rows (FAISS wiki, "Faiss indexes", IndexRefine). Everything
here is read-only once made, and searches may run in several threads.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from retrieval.faiss_cache.quantized import codes_of, graph_of, nearest_of, prefixes, searched, storage_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.domain.model import Metric
    from retrieval.faiss_cache.bitmap import Bitmap
    from retrieval.faiss_cache.quantized import Found

FULLY_COMPARED_ROWS = 2_000
"""Up to so many rows an exact search compares all components at once; beyond, the prefix picks a shortlist first."""


class Funnel:
    """Searches rows 0 to n - 1. `coarse`: None, or an index of `on_prefix` or `half_graph`; `vectors`: all components.

    Where the graph is over all components its codes are the vectors, and `vectors` is None. Similarities are FAISS's:
    inner products (higher is nearer) or squared L2 distances (lower is nearer).
    """

    def __init__(self, coarse: Any | None, vectors: Any | None, metric: Metric) -> None:
        self.metric = metric
        self._coarse = coarse
        self._graph: Any = None if coarse is None else graph_of(coarse)
        storage: Any = None if self._graph is None else storage_of(self._graph)
        self._vectors: Any = storage if vectors is None else vectors
        self.rows = int(self._vectors.ntotal)
        self.full_dimension = int(self._vectors.d)
        self.dimension = self.full_dimension if self._graph is None else int(self._graph.d)
        self.codes = codes_of(self._vectors)
        self._coarse_codes = self.codes if storage is None else codes_of(storage)
        self._refined = None if vectors is None or coarse is None else faiss.IndexRefine(coarse, vectors)
        self._parameters = lru_cache(256)(self._make_parameters)

    def search(
        self,
        queries: NDArray[np.float32],
        count: int,
        ef_search: int,
        shortlist: int,
        among: Bitmap | None = None,
    ) -> Found:
        """Nearest rows to each of `queries`, (n, full dimension) float32: similarities and rows, both (n, count).

        Rows are -1 where there are no more. `among`: the rows that may be returned, None for all.
        """
        index: Any = self._vectors if self._coarse is None else self._refined or self._coarse
        if among is None:
            parameters = self._parameters(count, ef_search, shortlist)
        else:
            parameters = among.parameters(
                (count, ef_search, shortlist), partial(self._make_parameters, count, ef_search, shortlist)
            )
        return searched(index, queries, count, parameters)

    def shortlist(
        self, queries: NDArray[np.float32], count: int, ef_search: int, among: Bitmap | None = None
    ) -> NDArray[np.int64]:
        """Rows by the coarse dimension alone, (n, count), nearest first, -1 where there are no more."""
        if self._coarse is None:
            return self.search(queries, count, 0, count, among)[1]
        selector = None if among is None else among.selector
        return searched(self._coarse, queries, count, self._coarse_parameters(max(ef_search, count), selector))[1]

    def scan(self, queries: NDArray[np.float32], count: int, among: Bitmap | None = None) -> Found:
        """Nearest rows of all, or of those in `among`, by comparing every one; as `search` in form."""
        selector = None if among is None else among.selector
        return searched(self._vectors, queries, count, faiss.SearchParameters(sel=selector))

    def exact(self, queries: NDArray[np.float32], count: int, shortlist: int, rows: NDArray[np.int64]) -> Found:
        """Nearest of `rows`, without the graph; as `search` in form.

        Many rows are first compared on the coarse dimension, and `shortlist` of them on all components.
        """
        if len(rows) <= max(FULLY_COMPARED_ROWS, shortlist) or self.dimension == self.full_dimension:
            return self._compared(queries, count, rows)
        coarse = prefixes(queries, self.dimension, self.metric)
        places = nearest_of(self._coarse_codes[rows], coarse, max(shortlist, count), self.metric)[1]
        parts = [self._compared(query[np.newaxis], count, rows[p]) for query, p in zip(queries, places, strict=True)]
        return np.concatenate([s for s, _ in parts]), np.concatenate([r for _, r in parts])

    def _compared(self, queries: NDArray[np.float32], count: int, rows: NDArray[np.int64]) -> Found:
        similarities, places = nearest_of(self.codes[rows], queries, count, self.metric)
        if not len(rows):
            return similarities, places
        return similarities, np.where(places < 0, -1, rows[places])

    def _make_parameters(self, count: int, ef_search: int, shortlist: int, selector: Any | None = None) -> Any:
        if self._coarse is None:
            return faiss.SearchParameters(sel=selector)
        if self._refined is None:
            return self._coarse_parameters(max(ef_search, count), selector)
        # Half a row more, since FAISS rounds the product down.
        return faiss.IndexRefineSearchParameters(
            k_factor=(max(shortlist, count) + 0.5) / count,
            base_index_params=self._coarse_parameters(max(ef_search, shortlist, count), selector),
        )

    def _coarse_parameters(self, ef_search: int, selector: Any | None) -> Any:
        parameters = faiss.SearchParametersHNSW(efSearch=ef_search, sel=selector)
        if self.dimension == self.full_dimension:
            return parameters  # FAISS ignores what is meant for a transform where there is none
        return faiss.SearchParametersPreTransform(index_params=parameters)
