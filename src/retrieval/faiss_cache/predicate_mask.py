"""Predicates over columns: the rows that filter, visibility, scope and exclusions leave.

The meaning is `domain.filters.matches` and `domain.visibility.can_see`. None stands for every row, so that a search
which nothing restricts pays nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.filters import Exists, Filter, ItemIdIn, MatchAny, Range
from retrieval.domain.search import IndexScope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retrieval.domain.filters import Condition
    from retrieval.domain.model import Collection, PopularThresholds, Viewer
    from retrieval.domain.search import Predicate
    from retrieval.faiss_cache.columns import Column, Columns


def predicate_mask(
    columns: Columns, predicate: Predicate, scope: IndexScope, collection: Collection
) -> NDArray[np.bool_] | None:
    """(rows,) which rows satisfy predicate and scope, perhaps an array of the columns' own; None where all do."""
    mask = _visible(columns, predicate.viewer)
    if scope is IndexScope.POPULAR:
        mask = _both(mask, _popular(columns, collection.popular))
    if not predicate.filter.empty:
        mask = _both(mask, _filter(columns, predicate.filter))
    return _without(columns, mask, predicate.excluded_item_ids, predicate.excluded_owner_ids)


def _visible(columns: Columns, viewer: Viewer) -> NDArray[np.bool_] | None:
    if viewer.unrestricted or columns.all_listed:
        return None
    if not viewer.user_id and not viewer.group_ids:
        return columns.listed
    mask = columns.audience.admit(columns.listed.copy(), viewer.group_ids)
    return columns.owners.mark(mask, columns.owners.numbers_of([viewer.user_id]), admit=True)


def _popular(columns: Columns, thresholds: PopularThresholds) -> NDArray[np.bool_]:
    values = columns.attributes["rating_value"].within([("gte", thresholds.min_rating_value)])
    counts = columns.attributes["rating_count"].within([("gte", thresholds.min_rating_count)])
    return np.logical_and(values, counts, out=values)


def _without(
    columns: Columns, mask: NDArray[np.bool_] | None, item_ids: Sequence[str], owner_ids: Sequence[str]
) -> NDArray[np.bool_] | None:
    rows = columns.item_ids.rows_of(item_ids) if item_ids else ()
    numbers = columns.owners.numbers_of(owner_ids)
    ownerless = "" in owner_ids
    if not (len(rows) or numbers or ownerless):
        return mask
    left = _every(columns) if mask is None else mask.copy()
    if len(rows):
        left[rows] = False
    columns.owners.mark(left, numbers, admit=False)
    return np.logical_and(left, columns.owners.existing(), out=left) if ownerless else left


def _filter(columns: Columns, tree: Filter) -> NDArray[np.bool_]:
    """(rows,) new, as are all that follow: the caller may write to it."""
    mask: NDArray[np.bool_] | None = None
    for condition in tree.must:
        mask = _both(mask, _holds(columns, condition))
    if tree.should:
        some = _holds(columns, tree.should[0])
        for condition in tree.should[1:]:
            np.logical_or(some, _holds(columns, condition), out=some)
        mask = _both(mask, some)
    for condition in tree.must_not:
        refused = _holds(columns, condition)
        mask = _both(mask, np.logical_not(refused, out=refused))
    return _every(columns) if mask is None else mask


def _holds(columns: Columns, condition: Condition) -> NDArray[np.bool_]:
    match condition:
        case Filter():
            return _filter(columns, condition)
        case ItemIdIn(item_ids):
            return _items(columns, item_ids)
        case MatchAny("item_id", values):
            return _items(columns, [v.value for v in values if isinstance(v.value, str)])
        case Exists("item_id"):
            return _every(columns)
        case _:
            column = columns.attributes.get(condition.attribute)
            return _none(columns) if column is None else _satisfied(column, condition)


def _satisfied(column: Column, condition: MatchAny | Range | Exists) -> NDArray[np.bool_]:
    match condition:
        case MatchAny():
            return column.matching(v.value for v in condition.values)
        case Range():
            return column.within((name, bound.value) for name, bound in condition.bounds())
        case Exists():
            return column.existing()


def _items(columns: Columns, item_ids: Sequence[str]) -> NDArray[np.bool_]:
    mask = _none(columns)
    mask[columns.item_ids.rows_of(item_ids)] = True
    return mask


def _both(mask: NDArray[np.bool_] | None, further: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Both conditions, in the array of the second."""
    return further if mask is None else np.logical_and(mask, further, out=further)


def _every(columns: Columns) -> NDArray[np.bool_]:
    return np.ones(columns.rows, dtype=np.bool_)


def _none(columns: Columns) -> NDArray[np.bool_]:
    return np.zeros(columns.rows, dtype=np.bool_)
