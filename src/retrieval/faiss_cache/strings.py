"""Many strings without a Python object for each: UTF-8 in one blob with offsets, and a growing form of the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from retrieval.application.cache_ports import JoinedNames

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray


class Strings(Protocol):
    """Distinct strings by number."""

    def __len__(self) -> int: ...

    def at(self, number: int) -> str:
        """The string of a number."""

    def find(self, value: str) -> int:
        """The number of a string; -1 where it is not there."""


class StringTable:
    """Strings over two arrays, mapped or not: `blob` (bytes,) uint8, `offsets` (n + 1,) unsigned."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        # Elements and slices of a memoryview cost a fraction of those of an array.
        self._arrays = arrays
        self._blob = arrays["blob"].data
        self._offsets = arrays["offsets"].data

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def at(self, number: int) -> str:
        """See `Strings`."""
        return str(self._blob[self._offsets[number] : self._offsets[number + 1]], "utf-8")

    def several(self, numbers: Iterable[int]) -> list[str]:
        """The strings of several numbers."""
        blob, offsets = self._blob, self._offsets
        return [str(blob[offsets[n] : offsets[n + 1]], "utf-8") for n in numbers]

    def encoded(self, numbers: Iterable[int]) -> list[bytes]:
        """The strings of several numbers in UTF-8."""
        blob, offsets = self._blob, self._offsets
        return [bytes(blob[offsets[n] : offsets[n + 1]]) for n in numbers]

    def joined(self, numbers: NDArray[np.int64]) -> JoinedNames:
        """The strings of several numbers in UTF-8."""
        starts = self._arrays["offsets"][numbers].astype(np.int64)
        lengths = self._arrays["offsets"][numbers + 1] - starts
        return JoinedNames(self._arrays["blob"][ranges(starts, lengths)], lengths)

    def find(self, value: str) -> int:
        """See `Strings`. The table must be sorted by code point, which is the order of the bytes as well."""
        wanted = value.encode()
        blob, offsets = self._blob, self._offsets
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if bytes(blob[offsets[middle] : offsets[middle + 1]]) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and blob[offsets[low] : offsets[low + 1]] == wanted else -1

    def equal(self, numbers: NDArray[np.int64], other: StringTable, others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether string `numbers[i]` of this table is string `others[i]` of the other one."""
        starts, lengths = self._extents(numbers)
        other_starts, other_lengths = other._extents(others)
        same = np.equal(lengths, other_lengths)
        candidates = np.flatnonzero(same)
        lengths = lengths[candidates]
        mine = self._arrays["blob"][ranges(starts[candidates], lengths)]
        theirs = other._arrays["blob"][ranges(other_starts[candidates], lengths)]
        same[np.repeat(candidates, lengths)[mine != theirs]] = False
        return same

    def _extents(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        offsets = self._arrays["offsets"]
        starts = offsets[numbers].astype(np.int64)
        return starts, offsets[numbers + 1].astype(np.int64) - starts


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The integers of every range [start, start + length), one range after the other."""
    before = np.cumsum(lengths) - lengths
    found: NDArray[np.int64] = np.repeat(starts - before, lengths)
    found += np.arange(len(found))
    return found


def string_arrays(values: Iterable[str]) -> dict[str, NDArray[Any]]:
    """The arrays of a `StringTable` of `values`, in the order given."""
    encoded = [v.encode() for v in values]
    blob = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    offsets = np.zeros(len(encoded) + 1, dtype=np.uint32 if len(blob) < 2**32 else np.uint64)
    np.cumsum(np.fromiter(map(len, encoded), dtype=offsets.dtype, count=len(encoded)), out=offsets[1:])
    return {"blob": blob, "offsets": offsets}


class GrowingStrings:
    """Distinct strings, numbered as they come."""

    def __init__(self) -> None:
        self._values: list[str] = []
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: str) -> int:
        """The number of a string, a new one for a new string."""
        number = self._numbers.get(value)
        if number is None:
            number = len(self._values)
            self._values.append(value)
            self._numbers[value] = number
        return number

    def in_order(self) -> tuple[list[str], NDArray[np.int64]]:
        """The strings sorted, and for each number so far its place among them."""
        order = sorted(range(len(self._values)), key=self._values.__getitem__)
        places = np.empty(len(order), dtype=np.int64)
        places[order] = np.arange(len(order))
        return [self._values[n] for n in order], places

    def view(self) -> StringsSoFar:
        """The strings that are there now."""
        return StringsSoFar(self._values, self._numbers)


class StringsSoFar:
    """The first of growing strings; those that follow are not seen.

    Entries are only ever added, the string before its number: readers need no lock.
    """

    def __init__(self, values: list[str], numbers: dict[str, int]) -> None:
        self._values = values
        self._numbers = numbers
        self._count = len(values)

    def __len__(self) -> int:
        return self._count

    def at(self, number: int) -> str:
        """See `Strings`."""
        return self._values[number]

    def find(self, value: str) -> int:
        """See `Strings`."""
        number = self._numbers.get(value, -1)
        return number if number < self._count else -1
