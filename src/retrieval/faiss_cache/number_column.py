"""Columns of numbers: integers, doubles, timestamps, booleans (0 and 1). Comparisons are exact, as Python's are."""

from __future__ import annotations

import operator
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.faiss_cache.growing_array import GrowingArray

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    from retrieval.domain.filters import Scalar

_OPERATORS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
_FEW = 8


class NumberColumn:
    """`values`: (rows,) signed integers or float64; `present`: (rows,) bool, None where every row has a value."""

    def __init__(self, values: NDArray[Any], present: NDArray[np.bool_] | None) -> None:
        self._values = values
        self._present = present

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> NumberColumn:
        """The column that `GrowingNumbers.arrays` describes."""
        return cls(arrays["values"], arrays.get("present"))

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self._values.nbytes + (0 if self._present is None else self._present.nbytes)

    def values_at(self, rows: NDArray[np.integer[Any]]) -> list[Any]:
        """The number of each of `rows` (n,); 0 where there is none."""
        found: list[Any] = self._values[rows].tolist()
        return found

    def matching(self, wanted: Iterable[Scalar]) -> NDArray[np.bool_]:
        """(rows,) new: which values equal one of those."""
        known = [v for v in map(self._exactly, wanted) if v is not None]
        if len(known) > _FEW:
            return self._where_present(np.isin(self._values, np.array(known, dtype=self._values.dtype)))
        mask = np.zeros(len(self._values), dtype=np.bool_)
        for value in known:
            mask |= self._values == value
        return self._where_present(mask)

    def within(self, bounds: Iterable[tuple[str, Scalar]]) -> NDArray[np.bool_]:
        """(rows,) new: which values are within every bound, given as ("gt" | "gte" | "lt" | "lte", number)."""
        mask: NDArray[np.bool_] | None = None
        for name, bound in bounds:
            if isinstance(bound, str):
                return np.zeros(len(self._values), dtype=np.bool_)
            satisfied = self._compare(name, bound)
            mask = satisfied if mask is None else np.logical_and(mask, satisfied, out=mask)
        return self.existing() if mask is None else self._where_present(mask)

    def existing(self) -> NDArray[np.bool_]:
        """(rows,) new: which rows have a value."""
        return np.ones(len(self._values), dtype=np.bool_) if self._present is None else self._present.copy()

    def _where_present(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return mask if self._present is None else np.logical_and(mask, self._present, out=mask)

    def _exactly(self, value: Scalar) -> int | float | None:
        """The value as one of this column's type; None where none of its type equals it."""
        if isinstance(value, str):
            return None
        if self._values.dtype.kind == "f":
            return float(value) if float(value) == value else None
        if isinstance(value, float) and not value.is_integer():
            return None
        limits = np.iinfo(self._values.dtype)
        return int(value) if limits.min <= value <= limits.max else None

    def _compare(self, name: str, bound: float) -> NDArray[np.bool_]:
        """(rows,) new. NumPy would round a bound of the other type; here it moves to the next value of the column's."""
        upper = name in {"lt", "lte"}
        exact: int | float
        if self._values.dtype.kind == "f":
            exact = float(bound)
            if exact != bound:
                name = {(False, True): "gte", (False, False): "gt", (True, True): "lt", (True, False): "lte"}[
                    upper, exact > bound
                ]
        else:
            # Infinity has no integer; beyond 64 bits it makes no difference.
            bound = min(max(bound, -(2**64)), 2**64)
            exact = floor(bound) if name in {"gt", "lte"} else ceil(bound)
        satisfied: NDArray[np.bool_] = _OPERATORS[name](self._values, exact)
        return satisfied


class GrowingNumbers:
    """A column of numbers that rows are appended to."""

    def __init__(self, dtype: DTypeLike) -> None:
        self._values = GrowingArray(dtype)
        self._present = GrowingArray(np.bool_)
        self._complete = True

    def extend(self, values: Sequence[Any]) -> None:
        """Append a value a row; None where there is none."""
        present = [v is not None for v in values]
        complete = all(present)
        self._complete &= complete
        self._values.extend(values if complete else [0 if v is None else v for v in values])
        self._present.extend(present)

    def view(self) -> NumberColumn:
        """The column of the rows so far."""
        return NumberColumn(self._values.view(), None if self._complete else self._present.view())

    def arrays(self, order: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """What `NumberColumn.of` reads, of the rows in that order."""
        arrays = {"values": _narrowest(self._values.view()[order])}
        return arrays if self._complete else {**arrays, "present": self._present.view()[order]}


def _narrowest(values: NDArray[Any]) -> NDArray[Any]:
    """The same integers in the least bytes; scans are as fast as memory is."""
    if values.dtype.kind == "f" or not len(values):
        return values
    low, high = int(values.min()), int(values.max())
    fitting: Collection[DTypeLike] = [
        t for t in (np.int8, np.int16, np.int32, np.int64) if np.iinfo(t).min <= low and high <= np.iinfo(t).max
    ]
    return values.astype(next(iter(fitting)))
