"""What the use cases need from the outside. Adapters implement these protocols; use cases know nothing else.

Every method may raise `UnavailableError` when the store cannot be reached, and `asyncio.CancelledError`, on which an
adapter stops the work it has under way (a running SQL statement is cancelled).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.application.attachment_ports import AttachmentStore
    from retrieval.application.bandit_ports import BanditStore
    from retrieval.application.cache_ports import VectorCache
    from retrieval.application.candidate_ports import ArtifactStore, EventArchive, ItemFacts, ProfileStore
    from retrieval.application.embedding_job_ports import EmbeddingJobStore
    from retrieval.application.engagement_ports import EngagementStore, UserFeed
    from retrieval.application.hybrid_ports import TextIndex
    from retrieval.application.maintenance_ports import MaintenanceStore
    from retrieval.application.projection_ports import ProjectionStore
    from retrieval.application.relationship_ports import RelationshipStore
    from retrieval.application.training_ports import ModelRegistry, PairStore
    from retrieval.domain.engagement import EventType
    from retrieval.domain.model import (
        AttributeType,
        ChunkPlace,
        Collection,
        EmbeddingVersion,
        Event,
        Item,
        PopularThresholds,
        Viewer,
    )
    from retrieval.domain.projection import Projection
    from retrieval.domain.search import IndexAnswer, IndexQuery, Predicate


@dataclass(frozen=True, slots=True)
class WriteReceipt:
    """What a write did. `token` orders it against reads: see `ItemStore.token`."""

    count: int
    token: str


@dataclass(frozen=True, slots=True)
class EventReceipt:
    """What recording events did."""

    recorded: int
    duplicates: int
    token: str


class IndexKind(Enum):
    """Kind of an index of an embedding version."""

    HNSW = "hnsw"
    IVFFLAT = "ivfflat"
    POPULAR_HNSW = "popular_hnsw"
    ATTRIBUTE = "attribute"


class IndexState(Enum):
    """Life of an index build."""

    QUEUED = "queued"
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """Which indexes to build and how; None leaves the value to the documented defaults."""

    kinds: frozenset[IndexKind]
    m: int | None = None
    ef_construction: int | None = None
    lists: int | None = None
    rebuild: bool = False


@dataclass(frozen=True, slots=True)
class IndexReport:
    """One index as it stands. `progress` in [0, 1]; `dimension` 0 for attribute indexes; unused settings 0.

    `lists_wanted`: what the present number of rows asks for, or a caller did; `built_rows`: rows at its last build.
    """

    name: str
    kind: IndexKind
    state: IndexState
    dimension: int = 0
    progress: float = 0.0
    size_bytes: int = 0
    generation: int = 0
    phase: str = ""
    error: str = ""
    m: int = 0
    ef_construction: int = 0
    lists: int = 0
    build_ms: int = 0
    lists_wanted: int = 0
    built_rows: int = 0


@dataclass(frozen=True, slots=True)
class VersionReport:
    """Size of an embedding version and its indexes."""

    row_count: int
    table_bytes: int
    indexes: tuple[IndexReport, ...]
    dead_row_count: int = 0


class CollectionStore(Protocol):
    """Collections and their embedding versions."""

    async def create(
        self, collection: Collection, version: EmbeddingVersion, projection: Projection | None = None
    ) -> Collection:
        """Create both; the version becomes active. `projection`: see `create_version`.

        Raises: AlreadyExistsError (COLLECTION_EXISTS).
        """
        ...

    async def get(self, name: str) -> Collection:
        """The collection as it stands now. Raises: NotFoundError (COLLECTION_NOT_FOUND)."""
        ...

    def peek(self, name: str) -> Collection | None:
        """The collection as `get` would give it, where it can without asking the store."""
        ...

    async def list_after(self, name: str, count: int) -> list[Collection]:
        """Up to `count` collections with a name greater than `name`, by name."""
        ...

    async def update(
        self,
        name: str,
        add_attributes: Mapping[str, AttributeType],
        popular: PopularThresholds | None,
        rating_scale_max: float | None,
        event_types: Mapping[str, EventType] | None = None,
    ) -> Collection:
        """Declare attributes and change settings; None leaves a setting, and so does an event type not named."""
        ...

    async def delete(self, name: str) -> None:
        """Delete the collection with everything in it."""
        ...

    async def create_version(
        self, name: str, version: EmbeddingVersion, projection: Projection | None = None
    ) -> EmbeddingVersion:
        """Add a version in state BUILDING; with a projection, its input dimension becomes the version's."""
        ...

    async def activate_version(self, name: str, version: int, *, allow_incomplete: bool = False) -> Collection:
        """Swap the active version, atomically.

        Raises: FailedPreconditionError (VERSION_EMPTY; VERSION_INCOMPLETE while texts have no embedding in a version
        that embeds them, unless `allow_incomplete`).
        """
        ...

    async def rollback_version(self, name: str) -> Collection:
        """Reactivate the version that was active before. Raises: FailedPreconditionError (NO_PREVIOUS_VERSION)."""
        ...


class ItemStore(Protocol):
    """Items, durable once a write returns."""

    async def upsert(
        self,
        collection: Collection,
        version: EmbeddingVersion,
        items: Sequence[Item],
        request_id: str,
        fingerprint: bytes,
    ) -> WriteReceipt:
        """Insert or replace `items` (distinct ids), all or none.

        In versions that embed texts, embeddings stay and jobs are queued as `text_effect` says.

        With a `request_id` that was applied before: return its receipt if `fingerprint` is the same, else raise
        FailedPreconditionError (REQUEST_ID_REUSED).
        """
        ...

    async def delete(
        self, collection: Collection, item_ids: Sequence[str], request_id: str, fingerprint: bytes
    ) -> WriteReceipt:
        """Delete items in every version; `count` is how many existed. `request_id` as in `upsert`."""
        ...

    async def get(
        self,
        collection: Collection,
        version: EmbeddingVersion,
        item_ids: Sequence[str],
        viewer: Viewer,
        *,
        with_chunks: bool,
    ) -> dict[str, Item]:
        """Items that exist and that `viewer` may see; payload and chunks only `with_chunks`."""
        ...

    async def get_placed(
        self, collection: Collection, version: EmbeddingVersion, chunks: Mapping[str, int], viewer: Viewer
    ) -> dict[str, tuple[Item, ChunkPlace | None]]:
        """Items as `get` gives them without chunks, each with where the chunk is that `chunks` names by item.

        None in place of a chunk that does not exist.
        """
        ...

    async def list_after(
        self,
        collection: Collection,
        version: EmbeddingVersion,
        item_id: str,
        count: int,
        predicate: Predicate,
        *,
        with_chunks: bool,
    ) -> list[Item]:
        """Up to `count` items with an id greater than `item_id`, by id in code-point order."""
        ...

    async def popular(self, collection: Collection, predicate: Predicate, count: int) -> list[tuple[str, int]]:
        """(item id, rating count) of the most rated items, then by rating value, then by id."""
        ...

    async def token(self) -> str:
        """Token of the present state: a search that presents it reflects all writes acknowledged so far."""
        ...

    async def wait_for(self, token: str) -> None:
        """Return once reads reflect `token`. Raises: InvalidArgumentError (BAD_CONSISTENCY_TOKEN)."""
        ...


class VectorIndex(Protocol):
    """Nearest items to a vector."""

    async def search(self, query: IndexQuery) -> IndexAnswer:
        """Nearest items that satisfy the query's predicate, each by its best chunk however many it has.

        Raises: FailedPreconditionError (INDEX_NOT_READY).
        """
        ...

    async def rank(self, query: IndexQuery, item_ids: Sequence[str]) -> IndexAnswer:
        """Exact distances of the best chunk of each of `item_ids` that satisfies the predicate, nearest first."""
        ...

    async def vectors(
        self, version: EmbeddingVersion, item_ids: Sequence[str], viewer: Viewer, min_consistency_token: str = ""
    ) -> dict[str, NDArray[np.float16]]:
        """All chunk vectors, (chunks, dim), of those items that have any and that `viewer` may see.

        They reflect the write of the token, where there is one.
        """
        ...

    async def admitted(
        self,
        collection: Collection,
        version: EmbeddingVersion,
        item_ids: Sequence[str],
        predicate: Predicate,
        min_consistency_token: str = "",
    ) -> dict[str, ItemFacts]:
        """Facts of those items that the predicate admits, with an embedding or without.

        They reflect the write of the token, where there is one.
        """
        ...

    async def sample(self, version: EmbeddingVersion, count: int) -> NDArray[np.float16]:
        """`count` random vectors of the version, (n, dim); fewer only where it has fewer."""
        ...


class EventStore(Protocol):
    """What users did."""

    async def record(self, collection: Collection, events: Sequence[Event]) -> EventReceipt:
        """Store events, all or none; those stored before are counted as duplicates."""
        ...

    async def history(self, collection: Collection, user_id: str, count: int) -> list[Event]:
        """The user's latest `count` events, newest first."""
        ...

    async def seen(self, collection: Collection, user_id: str, count: int) -> list[tuple[str, bool]]:
        """(item id, whether any event of it was negative) of what the user has events with, latest first.

        At most `count`. Negative: see `engagement.fresh_weight`.
        """
        ...

    async def owners_of(self, collection: Collection, item_ids: Sequence[str]) -> set[str]:
        """Owners of those items."""
        ...


class IndexBuilder(Protocol):
    """Builds and reports on indexes."""

    async def build(self, collection: Collection, version: EmbeddingVersion, spec: BuildSpec) -> list[str]:
        """Queue the missing indexes and return their names; the work goes on in the background."""
        ...

    async def report(self, collection: Collection, version: EmbeddingVersion) -> VersionReport:
        """Sizes, states and progress."""
        ...

    async def wait_idle(self) -> None:
        """Return when no build is queued or running."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors, locally."""

    model: str
    dimension: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, dimension) float32, unit L2; a text without a known token gives a zero row."""
        ...


@dataclass(frozen=True, slots=True)
class Stores:
    """The adapters a service runs on."""

    collections: CollectionStore
    items: ItemStore
    index: VectorIndex
    events: EventStore
    builder: IndexBuilder
    engagement: EngagementStore
    user_feed: UserFeed
    models: ModelRegistry
    pairs: PairStore
    bandits: BanditStore
    archive: EventArchive
    artifacts: ArtifactStore
    profiles: ProfileStore
    projections: ProjectionStore
    text: TextIndex
    relationships: RelationshipStore
    embedding_jobs: EmbeddingJobStore
    attachments: AttachmentStore
    maintenance: MaintenanceStore
    cache: VectorCache | None = None
