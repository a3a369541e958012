"""What is known of a user, to be looked at; and the vector that the application gives for one."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.application.projections import settled_vector
from retrieval.application.search import pick_version
from retrieval.application.user_profile import PROFILE_ITEMS
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.interests import facets, labels, shares
from retrieval.domain.model import Viewer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.application.candidates.user_state import UserState, UserStates
    from retrieval.application.ports import Stores
    from retrieval.domain.interests import Facet, Interest
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.domain.owner_edges import OwnerEdges

DEFAULT_FACETS = 10
SHARES_TTL_S = 60.0
"""Counting over the catalogue takes some hundred milliseconds, and its shares move slowly."""
KEPT_SHARES = 100
"""Collections whose shares are kept: at most 1,000 values each."""


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """A checked request; `embedding_version` 0 means the active one. `group_ids`: those the user is in."""

    collection: str
    user_id: str
    embedding_version: int = 0
    facet_limit: int = DEFAULT_FACETS
    group_ids: tuple[str, ...] = ()
    min_consistency_token: str = ""


@dataclass(frozen=True, slots=True)
class UserProfile:
    """What is known of a user. Times: microseconds since the epoch, None where there is nothing they are the time of.

    `event_counts` by type; `positive_items`, `negative_items` and `seen_items` are counts.
    """

    embedding_version: int
    interests: tuple[Interest, ...]
    facets: tuple[Facet, ...]
    gaps: tuple[Facet, ...]
    event_counts: Mapping[str, int]
    positive_items: int
    negative_items: int
    seen_items: int
    edges: OwnerEdges
    newest_event_at: int | None
    oldest_event_at: int | None
    vector_set_at: int | None
    interests_at: int | None
    computed_at: int


class UserProfiles:
    """Reads profiles from the states that candidates go by, and sets vectors of users."""

    def __init__(self, stores: Stores, states: UserStates) -> None:
        self._stores = stores
        self._states = states
        self._shares: OrderedDict[int, tuple[float, Mapping[tuple[str, str], float]]] = OrderedDict()
        self._counting = asyncio.Lock()

    async def read(self, request: ProfileRequest) -> UserProfile:
        """The user's profile; an empty one where nothing is known."""
        stores = self._stores
        await self._wait_for(request.min_consistency_token)
        collection = await stores.collections.get(request.collection)
        version = pick_version(collection, request.embedding_version)
        state = await self._states.of(collection, request.user_id, fresh=bool(request.min_consistency_token))
        found, of_user, vector_set_at = await asyncio.gather(
            self._states.interests(state, version),
            self._shares_of_user(collection, version, state, request.group_ids),
            stores.profiles.vector_set_at(version, request.user_id),
        )
        taste, gaps = facets(of_user, await self._shares_of_catalogue(collection) if of_user else {})
        return UserProfile(
            version.version,
            found,
            tuple(taste[: request.facet_limit]),
            tuple(gaps[: request.facet_limit]),
            state.event_counts,
            len(state.engagement.attracting),
            len(state.engagement.repelling),
            len(state.seen),
            state.edges,
            state.newest_at,
            state.oldest_at,
            vector_set_at,
            state.interests_at.get(version.version_id) if found else None,
            time.time_ns() // 1000,
        )

    async def set_vector(
        self, collection_name: str, user_id: str, embedding_version: int, vector: NDArray[np.float32] | None
    ) -> str:
        """Set the user's vector, (n,) float32, or remove it (None); a token that orders reads after it.

        Raises: InvalidArgumentError at `vector` for one that the version does not take.
        """
        collection = await self._stores.collections.get(collection_name)
        version = pick_version(collection, embedding_version)
        stored = None
        if vector is not None:
            stored = await settled_vector(self._stores, collection, version, vector, "vector")
        await self._stores.profiles.set_vector(collection, version, user_id, stored)
        return await self._stores.items.token()

    async def _wait_for(self, token: str) -> None:
        if not token:
            return
        try:
            await self._stores.items.wait_for(token)
        except InvalidArgumentError as error:
            what = error.violations[0].description  # stores take it for an option of a search
            raise InvalidArgumentError.of("min_consistency_token", what, reason=error.reason) from error

    async def _shares_of_user(
        self, collection: Collection, version: EmbeddingVersion, state: UserState, group_ids: tuple[str, ...]
    ) -> dict[tuple[str, str], float]:
        """Shares of labels in what attracted the user, by weight; of items that the user may see, and no others."""
        strongest = list(state.engagement.attracting.items())[:PROFILE_ITEMS]
        if not strongest:
            return {}
        item_ids = [item_id for item_id, _ in strongest]
        viewer = Viewer(state.user_id, group_ids)
        items = await self._stores.items.get(collection, version, item_ids, viewer, with_chunks=False)
        return shares((w, labels(items[i], collection.attributes)) for i, w in strongest if i in items)

    async def _shares_of_catalogue(self, collection: Collection) -> Mapping[tuple[str, str], float]:
        found = self._fresh_shares(collection)
        if found is not None:
            return found
        async with self._counting:  # the first of many callers counts for all
            found = self._fresh_shares(collection)
            if found is None:
                found = await self._stores.profiles.facet_shares(collection)
                self._shares[collection.collection_id] = time.monotonic(), found
                self._shares.move_to_end(collection.collection_id)
                if len(self._shares) > KEPT_SHARES:
                    self._shares.popitem(last=False)
        return found

    def _fresh_shares(self, collection: Collection) -> Mapping[tuple[str, str], float] | None:
        read_at_s, found = self._shares.get(collection.collection_id, (0.0, None))
        return found if time.monotonic() - read_at_s < SHARES_TTL_S else None
