"""Relationships between items: declared, withdrawn, and followed on behalf of a viewer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from retrieval.domain.errors import NotFoundError
from retrieval.domain.filters import check_filter
from retrieval.domain.model import ANONYMOUS
from retrieval.domain.search import NO_FILTER, Hit, Predicate, View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retrieval.application.ports import Stores
    from retrieval.application.search import Scope
    from retrieval.domain.filters import Filter
    from retrieval.domain.model import Collection, Viewer
    from retrieval.domain.relationships import Place, Reached, Relationship, RelationshipKey, Walk

BOOSTED_ITEMS = 10_000
"""Items that a boost knows the strength of: the strongest ones."""


@dataclass(frozen=True, slots=True)
class RelatedItems:
    """A checked request for a page; `after`: the place of the last hit of the page before."""

    collection: str
    walk: Walk
    page_size: int = 50
    after: Place | None = None
    filter: Filter = NO_FILTER
    viewer: Viewer | None = None
    view: View = View.ID_SCORE


@dataclass(frozen=True, slots=True)
class RelatedPage:
    """Hits, strongest first, each with how it was reached. `next_after`: None on the last page.

    `notes`: what is noted of each step of each hit's path.
    """

    hits: list[tuple[Hit, Reached]]
    next_after: Place | None
    notes: list[tuple[str, ...]]


async def upsert_relationships(stores: Stores, collection_name: str, relationships: Sequence[Relationship]) -> int:
    """Declare relationships, all or none."""
    collection = await stores.collections.get(collection_name)
    return await stores.relationships.upsert(collection, relationships)


async def delete_relationships(stores: Stores, collection_name: str, keys: Sequence[RelationshipKey]) -> int:
    """Withdraw relationships, all or none; those that do not exist are no error."""
    collection = await stores.collections.get(collection_name)
    return await stores.relationships.delete(collection, keys)


async def list_related_items(stores: Stores, request: RelatedItems) -> RelatedPage:
    """A page of what is related to an item, as the viewer may see it.

    Raises: NotFoundError (ITEM_NOT_FOUND), the same for an item that does not exist and one that is hidden.
    """
    collection = await stores.collections.get(request.collection)
    check_filter(request.filter, collection)
    viewer = request.viewer or ANONYMOUS
    item_id = request.walk.item_id
    if not await stores.items.get(collection, collection.active, [item_id], viewer, with_chunks=False):
        raise NotFoundError(
            f"item {item_id!r} does not exist in collection {collection.name!r} (or the viewer may not see it)",
            reason="ITEM_NOT_FOUND",
        )
    found = await stores.relationships.walk(
        collection, request.walk, Predicate(request.filter, viewer), request.after, request.page_size + 1
    )
    page = found[: request.page_size]
    hits = [(Hit(reached.item_id, reached.strength, 0.0), reached) for reached in page]
    if request.view is not View.ID_SCORE and hits:
        items = await stores.items.get(
            collection,
            collection.active,
            [reached.item_id for reached in page],
            viewer,
            with_chunks=request.view is View.FULL,
        )
        for hit, _ in hits:
            hit.item = items.get(hit.item_id)
        # What went away, or out of sight, since it was reached.
        hits = [pair for pair in hits if pair[0].item is not None]
    notes = await _notes(stores, collection, request.walk, [reached for _, reached in hits])
    return RelatedPage(hits, page[-1].place if len(found) > len(page) else None, notes)


async def _notes(stores: Stores, collection: Collection, walk: Walk, found: Sequence[Reached]) -> list[tuple[str, ...]]:
    """What is noted of each step of each path; of two relationships that make a step, the outgoing one counts."""
    paths = [
        [walk.keys(*ends, kind) for ends, kind in zip(pairwise(reached.path), reached.kinds, strict=True)]
        for reached in found
    ]
    wanted = {key for path in paths for step in path for key in step}
    known = await stores.relationships.notes(collection, wanted) if wanted else {}
    return [tuple(next((known[key] for key in step if key in known), "") for step in path) for path in paths]


async def strengths_for_boost(stores: Stores, scope: Scope) -> Mapping[str, float]:
    """How strongly items are related to those that the boost names and the viewer may see; empty without a boost."""
    boost = scope.options.boosts.related_to
    if boost is None:
        return {}
    anchors = await stores.index.admitted(
        scope.collection,
        scope.version,
        boost.item_ids,
        Predicate(viewer=scope.viewer),
        scope.options.min_consistency_token,
    )
    if not anchors:
        return {}
    return dict(await stores.relationships.neighbours(scope.collection, list(anchors), scope.viewer, BOOSTED_ITEMS))
