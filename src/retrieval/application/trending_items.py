"""What trends, as one viewer may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.domain.filters import Filter, ItemIdIn, check_filter
from retrieval.domain.model import ANONYMOUS
from retrieval.domain.search import NO_FILTER, Contribution, Hit, Predicate, View
from retrieval.domain.trending import DEFAULT_WINDOW_S, MAX_TRENDING

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Viewer

SMALLEST_LOOK = 100
"""Items looked up at once at least: a filter may leave few of them."""


@dataclass(frozen=True, slots=True)
class TrendingItems:
    """A checked request for a page; `after`: how many places of the list the pages before went through."""

    collection: str
    window_s: int = DEFAULT_WINDOW_S
    page_size: int = 50
    after: int = 0
    filter: Filter = NO_FILTER
    viewer: Viewer | None = None
    view: View = View.ID_SCORE


@dataclass(frozen=True, slots=True)
class TrendingPage:
    """Hits, best first. `next_after`: where the next page begins, 0 on the last one; `refreshed_at` of the list."""

    hits: list[Hit]
    next_after: int
    refreshed_at: int | None


async def list_trending_items(stores: Stores, request: TrendingItems) -> TrendingPage:
    """A page of what trends and the viewer may see; ranks are those of the whole list."""
    collection = await stores.collections.get(request.collection)
    check_filter(request.filter, collection)
    listed = await stores.engagement.trending(collection, request.window_s, MAX_TRENDING)
    refreshed_at = await stores.engagement.trending_refreshed_at(collection, request.window_s)
    hits: list[Hit] = []
    look = max(SMALLEST_LOOK, 2 * request.page_size)
    for start in range(request.after, len(listed), look):
        part = listed[start : start + look]
        # What the caller asked for and who may see what is decided by the store, as for every list of items.
        tree = Filter(must=(ItemIdIn(tuple(item_id for item_id, _ in part)), request.filter))
        items = await stores.items.list_after(
            collection,
            collection.active,
            "",
            len(part),
            Predicate(tree, request.viewer or ANONYMOUS),
            with_chunks=request.view is View.FULL,
        )
        found = {item.item_id: item for item in items}
        for rank, (item_id, score) in enumerate(part, start=start + 1):
            if item_id not in found:
                continue
            if len(hits) == request.page_size:
                return TrendingPage(hits, hits[-1].contributions[0].rank, refreshed_at)
            hit = Hit(item_id, score, 0.0, contributions=(Contribution("trending", rank, score),))
            hit.item = None if request.view is View.ID_SCORE else found[item_id]
            hits.append(hit)
    return TrendingPage(hits, 0, refreshed_at)
