"""What is kept stays within its bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.application.bounded_cache import ENTRY_BYTES, BoundedCache, size_of
from retrieval.domain.filters import Filter, MatchAny, TypedValue
from retrieval.domain.model import AttributeType
from retrieval.domain.search import Predicate, SearchOptions

MOST, EACH = 5000, 2000


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2500), st.booleans())))
def test_never_more_than_the_budget(steps: list[tuple[int, int, bool]]) -> None:
    cache: BoundedCache[int, int] = BoundedCache(MOST, EACH)
    sizes: dict[int, int] = {}  # least recently used first
    for key, size, look in steps:
        if look:
            assert cache.get(key) == sizes.get(key)
            if key in sizes:
                sizes[key] = sizes.pop(key)
            continue
        cache.put(key, size, size)
        sizes.pop(key, None)
        if size <= EACH:
            sizes[key] = size
        while sum(sizes.values()) + ENTRY_BYTES * len(sizes) > MOST:
            del sizes[next(iter(sizes))]
        assert cache.size_bytes == sum(sizes.values()) + ENTRY_BYTES * len(sizes) <= MOST
        assert len(cache) == len(sizes)
    cache.clear()
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_sizes_are_those_of_all_that_is_held() -> None:
    ids = tuple(f"item-{n:05d}" for n in range(1000))
    values = tuple(TypedValue(AttributeType.KEYWORD, f"value-{n}") for n in range(1000))
    options = SearchOptions(filter=Filter((MatchAny("a", values),)), exclude_item_ids=ids)
    size = size_of(options, 10**9)
    assert size is not None
    assert size > 1000 * (60 + 60 + 48), "strings of 10 bytes are objects of 60"
    assert size_of(options, size) == size
    assert size_of(options, size - 1) is None
    assert size_of(Predicate(), 4096) is not None
    array = np.zeros(10_000)
    assert size_of((array,), 10**6) >= array.nbytes  # type: ignore[operator]


def test_a_large_value_is_not_walked_to_its_end() -> None:
    class Counting(tuple[str, ...]):
        __slots__ = ()

    endless = Counting("x" * 100 for _ in range(100_000))
    assert size_of((endless, endless), 10_000) is None
