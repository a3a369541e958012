"""Everything a predicate asks about the rows of a cache, column by column: read from a file, or growing in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.domain.filters import attribute_of
from retrieval.domain.model import ANONYMOUS, BUILTIN_ATTRIBUTES, AttributeType, ItemStatus, Visibility
from retrieval.domain.visibility import can_see
from retrieval.faiss_cache.arrays import map_arrays, write_arrays
from retrieval.faiss_cache.growing_array import GrowingArray
from retrieval.faiss_cache.growing_keywords import GrowingKeywordLists, GrowingKeywords
from retrieval.faiss_cache.item_ids import GrowingItemIds, ItemIds, MappedItemIds, item_id_arrays
from retrieval.faiss_cache.keyword_columns import KeywordColumn, KeywordListColumn
from retrieval.faiss_cache.number_column import GrowingNumbers, NumberColumn
from retrieval.faiss_cache.predicate_mask import predicate_mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from retrieval.domain.model import Collection, Item
    from retrieval.domain.search import IndexScope, Predicate

Column = KeywordColumn | KeywordListColumn | NumberColumn
GrowingColumn = GrowingKeywords | GrowingKeywordLists | GrowingNumbers

_NUMBERS = {
    AttributeType.INT64: np.int64,
    AttributeType.DOUBLE: np.float64,
    AttributeType.BOOL: np.int8,
    AttributeType.TIMESTAMP: np.int64,
}
# The item id has a form of its own.
_BUILTIN = {name: kind for name, kind in BUILTIN_ATTRIBUTES.items() if name != "item_id"}


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows that do not change; safe to read from any thread.

    `listed`: (rows,) bool, which rows everybody may see. `audience`: the groups that may see a row which is not listed.
    `chunk_indexes`: (rows,) int32. `attributes` has the built-in ones too, the item id aside; an attribute that was
    declared after the rows were written is not among them and missing on every row. `nbytes` counts arrays.
    """

    item_ids: ItemIds
    chunk_indexes: NDArray[np.int32]
    listed: NDArray[np.bool_]
    all_listed: bool
    audience: KeywordListColumn
    attributes: Mapping[str, Column]
    nbytes: int

    @classmethod
    def open(cls, path: Path) -> Columns:
        """Map what `GrowingColumns.save` wrote. Raises: ValueError for another or a torn file; OSError."""
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        arrays = map_arrays(path)
        for name, array in arrays.items():
            part, _, member = name.rpartition("/")
            parts.setdefault(part, {})[member] = array
        try:
            row, ids = parts.pop("row"), parts.pop("item_id")
            audience = KeywordListColumn.of(parts.pop("audience"))
            attributes = dict(_open_attribute(part, members) for part, members in parts.items())
            columns = cls(
                MappedItemIds(ids),
                row["chunk_indexes"],
                row["listed"],
                bool(row["listed"].all()),
                audience,
                attributes,
                sum(a.nbytes for a in arrays.values()),
            )
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path}: is not a file of columns: {error}") from error
        return columns

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.chunk_indexes)

    def admitted(self, predicate: Predicate, scope: IndexScope, collection: Collection) -> NDArray[np.bool_] | None:
        """(rows,) which rows satisfy predicate and scope, not to be written to; None where all do."""
        return predicate_mask(self, predicate, scope, collection)

    def owners_at(self, rows: NDArray[np.integer[Any]]) -> list[str]:
        """The owner of each of `rows` (n,); empty where there is none."""
        return self.owners.values_at(rows)

    def numbers_at(self, attribute: str, rows: NDArray[np.integer[Any]]) -> list[int]:
        """A built-in whole-number attribute of each of `rows` (n,); 0 where there is none."""
        column = self.attributes[attribute]
        assert isinstance(column, NumberColumn)
        return column.values_at(rows)

    @property
    def owners(self) -> KeywordColumn:
        """The column of owner ids."""
        column = self.attributes["owner_id"]
        assert isinstance(column, KeywordColumn)
        return column


class GrowingColumns:
    """Rows that are appended to, by one thread at a time. `attributes`: those that the collection declares."""

    def __init__(self, attributes: Mapping[str, AttributeType]) -> None:
        self._types = {**_BUILTIN, **attributes}
        self._item_ids = GrowingItemIds()
        self._chunk_indexes = GrowingArray(np.int32)
        self._listed = GrowingArray(np.bool_)
        self._all_listed = True
        self._audience = GrowingKeywordLists()
        self._attributes = {name: _growing(kind) for name, kind in self._types.items()}

    @property
    def rows(self) -> int:
        """Number of rows so far."""
        return len(self._chunk_indexes)

    def append(self, items: Sequence[Item], chunk_indexes: Sequence[int]) -> None:
        """Append one row an item: the chunk of it that stands beside it in `chunk_indexes`."""
        listed = [can_see(item, ANONYMOUS) for item in items]
        for name, column in self._attributes.items():
            column.extend(_values(items, name))
        # Only where it opens the item: rows of another visibility or status have readers by no group.
        self._audience.extend(
            [
                i.audience if i.visibility is Visibility.GROUPS and i.status is ItemStatus.APPROVED else None
                for i in items
            ]
        )
        self._item_ids.extend([item.item_id for item in items])
        self._listed.extend(listed)
        self._all_listed &= all(listed)
        self._chunk_indexes.extend(chunk_indexes)

    def view(self) -> Columns:
        """The rows so far; stays as it is while more are appended, also in another thread."""
        chunk_indexes, listed, audience = self._chunk_indexes.view(), self._listed.view(), self._audience.view()
        attributes = {name: column.view() for name, column in self._attributes.items()}
        nbytes = chunk_indexes.nbytes + listed.nbytes + audience.nbytes + sum(c.nbytes for c in attributes.values())
        return Columns(self._item_ids.view(), chunk_indexes, listed, self._all_listed, audience, attributes, nbytes)

    def save(self, path: Path, order: NDArray[np.int64]) -> None:
        """Write the rows in `order`, (n,), to a new file for `Columns.open`. Raises: FileExistsError, OSError."""
        parts = {
            "row": {"chunk_indexes": self._chunk_indexes.view()[order], "listed": self._listed.view()[order]},
            "item_id": item_id_arrays(self._item_ids.view().ids_at(order)),
            "audience": self._audience.arrays(order),
            **{f"{self._types[name].value}/{name}": column.arrays(order) for name, column in self._attributes.items()},
        }
        write_arrays(
            path, {f"{part}/{name}": array for part, members in parts.items() for name, array in members.items()}
        )


def _values(items: Sequence[Item], name: str) -> list[Any]:
    """An attribute of each item; declared ones without the search among the built-in ones, which takes as long."""
    if name in _BUILTIN:
        return [attribute_of(item, name) for item in items]
    return [item.attributes.get(name) for item in items]


def _growing(kind: AttributeType) -> GrowingColumn:
    match kind:
        case AttributeType.KEYWORD:
            return GrowingKeywords()
        case AttributeType.KEYWORD_LIST:
            return GrowingKeywordLists()
        case _:
            return GrowingNumbers(_NUMBERS[kind])


def _open_attribute(part: str, arrays: Mapping[str, NDArray[Any]]) -> tuple[str, Column]:
    kind, _, name = part.partition("/")
    match AttributeType(kind):
        case AttributeType.KEYWORD:
            return name, KeywordColumn.of(arrays)
        case AttributeType.KEYWORD_LIST:
            return name, KeywordListColumn.of(arrays)
        case _:
            return name, NumberColumn.of(arrays)
