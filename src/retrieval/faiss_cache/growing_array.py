"""An array that grows at its end while views of it stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

_FIRST_CAPACITY = 1024


class GrowingArray:
    """One-dimensional; appending costs what is appended, amortised.

    Elements once written never change: a view is a slice of the buffer, and growing beyond it moves to another buffer.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self._buffer: NDArray[Any] = np.empty(_FIRST_CAPACITY, dtype=dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._buffer.dtype

    def extend(self, values: ArrayLike) -> None:
        """Append values, converted to the array's type. Raises: OverflowError for an integer that it cannot hold."""
        added = np.asarray(values, dtype=self._buffer.dtype)
        end = self._length + len(added)
        if end > len(self._buffer):
            self._move(max(end, 2 * len(self._buffer)), self._buffer.dtype)
        self._buffer[self._length : end] = added
        self._length = end

    def widen(self, dtype: DTypeLike) -> None:
        """Hold elements of a larger type from now on; views keep theirs."""
        self._move(len(self._buffer), dtype)

    def view(self) -> NDArray[Any]:
        """(length,) read-only: the elements so far."""
        view = self._buffer[: self._length]
        view.flags.writeable = False
        return view

    def _move(self, capacity: int, dtype: DTypeLike) -> None:
        buffer = np.empty(capacity, dtype=dtype)
        buffer[: self._length] = self._buffer[: self._length]
        self._buffer = buffer
