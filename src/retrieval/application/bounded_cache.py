"""What is kept because of what callers send has a budget in bytes; the least recently used goes first."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ENTRY_BYTES = 200
"""What an entry takes on top of key and value."""
_SHARED = (type(None), bool, Enum)


class BoundedCache(Generic[K, V]):
    """Values by key, of at most `budget` bytes together and `most_each` bytes each. Safe in any thread."""

    def __init__(self, budget: int, most_each: int) -> None:
        self._budget = budget
        self._most_each = most_each
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """The value of a key; None where none is kept."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            self._kept.move_to_end(key)
            return kept[0]

    def put(self, key: K, value: V, size: int | None = None) -> None:
        """Keep a value, unless it is too large. `size`: bytes of key and value, where the caller knows better."""
        if size is None:
            size = size_of((key, value), self._most_each)
        if size is None or size > self._most_each:
            self.drop(key)
            return
        with self._lock:
            self._forget(key)
            self._kept[key] = value, size + ENTRY_BYTES
            self.size_bytes += size + ENTRY_BYTES
            while self.size_bytes > self._budget:
                self._forget(next(iter(self._kept)))

    def drop(self, key: K) -> None:
        """Forget a value."""
        with self._lock:
            self._forget(key)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()
            self.size_bytes = 0

    def _forget(self, key: K) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.size_bytes -= kept[1]


def size_of(thing: Any, most: int) -> int | None:
    """Bytes that a frozen value takes, with all that it holds; None as soon as they are more than `most`.

    Knows dataclasses, tuples and other collections, strings, numbers and arrays. What is shared counts each time.
    """
    total = 0
    waiting = [thing]
    while waiting:
        each = waiting.pop()
        if isinstance(each, _SHARED):
            continue
        total += sys.getsizeof(each) + int(getattr(each, "nbytes", 0))
        if isinstance(each, tuple | list | Set):
            total += 8 * len(each)
            if total <= most:
                waiting.extend(each)
        elif isinstance(each, Mapping):
            waiting.extend(each.keys())
            waiting.extend(each.values())
        elif is_dataclass(each) and not isinstance(each, type):
            waiting.extend(getattr(each, field.name) for field in fields(each))
        if total > most:
            return None
    return total
