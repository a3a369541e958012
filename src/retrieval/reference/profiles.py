"""Models as bytes, the log as a whole, and what is kept of users, in memory; implements the ports of candidates."""

from __future__ import annotations

from collections import Counter
from heapq import nsmallest
from typing import TYPE_CHECKING

from retrieval.application.candidate_ports import StoredProfile
from retrieval.application.engagement_ports import ErasedRows
from retrieval.domain.interests import labels
from retrieval.domain.model import ANONYMOUS
from retrieval.domain.visibility import can_see

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.domain.interests import Interest
    from retrieval.domain.model import Collection, EmbeddingVersion, Event
    from retrieval.domain.model_registry import ModelVersion
    from retrieval.reference.memory import Memory
    from retrieval.reference.user_feed import ReferenceUserFeed

SMALL_BATCH = 2_000


class ReferenceProfiles:
    """Stores and reads what candidates keep."""

    def __init__(self, memory: Memory, feed: ReferenceUserFeed) -> None:
        self._memory = memory
        self._feed = feed
        self._artifacts: dict[int, bytes] = {}
        self._interests: dict[tuple[int, str], StoredProfile] = {}
        self._vectors: dict[tuple[int, str], tuple[NDArray[np.float16], int]] = {}

    async def engagements(self, collection: Collection) -> AsyncIterator[list[Event]]:
        """See `EventArchive`."""
        events = self._memory.held(collection).events.values()
        yield sorted(events, key=lambda e: (e.user_id, e.occurred_at, e.item_id, e.event_id))

    async def latest(self, collection: Collection, count: int) -> AsyncIterator[list[Event]]:
        """See `EventArchive`."""
        events = self._memory.held(collection).events.values()
        found = nsmallest(count, events, key=lambda e: (-e.occurred_at, e.user_id, e.item_id, e.event_id))
        for start in range(0, len(found), SMALL_BATCH):
            yield found[start : start + SMALL_BATCH]

    async def save(self, model: ModelVersion, data: bytes) -> None:
        """See `ArtifactStore`."""
        self._artifacts[model.model_version_id] = data

    async def load(self, model: ModelVersion) -> bytes | None:
        """See `ArtifactStore`."""
        return self._artifacts.get(model.model_version_id)

    async def save_interests(self, version: EmbeddingVersion, user_id: str, interests: Sequence[Interest]) -> None:
        """See `ProfileStore`."""
        self._interests.pop((version.version_id, user_id), None)
        known = any(user == user_id for user, *_ in self._memory.holding(version.version_id).events)
        if known and interests:
            self._interests[version.version_id, user_id] = StoredProfile(tuple(interests), self._memory.now_us())

    async def stored(self, version: EmbeddingVersion, user_id: str) -> StoredProfile | None:
        """See `ProfileStore`."""
        return self._interests.get((version.version_id, user_id))

    async def set_vector(
        self,
        collection: Collection,
        version: EmbeddingVersion,
        user_id: str,
        vector: NDArray[np.float16] | None,
    ) -> None:
        """See `ProfileStore`."""
        self._memory.held(collection)
        if vector is None:
            self._vectors.pop((version.version_id, user_id), None)
        else:
            self._vectors[version.version_id, user_id] = vector, self._memory.now_us()
        self._feed.announce(collection.collection_id, [user_id])

    async def vector(self, version: EmbeddingVersion, user_id: str) -> NDArray[np.float16] | None:
        """See `ProfileStore`."""
        found = self._vectors.get((version.version_id, user_id))
        return None if found is None else found[0]

    async def vector_set_at(self, version: EmbeddingVersion, user_id: str) -> int | None:
        """See `ProfileStore`."""
        found = self._vectors.get((version.version_id, user_id))
        return None if found is None else found[1]

    async def facet_shares(self, collection: Collection) -> dict[tuple[str, str], float]:
        """See `ProfileStore`."""
        listed = [item for item in self._memory.held(collection).items.values() if can_see(item, ANONYMOUS)]
        found: Counter[tuple[str, str]] = Counter()
        for item in listed:
            found.update(labels(item, collection.attributes))
        ranked = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
        return {key: count / len(listed) for key, count in ranked[:1000]}

    async def erase_user(self, collection: Collection, user_id: str) -> ErasedRows:
        """See `ProfileStore`."""
        versions = {version.version_id for version in self._memory.held(collection).collection.versions}
        gone = 0
        for held in (self._interests, self._vectors):
            for key in [key for key in held if key[0] in versions and key[1] == user_id]:
                del held[key]
                gone += 1
        self._feed.announce(collection.collection_id, [user_id])
        return ErasedRows(profiles=gone)
