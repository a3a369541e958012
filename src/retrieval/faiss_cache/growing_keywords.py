"""Columns of keywords and of keyword lists that rows are appended to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.faiss_cache.growing_array import GrowingArray
from retrieval.faiss_cache.keyword_columns import (
    MISSING,
    KeywordColumn,
    KeywordListColumn,
    Pairs,
    posting_arrays,
)
from retrieval.faiss_cache.strings import GrowingStrings, string_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class GrowingKeywords:
    """A keyword a row, or none."""

    def __init__(self) -> None:
        self._codes = GrowingArray(np.uint8)
        self._strings = GrowingStrings()

    def extend(self, values: Sequence[str | None]) -> None:
        """Append a value a row; None where there is none."""
        add = self._strings.add
        codes = [MISSING if v is None else add(v) + 1 for v in values]
        fitting = np.min_scalar_type(len(self._strings))
        if fitting.itemsize > self._codes.dtype.itemsize:
            self._codes.widen(fitting)
        self._codes.extend(codes)

    def view(self) -> KeywordColumn:
        """The column of the rows so far."""
        return KeywordColumn(self._codes.view(), self._strings.view())

    def arrays(self, order: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """What `KeywordColumn.of` reads, of the rows in that order; codes in the order of the strings."""
        ordered, places = self._strings.in_order()
        codes = self._codes.view()[order]
        rows = np.flatnonzero(codes)
        numbers = places[codes[rows] - 1]
        stored = np.full(len(codes), MISSING, dtype=codes.dtype)
        stored[rows] = numbers + 1
        return {"codes": stored, **string_arrays(ordered), **posting_arrays(numbers, rows, len(ordered))}


class GrowingKeywordLists:
    """A list of keywords a row, possibly empty."""

    def __init__(self) -> None:
        self._present = GrowingArray(np.bool_)
        self._numbers = GrowingArray(np.uint32)
        self._rows = GrowingArray(np.int32)
        self._strings = GrowingStrings()

    def extend(self, lists: Sequence[Sequence[str] | None]) -> None:
        """Append a list a row; None is an empty one."""
        add = self._strings.add
        lengths = [len(values) if values else 0 for values in lists]
        rows = np.arange(len(self._present), len(self._present) + len(lists))
        self._numbers.extend([add(value) for values in lists if values for value in values])
        self._rows.extend(np.repeat(rows, lengths))
        self._present.extend([length > 0 for length in lengths])

    def view(self) -> KeywordListColumn:
        """The column of the rows so far."""
        strings = self._strings.view()
        pairs = Pairs(self._numbers.view(), self._rows.view(), len(strings))
        return KeywordListColumn(self._present.view(), strings, pairs)

    def arrays(self, order: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """What `KeywordListColumn.of` reads, of the rows in that order."""
        ordered, places = self._strings.in_order()
        moved = np.empty(len(order), np.int64)
        moved[order] = np.arange(len(order))
        rows = moved[self._rows.view()]
        ascending = np.argsort(rows, kind="stable")
        numbers = places[self._numbers.view()[ascending]]
        postings = posting_arrays(numbers, rows[ascending], len(ordered))
        return {"present": self._present.view()[order], **string_arrays(ordered), **postings}
