"""What candidates need beyond searches: the whole log for training, trained models, and what is kept of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.application.engagement_ports import ErasedRows
    from retrieval.domain.interests import Interest
    from retrieval.domain.model import Collection, EmbeddingVersion, Event
    from retrieval.domain.model_registry import ModelVersion


class ItemFacts(NamedTuple):
    """What reranking and exclusion need of an item. `created_at`: microseconds since the epoch."""

    owner_id: str
    created_at: int
    rating_count: int


class StoredProfile(NamedTuple):
    """Interests as last stored, and when, in microseconds since the epoch. Their `item_ids` hold the medoid alone."""

    interests: tuple[Interest, ...]
    updated_at: int


class EventArchive(Protocol):
    """The events of a collection as a whole, to learn from."""

    def engagements(self, collection: Collection) -> AsyncIterator[list[Event]]:
        """Every event as of one moment, by user, then time, in batches: user, item, type, time, value, dwell."""
        ...

    def latest(self, collection: Collection, count: int) -> AsyncIterator[list[Event]]:
        """The `count` latest events as of one moment, newest first, in small batches, with the same of each."""
        ...


class ArtifactStore(Protocol):
    """Trained models as bytes."""

    async def save(self, model: ModelVersion, data: bytes) -> None:
        """Keep the bytes of a registered model, in place of those it had."""
        ...

    async def load(self, model: ModelVersion) -> bytes | None:
        """The bytes of a model; None where there are none."""
        ...


class ProfileStore(Protocol):
    """What is kept of users beside their events: interests, and vectors that the application gives."""

    async def save_interests(self, version: EmbeddingVersion, user_id: str, interests: Sequence[Interest]) -> None:
        """Replace the user's interests in that embedding version; of a user without events none are kept.

        So what was worked out just before a user was forgotten is not stored just after.
        """
        ...

    async def stored(self, version: EmbeddingVersion, user_id: str) -> StoredProfile | None:
        """The interests as last stored."""
        ...

    async def set_vector(
        self, collection: Collection, version: EmbeddingVersion, user_id: str, vector: NDArray[np.float16] | None
    ) -> None:
        """Keep a vector, (dim,) float16 in stored form, that stands for the user; None removes it. `UserFeed` tells."""
        ...

    async def vector(self, version: EmbeddingVersion, user_id: str) -> NDArray[np.float16] | None:
        """The vector that was set for the user, (dim,) float16."""
        ...

    async def vector_set_at(self, version: EmbeddingVersion, user_id: str) -> int | None:
        """When that vector was set, in microseconds since the epoch; None where there is none."""
        ...

    async def facet_shares(self, collection: Collection) -> Mapping[tuple[str, str], float]:
        """Share of the listed items by (attribute, value), for keyword attributes and `tags`: the commonest 1,000.

        Then by attribute and value. Of a large catalogue the newest items stand for all.
        """
        ...

    async def erase_user(self, collection: Collection, user_id: str) -> ErasedRows:
        """Remove what is kept here of the user, in all embedding versions; see `ErasesUsers`. `UserFeed` tells."""
        ...
