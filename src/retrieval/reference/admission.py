"""Which items a predicate admits, by the domain's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.filters import matches
from retrieval.domain.search import IndexScope
from retrieval.domain.visibility import can_see

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from retrieval.domain.model import Collection, Item
    from retrieval.domain.search import Predicate


def admitted(
    items: Iterable[Item], predicate: Predicate, collection: Collection, scope: IndexScope = IndexScope.FULL
) -> Iterator[Item]:
    """The items that satisfy predicate and scope, in the order given."""
    excluded = frozenset(predicate.excluded_item_ids)
    excluded_owners = frozenset(predicate.excluded_owner_ids)
    for item in items:
        if (
            item.item_id not in excluded
            and item.owner_id not in excluded_owners
            and can_see(item, predicate.viewer)
            and matches(predicate.filter, item)
            and (scope is IndexScope.FULL or is_popular(item, collection))
        ):
            yield item


def is_popular(item: Item, collection: Collection) -> bool:
    """Whether the item reaches the collection's thresholds; an item without a rating does not."""
    popular = collection.popular
    return (
        item.rating_value is not None
        and item.rating_value >= popular.min_rating_value
        and item.rating_count >= popular.min_rating_count
    )
