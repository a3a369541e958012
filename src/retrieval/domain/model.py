"""The nouns: collections, embedding versions, items, events, viewers.

Timestamps that can be filtered are integers, microseconds since the Unix epoch (UTC), everywhere in the domain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.domain.engagement import EventType

MAX_DIMENSION = 4000
"""pgvector indexes at most 4,000 half-precision dimensions (pgvector README, "HNSW")."""

MAX_CHUNKS = 256
"""Chunks of an item."""

DEFAULT_TEXT_LANGUAGE = "simple"
"""Words as they stand, in lower case: no stems, no stop words."""

# keyword, keyword list, int64, double, bool; a timestamp is its int of microseconds
AttributeValue = str | tuple[str, ...] | int | float | bool


class Metric(Enum):
    """How two embeddings are compared."""

    COSINE = "cosine"
    INNER_PRODUCT = "inner_product"
    L2 = "l2"


class AttributeType(Enum):
    """Type of a declared attribute."""

    KEYWORD = "keyword"
    KEYWORD_LIST = "keyword_list"
    INT64 = "int64"
    DOUBLE = "double"
    BOOL = "bool"
    TIMESTAMP = "timestamp"


class Visibility(Enum):
    """Who may see an item."""

    PUBLIC = "public"
    GROUPS = "groups"
    PRIVATE = "private"


class VisibilityMode(Enum):
    """Visibility of an item that does not say."""

    PUBLIC_BY_DEFAULT = "public_by_default"
    PRIVATE_BY_DEFAULT = "private_by_default"

    @property
    def default(self) -> Visibility:
        """The visibility that the mode stands for."""
        return Visibility.PUBLIC if self is VisibilityMode.PUBLIC_BY_DEFAULT else Visibility.PRIVATE


class ItemStatus(Enum):
    """Moderation state of an item."""

    APPROVED = "approved"
    PENDING = "pending"
    REJECTED = "rejected"
    FLAGGED = "flagged"


class VersionState(Enum):
    """Life of an embedding version."""

    BUILDING = "building"
    ACTIVE = "active"
    RETIRED = "retired"


BUILTIN_ATTRIBUTES: Mapping[str, AttributeType] = {
    "item_id": AttributeType.KEYWORD,
    "owner_id": AttributeType.KEYWORD,
    "status": AttributeType.KEYWORD,
    "tags": AttributeType.KEYWORD_LIST,
    "rating_value": AttributeType.DOUBLE,
    "rating_count": AttributeType.INT64,
    "created_at": AttributeType.TIMESTAMP,
}
"""Fields of every item that a filter may name; declared attributes cannot take these names."""


@dataclass(frozen=True, slots=True)
class EmbeddingVersion:
    """One model's vectors for a collection; vectors of different versions are never compared.

    `version_id` is the store's own key, unique over all collections; `version` counts within the collection from 1.
    `max_chunks` is the largest number of chunks any item of the version was written with (1 where items are whole).
    `input_dimension`: length of the vectors that the version's projection takes, 0 where it has none. `embeds_text`:
    the service embeds the items' texts with `model`, in parts of at most `chunk_characters` (0: whole). `has_places`:
    whether any chunk was written with a place.
    """

    version_id: int
    version: int
    model: str
    dimension: int
    resolutions: tuple[int, ...] = ()
    state: VersionState = VersionState.BUILDING
    max_chunks: int = 1
    created_at: int = 0
    activated_at: int | None = None
    input_dimension: int = 0
    embeds_text: bool = False
    has_places: bool = False
    chunk_characters: int = 0

    @property
    def vector_length(self) -> int:
        """Components of what a model makes for the version."""
        return self.input_dimension or self.dimension


@dataclass(frozen=True, slots=True)
class PopularThresholds:
    """Which items the popular index holds: at least this rated, by at least so many."""

    min_rating_value: float = 4.0
    min_rating_count: int = 100


@dataclass(frozen=True, slots=True)
class Collection:
    """Items that are searched together. `collection_id` is the store's own key.

    `event_types`: those that count other than by default, see `engagement.event_types_of`. `text_language`: see
    `TextIndex.languages`.
    """

    collection_id: int
    name: str
    metric: Metric = Metric.COSINE
    attributes: Mapping[str, AttributeType] = field(default_factory=dict)
    visibility_mode: VisibilityMode = VisibilityMode.PUBLIC_BY_DEFAULT
    popular: PopularThresholds = PopularThresholds()
    rating_scale_max: float = 5.0
    versions: tuple[EmbeddingVersion, ...] = ()
    created_at: int = 0
    event_types: Mapping[str, EventType] = field(default_factory=dict)
    text_language: str = DEFAULT_TEXT_LANGUAGE

    @property
    def active(self) -> EmbeddingVersion:
        """The version that searches use when they name none."""
        return next(v for v in self.versions if v.state is VersionState.ACTIVE)

    def attribute_type(self, name: str) -> AttributeType | None:
        """Type of a built-in or declared attribute; None where there is none of that name."""
        return BUILTIN_ATTRIBUTES.get(name) or self.attributes.get(name)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One embedding of an item. `vector`: (dim,) float16, C-contiguous, unit L2 under cosine.

    Where in the item it is: see `ChunkPlace`.
    """

    chunk_index: int
    vector: NDArray[np.float16]
    text_span: tuple[int, int] | None = None
    time_range_ms: tuple[int, int] | None = None
    text: str = ""

    @property
    def placed(self) -> bool:
        """Whether it is said where the chunk is."""
        return self.text_span is not None or self.time_range_ms is not None or bool(self.text)

    @property
    def place(self) -> ChunkPlace:
        """The chunk without its vector."""
        return ChunkPlace(self.chunk_index, self.text_span, self.time_range_ms, self.text)


class ChunkPlace(NamedTuple):
    """Where in its item a chunk is, as far as that was said.

    `text_span`: code points of the item's text, `time_range_ms`: milliseconds, both half open; `text`: the chunk's own.
    """

    chunk_index: int
    text_span: tuple[int, int] | None = None
    time_range_ms: tuple[int, int] | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """An item as stored. `payload_json` is a JSON object as text; times are microseconds since the epoch.

    `owner_id` is empty where there is no owner. `created_at` is None in a write that leaves it to the store. The counts
    are the store's: a write does not change them.
    """

    item_id: str
    chunks: tuple[Chunk, ...] = ()
    owner_id: str = ""
    visibility: Visibility = Visibility.PUBLIC
    audience: tuple[str, ...] = ()
    status: ItemStatus = ItemStatus.APPROVED
    rating_value: float | None = None
    rating_count: int = 0
    tags: tuple[str, ...] = ()
    text: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    payload_json: str | None = None
    created_at: int | None = None
    updated_at: int | None = None
    view_count: int = 0
    repost_count: int = 0


@dataclass(frozen=True, slots=True)
class Viewer:
    """On whose behalf a request is made. Anonymous by default; `unrestricted` sees everything."""

    user_id: str = ""
    group_ids: tuple[str, ...] = ()
    unrestricted: bool = False


ANONYMOUS = Viewer()
EVERYTHING = Viewer(unrestricted=True)
"""Reads what nobody is shown: a user's own engagement is the user's to use, whatever became of the items."""


@dataclass(frozen=True, slots=True)
class Event:
    """One engagement of a user with an item. `event_id` is never empty; `context_json` is a JSON object as text."""

    user_id: str
    item_id: str
    event_type: str
    occurred_at: int
    event_id: str
    value: float | None = None
    dwell_ms: int | None = None
    position: int | None = None
    predicted_score: float | None = None
    algorithm: str = ""
    device: str = ""
    context_json: str | None = None
