"""Searches of a view in which items have several rows: so many items are wanted, each by its best row.

The index knows rows alone. A look takes several for each item that is wanted; where few items fill them with their many
rows, the next look takes more, and the last one as many as there can be. All rows of the items that a graph found are
then compared: it may have missed the best of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.domain.model import MAX_CHUNKS
from retrieval.domain.search import Stage
from retrieval.faiss_cache.answers import Rows
from retrieval.faiss_cache.delta import COMPARED_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retrieval.domain.search import SearchParams
    from retrieval.faiss_cache.answers import Admitted
    from retrieval.faiss_cache.view import View

LOOKS = (4, 32, MAX_CHUNKS)
"""Rows for each item wanted, look by look. One is enough where items have a few chunks; the last is always enough."""


class Look(NamedTuple):
    """What a look found: the best row of each item. `short`: another look, at more rows, may find more items."""

    found: Rows
    exhausted: bool
    short: bool


def search_items(
    view: View,
    query: NDArray[np.float32],
    count: int,
    admitted: Admitted,
    params: SearchParams,
    per_item: int,
    time_us: float,
) -> Look:
    """`View.search` for `count` items by one query, (1, dim) float32, among `per_item` rows for each."""
    wide = min(count * per_item, max(admitted.count, 1))
    near = view.search(query, wide, admitted, params, time_us)
    rows = near.rows[0][near.rows[0] >= 0]
    best: dict[str, int] = {}
    for place, item_id in enumerate(view.item_ids(rows)):
        best.setdefault(item_id, place)
    items, places = list(best)[:count], list(best.values())[:count]
    complete = len(rows) >= admitted.count
    if _is_exact(view, near):
        kept, distances = rows[places], near.distances[0, places]
    else:
        kept, distances = _best(view, query, view.living_rows_of(items), view.version.dimension, count)
    stages = tuple(Stage(s.dimension, max(s.candidate_count * count // wide, count)) for s in near.stages)
    found = Rows(kept[np.newaxis], distances[np.newaxis], admitted.count, near.effort, stages, near.reduced)
    return Look(found, complete and len(best) <= count, len(best) < count and not complete)


def _is_exact(view: View, near: Rows) -> bool:
    """Whether every row was compared on all components: then the first row of an item is its best."""
    if near.effort or view.delta.rows > COMPARED_ROWS:
        return False
    return view.segment is None or view.segment.manifest.dimension == view.version.dimension


def refine_items(
    view: View,
    query: NDArray[np.float32],
    stages: Sequence[Stage],
    admitted: Admitted,
    params: SearchParams,
    per_item: int,
) -> Look:
    """`View.refine` with stages that keep items."""
    wide = view.width_of(stages[0]) * per_item
    rows = view.proposed_among(query, wide, admitted, params)
    items = list(dict.fromkeys(view.item_ids(rows)))
    complete = len(rows) >= admitted.count
    wanted = stages[-1].candidate_count
    kept, distances = view.living_rows_of(items), np.zeros(0)
    for number, stage in enumerate(stages):
        if number:
            kept = view.living_rows_of(view.item_ids(kept))
        kept, distances = _best(view, query, kept, stage.dimension, stage.candidate_count)
    found = Rows(kept[np.newaxis], distances[np.newaxis], admitted.count, wide, tuple(stages))
    return Look(found, complete and len(items) <= wanted, len(items) < stages[0].candidate_count and not complete)


def _best(
    view: View, query: NDArray[np.float32], rows: NDArray[np.int64], dimension: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest row of each item in `rows`, of the nearest `count` items, nearest first, with their distances."""
    distances = view.compared(query, rows, dimension)
    item_ids, chunks = view.item_ids(rows), view.chunk_indexes(rows)
    best: dict[str, int] = {}
    for row in np.lexsort((np.array(chunks), distances)).tolist():
        best.setdefault(item_ids[row], row)
    away = distances.tolist()
    order = sorted(best.values(), key=lambda row: (away[row], item_ids[row]))[:count]
    return rows[order], distances[order]
