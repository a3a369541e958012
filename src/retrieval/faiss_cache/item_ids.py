"""Row to item id and back. Rows are in any order; the chunks of an item are rows of the same id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from retrieval.application.cache_ports import JoinedNames
from retrieval.faiss_cache.strings import StringTable, ranges, string_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray


_MULTIPLIER = 0x9E3779B97F4A7C15
_AT_ONCE = 16_384


class ItemIds(Protocol):
    """Item ids by row."""

    def __len__(self) -> int: ...

    def ids_at(self, rows: NDArray[np.integer[Any]]) -> list[str]:
        """The item id of each of `rows` (n,)."""

    def encoded(self, rows: Sequence[int]) -> list[bytes]:
        """The item ids of `rows` in UTF-8."""

    def joined(self, rows: NDArray[np.int64]) -> JoinedNames:
        """The item ids of `rows` (n,) in UTF-8, where they are many."""

    def rows_of(self, item_ids: Iterable[str]) -> NDArray[np.int64]:
        """(n,) every row of every one of the items, each once, in no particular order."""


def hashes_of(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint64]:
    """(n,) a hash of each string of a `StringTable`, the same in every process.

    A polynomial of the bytes modulo 2**64: what a digest an id would cost is most of a look-up of thousands.
    """
    blob, offsets = arrays["blob"], arrays["offsets"]
    hashes = np.empty(len(offsets) - 1, dtype=np.uint64)
    for first in range(0, len(hashes), _AT_ONCE):
        bounds = offsets[first : first + _AT_ONCE + 1].astype(np.int64)
        text = blob[bounds[0] : bounds[-1]].astype(np.uint64) + np.uint64(1)
        bounds -= bounds[0]
        lengths = np.diff(bounds)
        powers = np.cumprod(np.full(lengths.max(), _MULTIPLIER, dtype=np.uint64))
        sums = np.zeros(len(text) + 1, dtype=np.uint64)
        np.cumsum(text * powers[ranges(np.zeros_like(lengths), lengths)], out=sums[1:])
        hashes[first : first + _AT_ONCE] = np.diff(sums[bounds])
    return hashes


class MappedItemIds:
    """Over arrays: the ids by row, and the rows in the order of their ids' hashes."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._ids = StringTable(arrays)
        self._hashes = arrays["hashes"]
        self._hashed_rows = arrays["hashed_rows"]

    def __len__(self) -> int:
        return len(self._ids)

    def ids_at(self, rows: NDArray[np.integer[Any]]) -> list[str]:
        """See `ItemIds`."""
        return self._ids.several(rows.tolist())

    def encoded(self, rows: Sequence[int]) -> list[bytes]:
        """See `ItemIds`."""
        return self._ids.encoded(rows)

    def joined(self, rows: NDArray[np.int64]) -> JoinedNames:
        """See `ItemIds`."""
        return self._ids.joined(rows)

    def rows_of(self, item_ids: Iterable[str]) -> NDArray[np.int64]:
        """See `ItemIds`."""
        wanted = list(dict.fromkeys(item_ids))
        table = string_arrays(wanted)
        hashes = hashes_of(table)
        # In the order of the table, neighbouring searches touch the same pages.
        order = np.argsort(hashes)
        hashes = hashes[order]
        first = np.searchsorted(self._hashes, hashes, "left")
        counts = np.searchsorted(self._hashes, hashes, "right") - first
        # Rows with the hash of an id that is asked for, and the number of that id.
        rows = self._hashed_rows[ranges(first, counts)].astype(np.int64)
        asked = np.repeat(order, counts)
        found: NDArray[np.int64] = rows[self._ids.equal(rows, StringTable(table), asked)]
        return found


def item_id_arrays(item_ids: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The arrays of `MappedItemIds`, given the id of every row."""
    table = string_arrays(item_ids)
    hashes = hashes_of(table)
    order = np.argsort(hashes, kind="stable")
    return {**table, "hashes": hashes[order], "hashed_rows": order.astype(np.int32)}


class GrowingItemIds:
    """Ids of rows as they come. Each row remembers the row before it of the same id."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._earlier: list[int] = []
        self._last: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def extend(self, item_ids: Iterable[str]) -> None:
        """Append a row for each id."""
        for item_id in item_ids:
            row = len(self._ids)
            self._ids.append(item_id)
            self._earlier.append(self._last.get(item_id, -1))
            self._last[item_id] = row

    def view(self) -> ItemIdsSoFar:
        """The rows that are there now."""
        return ItemIdsSoFar(self._ids, self._earlier, self._last)


class ItemIdsSoFar:
    """The first rows of growing ids; those that follow are not seen.

    Entries are only ever added, a row before it is an id's last: readers need no lock.
    """

    def __init__(self, ids: list[str], earlier: list[int], last: dict[str, int]) -> None:
        self._ids = ids
        self._earlier = earlier
        self._last = last
        self._rows = len(ids)

    def __len__(self) -> int:
        return self._rows

    def ids_at(self, rows: NDArray[np.integer[Any]]) -> list[str]:
        """See `ItemIds`."""
        ids = self._ids
        return [ids[row] for row in rows.tolist()]

    def encoded(self, rows: Sequence[int]) -> list[bytes]:
        """See `ItemIds`."""
        ids = self._ids
        return [ids[row].encode() for row in rows]

    def joined(self, rows: NDArray[np.int64]) -> JoinedNames:
        """See `ItemIds`."""
        return JoinedNames.of(self.encoded(rows.tolist()))

    def rows_of(self, item_ids: Iterable[str]) -> NDArray[np.int64]:
        """See `ItemIds`."""
        found = []
        for item_id in dict.fromkeys(item_ids):
            row = self._last.get(item_id, -1)
            while row >= 0:
                if row < self._rows:
                    found.append(row)
                row = self._earlier[row]
        return np.array(found, dtype=np.int64)
