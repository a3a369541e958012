"""Trained models in Postgres; implements `ModelRegistry`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from retrieval.domain.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from retrieval.domain.model_registry import ModelVersion
from retrieval.postgres.sql_files import queries
from retrieval.postgres.times import to_micros

if TYPE_CHECKING:
    from retrieval.domain.model import Collection
    from retrieval.postgres.database import Database


class PostgresModels:
    """Registers versions and swaps the active one; whoever follows the change log hears of a swap."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, collection: Collection, model: ModelVersion) -> ModelVersion:
        """See `ModelRegistry`."""
        async with self._database.transaction() as connection:
            await _lock(connection, collection)
            sql = queries("models")
            runs = list(model.training_run_ids)
            missing = await connection.fetchval(sql["missing_runs"], collection.collection_id, runs)
            row = await connection.fetchrow(
                sql["insert_model"],
                collection.collection_id,
                model.model_type,
                model.version,
                json.dumps(dict(model.metrics)),
                json.dumps(dict(model.parameters)),
                model.artifact_uri,
                runs,
            )
            if row is None:
                raise AlreadyExistsError(
                    f"model version {model.version!r} of type {model.model_type!r} exists; GetModelVersion shows it",
                    reason="MODEL_VERSION_EXISTS",
                )
            if missing is not None:
                raise NotFoundError(
                    f"training run {missing!r} does not exist; GenerateTrainingPairs returns the ids of runs",
                    reason="TRAINING_RUN_NOT_FOUND",
                )
        return _model(row)

    async def get(self, collection: Collection, model_type: str, version: str) -> ModelVersion:
        """See `ModelRegistry`."""
        async with self._database.connection() as connection:
            return await _get(connection, collection, model_type, version)

    async def active(self, collection: Collection, model_type: str) -> ModelVersion | None:
        """See `ModelRegistry`."""
        async with self._database.connection() as connection:
            return await _active(connection, collection, model_type)

    async def activate(self, collection: Collection, model_type: str, version: str) -> ModelVersion:
        """See `ModelRegistry`."""
        sql = queries("models")
        async with self._database.transaction() as connection:
            await _lock(connection, collection)
            target = await _get(connection, collection, model_type, version)
            if target.active:
                return target
            top = await connection.fetchval(sql["top_of_stack"], collection.collection_id, model_type) or 0
            await connection.execute(sql["forget_undone"], collection.collection_id, model_type, top)
            return await _make_active(connection, collection, model_type, version, top + 1)

    async def rollback(self, collection: Collection, model_type: str) -> ModelVersion:
        """See `ModelRegistry`."""
        async with self._database.transaction() as connection:
            await _lock(connection, collection)
            previous = await connection.fetchrow(
                queries("models")["previous_model"], collection.collection_id, model_type
            )
            if previous is None:
                raise FailedPreconditionError(
                    f"no other version of a model of type {model_type!r} was active before",
                    reason="NO_PREVIOUS_VERSION",
                )
            return await _make_active(connection, collection, model_type, *previous)

    async def list_after(
        self, collection: Collection, model_type: str, after: tuple[str, str], count: int
    ) -> list[ModelVersion]:
        """See `ModelRegistry`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                queries("models")["list_models"], collection.collection_id, model_type, *after, count
            )
        return [_model(row) for row in rows]


async def _lock(connection: Any, collection: Collection) -> None:
    if await connection.fetchval(queries("models")["lock_collection"], collection.collection_id) is None:
        raise NotFoundError(f"collection {collection.name!r} was deleted meanwhile", reason="COLLECTION_NOT_FOUND")


async def _get(connection: Any, collection: Collection, model_type: str, version: str) -> ModelVersion:
    row = await connection.fetchrow(queries("models")["get_model"], collection.collection_id, model_type, version)
    if row is None:
        raise NotFoundError(
            f"there is no version {version!r} of a model of type {model_type!r}; ListModelVersions shows them",
            reason="MODEL_VERSION_NOT_FOUND",
        )
    return _model(row)


async def _active(connection: Any, collection: Collection, model_type: str) -> ModelVersion | None:
    row = await connection.fetchrow(queries("models")["active_model"], collection.collection_id, model_type)
    return None if row is None else _model(row)


async def _make_active(
    connection: Any, collection: Collection, model_type: str, version: str, activation: int
) -> ModelVersion:
    sql, collection_id = queries("models"), collection.collection_id
    await connection.execute(sql["deactivate_model"], collection_id, model_type)
    row = await connection.fetchrow(sql["activate_model"], collection_id, model_type, version, activation)
    await connection.execute(queries("changes")["log_catalogue_change"], collection_id)
    return _model(row)


def _model(row: Any) -> ModelVersion:
    return ModelVersion(
        row["model_version_id"],
        row["collection_id"],
        row["model_type"],
        row["version"],
        {name: float(value) for name, value in json.loads(row["metrics"]).items()},
        json.loads(row["parameters"]),
        row["artifact_uri"],
        row["active"],
        to_micros(row["created_at"]),
        None if row["activated_at"] is None else to_micros(row["activated_at"]),
        tuple(row["training_run_ids"]),
    )
