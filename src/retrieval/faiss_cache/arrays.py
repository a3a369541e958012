"""One file for many arrays, mapped and shared by every process that opens it.

Layout: magic, length of the index (uint64, little-endian), the index as JSON, then each array raw at a multiple of
64 bytes. Whether the bytes are those that were written is for whoever keeps a checksum of the file.
"""

from __future__ import annotations

import json
import mmap
import os
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC = b"RARRAYS1"
ALIGNMENT = 64
_HEAD = len(MAGIC) + 8
_PLAIN_KINDS = "biuf"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one array stands: `offset` counts from the end of the index, rounded up to the alignment."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def end(self) -> int:
        return self.offset + self.dtype.itemsize * prod(self.shape)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `arrays` (booleans, integers, floats) to a new file and have the disk confirm it.

    Raises: FileExistsError; ValueError for an array of another kind.
    """
    places = []
    offset = 0
    for name, array in arrays.items():
        if array.dtype.kind not in _PLAIN_KINDS:
            raise ValueError(f"{name}: cannot store an array of {array.dtype}; convert it to numbers")
        places.append(_Place(name, array.dtype, array.shape, offset))
        offset = _aligned(places[-1].end)
    index = json.dumps([[p.name, p.dtype.str, p.shape, p.offset] for p in places]).encode()
    with path.open("xb") as file:
        file.write(MAGIC + len(index).to_bytes(8, "little") + index)
        start = _aligned(_HEAD + len(index))
        for place in places:
            file.write(bytes(start + place.offset - file.tell()))
            file.write(np.ascontiguousarray(arrays[place.name]).data)
        file.write(bytes(start + offset - file.tell()))
        file.flush()
        os.fsync(file.fileno())


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file, read-only views of one mapping, which lives as long as any of them.

    Raises: ValueError where index and length do not fit together; OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _HEAD:
            raise ValueError(f"{path}: {size} bytes are too few for a file of arrays")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(mapped[len(MAGIC) : _HEAD], "little")
    start = _aligned(_HEAD + length)
    if mapped[: len(MAGIC)] != MAGIC:
        raise ValueError(f"{path}: is not a file of arrays")
    places = _read_index(mapped[_HEAD : _HEAD + length], path)
    end = 0
    for place in places:
        if place.offset != end:
            raise ValueError(f"{path}: {place.name} should start at {end}, the index says {place.offset}")
        end = _aligned(place.end)
    if start + end != size:
        raise ValueError(f"{path}: is {size} bytes long, its index describes {start + end}")
    return {p.name: np.ndarray(p.shape, p.dtype, mapped, start + p.offset) for p in places}


def _read_index(raw: bytes, path: Path) -> list[_Place]:
    try:
        places = [_Place(str(n), np.dtype(d), tuple(s), int(o)) for n, d, s, o in json.loads(raw)]
        sound = all(p.dtype.kind in _PLAIN_KINDS and all(type(n) is int and n >= 0 for n in p.shape) for p in places)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: the index cannot be read") from error
    if not sound or len({p.name for p in places}) != len(places):
        raise ValueError(f"{path}: the index describes arrays that cannot be")
    return places


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
