"""Sets of rows."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

KEPT_PARAMETERS = 32


class Bitmap:
    """A set of rows, one bit each in the order FAISS expects (least significant first)."""

    def __init__(self, packed: NDArray[np.uint8], rows: int) -> None:
        self.packed = packed
        self.rows = rows
        self._parameters: dict[Hashable, Any] = {}

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Bitmap:
        """The rows where the mask is true."""
        return cls(np.packbits(mask, bitorder="little"), len(mask))

    @classmethod
    def full(cls, rows: int) -> Bitmap:
        """All rows."""
        return cls.of(np.ones(rows, np.bool_))

    @cached_property
    def count(self) -> int:
        """Number of rows in the set."""
        return int(np.bitwise_count(self.packed).sum())

    @cached_property
    def members(self) -> NDArray[np.int64]:
        """The rows in the set, ascending."""
        return np.flatnonzero(np.unpackbits(self.packed, count=self.rows, bitorder="little"))

    @cached_property
    def selector(self) -> Any:
        """The set as FAISS takes it."""
        return faiss.IDSelectorBitmap(self.packed)

    def parameters(self, key: Hashable, make: Callable[[Any], Any]) -> Any:
        """What `make` makes of the selector, kept for the next time: making it takes longer than a search."""
        made = self._parameters.get(key)
        if made is None:
            made = make(self.selector)
            if len(self._parameters) < KEPT_PARAMETERS:
                self._parameters[key] = made
        return made

    def holds(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of `rows` are in the set."""
        bits: NDArray[np.bool_] = (self.packed[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 == 1
        return bits

    def without(self, rows: NDArray[np.int64]) -> Bitmap:
        """The set less `rows`."""
        packed = self.packed.copy()
        np.bitwise_and.at(packed, rows >> 3, ~(np.uint8(1) << (rows & 7).astype(np.uint8)))
        return Bitmap(packed, self.rows)

    def both(self, other: Bitmap) -> Bitmap:
        """The rows in both sets."""
        return Bitmap(self.packed & other.packed, self.rows)
