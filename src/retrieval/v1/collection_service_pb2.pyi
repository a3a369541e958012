import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from retrieval.v1 import background_task_pb2 as _background_task_pb2
from retrieval.v1 import common_pb2 as _common_pb2
from retrieval.v1 import table_binding_pb2 as _table_binding_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VisibilityMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VISIBILITY_MODE_UNSPECIFIED: _ClassVar[VisibilityMode]
    VISIBILITY_MODE_PUBLIC_BY_DEFAULT: _ClassVar[VisibilityMode]
    VISIBILITY_MODE_PRIVATE_BY_DEFAULT: _ClassVar[VisibilityMode]

class EmbeddingVersionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMBEDDING_VERSION_STATE_UNSPECIFIED: _ClassVar[EmbeddingVersionState]
    EMBEDDING_VERSION_STATE_BUILDING: _ClassVar[EmbeddingVersionState]
    EMBEDDING_VERSION_STATE_ACTIVE: _ClassVar[EmbeddingVersionState]
    EMBEDDING_VERSION_STATE_RETIRED: _ClassVar[EmbeddingVersionState]

class IndexKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INDEX_KIND_UNSPECIFIED: _ClassVar[IndexKind]
    INDEX_KIND_HNSW: _ClassVar[IndexKind]
    INDEX_KIND_IVFFLAT: _ClassVar[IndexKind]
    INDEX_KIND_POPULAR_HNSW: _ClassVar[IndexKind]
    INDEX_KIND_ATTRIBUTE: _ClassVar[IndexKind]

class IndexState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INDEX_STATE_UNSPECIFIED: _ClassVar[IndexState]
    INDEX_STATE_QUEUED: _ClassVar[IndexState]
    INDEX_STATE_BUILDING: _ClassVar[IndexState]
    INDEX_STATE_READY: _ClassVar[IndexState]
    INDEX_STATE_FAILED: _ClassVar[IndexState]

class CacheState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CACHE_STATE_UNSPECIFIED: _ClassVar[CacheState]
    CACHE_STATE_ABSENT: _ClassVar[CacheState]
    CACHE_STATE_BUILDING: _ClassVar[CacheState]
    CACHE_STATE_COARSE: _ClassVar[CacheState]
    CACHE_STATE_RESIDENT: _ClassVar[CacheState]
VISIBILITY_MODE_UNSPECIFIED: VisibilityMode
VISIBILITY_MODE_PUBLIC_BY_DEFAULT: VisibilityMode
VISIBILITY_MODE_PRIVATE_BY_DEFAULT: VisibilityMode
EMBEDDING_VERSION_STATE_UNSPECIFIED: EmbeddingVersionState
EMBEDDING_VERSION_STATE_BUILDING: EmbeddingVersionState
EMBEDDING_VERSION_STATE_ACTIVE: EmbeddingVersionState
EMBEDDING_VERSION_STATE_RETIRED: EmbeddingVersionState
INDEX_KIND_UNSPECIFIED: IndexKind
INDEX_KIND_HNSW: IndexKind
INDEX_KIND_IVFFLAT: IndexKind
INDEX_KIND_POPULAR_HNSW: IndexKind
INDEX_KIND_ATTRIBUTE: IndexKind
INDEX_STATE_UNSPECIFIED: IndexState
INDEX_STATE_QUEUED: IndexState
INDEX_STATE_BUILDING: IndexState
INDEX_STATE_READY: IndexState
INDEX_STATE_FAILED: IndexState
CACHE_STATE_UNSPECIFIED: CacheState
CACHE_STATE_ABSENT: CacheState
CACHE_STATE_BUILDING: CacheState
CACHE_STATE_COARSE: CacheState
CACHE_STATE_RESIDENT: CacheState

class AttributeDefinition(_message.Message):
    __slots__ = ("name", "type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: _common_pb2.AttributeType
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[_common_pb2.AttributeType, str]] = ...) -> None: ...

class PopularThresholds(_message.Message):
    __slots__ = ("min_rating_value", "min_rating_count")
    MIN_RATING_VALUE_FIELD_NUMBER: _ClassVar[int]
    MIN_RATING_COUNT_FIELD_NUMBER: _ClassVar[int]
    min_rating_value: float
    min_rating_count: int
    def __init__(self, min_rating_value: _Optional[float] = ..., min_rating_count: _Optional[int] = ...) -> None: ...

class Collection(_message.Message):
    __slots__ = ("name", "metric", "attributes", "visibility_mode", "popular_thresholds", "rating_scale_max", "active_embedding_version", "embedding_versions", "created_at", "event_types", "text_language")
    NAME_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_MODE_FIELD_NUMBER: _ClassVar[int]
    POPULAR_THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    RATING_SCALE_MAX_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    TEXT_LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    metric: _common_pb2.Metric
    attributes: _containers.RepeatedCompositeFieldContainer[AttributeDefinition]
    visibility_mode: VisibilityMode
    popular_thresholds: PopularThresholds
    rating_scale_max: float
    active_embedding_version: int
    embedding_versions: _containers.RepeatedCompositeFieldContainer[EmbeddingVersion]
    created_at: _timestamp_pb2.Timestamp
    event_types: _containers.RepeatedCompositeFieldContainer[EventTypeSetting]
    text_language: str
    def __init__(self, name: _Optional[str] = ..., metric: _Optional[_Union[_common_pb2.Metric, str]] = ..., attributes: _Optional[_Iterable[_Union[AttributeDefinition, _Mapping]]] = ..., visibility_mode: _Optional[_Union[VisibilityMode, str]] = ..., popular_thresholds: _Optional[_Union[PopularThresholds, _Mapping]] = ..., rating_scale_max: _Optional[float] = ..., active_embedding_version: _Optional[int] = ..., embedding_versions: _Optional[_Iterable[_Union[EmbeddingVersion, _Mapping]]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event_types: _Optional[_Iterable[_Union[EventTypeSetting, _Mapping]]] = ..., text_language: _Optional[str] = ...) -> None: ...

class EventTypeSetting(_message.Message):
    __slots__ = ("type", "weight", "half_life")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    HALF_LIFE_FIELD_NUMBER: _ClassVar[int]
    type: str
    weight: float
    half_life: _duration_pb2.Duration
    def __init__(self, type: _Optional[str] = ..., weight: _Optional[float] = ..., half_life: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class EmbeddingVersion(_message.Message):
    __slots__ = ("version", "model", "dimension", "resolutions", "state", "created_at", "activated_at", "input_dimension", "embeds_text", "chunk_characters")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    RESOLUTIONS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ACTIVATED_AT_FIELD_NUMBER: _ClassVar[int]
    INPUT_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDS_TEXT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    version: int
    model: str
    dimension: int
    resolutions: _containers.RepeatedScalarFieldContainer[int]
    state: EmbeddingVersionState
    created_at: _timestamp_pb2.Timestamp
    activated_at: _timestamp_pb2.Timestamp
    input_dimension: int
    embeds_text: bool
    chunk_characters: int
    def __init__(self, version: _Optional[int] = ..., model: _Optional[str] = ..., dimension: _Optional[int] = ..., resolutions: _Optional[_Iterable[int]] = ..., state: _Optional[_Union[EmbeddingVersionState, str]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., activated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., input_dimension: _Optional[int] = ..., embeds_text: _Optional[bool] = ..., chunk_characters: _Optional[int] = ...) -> None: ...

class Projection(_message.Message):
    __slots__ = ("input_dimension", "matrix", "bias")
    INPUT_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    MATRIX_FIELD_NUMBER: _ClassVar[int]
    BIAS_FIELD_NUMBER: _ClassVar[int]
    input_dimension: int
    matrix: _common_pb2.Vector
    bias: _common_pb2.Vector
    def __init__(self, input_dimension: _Optional[int] = ..., matrix: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ..., bias: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ...) -> None: ...

class CreateCollectionRequest(_message.Message):
    __slots__ = ("collection", "embedding_version", "projection")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    embedding_version: EmbeddingVersion
    projection: Projection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ..., embedding_version: _Optional[_Union[EmbeddingVersion, _Mapping]] = ..., projection: _Optional[_Union[Projection, _Mapping]] = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections", "next_page_token")
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[Collection]
    next_page_token: str
    def __init__(self, collections: _Optional[_Iterable[_Union[Collection, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateCollectionRequest(_message.Message):
    __slots__ = ("collection", "add_attributes", "popular_thresholds", "rating_scale_max", "event_types")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ADD_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    POPULAR_THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    RATING_SCALE_MAX_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    collection: str
    add_attributes: _containers.RepeatedCompositeFieldContainer[AttributeDefinition]
    popular_thresholds: PopularThresholds
    rating_scale_max: float
    event_types: _containers.RepeatedCompositeFieldContainer[EventTypeSetting]
    def __init__(self, collection: _Optional[str] = ..., add_attributes: _Optional[_Iterable[_Union[AttributeDefinition, _Mapping]]] = ..., popular_thresholds: _Optional[_Union[PopularThresholds, _Mapping]] = ..., rating_scale_max: _Optional[float] = ..., event_types: _Optional[_Iterable[_Union[EventTypeSetting, _Mapping]]] = ...) -> None: ...

class UpdateCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class DeleteCollectionRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class DeleteCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateEmbeddingVersionRequest(_message.Message):
    __slots__ = ("collection", "embedding_version", "projection")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    embedding_version: EmbeddingVersion
    projection: Projection
    def __init__(self, collection: _Optional[str] = ..., embedding_version: _Optional[_Union[EmbeddingVersion, _Mapping]] = ..., projection: _Optional[_Union[Projection, _Mapping]] = ...) -> None: ...

class CreateEmbeddingVersionResponse(_message.Message):
    __slots__ = ("embedding_version",)
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    embedding_version: EmbeddingVersion
    def __init__(self, embedding_version: _Optional[_Union[EmbeddingVersion, _Mapping]] = ...) -> None: ...

class ActivateEmbeddingVersionRequest(_message.Message):
    __slots__ = ("collection", "version", "allow_incomplete")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALLOW_INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    version: int
    allow_incomplete: bool
    def __init__(self, collection: _Optional[str] = ..., version: _Optional[int] = ..., allow_incomplete: _Optional[bool] = ...) -> None: ...

class ActivateEmbeddingVersionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class RollbackEmbeddingVersionRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class RollbackEmbeddingVersionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class BuildIndexRequest(_message.Message):
    __slots__ = ("collection", "embedding_version", "kinds", "m", "ef_construction", "lists", "rebuild")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    M_FIELD_NUMBER: _ClassVar[int]
    EF_CONSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    LISTS_FIELD_NUMBER: _ClassVar[int]
    REBUILD_FIELD_NUMBER: _ClassVar[int]
    collection: str
    embedding_version: int
    kinds: _containers.RepeatedScalarFieldContainer[IndexKind]
    m: int
    ef_construction: int
    lists: int
    rebuild: bool
    def __init__(self, collection: _Optional[str] = ..., embedding_version: _Optional[int] = ..., kinds: _Optional[_Iterable[_Union[IndexKind, str]]] = ..., m: _Optional[int] = ..., ef_construction: _Optional[int] = ..., lists: _Optional[int] = ..., rebuild: _Optional[bool] = ...) -> None: ...

class BuildIndexResponse(_message.Message):
    __slots__ = ("index_names",)
    INDEX_NAMES_FIELD_NUMBER: _ClassVar[int]
    index_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, index_names: _Optional[_Iterable[str]] = ...) -> None: ...

class GetIndexStatsRequest(_message.Message):
    __slots__ = ("collection", "embedding_version")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    embedding_version: int
    def __init__(self, collection: _Optional[str] = ..., embedding_version: _Optional[int] = ...) -> None: ...

class IndexStats(_message.Message):
    __slots__ = ("name", "kind", "dimension", "state", "progress", "size_bytes", "generation", "phase", "error", "m", "ef_construction", "lists", "build_ms", "lists_wanted", "built_row_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    M_FIELD_NUMBER: _ClassVar[int]
    EF_CONSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    LISTS_FIELD_NUMBER: _ClassVar[int]
    BUILD_MS_FIELD_NUMBER: _ClassVar[int]
    LISTS_WANTED_FIELD_NUMBER: _ClassVar[int]
    BUILT_ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: IndexKind
    dimension: int
    state: IndexState
    progress: float
    size_bytes: int
    generation: int
    phase: str
    error: str
    m: int
    ef_construction: int
    lists: int
    build_ms: int
    lists_wanted: int
    built_row_count: int
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[IndexKind, str]] = ..., dimension: _Optional[int] = ..., state: _Optional[_Union[IndexState, str]] = ..., progress: _Optional[float] = ..., size_bytes: _Optional[int] = ..., generation: _Optional[int] = ..., phase: _Optional[str] = ..., error: _Optional[str] = ..., m: _Optional[int] = ..., ef_construction: _Optional[int] = ..., lists: _Optional[int] = ..., build_ms: _Optional[int] = ..., lists_wanted: _Optional[int] = ..., built_row_count: _Optional[int] = ...) -> None: ...

class CalibratedPlan(_message.Message):
    __slots__ = ("target_recall", "dimension", "ef_search", "shortlist", "recall", "microseconds")
    TARGET_RECALL_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    EF_SEARCH_FIELD_NUMBER: _ClassVar[int]
    SHORTLIST_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    target_recall: float
    dimension: int
    ef_search: int
    shortlist: int
    recall: float
    microseconds: float
    def __init__(self, target_recall: _Optional[float] = ..., dimension: _Optional[int] = ..., ef_search: _Optional[int] = ..., shortlist: _Optional[int] = ..., recall: _Optional[float] = ..., microseconds: _Optional[float] = ...) -> None: ...

class MeasuredRecall(_message.Message):
    __slots__ = ("source", "recall", "target_recall", "sample_size", "measured_at")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    TARGET_RECALL_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MEASURED_AT_FIELD_NUMBER: _ClassVar[int]
    source: _common_pb2.Source
    recall: float
    target_recall: float
    sample_size: int
    measured_at: _timestamp_pb2.Timestamp
    def __init__(self, source: _Optional[_Union[_common_pb2.Source, str]] = ..., recall: _Optional[float] = ..., target_recall: _Optional[float] = ..., sample_size: _Optional[int] = ..., measured_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CacheStats(_message.Message):
    __slots__ = ("state", "generation", "row_count", "delta_rows", "dead_rows", "size_bytes", "build_ms", "built_at", "staleness", "max_staleness", "plans")
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    DELTA_ROWS_FIELD_NUMBER: _ClassVar[int]
    DEAD_ROWS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUILD_MS_FIELD_NUMBER: _ClassVar[int]
    BUILT_AT_FIELD_NUMBER: _ClassVar[int]
    STALENESS_FIELD_NUMBER: _ClassVar[int]
    MAX_STALENESS_FIELD_NUMBER: _ClassVar[int]
    PLANS_FIELD_NUMBER: _ClassVar[int]
    state: CacheState
    generation: int
    row_count: int
    delta_rows: int
    dead_rows: int
    size_bytes: int
    build_ms: int
    built_at: _timestamp_pb2.Timestamp
    staleness: _duration_pb2.Duration
    max_staleness: _duration_pb2.Duration
    plans: _containers.RepeatedCompositeFieldContainer[CalibratedPlan]
    def __init__(self, state: _Optional[_Union[CacheState, str]] = ..., generation: _Optional[int] = ..., row_count: _Optional[int] = ..., delta_rows: _Optional[int] = ..., dead_rows: _Optional[int] = ..., size_bytes: _Optional[int] = ..., build_ms: _Optional[int] = ..., built_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., staleness: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_staleness: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., plans: _Optional[_Iterable[_Union[CalibratedPlan, _Mapping]]] = ...) -> None: ...

class GetIndexStatsResponse(_message.Message):
    __slots__ = ("embedding_version", "row_count", "table_bytes", "indexes", "cache", "measured_recall", "dead_row_count", "background_tasks")
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    TABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    MEASURED_RECALL_FIELD_NUMBER: _ClassVar[int]
    DEAD_ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_TASKS_FIELD_NUMBER: _ClassVar[int]
    embedding_version: int
    row_count: int
    table_bytes: int
    indexes: _containers.RepeatedCompositeFieldContainer[IndexStats]
    cache: CacheStats
    measured_recall: MeasuredRecall
    dead_row_count: int
    background_tasks: _containers.RepeatedCompositeFieldContainer[_background_task_pb2.BackgroundTask]
    def __init__(self, embedding_version: _Optional[int] = ..., row_count: _Optional[int] = ..., table_bytes: _Optional[int] = ..., indexes: _Optional[_Iterable[_Union[IndexStats, _Mapping]]] = ..., cache: _Optional[_Union[CacheStats, _Mapping]] = ..., measured_recall: _Optional[_Union[MeasuredRecall, _Mapping]] = ..., dead_row_count: _Optional[int] = ..., background_tasks: _Optional[_Iterable[_Union[_background_task_pb2.BackgroundTask, _Mapping]]] = ...) -> None: ...

class PrewarmCacheRequest(_message.Message):
    __slots__ = ("collection", "embedding_version")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    embedding_version: int
    def __init__(self, collection: _Optional[str] = ..., embedding_version: _Optional[int] = ...) -> None: ...

class PrewarmCacheResponse(_message.Message):
    __slots__ = ("cache",)
    CACHE_FIELD_NUMBER: _ClassVar[int]
    cache: CacheStats
    def __init__(self, cache: _Optional[_Union[CacheStats, _Mapping]] = ...) -> None: ...

class EvaluateRecallRequest(_message.Message):
    __slots__ = ("collection", "embedding_version", "sample_size", "limit", "params")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    embedding_version: int
    sample_size: int
    limit: int
    params: _common_pb2.SearchParams
    def __init__(self, collection: _Optional[str] = ..., embedding_version: _Optional[int] = ..., sample_size: _Optional[int] = ..., limit: _Optional[int] = ..., params: _Optional[_Union[_common_pb2.SearchParams, _Mapping]] = ...) -> None: ...

class EvaluateRecallResponse(_message.Message):
    __slots__ = ("recall", "min_recall", "sample_size", "source")
    RECALL_FIELD_NUMBER: _ClassVar[int]
    MIN_RECALL_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    recall: float
    min_recall: float
    sample_size: int
    source: _common_pb2.Source
    def __init__(self, recall: _Optional[float] = ..., min_recall: _Optional[float] = ..., sample_size: _Optional[int] = ..., source: _Optional[_Union[_common_pb2.Source, str]] = ...) -> None: ...

class AttachTableRequest(_message.Message):
    __slots__ = ("collection", "binding")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    BINDING_FIELD_NUMBER: _ClassVar[int]
    collection: str
    binding: _table_binding_pb2.TableBinding
    def __init__(self, collection: _Optional[str] = ..., binding: _Optional[_Union[_table_binding_pb2.TableBinding, _Mapping]] = ...) -> None: ...

class AttachTableResponse(_message.Message):
    __slots__ = ("attached_table",)
    ATTACHED_TABLE_FIELD_NUMBER: _ClassVar[int]
    attached_table: _table_binding_pb2.AttachedTable
    def __init__(self, attached_table: _Optional[_Union[_table_binding_pb2.AttachedTable, _Mapping]] = ...) -> None: ...

class DetachTableRequest(_message.Message):
    __slots__ = ("collection", "relation", "delete_items")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    DELETE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    relation: str
    delete_items: bool
    def __init__(self, collection: _Optional[str] = ..., relation: _Optional[str] = ..., delete_items: _Optional[bool] = ...) -> None: ...

class DetachTableResponse(_message.Message):
    __slots__ = ("deleted_item_count",)
    DELETED_ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    deleted_item_count: int
    def __init__(self, deleted_item_count: _Optional[int] = ...) -> None: ...

class ResyncTableRequest(_message.Message):
    __slots__ = ("collection", "relation")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    relation: str
    def __init__(self, collection: _Optional[str] = ..., relation: _Optional[str] = ...) -> None: ...

class ResyncTableResponse(_message.Message):
    __slots__ = ("attached_table",)
    ATTACHED_TABLE_FIELD_NUMBER: _ClassVar[int]
    attached_table: _table_binding_pb2.AttachedTable
    def __init__(self, attached_table: _Optional[_Union[_table_binding_pb2.AttachedTable, _Mapping]] = ...) -> None: ...

class ListAttachedTablesRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class ListAttachedTablesResponse(_message.Message):
    __slots__ = ("attached_tables", "consistency_token")
    ATTACHED_TABLES_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    attached_tables: _containers.RepeatedCompositeFieldContainer[_table_binding_pb2.AttachedTable]
    consistency_token: str
    def __init__(self, attached_tables: _Optional[_Iterable[_Union[_table_binding_pb2.AttachedTable, _Mapping]]] = ..., consistency_token: _Optional[str] = ...) -> None: ...
