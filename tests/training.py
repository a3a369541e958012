"""A small shelf and its readers, for what is learned from events."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.training_pairs import GeneratePairs, generate_pairs
from retrieval.application.training_ports import PairQuery, PairRun
from retrieval.domain.model import AttributeType, Chunk, Collection, EmbeddingVersion, Event, Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.application.ports import Stores
    from retrieval.application.training_ports import RunProgress
    from retrieval.domain.training import TrainingPair

HOUR_US = 3_600_000_000
START_US = 1_700_000_000_000_000
END_US = START_US + 1000 * HOUR_US
MODEL = "two-tower-1"


def event(user: str, item: str, kind: str, hour: float, value: float | None = None, dwell: int | None = None) -> Event:
    moment = START_US + round(hour * HOUR_US)
    return Event(user, item, kind, moment, f"{kind}-{item}", value, dwell)


def item(item_id: str, born_hour: float = -1000, chunks: int = 1) -> Item:
    vectors = np.eye(4, dtype=np.float16)[:chunks]
    return Item(
        item_id,
        tuple(Chunk(n, vector) for n, vector in enumerate(vectors)),
        owner_id=f"owner-of-{item_id}",
        rating_value=4.5,
        rating_count=999,
        tags=("a", "b"),
        text=f"text of {item_id}",
        attributes={"labels": ("x", "y"), "price": 2.0, "year": 1999},
        created_at=START_US + round(born_hour * HOUR_US),
    )


async def shelf(stores: Stores, name: str, items: Sequence[Item]) -> Collection:
    attributes = {
        "labels": AttributeType.KEYWORD_LIST,
        "price": AttributeType.DOUBLE,
        "year": AttributeType.INT64,
    }
    made = await stores.collections.create(Collection(0, name, attributes=attributes), EmbeddingVersion(0, 0, "m", 4))
    if items:
        await stores.items.upsert(made, made.active, items, "", b"")
    return made


def run_of(run_id: str = "run", model_version: str = MODEL, settings: str = "") -> PairRun:
    return PairRun(run_id, model_version, hashlib.sha256(settings.encode()).digest())


async def generate(
    stores: Stores, collection: Collection, run: PairRun | None = None, **settings: object
) -> RunProgress:
    window = {"window_start": START_US, "window_end": END_US} | settings
    return await generate_pairs(stores, GeneratePairs(collection.name, run or run_of(), **window))


async def pairs_of(stores: Stores, collection: Collection, model_version: str = MODEL) -> list[TrainingPair]:
    return await stores.pairs.list_after(collection, PairQuery(model_version), None, 100_000)
