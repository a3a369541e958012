"""Models as bytes: the same model back, and a ValueError for anything else."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.domain import model_bytes
from retrieval.domain.co_engagement import CoEngagement
from retrieval.domain.model_bytes import from_bytes, to_bytes
from tests.models import blended, two_communities

MODEL = blended(two_communities(["\u00fc", "", "a b", *(f"i{n}" for n in range(9))], 12, 4))
DATA = to_bytes(MODEL)


def same(ours: object, theirs: object) -> bool:
    if isinstance(ours, CoEngagement) and isinstance(theirs, CoEngagement):
        names = [f.name for f in fields(CoEngagement) if f.name not in {"version", "numbers"}]
        return all(same(getattr(ours, name), getattr(theirs, name)) for name in names)
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        return ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    return type(ours) is type(theirs) and ours == theirs


@pytest.mark.parametrize("with_blend", [True, False])
def test_round_trip(with_blend: bool) -> None:
    assert MODEL.blend is not None
    model = MODEL if with_blend else replace(MODEL, blend=None)
    read = from_bytes(to_bytes(model), "v7")
    assert same(read, model)
    assert read.version == "v7"
    assert [read.numbers[item_id] for item_id in model.item_ids] == list(range(len(model)))


@given(where=st.integers(0, len(DATA) - 1), bits=st.integers(1, 255))
@settings(max_examples=100)
def test_a_damaged_byte_is_found(where: int, bits: int) -> None:
    damaged = bytearray(DATA)
    damaged[where] ^= bits
    with pytest.raises(ValueError, match=r"\w"):
        from_bytes(bytes(damaged), "")


@given(end=st.integers(0, len(DATA) - 1))
@settings(max_examples=50)
def test_a_model_that_was_cut_off_is_found(end: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        from_bytes(DATA[:end], "")


@given(data=st.binary(max_size=200))
def test_anything_else_is_no_model(data: bytes) -> None:
    for each in (data, b"PK\x03\x04" + data, b"\x93NUMPY\x01\x00" + data):
        with pytest.raises(ValueError, match=r"\w"):
            from_bytes(each, "")


def test_another_format_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_bytes, "FORMAT", 2)
    with pytest.raises(ValueError, match="format 1, not 2"):
        from_bytes(DATA, "")
