"""Arrays come back as they were, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.domain.array_archive import pack, unpack

ARRAYS = {"numbers": np.arange(12, dtype=np.int32).reshape(3, 4), "none": np.zeros((0, 2), np.float32)}
PACKED = pack(ARRAYS)


def same(found: dict[str, np.ndarray]) -> bool:
    return set(found) == set(ARRAYS) and all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array) for name, array in ARRAYS.items()
    )


def test_round_trip() -> None:
    assert same(unpack(PACKED))


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_every_damaged_byte_is_found(bits: int) -> None:
    for where in range(len(PACKED)):
        damaged = bytearray(PACKED)
        damaged[where] ^= bits
        with pytest.raises(ValueError, match="not an archive"):
            unpack(bytes(damaged))


def test_what_was_cut_off_is_found() -> None:
    for end in range(len(PACKED)):
        with pytest.raises(ValueError, match="not an archive"):
            unpack(PACKED[:end])
