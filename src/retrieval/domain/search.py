"""What a search asks and what an index answers: the terms that use cases and adapters share."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from retrieval.domain.boosts import NO_BOOSTS, Boosts
from retrieval.domain.filters import Filter
from retrieval.domain.model import ANONYMOUS, ChunkPlace, Item, Viewer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.domain.model import Collection, EmbeddingVersion

NO_FILTER = Filter()
NO_CHUNK = -1
"""In place of a chunk index where no vector was compared."""


class Source(Enum):
    """Who answers a search. None asks for TEXT: it stands for a search without a vector."""

    AUTO = "auto"
    FAISS = "faiss"
    HNSW = "hnsw"
    IVFFLAT = "ivfflat"
    EXACT = "exact"
    TEXT = "text"


class IndexScope(Enum):
    """Which items a search looks at."""

    FULL = "full"
    POPULAR = "popular"


class View(Enum):
    """How much of an item comes back."""

    ID_SCORE = "id_score"
    BASIC = "basic"
    FULL = "full"


class Shortfall(Enum):
    """Why fewer hits than asked for came back."""

    FILTER_EXHAUSTED = "filter_exhausted"
    SCAN_LIMIT = "scan_limit"
    DEADLINE = "deadline"
    COLLECTION_TOO_SMALL = "collection_too_small"
    THRESHOLD = "threshold"
    OWNER_CAP = "owner_cap"
    CANDIDATES_EXHAUSTED = "candidates_exhausted"


class Stage(NamedTuple):
    """One step from coarse to fine: compare `dimension` leading components, keep `candidate_count` candidates."""

    dimension: int
    candidate_count: int


@dataclass(frozen=True, slots=True)
class SearchParams:
    """How hard to search; None leaves the choice to the service."""

    source: Source = Source.AUTO
    scope: IndexScope = IndexScope.FULL
    ef_search: int | None = None
    nprobe: int | None = None
    target_recall: float | None = None


@dataclass(frozen=True, slots=True)
class Predicate:
    """Which rows may be returned at all: filter, visibility, exclusions."""

    filter: Filter = NO_FILTER
    viewer: Viewer = ANONYMOUS
    excluded_item_ids: tuple[str, ...] = ()
    excluded_owner_ids: tuple[str, ...] = ()

    @property
    def only_visibility(self) -> bool:
        """Whether nothing but the viewer restricts the rows."""
        return self.filter.empty and not self.excluded_item_ids and not self.excluded_owner_ids


@dataclass(frozen=True, slots=True)
class IndexQuery:
    """A question to a vector index. `vector`: (dim,) float16 in stored form (see `vectors.to_half`).

    `stages` is never empty; its last candidate count is `count`, the number of items wanted. Unless they are
    `stages_chosen` by the caller, an index may have better ones. `with_owners`, `with_vectors` and `with_facts` ask
    for those columns of the answer. The answer reflects the write of `min_consistency_token`, where there is one.
    """

    collection: Collection
    version: EmbeddingVersion
    vector: NDArray[np.float16]
    stages: tuple[Stage, ...]
    predicate: Predicate = Predicate()
    params: SearchParams = SearchParams()
    with_owners: bool = False
    with_vectors: bool = False
    stages_chosen: bool = False
    min_consistency_token: str = ""
    with_facts: bool = False

    @property
    def count(self) -> int:
        """Items wanted."""
        return self.stages[-1].candidate_count


@dataclass(frozen=True, slots=True)
class IndexAnswer:
    """Items by their best chunks, nearest first, each item once; equal distances by item id.

    `chunk_indexes`: of equally near chunks the first; NO_CHUNK where no vector was compared.
    `distances`: (n,) float64. `owner_ids` where asked for, else empty. `vectors`: (n, dim) float16 where asked for.
    The facts, where asked for: `created_at`, (n,) int64 microseconds, and `rating_counts`, (n,) int64.
    `exhausted`: no further item satisfies the predicate. `scan_limited`: the index gave up before it could know.
    `effort` is the ef_search or nprobe used, 0 for an exact scan; `generation` counts builds of the index used.
    `stages` are those that ran, where they are not the query's. `degraded_reason`: why it is less than was asked for.
    """

    item_ids: list[str]
    chunk_indexes: list[int]
    distances: NDArray[np.float64]
    source: Source
    owner_ids: list[str] = field(default_factory=list)
    vectors: NDArray[np.float16] | None = None
    exhausted: bool = False
    scan_limited: bool = False
    effort: int = 0
    generation: int = 0
    stages: tuple[Stage, ...] = ()
    degraded_reason: str = ""
    created_at: NDArray[np.int64] | None = None
    rating_counts: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Diversity:
    """Spread of the hits; None: off.

    `mmr_lambda` in [0, 1] or `dpp_theta` in [0, 1), not both; a cap per owner (0: none); `owner_decay` in (0, 1].
    """

    mmr_lambda: float | None = None
    max_per_owner: int = 0
    dpp_theta: float | None = None
    owner_decay: float | None = None

    @property
    def by_vector(self) -> bool:
        """Whether hits are spread by their vectors."""
        return self.mmr_lambda is not None or self.dpp_theta is not None

    @property
    def by_owner(self) -> bool:
        """Whether hits are spread over owners."""
        return self.max_per_owner > 0 or self.owner_decay is not None


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What every search takes; checked and clamped."""

    limit: int = 10
    score_threshold: float | None = None
    filter: Filter = NO_FILTER
    exclude_item_ids: tuple[str, ...] = ()
    viewer: Viewer | None = None
    diversity: Diversity = Diversity()
    view: View = View.ID_SCORE
    params: SearchParams = SearchParams()
    min_consistency_token: str = ""
    embedding_version: int = 0
    boosts: Boosts = NO_BOOSTS


@dataclass(frozen=True, slots=True)
class Contribution:
    """A candidate source's part in a hit: 1-based rank and score within that source."""

    source: str
    rank: int
    score: float


@dataclass(slots=True)
class Hit:
    """One result. `chunk_index`: the chunk that a vector found best, NO_CHUNK where none did; `place` by view."""

    item_id: str
    score: float
    distance: float
    chunk_index: int = NO_CHUNK
    contributions: tuple[Contribution, ...] = ()
    item: Item | None = None
    snippet: str = ""
    place: ChunkPlace | None = None


class SourceReport(NamedTuple):
    """What one source of candidates proposed, at most `quota`, and the seconds it took."""

    name: str
    quota: int
    returned: int
    seconds: float


@dataclass(slots=True)
class SearchReport:
    """How an answer came about. `timings_s`: (stage, seconds) in order. `stages`: those that ran.

    `decision_id`, `strategy`, `propensity`: which strategy was chosen, and how likely; empty and 0 without a choice.
    `cached`: worked out for an earlier request. `sources`, `model_version`: of user candidates.
    """

    source: Source
    embedding_version: int
    requested_count: int
    index_generation: int = 0
    effort: int = 0
    timings_s: list[tuple[str, float]] = field(default_factory=list)
    shortfall: Shortfall | None = None
    degraded_reason: str = ""
    missing_item_ids: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    decision_id: str = ""
    strategy: str = ""
    propensity: float = 0.0
    cached: bool = False
    sources: tuple[SourceReport, ...] = ()
    model_version: str = ""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first, with the report."""

    hits: list[Hit]
    report: SearchReport
