"""Training pairs as columns of a statement, and from rows of `training_pairs`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgvector import HalfVector

from retrieval.domain.training import ItemCounts, ItemSnapshot, PairEvent, TrainingPair
from retrieval.postgres.item_rows import read_attributes
from retrieval.postgres.times import to_micros, to_moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection


def pair_columns(pairs: Sequence[TrainingPair]) -> list[list[object]]:
    """The columns of the statement `insert_pairs`, rows in the order of the key."""
    rows = [
        (
            *(pair.user_id, pair.item_id, to_moment(pair.interaction_at), pair.label, pair.event_type, pair.value),
            *(pair.dwell_ms, _user_snapshot(pair), _item_snapshot(pair.item), pair.embedding_version),
            None if pair.embedding is None else HalfVector(pair.embedding),
        )
        for pair in sorted(pairs, key=lambda pair: pair.key)
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _user_snapshot(pair: TrainingPair) -> str:
    history = [[e.item_id, e.event_type, e.value, e.occurred_at] for e in pair.history]
    return json.dumps({"history": history}, ensure_ascii=False)


def _item_snapshot(item: ItemSnapshot) -> str:
    counts = item.counts
    return json.dumps(
        {
            "owner_id": item.owner_id,
            "text": item.text,
            "tags": item.tags,
            "attributes": dict(item.attributes),
            "created_at": item.created_at,
            "positives": counts.positives,
            "views": counts.views,
            "ratings": counts.ratings,
            "rating_mean": counts.rating_mean,
        },
        ensure_ascii=False,
    )


def read_pair(row: Any, collection: Collection) -> TrainingPair:
    """The pair of a row."""
    embedding = row["embedding"]
    return TrainingPair(
        row["user_id"],
        row["item_id"],
        to_micros(row["interaction_at"]),
        row["label"],
        row["event_type"],
        row["dwell_ms"],
        row["value"],
        tuple(
            PairEvent(item_id, event_type, _float(value), occurred_at)
            for item_id, event_type, value, occurred_at in json.loads(row["user_snapshot"])["history"]
        ),
        _read_item(json.loads(row["item_snapshot"]), collection),
        row["embedding_version"],
        None if embedding is None else embedding.to_numpy(),
        row["model_version"],
        row["run_id"],
    )


def _read_item(snapshot: Any, collection: Collection) -> ItemSnapshot:
    return ItemSnapshot(
        snapshot["owner_id"],
        snapshot["text"],
        tuple(snapshot["tags"]),
        read_attributes(snapshot["attributes"], collection),
        snapshot["created_at"],
        ItemCounts(snapshot["positives"], snapshot["views"], snapshot["ratings"], _float(snapshot["rating_mean"])),
    )


def _float(value: float | None) -> float | None:
    """A float again: jsonb writes 1e300 as a long integer."""
    return None if value is None else float(value)
