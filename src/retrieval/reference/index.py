"""Exact nearest rows in memory; implements `VectorIndex`."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.domain.planning import choose
from retrieval.domain.search import IndexAnswer, Source
from retrieval.domain.vectors import distances
from retrieval.domain.visibility import can_see
from retrieval.reference.admission import admitted
from retrieval.reference.items import admitted_facts

if TYPE_CHECKING:
    from collections.abc import Collection as AbstractCollection
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from retrieval.application.candidate_ports import ItemFacts
    from retrieval.domain.model import Collection, EmbeddingVersion, Item, Viewer
    from retrieval.domain.search import IndexQuery, Predicate
    from retrieval.reference.memory import Held, Memory


class _Near(NamedTuple):
    """A row of the version and how far it is."""

    distance: float
    row: int


class ReferenceIndex:
    """Compares the query with every admitted row, on the dimension of the last stage.

    Stages before the last exist to save work; an exact answer does not need them.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def search(self, query: IndexQuery) -> IndexAnswer:
        """See `VectorIndex`."""
        held = self._memory.held(query.collection)
        # There are no indexes: the planner refuses a source that was asked for by name.
        choose(
            query.params,
            ready=frozenset(),
            rows=len(held.items),
            selectivity=1.0,
            count=query.count,
            lists=0,
            default_ef_search=0,
        )
        best = self._nearest(held, query, held.items, query.count)
        return _answer(held, query, best, exhausted=len(best) < query.count)

    async def rank(self, query: IndexQuery, item_ids: Sequence[str]) -> IndexAnswer:
        """See `VectorIndex`."""
        held = self._memory.held(query.collection)
        return _answer(held, query, self._nearest(held, query, set(item_ids), len(item_ids)), exhausted=True)

    async def vectors(
        self,
        version: EmbeddingVersion,
        item_ids: Sequence[str],
        viewer: Viewer,
        min_consistency_token: str = "",  # noqa: ARG002  # reads reflect every commit
    ) -> dict[str, NDArray[np.float16]]:
        """See `VectorIndex`."""
        held = self._memory.holding(version.version_id)
        embeddings = held.embeddings[version.version_id]
        return {
            item_id: np.stack([c.vector for c in embeddings.of(item_id)])
            for item_id in dict.fromkeys(item_ids)
            if embeddings.of(item_id) and can_see(held.items[item_id], viewer)
        }

    async def admitted(
        self,
        collection: Collection,
        version: EmbeddingVersion,  # noqa: ARG002  # items are admitted whether they have an embedding or not
        item_ids: Sequence[str],
        predicate: Predicate,
        min_consistency_token: str = "",  # noqa: ARG002  # reads reflect every write
    ) -> dict[str, ItemFacts]:
        """See `VectorIndex`."""
        return admitted_facts(self._memory, collection, item_ids, predicate)

    async def sample(self, version: EmbeddingVersion, count: int) -> NDArray[np.float16]:
        """See `VectorIndex`."""
        vectors = self._memory.holding(version.version_id).embeddings[version.version_id].rows().vectors
        chosen = np.random.default_rng().permutation(len(vectors))[:count]
        return np.asarray(vectors[chosen])

    @staticmethod
    def _nearest(held: Held, query: IndexQuery, item_ids: AbstractCollection[str], count: int) -> list[_Near]:
        """The best chunks of up to `count` of the items that are admitted, nearest first."""
        rows = held.embeddings[query.version.version_id].rows()
        kept = [row for row, item_id in enumerate(rows.item_ids) if item_id in item_ids]
        found = distances(query.vector, rows.vectors[kept], query.collection.metric, query.stages[-1].dimension)
        best: dict[str, _Near] = {}

        def by_distance() -> Iterator[Item]:
            for at in np.argsort(found, kind="stable").tolist():  # rows are in order of item and chunk
                item_id = rows.item_ids[kept[at]]
                if item_id not in best:
                    best[item_id] = _Near(float(found[at]), kept[at])
                    yield held.items[item_id]

        near = admitted(by_distance(), query.predicate, query.collection, query.params.scope)
        return [best[item.item_id] for item in islice(near, count)]


def _answer(held: Held, query: IndexQuery, near: Sequence[_Near], *, exhausted: bool) -> IndexAnswer:
    rows = held.embeddings[query.version.version_id].rows()
    chosen = [n.row for n in near]
    items = [held.items[rows.item_ids[row]] for row in chosen]
    return IndexAnswer(
        [item.item_id for item in items],
        [rows.chunk_indexes[row] for row in chosen],
        np.array([n.distance for n in near], dtype=np.float64),
        Source.EXACT,
        [item.owner_id for item in items] if query.with_owners else [],
        rows.vectors[chosen] if query.with_vectors else None,
        exhausted=exhausted,
        created_at=np.array([i.created_at or 0 for i in items], dtype=np.int64) if query.with_facts else None,
        rating_counts=np.array([i.rating_count for i in items], dtype=np.int64) if query.with_facts else None,
    )
