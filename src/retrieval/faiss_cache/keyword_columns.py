"""Columns of keywords and of keyword lists, read by predicates.

A keyword is a code a row. A list is kept the other way round: for each code the rows that have it, which is smaller and
is all that a match needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.faiss_cache.strings import Strings, StringTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from retrieval.domain.filters import Scalar

MISSING = 0
"""Code of a row without a keyword; string number n has code n + 1."""

_FEW = 16
"""So many passes over the codes cost as much as looking each code up among those that are wanted."""

_SPARSE = 64
"""Setting this share of a mask row by row costs as much as one pass over the codes."""


class Postings:
    """The rows of each string number: `rows` (values,) int32 sorted by number, `starts` (numbers + 1,)."""

    def __init__(self, rows: NDArray[np.int32], starts: NDArray[np.int64]) -> None:
        self._rows = rows
        self._starts = starts

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self._rows.nbytes + self._starts.nbytes

    def count(self, numbers: Sequence[int]) -> int:
        """How many entries the numbers have together."""
        chosen = np.asarray(numbers)
        return int((self._starts[chosen + 1] - self._starts[chosen]).sum())

    def rows_of(self, numbers: Iterable[int]) -> NDArray[np.int32]:
        """(n,) the rows of all the numbers."""
        return np.concatenate([self._rows[self._starts[n] : self._starts[n + 1]] for n in numbers])


def posting_arrays(numbers: NDArray[np.integer[Any]], rows: NDArray[np.integer[Any]], size: int) -> dict[str, Any]:
    """The arrays of `Postings` of `size` strings, given pairs of number and row in ascending rows."""
    starts = np.zeros(size + 1, dtype=np.int64)
    np.cumsum(np.bincount(numbers, minlength=size), out=starts[1:])
    return {"rows": rows[np.argsort(numbers, kind="stable")].astype(np.int32), "starts": starts}


@dataclass(frozen=True, slots=True)
class KeywordColumn:
    """`codes`: (rows,) unsigned; `postings` may be absent, matches then scan the codes."""

    codes: NDArray[np.unsignedinteger[Any]]
    strings: Strings
    postings: Postings | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> KeywordColumn:
        """The column that `GrowingKeywords.arrays` describes."""
        return cls(arrays["codes"], StringTable(arrays), Postings(arrays["rows"], arrays["starts"]))

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays, strings aside."""
        return self.codes.nbytes + (0 if self.postings is None else self.postings.nbytes)

    def values_at(self, rows: NDArray[np.integer[Any]]) -> list[str]:
        """The keyword of each of `rows` (n,); empty where there is none."""
        return [self.strings.at(code - 1) if code != MISSING else "" for code in self.codes[rows].tolist()]

    def matching(self, wanted: Iterable[Scalar]) -> NDArray[np.bool_]:
        """(rows,) new: which rows have one of those keywords."""
        return self.mark(np.zeros(len(self.codes), dtype=np.bool_), self.numbers_of(wanted), admit=True)

    def within(self, bounds: Iterable[tuple[str, Scalar]]) -> NDArray[np.bool_]:  # noqa: ARG002
        """(rows,) new: no row; keywords have no ranges."""
        return np.zeros(len(self.codes), dtype=np.bool_)

    def existing(self) -> NDArray[np.bool_]:
        """(rows,) new: which rows have a keyword."""
        existing: NDArray[np.bool_] = np.not_equal(self.codes, MISSING)
        return existing

    def numbers_of(self, wanted: Iterable[Scalar]) -> list[int]:
        """The string numbers of those values that any row may have."""
        return _numbers(self.strings, wanted)

    def mark(self, mask: NDArray[np.bool_], numbers: Sequence[int], *, admit: bool) -> NDArray[np.bool_]:
        """Set `mask` (rows,) to `admit` at the rows of those string numbers; returns it."""
        if not numbers:
            return mask
        passes = min(len(numbers), _FEW)
        if self.postings is not None and self.postings.count(numbers) * _SPARSE <= len(mask) * passes:
            mask[self.postings.rows_of(numbers)] = admit
            return mask
        for found in _scan(self.codes, [n + 1 for n in numbers], len(self.strings) + 1):
            np.logical_or(mask, found, out=mask) if admit else np.greater(mask, found, out=mask)
        return mask


@dataclass(frozen=True, slots=True)
class KeywordListColumn:
    """`present`: (rows,) bool, which lists are not empty. `postings` or `pairs` say which rows have a keyword."""

    present: NDArray[np.bool_]
    strings: Strings
    postings: Postings | Pairs

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> KeywordListColumn:
        """The column that `GrowingKeywordLists.arrays` describes."""
        return cls(arrays["present"], StringTable(arrays), Postings(arrays["rows"], arrays["starts"]))

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays, strings aside."""
        return self.present.nbytes + self.postings.nbytes

    def matching(self, wanted: Iterable[Scalar]) -> NDArray[np.bool_]:
        """(rows,) new: which lists have one of those keywords."""
        return self.admit(np.zeros(len(self.present), dtype=np.bool_), wanted)

    def within(self, bounds: Iterable[tuple[str, Scalar]]) -> NDArray[np.bool_]:  # noqa: ARG002
        """(rows,) new: no row; keywords have no ranges."""
        return np.zeros(len(self.present), dtype=np.bool_)

    def existing(self) -> NDArray[np.bool_]:
        """(rows,) new: which lists are not empty."""
        return self.present.copy()

    def admit(self, mask: NDArray[np.bool_], wanted: Iterable[Scalar]) -> NDArray[np.bool_]:
        """Set `mask` (rows,) at the rows whose list has one of those keywords; returns it."""
        numbers = _numbers(self.strings, wanted)
        if numbers:
            mask[self.postings.rows_of(numbers)] = True
        return mask


class Pairs:
    """String number and row of every list entry so far: `numbers`, `rows` (values,); `size` strings."""

    def __init__(self, numbers: NDArray[np.integer[Any]], rows: NDArray[np.int32], size: int) -> None:
        self._numbers = numbers
        self._rows = rows
        self._size = size

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self._numbers.nbytes + self._rows.nbytes

    def rows_of(self, numbers: Sequence[int]) -> NDArray[np.int32]:
        """(n,) the rows of all the numbers."""
        return np.concatenate(
            [self._rows[np.flatnonzero(found)] for found in _scan(self._numbers, numbers, self._size)]
        )


def _numbers(strings: Strings, wanted: Iterable[Scalar]) -> list[int]:
    """The numbers of those values that occur at all."""
    found = {strings.find(value) for value in wanted if isinstance(value, str)}
    return sorted(found - {-1})


def _scan(codes: NDArray[np.integer[Any]], wanted: Sequence[int], size: int) -> Iterable[NDArray[np.bool_]]:
    """Masks over `codes` that together cover where it is one of `wanted`, all of which are below `size`."""
    if len(wanted) <= _FEW:
        return (codes == code for code in wanted)
    among = np.zeros(size, dtype=np.bool_)
    among[wanted] = True
    return (among[codes],)
