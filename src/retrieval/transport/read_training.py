"""Requests for training pairs and models."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING
from uuid import uuid4

from retrieval.application.limits import MAX_HISTORY
from retrieval.application.training_pairs import GeneratePairs
from retrieval.application.training_ports import PairQuery, PairRun
from retrieval.domain.model_registry import ModelVersion
from retrieval.transport import enums
from retrieval.transport.caller import MAX_USER_ID_BYTES
from retrieval.transport.read_json import read_json
from retrieval.transport.read_search import read_collection_name
from retrieval.transport.validate import count, finite, micros, require, text, texts, within
from retrieval.v1 import training_service_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from retrieval.domain.model import Collection

MAX_NAME_BYTES = 128
"""Of model versions, runs and metrics."""
MAX_USERS = 1000
MAX_RATIO = 100
MAX_METRICS = 100
MAX_RUNS = 100
MAX_PARAMETERS_BYTES = 65_536
MAX_URI_BYTES = 2048

_MODEL_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def read_generate(message: pb.GenerateTrainingPairsRequest) -> GeneratePairs:
    """A request for a run, which gets an id where it has none."""
    collection = read_collection_name(message.collection)
    start = _moment(message, "window_start")
    end = _moment(message, "window_end")
    require(start < end, "window_end", "must be later than window_start")
    version = read_name(message.model_version, "model_version")
    ratio, length = 4, 50
    if message.HasField("negatives_per_positive"):
        ratio = within(message.negatives_per_positive, 0, MAX_RATIO, "negatives_per_positive")
    if message.HasField("history_length"):
        length = within(message.history_length, 0, MAX_HISTORY, "history_length")
    users = texts(message.user_ids, "user_ids", MAX_USERS, MAX_USER_ID_BYTES)
    for number, user_id in enumerate(users):
        require(user_id, f"user_ids[{number}]", "is empty")
    require(message.max_users >= 0, "max_users", "must not be negative")
    run_id = text(message.run_id, "run_id", MAX_NAME_BYTES) or uuid4().hex
    return GeneratePairs(
        collection,
        PairRun(run_id, version, _settings_of(message)),
        start,
        end,
        ratio,
        length,
        users,
        message.seed,
        message.max_users or None,
    )


def _settings_of(message: pb.GenerateTrainingPairsRequest) -> bytes:
    """A digest of all that belongs to the run."""
    settings = pb.GenerateTrainingPairsRequest()
    settings.CopyFrom(message)
    settings.ClearField("run_id")
    settings.ClearField("max_users")
    return hashlib.sha256(settings.SerializeToString(deterministic=True)).digest()


def read_query(message: pb.StreamTrainingPairsRequest) -> PairQuery:
    """Which pairs are wanted."""
    label = enums.read(enums.PAIR_LABEL, message.label, "label") if message.label else None
    since = micros(message.since, "since") if message.HasField("since") else None
    return PairQuery(read_name(message.model_version, "model_version"), label, since)


def read_model(message: pb.ModelVersion, collection: Collection, field: str) -> ModelVersion:
    """A version to register."""
    count(list(message.metrics), f"{field}.metrics", MAX_METRICS)
    for name, value in message.metrics.items():
        read_name(name, f"{field}.metrics")
        finite(value, f"{field}.metrics[{name!r}]")
    count(message.training_run_ids, f"{field}.training_run_ids", MAX_RUNS)
    return ModelVersion(
        0,
        collection.collection_id,
        read_model_type(message.model_type, f"{field}.model_type"),
        read_name(message.version, f"{field}.version"),
        dict(message.metrics),
        json.loads(read_json(message.parameters, f"{field}.parameters", MAX_PARAMETERS_BYTES)),
        text(message.artifact_uri, f"{field}.artifact_uri", MAX_URI_BYTES),
        training_run_ids=tuple(
            read_name(run_id, f"{field}.training_run_ids[{number}]")
            for number, run_id in enumerate(dict.fromkeys(message.training_run_ids))
        ),
    )


def read_model_type(value: str, field: str = "model_type") -> str:
    """What a model is for."""
    require(value, field, "is required")
    fits = _MODEL_TYPE.fullmatch(value) is not None
    require(fits, field, "must be 1 to 63 lower-case letters, digits, underscores and hyphens, a letter first")
    return value


def read_name(value: str, field: str) -> str:
    """The name of a version, a run or a metric."""
    text(value, field, MAX_NAME_BYTES, required=True)
    require(_CONTROL.search(value) is None, field, "contains a control character")
    return value


def _moment(message: pb.GenerateTrainingPairsRequest, field: str) -> int:
    require(message.HasField(field), field, "is required")
    value: Timestamp = getattr(message, field)
    return micros(value, field)
