"""The data of the behavioural suite: seeded, clustered, with every visibility, status and attribute type."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from retrieval.domain.model import (
    AttributeType,
    Chunk,
    Collection,
    EmbeddingVersion,
    Item,
    ItemStatus,
    Metric,
    Visibility,
)
from retrieval.domain.vectors import to_half

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retrieval.application.ports import Stores

ATTRIBUTES = {
    "genre": AttributeType.KEYWORD,
    "labels": AttributeType.KEYWORD_LIST,
    "rank": AttributeType.INT64,
    "price": AttributeType.DOUBLE,
    "in_stock": AttributeType.BOOL,
    "released": AttributeType.TIMESTAMP,
}
GROUPS = ("group-0", "group-1", "group-2", "group-3")
DAY_US = 86_400_000_000
FIRST_DAY_US = 1_600_000_000_000_000


@dataclass(frozen=True, slots=True)
class DataSet:
    """Items of one collection; loaded under `name` into every store that is tested."""

    name: str
    metric: Metric
    dimension: int
    resolutions: tuple[int, ...]
    items: dict[str, Item] = field(repr=False)
    queries: NDArray[np.float32] = field(repr=False)

    def collection(self) -> Collection:
        return Collection(0, self.name, self.metric, ATTRIBUTES)

    def version(self, model: str = "test-model") -> EmbeddingVersion:
        return EmbeddingVersion(0, 0, model, self.dimension, self.resolutions)


def clustered(count: int, dimension: int, seed: int, clusters: int = 40) -> NDArray[np.float32]:
    """(count, dimension) float32: Gaussian clusters whose leading components carry most, as Matryoshka models train."""
    rng = np.random.default_rng(seed)
    spectrum = (1.0 + np.arange(dimension) / 8.0) ** -0.8
    centres = rng.standard_normal((clusters, dimension)) * spectrum
    spread = rng.standard_normal((count, dimension)) * spectrum * 0.7
    return np.asarray(centres[rng.integers(clusters, size=count)] + spread, dtype=np.float32)


def make(
    label: str,
    count: int,
    *,
    dimension: int = 64,
    resolutions: tuple[int, ...] = (),
    metric: Metric = Metric.COSINE,
    max_chunks: int = 1,
    seed: int = 7,
) -> DataSet:
    rng = np.random.default_rng(seed)
    chunks = 1 + rng.integers(max_chunks, size=count)
    vectors = clustered(count, dimension, seed + 1)
    # Chunks of an item are about the same thing.
    nearby = 0.3 * clustered(max_chunks, dimension, seed + 3)
    nearby[0] = 0.0
    ranks = rng.permutation(count) % 1000
    items = {}
    for number in range(count):
        item_id = f"item-{number:05d}"
        own = tuple(
            Chunk(c, to_half(vectors[number] + nearby[c], dimension, metric, "vector")) for c in range(chunks[number])
        )
        items[item_id] = _item(item_id, number, own, int(ranks[number]), rng)
    # Near some row each: a query drawn from other clusters would be equally far from everything.
    near = rng.integers(count, size=60)
    rows = np.stack([items[f"item-{n:05d}"].chunks[0].vector for n in near]).astype(np.float32)
    queries = rows + 0.3 * clustered(60, dimension, seed + 2)
    return DataSet(f"{label}-{uuid4().hex[:8]}", metric, dimension, resolutions, items, queries)


def crowd(data: DataSet, seed: int, most_chunks: int = 256, crowds: int = 3) -> DataSet:
    """The items with other chunks: each tenth has many in a tight crowd around one of a few places, the others one to
    three in a wide circle around it. All queries are close to such a place: any shortlist of rows is full of few items.
    """
    rng = np.random.default_rng(seed)
    places = rng.standard_normal((crowds, data.dimension))
    items = {}
    for number, item in enumerate(data.items.values()):
        many = number % 10 == 2
        count = int(rng.integers(max(1, most_chunks // 4), most_chunks + 1) if many else rng.integers(1, 4))
        spread = rng.standard_normal((count, data.dimension)) * (0.05 if many else 0.5)
        rows = (places[number % crowds] + spread).astype(np.float32)
        # Chunk indexes have gaps, and do not begin at 0.
        chunks = tuple(Chunk(3 * n + 1, to_half(r, data.dimension, data.metric, "vector")) for n, r in enumerate(rows))
        items[item.item_id] = replace(item, chunks=chunks)
    queries = places[rng.integers(crowds, size=60)] + 0.1 * rng.standard_normal((60, data.dimension))
    return replace(data, items=items, queries=queries.astype(np.float32))


def _item(item_id: str, number: int, chunks: tuple[Chunk, ...], rank: int, rng: np.random.Generator) -> Item:
    draws = rng.random(8)
    attributes = {
        "genre": ("jazz", "rock", "folk")[int(draws[0] * 3)],
        "labels": tuple(name for name, share in (("new", 0.5), ("sale", 0.1), ("rare", 0.01)) if draws[1] < share),
        "rank": rank,
        "price": float(np.round(draws[2] * 100, 2)),
        "in_stock": bool(draws[3] < 0.5),
        "released": FIRST_DAY_US + int(draws[4] * 1000) * DAY_US,
    }
    for missing in rng.choice(sorted(attributes), size=1) if draws[5] < 0.3 else ():
        if missing != "rank":
            del attributes[missing]
    visibility = Visibility.PUBLIC if draws[6] < 0.7 else Visibility.GROUPS if draws[6] < 0.9 else Visibility.PRIVATE
    status = ItemStatus.APPROVED if draws[7] < 0.85 else list(ItemStatus)[1 + number % 3]
    return Item(
        item_id,
        chunks,
        owner_id="" if number % 11 == 0 else f"owner-{number % 40}",
        visibility=visibility,
        audience=tuple(GROUPS[g] for g in {number % 4, number // 7 % 4}) if visibility is Visibility.GROUPS else (),
        status=status,
        rating_value=None if number % 9 == 0 else 1.0 + number % 5,
        rating_count=int(rng.integers(400)),
        tags=tuple(t for t, share in (("loud", 2), ("calm", 3)) if number % share == 0),
        text=f"item number {number}",
        attributes=attributes,
        payload_json=f'{{"number": {number}}}',
        created_at=FIRST_DAY_US + number * DAY_US // 10,
    )


async def load(stores: Stores, data: DataSet, items: Sequence[Item] | None = None) -> Collection:
    """Create the collection and write its items."""
    collection = await stores.collections.create(data.collection(), data.version())
    everything = list(data.items.values()) if items is None else list(items)
    for start in range(0, len(everything), 1000):
        await stores.items.upsert(collection, collection.active, everything[start : start + 1000], "", b"")
    return await stores.collections.get(data.name)
