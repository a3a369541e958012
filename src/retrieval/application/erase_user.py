"""Forgets a user, in every store that holds something of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.engagement_ports import ErasedRows

if TYPE_CHECKING:
    from retrieval.application.engagement_ports import ErasesUsers
    from retrieval.application.ports import Stores


async def erase_user(stores: Stores, collection_name: str, user_id: str) -> ErasedRows:
    """Remove all of the user in the collection; what was removed. Each store does so in one step.

    A call that fails in between may be made again: what is gone stays gone.
    """
    collection = await stores.collections.get(collection_name)
    holders: tuple[ErasesUsers, ...] = (stores.engagement, stores.profiles)
    erased = ErasedRows()
    for holder in holders:
        erased += await holder.erase_user(collection, user_id)
    return erased
