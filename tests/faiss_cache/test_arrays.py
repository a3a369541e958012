"""The file of arrays: what is written is read, and a file that is cut off or contradicts itself is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from retrieval.faiss_cache.arrays import MAGIC, map_arrays, write_arrays
from retrieval.faiss_cache.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

ARRAYS: dict[str, NDArray[Any]] = {
    "flags": np.array([True, False, True]),
    "nothing": np.zeros(0, dtype=np.uint32),
    "table ü": np.arange(35, dtype=np.float16).reshape(5, 7),
    "strided": np.arange(20, dtype=np.int64)[::3],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "arrays"
    write_arrays(written, ARRAYS)
    return written


def test_what_is_written_is_read(path: Path) -> None:
    found = map_arrays(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert not found[name].flags.writeable
        assert found[name].ctypes.data % 64 == 0 or not array.size


def test_no_arrays(tmp_path: Path) -> None:
    write_arrays(tmp_path / "none", {})
    assert map_arrays(tmp_path / "none") == {}


def test_a_file_is_never_overwritten(path: Path) -> None:
    with pytest.raises(FileExistsError):
        write_arrays(path, ARRAYS)


def test_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names: cannot store"):
        write_arrays(tmp_path / "a", {"names": np.array(["a", None])})


def test_every_truncation_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="arrays"):
            map_arrays(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="its index describes"):
        map_arrays(path)


Index = list[list[Any]]


def _drop(index: Index) -> Index:
    return index[:-1]


def _lengthen(index: Index) -> Index:
    index[-1][2] = [1000]
    return index


def _overlap(index: Index) -> Index:
    index[1][3] = 0
    return index


def _repeat(index: Index) -> Index:
    index[1][0] = index[0][0]
    return index


def _negative(index: Index) -> Index:
    index[-1][2] = [-1]
    return index


def _pointers(index: Index) -> Index:
    index[-1][1] = "|O"
    return index


def _nonsense(index: Index) -> Index:
    return [["flags", "no type", [3], 0]]


@pytest.mark.parametrize("change", [_drop, _lengthen, _overlap, _repeat, _negative, _pointers, _nonsense])
def test_an_inconsistent_index_is_refused(path: Path, change: Callable[[Index], Index]) -> None:
    whole = path.read_bytes()
    length = int.from_bytes(whole[8:16], "little")
    index = json.dumps(change(json.loads(whole[16 : 16 + length]))).encode().ljust(length)
    body = whole[16 + length :]
    path.write_bytes(MAGIC + len(index).to_bytes(8, "little") + index + body)
    with pytest.raises(ValueError, match="index"):
        map_arrays(path)


def test_a_file_of_other_arrays_is_not_one_of_columns(path: Path) -> None:
    with pytest.raises(ValueError, match="not a file of columns"):
        Columns.open(path)


def test_something_else_is_not_a_file_of_arrays(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a text that is long enough to be mistaken for one\n" * 10)
    with pytest.raises(ValueError, match="not a file of arrays"):
        map_arrays(tmp_path / "text")
