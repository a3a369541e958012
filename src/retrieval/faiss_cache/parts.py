"""What segment and delta found, put together: distances as the domain defines them, nearest first.

Twice the same: in NumPy for many hits, and in plain Python for few, which then takes a fraction of the time. Both give
the same bits.
"""

from __future__ import annotations

from math import sqrt
from operator import lt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.domain.model import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Names = Callable[[NDArray[np.int64]], list[tuple[str, int]]]
    """Item id and chunk index of rows: the order of what is equally near."""


class Part(NamedTuple):
    """What one index found: `similarities` and `rows`, (n, count), rows -1 at the end for want of more; the norms of
    all its rows; and the row of the view that its row 0 is.
    """

    similarities: NDArray[np.float32]
    rows: NDArray[np.int64]
    norms: NDArray[np.float32]
    first: int


def merged(
    parts: Sequence[Part], norms: NDArray[np.float64], count: int, metric: Metric, names: Names
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows and distances, both (n, count): row -1, infinitely far, for want of more. `norms`: (n,), of the queries."""
    queries = len(norms)
    found = [(_rows(part), _distances(part, norms, metric)) for part in parts]
    if not found:
        return np.full((queries, count), -1), np.full((queries, count), np.inf)
    rows, distances = found[0]
    if len(found) > 1 and rows.shape[1] == count and (found[1][1][:, 0] > distances[:, -1]).all():
        found = found[:1]  # nothing of the delta is near enough
    if len(found) > 1:
        rows = np.concatenate([r for r, _ in found], axis=1)
        distances = np.concatenate([d for _, d in found], axis=1)
    elif rows.shape[1] == count and (distances[:, 1:] > distances[:, :-1]).all():
        return rows, distances
    # Also one part may be out of order: dividing by the norms swaps neighbours.
    order = np.argsort(distances, axis=1, kind="stable")
    numbers = np.arange(queries)[:, np.newaxis]
    rows, distances = rows[numbers, order], distances[numbers, order]
    untie(rows, distances, names)
    if rows.shape[1] >= count:
        return rows[:, :count], distances[:, :count]
    room = ((0, 0), (0, count - rows.shape[1]))
    return np.pad(rows, room, constant_values=-1), np.pad(distances, room, constant_values=np.inf)


def untie(rows: NDArray[np.int64], distances: NDArray[np.float64], names: Names) -> None:
    """Order rows of equal distance by name, in place; both (n, count), distances ascending."""
    tied = distances[:, 1:] == distances[:, :-1]
    if not tied.any():
        return
    tied &= np.isfinite(distances[:, 1:])
    for number in np.flatnonzero(tied.any(axis=1)).tolist():
        real = rows[number][rows[number] >= 0]
        keys = list(zip(distances[number].tolist(), names(real), strict=False))
        rows[number, : len(real)] = real[sorted(range(len(real)), key=keys.__getitem__)]


def merged_few(
    parts: Sequence[Part], norms: Sequence[float], count: int, metric: Metric, names: Names
) -> tuple[list[int], list[float]]:
    """`merged`, the rows and distances of one query after the other, without any where there are no more."""
    found = [
        (part.similarities.tolist(), part.rows.tolist(), part.norms[part.rows].tolist(), part.first) for part in parts
    ]
    all_rows: list[int] = []
    all_distances: list[float] = []
    for number, norm in enumerate(norms):
        rows: list[int] = []
        distances: list[float] = []
        for similarities, places, row_norms, first in found:
            away = _distances_of_few(similarities[number], row_norms[number], norm, metric)
            if len(rows) == count and away[0] > distances[-1]:
                continue  # nothing of the delta is near enough
            here = [place + first for place in places[number] if place >= 0]
            rows += here
            distances += away[: len(here)]
        if not all(map(lt, distances, distances[1:])):
            keys = list(zip(distances, names(np.array(rows)), strict=True))
            order = sorted(range(len(rows)), key=keys.__getitem__)
            rows, distances = [rows[n] for n in order], [distances[n] for n in order]
        all_rows += rows[:count]
        all_distances += distances[:count]
    return all_rows, all_distances


def _rows(part: Part) -> NDArray[np.int64]:
    """Rows of the view."""
    if (part.rows[:, -1] < 0).any():
        return np.where(part.rows < 0, -1, part.rows + part.first)
    return part.rows + part.first if part.first else part.rows


def _distances(part: Part, norms: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Infinite where there is no row."""
    similarities, rows = part.similarities, part.rows
    if metric is Metric.COSINE:
        distances = similarities / (part.norms[rows] * norms[:, np.newaxis])
        np.subtract(1.0, distances, out=distances)
        np.maximum(distances, 0.0, out=distances)
    elif metric is Metric.L2:
        distances = np.sqrt(np.maximum(similarities, 0.0), dtype=np.float64)
    else:
        distances = -similarities.astype(np.float64)
    if (rows[:, -1] < 0).any():
        distances[rows < 0] = np.inf
    return distances


def _distances_of_few(similarities: list[float], norms: list[float], norm: float, metric: Metric) -> list[float]:
    """Of the rows found for one query."""
    if metric is Metric.COSINE:
        distances = [1.0 - s / (n * norm) for s, n in zip(similarities, norms, strict=True)]
        return distances if min(distances) >= 0.0 else [max(d, 0.0) for d in distances]
    if metric is Metric.L2:
        return [sqrt(max(s, 0.0)) for s in similarities]
    return [-s for s in similarities]
