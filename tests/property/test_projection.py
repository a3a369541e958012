"""Vectors of the input dimension are projected, those of the dimension are not, and all others are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import Metric
from retrieval.domain.projection import Projection, settle, settle_rows
from retrieval.domain.vectors import to_half

METRICS = st.sampled_from(list(Metric))


def a_projection(seed: int, dimension: int, size: int, *, bias: bool = True) -> Projection:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((dimension, size)).astype(np.float32)
    return Projection(weights, rng.standard_normal(dimension).astype(np.float32) if bias else None)


@given(
    seed=st.integers(0, 2**32 - 1),
    dimension=st.integers(1, 40),
    size=st.integers(1, 40),
    count=st.integers(0, 8),
    bias=st.booleans(),
)
def test_the_formula(seed: int, dimension: int, size: int, count: int, *, bias: bool) -> None:
    projection = a_projection(seed, dimension, size, bias=bias)
    rows = np.random.default_rng(seed + 1).standard_normal((count, size)).astype(np.float32)
    got = projection.project(rows)
    assert got.dtype == np.float32
    assert got.shape == (count, dimension)
    shift = np.zeros(dimension) if projection.bias is None else projection.bias.astype(np.float64)
    for row, result in zip(rows.astype(np.float64), got, strict=True):
        for number in range(dimension):
            expected = sum(w * x for w, x in zip(projection.weights[number].tolist(), row.tolist(), strict=True))
            assert result[number] == pytest.approx(expected + shift[number], abs=1e-4)


@given(seed=st.integers(0, 2**32 - 1), dimension=st.integers(1, 12), size=st.integers(1, 12), metric=METRICS)
def test_many_at_once_are_as_one_by_one(seed: int, dimension: int, size: int, metric: Metric) -> None:
    projection = a_projection(seed, dimension, size)
    for length in {dimension, size}:
        rows = np.random.default_rng(seed + 2).standard_normal((5, length)).astype(np.float32)
        together = settle_rows(rows, dimension, metric, projection)
        assert together is not None
        for row, one in zip(rows, together, strict=True):
            alone = settle(row, dimension, metric, "v", projection)
            assert alone.dtype == np.float16
            np.testing.assert_allclose(one.astype(np.float64), alone.astype(np.float64), rtol=2e-3, atol=1e-3)


@given(seed=st.integers(0, 2**32 - 1), metric=METRICS)
def test_what_has_the_dimension_is_left_as_it_is(seed: int, metric: Metric) -> None:
    row = np.random.default_rng(seed).standard_normal(4).astype(np.float32)
    expected = to_half(row, 4, metric, "v")
    assert np.array_equal(settle(row, 4, metric, "v", a_projection(seed, 4, 6)), expected)
    assert np.array_equal(settle(row, 4, metric, "v", None), expected)


def refused(vector: list[float], projection: Projection | None, metric: Metric = Metric.COSINE) -> tuple[str, str]:
    with pytest.raises(InvalidArgumentError) as raised:
        settle(np.array(vector, np.float32), 2, metric, "here", projection)
    (violation,) = raised.value.violations
    assert violation.field == "here"
    assert settle_rows(np.array([vector], np.float32), 2, metric, projection) is None
    return raised.value.reason, violation.description


def test_refusals() -> None:
    drop = Projection(np.array([[1, 0, 0], [0, 1, 0]], np.float32))
    reason, message = refused([1, 2, 3, 4], drop)
    assert reason == "DIMENSION_MISMATCH"
    assert "has 4 components" in message
    assert "takes 2, or 3 to be projected" in message
    assert refused([1, 2, 3], None) == ("DIMENSION_MISMATCH", "has 3 components, the embedding version takes 2")
    assert refused([1, float("nan"), 0], drop)[0] == "VECTOR_NOT_FINITE"
    assert refused([1, 1, float("inf")], drop)[0] == "VECTOR_NOT_FINITE"
    reason, message = refused([0, 0, 7], drop)
    assert reason == "VECTOR_ZERO"
    assert message.startswith("once projected, ")
    large = Projection(np.full((2, 3), 3e38, np.float32))
    assert refused([3, 3, 3], large, Metric.L2)[0] == "VECTOR_NOT_FINITE"
    assert refused([70000, 0, 0], drop, Metric.L2)[0] == "VECTOR_OUT_OF_RANGE"
