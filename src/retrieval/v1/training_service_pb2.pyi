import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from retrieval.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PairLabel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAIR_LABEL_UNSPECIFIED: _ClassVar[PairLabel]
    PAIR_LABEL_POSITIVE: _ClassVar[PairLabel]
    PAIR_LABEL_NEGATIVE: _ClassVar[PairLabel]
PAIR_LABEL_UNSPECIFIED: PairLabel
PAIR_LABEL_POSITIVE: PairLabel
PAIR_LABEL_NEGATIVE: PairLabel

class GenerateTrainingPairsRequest(_message.Message):
    __slots__ = ("collection", "window_start", "window_end", "negatives_per_positive", "history_length", "model_version", "user_ids", "seed", "run_id", "max_users")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_PER_POSITIVE_FIELD_NUMBER: _ClassVar[int]
    HISTORY_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_USERS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    window_start: _timestamp_pb2.Timestamp
    window_end: _timestamp_pb2.Timestamp
    negatives_per_positive: int
    history_length: int
    model_version: str
    user_ids: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    run_id: str
    max_users: int
    def __init__(self, collection: _Optional[str] = ..., window_start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window_end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., negatives_per_positive: _Optional[int] = ..., history_length: _Optional[int] = ..., model_version: _Optional[str] = ..., user_ids: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ..., run_id: _Optional[str] = ..., max_users: _Optional[int] = ...) -> None: ...

class GenerateTrainingPairsResponse(_message.Message):
    __slots__ = ("run_id", "positive_count", "negative_count", "skipped_count", "user_count", "truncated_user_count", "resume_token")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    USER_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_USER_COUNT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    positive_count: int
    negative_count: int
    skipped_count: int
    user_count: int
    truncated_user_count: int
    resume_token: str
    def __init__(self, run_id: _Optional[str] = ..., positive_count: _Optional[int] = ..., negative_count: _Optional[int] = ..., skipped_count: _Optional[int] = ..., user_count: _Optional[int] = ..., truncated_user_count: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class StreamTrainingPairsRequest(_message.Message):
    __slots__ = ("collection", "model_version", "label", "since", "resume_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    model_version: str
    label: PairLabel
    since: _timestamp_pb2.Timestamp
    resume_token: str
    def __init__(self, collection: _Optional[str] = ..., model_version: _Optional[str] = ..., label: _Optional[_Union[PairLabel, str]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class StreamTrainingPairsResponse(_message.Message):
    __slots__ = ("pairs", "resume_token")
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.RepeatedCompositeFieldContainer[TrainingPair]
    resume_token: str
    def __init__(self, pairs: _Optional[_Iterable[_Union[TrainingPair, _Mapping]]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class TrainingPair(_message.Message):
    __slots__ = ("user_id", "item_id", "label", "engagement_type", "interaction_at", "dwell_ms", "value", "history", "item", "embedding_version", "embedding_float32_le", "model_version", "run_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ENGAGEMENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    INTERACTION_AT_FIELD_NUMBER: _ClassVar[int]
    DWELL_MS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FLOAT32_LE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    item_id: str
    label: bool
    engagement_type: str
    interaction_at: _timestamp_pb2.Timestamp
    dwell_ms: int
    value: float
    history: _containers.RepeatedCompositeFieldContainer[PairHistoryEntry]
    item: ItemSnapshot
    embedding_version: int
    embedding_float32_le: bytes
    model_version: str
    run_id: str
    def __init__(self, user_id: _Optional[str] = ..., item_id: _Optional[str] = ..., label: _Optional[bool] = ..., engagement_type: _Optional[str] = ..., interaction_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., dwell_ms: _Optional[int] = ..., value: _Optional[float] = ..., history: _Optional[_Iterable[_Union[PairHistoryEntry, _Mapping]]] = ..., item: _Optional[_Union[ItemSnapshot, _Mapping]] = ..., embedding_version: _Optional[int] = ..., embedding_float32_le: _Optional[bytes] = ..., model_version: _Optional[str] = ..., run_id: _Optional[str] = ...) -> None: ...

class PairHistoryEntry(_message.Message):
    __slots__ = ("item_id", "type", "value", "occurred_at")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    type: str
    value: float
    occurred_at: _timestamp_pb2.Timestamp
    def __init__(self, item_id: _Optional[str] = ..., type: _Optional[str] = ..., value: _Optional[float] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ItemSnapshot(_message.Message):
    __slots__ = ("owner_id", "text", "tags", "attributes", "created_at", "counts")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.AttributeValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.AttributeValue, _Mapping]] = ...) -> None: ...
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    owner_id: str
    text: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    attributes: _containers.MessageMap[str, _common_pb2.AttributeValue]
    created_at: _timestamp_pb2.Timestamp
    counts: ItemCounts
    def __init__(self, owner_id: _Optional[str] = ..., text: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., attributes: _Optional[_Mapping[str, _common_pb2.AttributeValue]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., counts: _Optional[_Union[ItemCounts, _Mapping]] = ...) -> None: ...

class ItemCounts(_message.Message):
    __slots__ = ("positive_count", "view_count", "rating_count", "rating_mean")
    POSITIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    VIEW_COUNT_FIELD_NUMBER: _ClassVar[int]
    RATING_COUNT_FIELD_NUMBER: _ClassVar[int]
    RATING_MEAN_FIELD_NUMBER: _ClassVar[int]
    positive_count: int
    view_count: int
    rating_count: int
    rating_mean: float
    def __init__(self, positive_count: _Optional[int] = ..., view_count: _Optional[int] = ..., rating_count: _Optional[int] = ..., rating_mean: _Optional[float] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("model_type", "version", "metrics", "parameters", "artifact_uri", "training_run_ids", "active", "created_at", "activated_at")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_URI_FIELD_NUMBER: _ClassVar[int]
    TRAINING_RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ACTIVATED_AT_FIELD_NUMBER: _ClassVar[int]
    model_type: str
    version: str
    metrics: _containers.ScalarMap[str, float]
    parameters: _struct_pb2.Struct
    artifact_uri: str
    training_run_ids: _containers.RepeatedScalarFieldContainer[str]
    active: bool
    created_at: _timestamp_pb2.Timestamp
    activated_at: _timestamp_pb2.Timestamp
    def __init__(self, model_type: _Optional[str] = ..., version: _Optional[str] = ..., metrics: _Optional[_Mapping[str, float]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., artifact_uri: _Optional[str] = ..., training_run_ids: _Optional[_Iterable[str]] = ..., active: _Optional[bool] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., activated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RegisterModelVersionRequest(_message.Message):
    __slots__ = ("collection", "model_version")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    model_version: ModelVersion
    def __init__(self, collection: _Optional[str] = ..., model_version: _Optional[_Union[ModelVersion, _Mapping]] = ...) -> None: ...

class RegisterModelVersionResponse(_message.Message):
    __slots__ = ("model_version",)
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    model_version: ModelVersion
    def __init__(self, model_version: _Optional[_Union[ModelVersion, _Mapping]] = ...) -> None: ...

class ActivateModelVersionRequest(_message.Message):
    __slots__ = ("collection", "model_type", "version")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    model_type: str
    version: str
    def __init__(self, collection: _Optional[str] = ..., model_type: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ActivateModelVersionResponse(_message.Message):
    __slots__ = ("model_version",)
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    model_version: ModelVersion
    def __init__(self, model_version: _Optional[_Union[ModelVersion, _Mapping]] = ...) -> None: ...

class RollbackModelVersionRequest(_message.Message):
    __slots__ = ("collection", "model_type")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    model_type: str
    def __init__(self, collection: _Optional[str] = ..., model_type: _Optional[str] = ...) -> None: ...

class RollbackModelVersionResponse(_message.Message):
    __slots__ = ("model_version",)
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    model_version: ModelVersion
    def __init__(self, model_version: _Optional[_Union[ModelVersion, _Mapping]] = ...) -> None: ...

class GetModelVersionRequest(_message.Message):
    __slots__ = ("collection", "model_type", "version")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    model_type: str
    version: str
    def __init__(self, collection: _Optional[str] = ..., model_type: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class GetModelVersionResponse(_message.Message):
    __slots__ = ("model_version",)
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    model_version: ModelVersion
    def __init__(self, model_version: _Optional[_Union[ModelVersion, _Mapping]] = ...) -> None: ...

class ListModelVersionsRequest(_message.Message):
    __slots__ = ("collection", "model_type", "page_size", "page_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    model_type: str
    page_size: int
    page_token: str
    def __init__(self, collection: _Optional[str] = ..., model_type: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelVersionsResponse(_message.Message):
    __slots__ = ("model_versions", "next_page_token")
    MODEL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model_versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    next_page_token: str
    def __init__(self, model_versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
