"""Trained models in memory; implements `ModelRegistry`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.domain.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError

if TYPE_CHECKING:
    from retrieval.domain.model import Collection
    from retrieval.domain.model_registry import ModelVersion
    from retrieval.reference.memory import Memory


class ReferenceModels:
    """Registers versions, and keeps the stack of those that were active, by type."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def register(self, collection: Collection, model: ModelVersion) -> ModelVersion:
        """See `ModelRegistry`."""
        held = self._memory.held(collection)
        key = model.model_type, model.version
        if key in held.models:
            raise AlreadyExistsError(
                f"model version {model.version!r} of type {model.model_type!r} exists; GetModelVersion shows it",
                reason="MODEL_VERSION_EXISTS",
            )
        for run_id in model.training_run_ids:
            if run_id not in held.runs:
                raise NotFoundError(
                    f"training run {run_id!r} does not exist; GenerateTrainingPairs returns the ids of runs",
                    reason="TRAINING_RUN_NOT_FOUND",
                )
        held.models[key] = replace(
            model,
            model_version_id=self._memory.next_id(),
            collection_id=collection.collection_id,
            active=False,
            created_at=self._memory.now_us(),
            activated_at=None,
        )
        return held.models[key]

    async def get(self, collection: Collection, model_type: str, version: str) -> ModelVersion:
        """See `ModelRegistry`."""
        found = self._memory.held(collection).models.get((model_type, version))
        if found is None:
            raise NotFoundError(
                f"there is no version {version!r} of a model of type {model_type!r}; ListModelVersions shows them",
                reason="MODEL_VERSION_NOT_FOUND",
            )
        return found

    async def active(self, collection: Collection, model_type: str) -> ModelVersion | None:
        """See `ModelRegistry`."""
        models = self._memory.held(collection).models.values()
        return next((m for m in models if m.active and m.model_type == model_type), None)

    async def activate(self, collection: Collection, model_type: str, version: str) -> ModelVersion:
        """See `ModelRegistry`."""
        target = await self.get(collection, model_type, version)
        if target.active:
            return target
        held = self._memory.held(collection)
        before = held.activations.get(model_type, [])
        present = await self.active(collection, model_type)
        # What was rolled back from is no longer among what was active before.
        kept = before[: before.index(present.version) + 1] if present is not None else []
        held.activations[model_type] = [*(v for v in kept if v != version), version]
        return self._make_active(collection, target)

    async def rollback(self, collection: Collection, model_type: str) -> ModelVersion:
        """See `ModelRegistry`."""
        activations = self._memory.held(collection).activations.get(model_type, [])
        present = await self.active(collection, model_type)
        place = activations.index(present.version) if present is not None else 0
        if not place:
            raise FailedPreconditionError(
                f"no other version of a model of type {model_type!r} was active before", reason="NO_PREVIOUS_VERSION"
            )
        return self._make_active(collection, await self.get(collection, model_type, activations[place - 1]))

    def _make_active(self, collection: Collection, target: ModelVersion) -> ModelVersion:
        models = self._memory.held(collection).models
        for key, model in models.items():
            if model.active and model.model_type == target.model_type:
                models[key] = replace(model, active=False)
        made = replace(target, active=True, activated_at=self._memory.now_us())
        models[made.model_type, made.version] = made
        return made

    async def list_after(
        self, collection: Collection, model_type: str, after: tuple[str, str], count: int
    ) -> list[ModelVersion]:
        """See `ModelRegistry`."""
        models = self._memory.held(collection).models
        keys = sorted(key for key in models if key > after and model_type in {"", key[0]})
        return [models[key] for key in keys[:count]]
