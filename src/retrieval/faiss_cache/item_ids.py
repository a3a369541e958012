"""Row to item id and back. Rows are in any order; the chunks of an item are rows of the same id."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from retrieval.faiss_cache.strings import StringTable, string_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray


class ItemIds(Protocol):
    """Item ids by row."""

    def __len__(self) -> int: ...

    def ids_at(self, rows: NDArray[np.integer[Any]]) -> list[str]:
        """The item id of each of `rows` (n,)."""

    def rows_of(self, item_ids: Iterable[str]) -> NDArray[np.int64]:
        """(n,) every row of every one of the items, each once, in no particular order."""


def hashes_of(item_ids: Iterable[str]) -> NDArray[np.uint64]:
    """(n,) a hash of each id, the same in every process."""
    return np.frombuffer(b"".join([blake2b(i.encode(), digest_size=8).digest() for i in item_ids]), dtype="<u8")


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

    def rows_of(self, item_ids: Iterable[str]) -> NDArray[np.int64]:
        """See `ItemIds`."""
        wanted = list(dict.fromkeys(item_ids))
        hashes = hashes_of(wanted)
        first = np.searchsorted(self._hashes, hashes, "left")
        counts = np.searchsorted(self._hashes, hashes, "right") - first
        # The ranges [first, first + count) one after the other, and which id each belongs to.
        asked = np.repeat(np.arange(len(wanted)), counts)
        places = np.arange(len(asked)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        rows = self._hashed_rows[places]
        found = self.ids_at(rows)
        same = [wanted[a] == f for a, f in zip(asked.tolist(), found, strict=True)]
        verified: NDArray[np.int64] = rows[np.array(same, dtype=np.bool_)].astype(np.int64)
        return verified


def item_id_arrays(item_ids: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The arrays of `MappedItemIds`, given the id of every row."""
    hashes = hashes_of(item_ids)
    order = np.argsort(hashes, kind="stable")
    return {**string_arrays(item_ids), "hashes": hashes[order], "hashed_rows": order.astype(np.int32)}


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
