"""Who may see what: the one rule that every path enforces.

The Postgres adapter states the same rule as an SQL predicate; the behavioural suite holds the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.model import ItemStatus, Visibility

if TYPE_CHECKING:
    from retrieval.domain.model import Item, Viewer


def can_see(item: Item, viewer: Viewer) -> bool:
    """Whether `viewer` may see `item`.

    Owners see their own items in any state. Everybody else sees approved items that are public or shared with one of
    their groups.
    """
    if viewer.unrestricted or (viewer.user_id and viewer.user_id == item.owner_id):
        return True
    if item.status is not ItemStatus.APPROVED:
        return False
    if item.visibility is Visibility.PUBLIC:
        return True
    return item.visibility is Visibility.GROUPS and not set(item.audience).isdisjoint(viewer.group_ids)
