"""Collections, embedding versions and index builds of requests."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.ports import BuildSpec, IndexKind
from retrieval.domain.engagement import EVENT_TYPES
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import (
    BUILTIN_ATTRIBUTES,
    DEFAULT_TEXT_LANGUAGE,
    MAX_DIMENSION,
    AttributeType,
    Collection,
    EmbeddingVersion,
    Metric,
    PopularThresholds,
    VisibilityMode,
)
from retrieval.domain.projection import MAX_INPUT_DIMENSION, Projection
from retrieval.transport import enums
from retrieval.transport.read_events import read_event_type
from retrieval.transport.read_vectors import read_vector
from retrieval.transport.validate import count, finite, optional_within, require, seconds, text, within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from retrieval.domain.engagement import EventType
    from retrieval.v1 import collection_service_pb2 as pb
    from retrieval.v1 import common_pb2 as common_pb

MAX_ATTRIBUTES = 64
MAX_RESOLUTIONS = 8
MAX_MODEL_BYTES = 256
CHUNK_CHARACTERS = (1000, 100_000)
"""Of the longest text, parts of the least length are no more than an item may have chunks."""
MAX_LANGUAGE_BYTES = 128
M_RANGE = (2, 100)
EF_CONSTRUCTION_RANGE = (4, 1000)
MAX_LISTS = 32_768
MAX_EVENT_WEIGHT = 100.0
RATING_SCALES = 1e-100, 1e100
"""Between these, squares of ratings can be added up."""
DAY_S = 86_400
HALF_LIFE_DAYS = (1 / 24, 3650)
DEFAULT_KINDS = frozenset({IndexKind.HNSW, IndexKind.POPULAR_HNSW, IndexKind.ATTRIBUTE})

_COLLECTION_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_ATTRIBUTE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def read_new_collection(message: pb.Collection, field: str) -> Collection:
    """A collection to create."""
    require(
        _COLLECTION_NAME.fullmatch(message.name),
        f"{field}.name",
        "must be 1 to 63 lower-case letters, digits, underscores and hyphens, a letter first",
    )
    scale = message.rating_scale_max
    return Collection(
        collection_id=0,
        name=message.name,
        metric=enums.read(enums.METRIC, message.metric, f"{field}.metric", Metric.COSINE),
        attributes=read_attributes(message.attributes, f"{field}.attributes"),
        visibility_mode=enums.read(
            enums.VISIBILITY_MODE,
            message.visibility_mode,
            f"{field}.visibility_mode",
            VisibilityMode.PUBLIC_BY_DEFAULT,
        ),
        popular=read_thresholds(message.popular_thresholds, PopularThresholds(), f"{field}.popular_thresholds"),
        rating_scale_max=read_rating_scale(scale, f"{field}.rating_scale_max") if scale else 5.0,
        event_types=read_event_types(message.event_types, EVENT_TYPES, f"{field}.event_types"),
        text_language=text(message.text_language, f"{field}.text_language", MAX_LANGUAGE_BYTES)
        or DEFAULT_TEXT_LANGUAGE,
    )


def read_attributes(messages: Sequence[pb.AttributeDefinition], field: str) -> dict[str, AttributeType]:
    """Declared attributes by name."""
    count(messages, field, MAX_ATTRIBUTES)
    attributes: dict[str, AttributeType] = {}
    for number, message in enumerate(messages):
        where, name = f"{field}[{number}]", message.name
        require(
            _ATTRIBUTE_NAME.fullmatch(name),
            f"{where}.name",
            "must be 1 to 63 lower-case letters, digits and underscores, a letter first",
        )
        require(name not in BUILTIN_ATTRIBUTES, f"{where}.name", f"{name!r} is reserved")
        require(name not in attributes, f"{where}.name", f"{name!r} is declared twice")
        attributes[name] = enums.read(enums.ATTRIBUTE_TYPE, message.type, f"{where}.type")
    return attributes


def read_added_attributes(
    messages: Sequence[pb.AttributeDefinition], collection: Collection
) -> dict[str, AttributeType]:
    """Attributes to declare in addition. One that is there already with the same type is no error."""
    added = read_attributes(messages, "add_attributes")
    for number, message in enumerate(messages):
        present = collection.attributes.get(message.name)
        if present not in {None, added[message.name]}:
            raise InvalidArgumentError.of(
                f"add_attributes[{number}].type",
                f"{message.name!r} is declared already and its type never changes",
                reason="ATTRIBUTE_TYPE_MISMATCH",
            )
    total = len(collection.attributes.keys() | added.keys())
    require(total <= MAX_ATTRIBUTES, "add_attributes", f"would make {total} attributes, at most {MAX_ATTRIBUTES}")
    return added


def read_event_types(
    messages: Sequence[pb.EventTypeSetting], present: Mapping[str, EventType], field: str
) -> dict[str, EventType]:
    """Event types by name; what is not given stays as it is at `present`, where all types are."""
    types: dict[str, EventType] = {}
    for number, message in enumerate(messages):
        where, name = f"{field}[{number}]", message.type
        kind = present[read_event_type(name, f"{where}.type")]
        require(name not in types, f"{where}.type", f"{name!r} is named twice")
        if message.HasField("weight"):
            fits = abs(finite(message.weight, f"{where}.weight")) <= MAX_EVENT_WEIGHT
            require(fits, f"{where}.weight", f"must be between -{MAX_EVENT_WEIGHT:g} and {MAX_EVENT_WEIGHT:g}")
            kind = replace(kind, weight=message.weight)
        if message.HasField("half_life"):
            days = seconds(message.half_life, f"{where}.half_life") / DAY_S
            low, high = HALF_LIFE_DAYS
            require(low <= days <= high, f"{where}.half_life", f"must be between an hour and {high} days")
            kind = replace(kind, half_life_days=days)
        types[name] = kind
    return types


def read_thresholds(message: pb.PopularThresholds, present: PopularThresholds, field: str) -> PopularThresholds:
    """Thresholds of the popular index; those not given stay as they are at `present`."""
    value, number = present.min_rating_value, present.min_rating_count
    if message.HasField("min_rating_value"):
        value = finite(message.min_rating_value, f"{field}.min_rating_value")
    if message.HasField("min_rating_count"):
        number = message.min_rating_count
        require(number >= 0, f"{field}.min_rating_count", "must not be negative")
    return PopularThresholds(value, number)


def read_rating_scale(value: float, field: str) -> float:
    """The top of the rating scale."""
    low, high = RATING_SCALES
    require(low <= finite(value, field) <= high, field, f"must be positive, from {low:g} to {high:g}")
    return value


def read_new_version(message: pb.EmbeddingVersion, field: str) -> EmbeddingVersion:
    """An embedding version to create; the store numbers it."""
    dimension = within(message.dimension, 1, MAX_DIMENSION, f"{field}.dimension")
    count(message.resolutions, f"{field}.resolutions", MAX_RESOLUTIONS)
    for number, resolution in enumerate(message.resolutions):
        below = 1 <= resolution < dimension
        require(below, f"{field}.resolutions[{number}]", f"must be at least 1 and below the dimension, {dimension}")
    resolutions = tuple(sorted(set(message.resolutions)))
    require(len(resolutions) == len(message.resolutions), f"{field}.resolutions", "names a length twice")
    if message.chunk_characters:
        where = f"{field}.chunk_characters"
        require(message.embeds_text, where, "goes with embeds_text")
        within(message.chunk_characters, *CHUNK_CHARACTERS, where)
    return EmbeddingVersion(
        version_id=0,
        version=0,
        model=text(message.model, f"{field}.model", MAX_MODEL_BYTES, required=True),
        dimension=dimension,
        resolutions=resolutions,
        embeds_text=message.embeds_text,
        chunk_characters=message.chunk_characters,
    )


def read_projection(message: pb.Projection, dimension: int, field: str) -> Projection:
    """The projection of a version of `dimension` that is to be created."""
    size = within(message.input_dimension, 1, MAX_INPUT_DIMENSION, f"{field}.input_dimension")
    require(
        size != dimension,
        f"{field}.input_dimension",
        f"is {size}, the dimension of the version: vectors of that length would be either; project before sending",
        "AMBIGUOUS_INPUT_DIMENSION",
    )
    matrix = _components(message.matrix, dimension * size, f"{dimension} x {size}", f"{field}.matrix")
    bias = None
    if message.HasField("bias"):
        bias = _components(message.bias, dimension, f"{dimension}", f"{field}.bias")
    return Projection(matrix.reshape(dimension, size), bias)


def _components(message: common_pb.Vector, count: int, shape: str, field: str) -> NDArray[np.float32]:
    values = read_vector(message, field)
    require(
        len(values) == count, field, f"has {len(values)} components, must have {shape}", "PROJECTION_SHAPE_MISMATCH"
    )
    require(np.isfinite(values).all(), field, "contains NaN or infinity", "VECTOR_NOT_FINITE")
    return values


def read_build(message: pb.BuildIndexRequest) -> BuildSpec:
    """Which indexes to build; no kinds stand for all but IVFFlat."""
    kinds: set[IndexKind] = set()
    for number, kind in enumerate(message.kinds):
        if kind:
            kinds.add(enums.read(enums.INDEX_KIND, kind, f"kinds[{number}]"))
        else:
            kinds |= DEFAULT_KINDS
    m = optional_within(message.m, *M_RANGE, "m")
    ef_construction = optional_within(message.ef_construction, *EF_CONSTRUCTION_RANGE, "ef_construction")
    fits = m is None or ef_construction is None or ef_construction >= 2 * m
    require(fits, "ef_construction", "must be at least 2 m")
    lists = optional_within(message.lists, 1, MAX_LISTS, "lists")
    return BuildSpec(frozenset(kinds) or DEFAULT_KINDS, m, ef_construction, lists, message.rebuild)
