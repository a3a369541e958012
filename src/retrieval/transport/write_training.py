"""Training pairs and models of replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.transport.write_items import write_attributes, write_time
from retrieval.v1 import training_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retrieval.application.training_ports import RunProgress
    from retrieval.domain.model import AttributeType
    from retrieval.domain.model_registry import ModelVersion
    from retrieval.domain.training import ItemSnapshot, TrainingPair


def write_progress(run_id: str, progress: RunProgress) -> pb.GenerateTrainingPairsResponse:
    """How far a run got."""
    return pb.GenerateTrainingPairsResponse(
        run_id=run_id,
        positive_count=progress.positives,
        negative_count=progress.negatives,
        skipped_count=progress.skipped,
        user_count=progress.users,
        truncated_user_count=progress.truncated,
        resume_token="" if progress.complete else run_id,
    )


def write_pair(pair: TrainingPair, types: Mapping[str, AttributeType], into: pb.TrainingPair) -> None:
    """Fill `into`; `types` are those of the collection, by attribute."""
    into.user_id = pair.user_id
    into.item_id = pair.item_id
    into.label = pair.label
    into.engagement_type = pair.event_type
    into.interaction_at.CopyFrom(write_time(pair.interaction_at))
    if pair.dwell_ms is not None:
        into.dwell_ms = pair.dwell_ms
    if pair.value is not None:
        into.value = pair.value
    for event in pair.history:
        into.history.add(
            item_id=event.item_id, type=event.event_type, value=event.value, occurred_at=write_time(event.occurred_at)
        )
    _write_item(pair.item, types, into.item)
    into.embedding_version = pair.embedding_version
    if pair.embedding is not None:
        into.embedding_float32_le = pair.embedding.astype("<f4").tobytes()
    into.model_version = pair.model_version
    into.run_id = pair.run_id


def _write_item(item: ItemSnapshot, types: Mapping[str, AttributeType], into: pb.ItemSnapshot) -> None:
    into.owner_id = item.owner_id
    into.text = item.text
    into.tags.extend(item.tags)
    write_attributes(item.attributes, types, into.attributes)
    into.created_at.CopyFrom(write_time(item.created_at))
    into.counts.positive_count = item.counts.positives
    into.counts.view_count = item.counts.views
    into.counts.rating_count = item.counts.ratings
    if item.counts.rating_mean is not None:
        into.counts.rating_mean = item.counts.rating_mean
    into.counts.SetInParent()


def write_model(model: ModelVersion) -> pb.ModelVersion:
    """A model version."""
    message = pb.ModelVersion(
        model_type=model.model_type,
        version=model.version,
        metrics=model.metrics,
        artifact_uri=model.artifact_uri,
        training_run_ids=model.training_run_ids,
        active=model.active,
        created_at=write_time(model.created_at),
        activated_at=None if model.activated_at is None else write_time(model.activated_at),
    )
    message.parameters.update(model.parameters)
    return message
