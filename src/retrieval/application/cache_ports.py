"""What a cache needs of the store that it follows, and what it offers on top of a `VectorIndex`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from numpy.typing import NDArray

    from retrieval.domain.model import Collection, EmbeddingVersion, Item
    from retrieval.domain.search import SearchOptions, Stage


class JoinedNames(NamedTuple):
    """Many names in UTF-8: `text` uint8, one after the other; `lengths` (n,) int64, bytes of each."""

    text: NDArray[np.uint8]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, names: Sequence[bytes]) -> JoinedNames:
        """The names, joined."""
        return cls(np.frombuffer(b"".join(names), np.uint8), np.fromiter(map(len, names), np.int64, len(names)))

    def split(self) -> list[bytes]:
        """The names."""
        text, ends = self.text.tobytes(), self.lengths.cumsum().tolist()
        return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


class HitColumns(NamedTuple):
    """Many hits: item ids, scores and distances, (n,) float64."""

    names: JoinedNames
    scores: NDArray[np.float64]
    distances: NDArray[np.float64]

    def lists(self) -> HitLists:
        """The same hits as lists."""
        return HitLists(self.names.split(), self.scores.tolist(), self.distances.tolist())


class HitLists(NamedTuple):
    """Few hits: item ids in UTF-8, scores and distances. Arrays pay only for many."""

    names: list[bytes]
    scores: list[float]
    distances: list[float]

    def lists(self) -> HitLists:
        """Itself."""
        return self


class InstantHits(NamedTuple):
    """Hits of several queries, those of one query after the other, each `limit` long and best first.

    The rest says how the answer came about, as `SearchReport` does.
    """

    limit: int
    hits: HitColumns | HitLists
    embedding_version: int
    generation: int
    effort: int
    stages: tuple[Stage, ...]

    @property
    def item_ids(self) -> list[str]:
        """The item ids."""
        return [name.decode() for name in self.hits.lists().names]

    @property
    def distances(self) -> list[float]:
        """The distances."""
        return self.hits.lists().distances


class VectorCache(Protocol):
    """What a cache in front of the vector index offers on top of it."""

    def search_now(self, collection: str, vectors: NDArray[np.float32], options: SearchOptions) -> InstantHits | None:
        """Nearest items to each of `vectors`, (n, dim) float32 as callers send them, from memory and without waiting.

        None where that cannot be: the usual way then finds the answer, or says what is wrong. Safe in any thread.
        """
        ...

    async def reflect(self, collection: Collection, token: str) -> None:
        """Return when every search from now on reflects the write of that token: the cache took it in, or is not asked.

        A search of the store reflects every write by itself.
        """
        ...

    def report(self, version: EmbeddingVersion) -> CacheReport:
        """What the cache holds of the version."""
        ...

    def generation(self, version: EmbeddingVersion) -> int:
        """Generation of the segment that answers for the version; 0 where none does."""
        ...

    def prewarm(self, version: EmbeddingVersion) -> None:
        """Bring the version into memory, and what has changed into its segment, as soon as possible."""
        ...


class CacheState(Enum):
    """How much of a version the cache answers."""

    ABSENT = "absent"
    BUILDING = "building"
    COARSE = "coarse"
    RESIDENT = "resident"


@dataclass(frozen=True, slots=True)
class CalibratedPlan:
    """The cheapest search for a recall target, with the recall and microseconds it was calibrated at."""

    target_recall: float
    dimension: int
    ef_search: int
    shortlist: int
    recall: float
    microseconds: float


@dataclass(frozen=True, slots=True)
class CacheReport:
    """A version in the cache. `delta_rows` changed since the segment of `generation` was built, `dead_rows` left it.

    `staleness_s`: what the cache reflects was all there was, so long ago.
    """

    state: CacheState
    generation: int = 0
    rows: int = 0
    delta_rows: int = 0
    dead_rows: int = 0
    size_bytes: int = 0
    build_ms: int = 0
    built_at: int = 0
    staleness_s: float = 0.0
    max_staleness_s: float = 0.0
    plans: tuple[CalibratedPlan, ...] = ()


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows (item, chunk) of an embedding version, as a cache takes them in.

    `items`: one a row, without chunks, text and payload; rows of one item share it. `chunk_indexes`: one a row.
    `vectors`: (n, dim) float16, C-contiguous, in stored form.
    """

    items: list[Item]
    chunk_indexes: list[int]
    vectors: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed between two positions. `items`: ids of written or deleted items by collection id.

    `catalogue`: whether a collection or an embedding version was created, changed or deleted.
    """

    items: dict[int, set[str]]
    catalogue: bool


class Position(Protocol):
    """The set of writes that a look at the store reflects; `str` of it can be stored and read back."""

    def reflects(self, token: str) -> bool:
        """Whether the write of that token is in. Raises: InvalidArgumentError (BAD_CONSISTENCY_TOKEN)."""
        ...


class StoreSnapshot(Protocol):
    """One consistent look at the store: everything read through it is as of `position`."""

    @property
    def position(self) -> Position:
        """What the look reflects."""
        ...

    async def changes(self, since: Position) -> Changes | None:
        """What `since` does not reflect and this look does; None where the log cannot tell any more."""
        ...

    def rows(
        self, collection: Collection, version: EmbeddingVersion, item_ids: Sequence[str] | None = None
    ) -> AsyncIterator[RowBatch]:
        """All rows of the version, or those of `item_ids`, by (item id, chunk index), in batches.

        Raises: NotFoundError (COLLECTION_NOT_FOUND) where the version was dropped meanwhile; the look is over then.
        """
        ...


class ChangeFeed(Protocol):
    """What a cache that follows the store needs of it."""

    async def identity(self) -> str:
        """Names the database: positions of one mean nothing to another. Letters, digits and hyphens."""
        ...

    def position(self, text: str) -> Position:
        """The position of which `text` is the `str`. Raises: ValueError."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[StoreSnapshot]:
        """A look at the store as it is now."""
        ...

    async def wait(self, timeout_s: float) -> None:
        """Return when something may have changed, at the latest after `timeout_s`.

        Wake-ups may be lost and may come for nothing: what changed is what `StoreSnapshot.changes` says.
        """
        ...
