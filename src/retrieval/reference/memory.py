"""What the reference holds: plain dictionaries, each write one step that no other task can interrupt."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from retrieval.application.ports import WriteReceipt
    from retrieval.application.training_ports import PairKey, PairRun, RunProgress
    from retrieval.domain.bandit import Arm, Decision
    from retrieval.domain.engagement import ItemCounts
    from retrieval.domain.model import Chunk, Collection, Event, Item
    from retrieval.domain.model_registry import ModelVersion
    from retrieval.domain.owner_edges import OwnerEdge
    from retrieval.domain.projection import Projection
    from retrieval.domain.relationships import Relationship, RelationshipKey
    from retrieval.domain.training import TrainingPair
    from retrieval.reference.jobs import Job

EventKey = tuple[str, int, str, str]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of an embedding version by (item id, chunk index). `vectors`: (n, dim) float16."""

    item_ids: list[str]
    chunk_indexes: list[int]
    vectors: NDArray[np.float16]


class Embeddings:
    """Chunk vectors of one embedding version."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._chunks: dict[str, tuple[Chunk, ...]] = {}
        self._rows: Rows | None = None

    def put(self, item_id: str, chunks: Sequence[Chunk]) -> None:
        """Replace an item's chunks; none removes the item."""
        self._rows = None
        self._chunks.pop(item_id, None)
        if chunks:
            self._chunks[item_id] = tuple(sorted(chunks, key=lambda c: c.chunk_index))

    def of(self, item_id: str) -> tuple[Chunk, ...]:
        """An item's chunks in order; none where it has no embedding."""
        return self._chunks.get(item_id, ())

    def rows(self) -> Rows:
        """All rows in order; kept until the next write."""
        if self._rows is None:
            flat = [(item_id, chunk) for item_id in sorted(self._chunks) for chunk in self._chunks[item_id]]
            vectors = np.stack([c.vector for _, c in flat]) if flat else np.zeros((0, self._dimension), np.float16)
            self._rows = Rows([i for i, _ in flat], [c.chunk_index for _, c in flat], vectors)
        return self._rows


@dataclass(slots=True)
class Held:
    """A collection with everything in it.

    `embeddings` by version id; `requests` by request id, with when they were applied; `engagement` by item and hour,
    `counts` by item; `edges`: since when, by user and edge. `models` by type and version, `activations`: versions in
    the order in which they became active, by type; `runs` by run id; `pairs` with the time they were made, by model
    version. `arms` by context and strategy, `decisions` by id, of which those in `rewarded` had their reward.
    `projections` by version id, `relationships` by their settled keys; `jobs` by version id, of versions that embed
    texts, and item id.
    """

    collection: Collection
    items: dict[str, Item] = field(default_factory=dict)
    embeddings: dict[int, Embeddings] = field(default_factory=dict)
    events: dict[EventKey, Event] = field(default_factory=dict)
    requests: dict[str, tuple[bytes, WriteReceipt, int]] = field(default_factory=dict)
    engagement: dict[tuple[str, int], float] = field(default_factory=dict)
    counts: dict[str, ItemCounts] = field(default_factory=dict)
    edges: dict[tuple[str, OwnerEdge], int] = field(default_factory=dict)
    newest_event_at: int | None = None
    models: dict[tuple[str, str], ModelVersion] = field(default_factory=dict)
    activations: dict[str, list[str]] = field(default_factory=dict)
    runs: dict[str, tuple[PairRun, RunProgress]] = field(default_factory=dict)
    pairs: dict[str, dict[PairKey, tuple[int, TrainingPair]]] = field(default_factory=dict)
    arms: dict[tuple[str, str], Arm] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    rewarded: set[str] = field(default_factory=set)
    projections: dict[int, Projection] = field(default_factory=dict)
    relationships: dict[RelationshipKey, Relationship] = field(default_factory=dict)
    jobs: dict[int, dict[str, Job]] = field(default_factory=dict)


class Memory:
    """All collections by name, and the counters that stand in for a database's.

    `months`: when each (year, month) got its latest event recorded.
    """

    def __init__(self) -> None:
        self.collections: dict[str, Held] = {}
        self.months: dict[tuple[int, int], int] = {}
        self.writes = 0
        self.next_id: Callable[[], int] = count(1).__next__
        self._last_us = 0

    def now_us(self) -> int:
        """Microseconds since the epoch, never the same twice: later writes are newer."""
        self._last_us = max(self._last_us + 1, time.time_ns() // 1000)
        return self._last_us

    def named(self, name: str) -> Held:
        """The collection of that name. Raises: NotFoundError (COLLECTION_NOT_FOUND)."""
        held = self.collections.get(name)
        if held is None:
            raise NotFoundError(
                f"collection {name!r} does not exist; ListCollections names those that do",
                reason="COLLECTION_NOT_FOUND",
            )
        return held

    def held(self, collection: Collection) -> Held:
        """What belongs to `collection`. Raises: NotFoundError (COLLECTION_NOT_FOUND) if it was deleted meanwhile."""
        held = self.named(collection.name)
        if held.collection.collection_id != collection.collection_id:
            raise NotFoundError("the collection was deleted meanwhile", reason="COLLECTION_NOT_FOUND")
        return held

    def holding(self, version_id: int) -> Held:
        """The collection that a version belongs to. Raises: NotFoundError (COLLECTION_NOT_FOUND)."""
        for held in self.collections.values():
            if version_id in held.embeddings:
                return held
        raise NotFoundError("the collection was deleted meanwhile", reason="COLLECTION_NOT_FOUND")
