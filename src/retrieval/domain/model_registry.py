"""Trained models: what is known of a version, and which one is in use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A trained model. `model_version_id` is the store's own key; times are microseconds since the epoch.

    `parameters` is a JSON object. `training_run_ids` are the runs that made the pairs it was trained on.
    """

    model_version_id: int
    collection_id: int
    model_type: str
    version: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifact_uri: str = ""
    active: bool = False
    created_at: int = 0
    activated_at: int | None = None
    training_run_ids: tuple[str, ...] = ()
