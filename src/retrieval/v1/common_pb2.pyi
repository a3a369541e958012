import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Metric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_UNSPECIFIED: _ClassVar[Metric]
    METRIC_COSINE: _ClassVar[Metric]
    METRIC_INNER_PRODUCT: _ClassVar[Metric]
    METRIC_L2: _ClassVar[Metric]

class AttributeType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTRIBUTE_TYPE_UNSPECIFIED: _ClassVar[AttributeType]
    ATTRIBUTE_TYPE_KEYWORD: _ClassVar[AttributeType]
    ATTRIBUTE_TYPE_KEYWORD_LIST: _ClassVar[AttributeType]
    ATTRIBUTE_TYPE_INT64: _ClassVar[AttributeType]
    ATTRIBUTE_TYPE_DOUBLE: _ClassVar[AttributeType]
    ATTRIBUTE_TYPE_BOOL: _ClassVar[AttributeType]
    ATTRIBUTE_TYPE_TIMESTAMP: _ClassVar[AttributeType]

class Visibility(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VISIBILITY_UNSPECIFIED: _ClassVar[Visibility]
    VISIBILITY_PUBLIC: _ClassVar[Visibility]
    VISIBILITY_GROUPS: _ClassVar[Visibility]
    VISIBILITY_PRIVATE: _ClassVar[Visibility]

class ItemStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ITEM_STATUS_UNSPECIFIED: _ClassVar[ItemStatus]
    ITEM_STATUS_APPROVED: _ClassVar[ItemStatus]
    ITEM_STATUS_PENDING: _ClassVar[ItemStatus]
    ITEM_STATUS_REJECTED: _ClassVar[ItemStatus]
    ITEM_STATUS_FLAGGED: _ClassVar[ItemStatus]

class RelationshipKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RELATIONSHIP_KIND_UNSPECIFIED: _ClassVar[RelationshipKind]
    RELATIONSHIP_KIND_SIMILAR: _ClassVar[RelationshipKind]
    RELATIONSHIP_KIND_COMPLEMENT: _ClassVar[RelationshipKind]
    RELATIONSHIP_KIND_SUBSTITUTE: _ClassVar[RelationshipKind]
    RELATIONSHIP_KIND_RELATED: _ClassVar[RelationshipKind]
    RELATIONSHIP_KIND_PREREQUISITE: _ClassVar[RelationshipKind]
    RELATIONSHIP_KIND_SEQUEL: _ClassVar[RelationshipKind]
    RELATIONSHIP_KIND_RESPONSE: _ClassVar[RelationshipKind]
    RELATIONSHIP_KIND_CITED: _ClassVar[RelationshipKind]
    RELATIONSHIP_KIND_CONTRADICTS: _ClassVar[RelationshipKind]

class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_UNSPECIFIED: _ClassVar[Source]
    SOURCE_AUTO: _ClassVar[Source]
    SOURCE_FAISS: _ClassVar[Source]
    SOURCE_HNSW: _ClassVar[Source]
    SOURCE_IVFFLAT: _ClassVar[Source]
    SOURCE_EXACT: _ClassVar[Source]
    SOURCE_TEXT: _ClassVar[Source]

class IndexScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INDEX_SCOPE_UNSPECIFIED: _ClassVar[IndexScope]
    INDEX_SCOPE_FULL: _ClassVar[IndexScope]
    INDEX_SCOPE_POPULAR: _ClassVar[IndexScope]

class View(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VIEW_UNSPECIFIED: _ClassVar[View]
    VIEW_ID_SCORE: _ClassVar[View]
    VIEW_BASIC: _ClassVar[View]
    VIEW_FULL: _ClassVar[View]

class ShortfallReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHORTFALL_REASON_UNSPECIFIED: _ClassVar[ShortfallReason]
    SHORTFALL_REASON_FILTER_EXHAUSTED: _ClassVar[ShortfallReason]
    SHORTFALL_REASON_SCAN_LIMIT: _ClassVar[ShortfallReason]
    SHORTFALL_REASON_DEADLINE: _ClassVar[ShortfallReason]
    SHORTFALL_REASON_COLLECTION_TOO_SMALL: _ClassVar[ShortfallReason]
    SHORTFALL_REASON_THRESHOLD: _ClassVar[ShortfallReason]
    SHORTFALL_REASON_OWNER_CAP: _ClassVar[ShortfallReason]
    SHORTFALL_REASON_CANDIDATES_EXHAUSTED: _ClassVar[ShortfallReason]
METRIC_UNSPECIFIED: Metric
METRIC_COSINE: Metric
METRIC_INNER_PRODUCT: Metric
METRIC_L2: Metric
ATTRIBUTE_TYPE_UNSPECIFIED: AttributeType
ATTRIBUTE_TYPE_KEYWORD: AttributeType
ATTRIBUTE_TYPE_KEYWORD_LIST: AttributeType
ATTRIBUTE_TYPE_INT64: AttributeType
ATTRIBUTE_TYPE_DOUBLE: AttributeType
ATTRIBUTE_TYPE_BOOL: AttributeType
ATTRIBUTE_TYPE_TIMESTAMP: AttributeType
VISIBILITY_UNSPECIFIED: Visibility
VISIBILITY_PUBLIC: Visibility
VISIBILITY_GROUPS: Visibility
VISIBILITY_PRIVATE: Visibility
ITEM_STATUS_UNSPECIFIED: ItemStatus
ITEM_STATUS_APPROVED: ItemStatus
ITEM_STATUS_PENDING: ItemStatus
ITEM_STATUS_REJECTED: ItemStatus
ITEM_STATUS_FLAGGED: ItemStatus
RELATIONSHIP_KIND_UNSPECIFIED: RelationshipKind
RELATIONSHIP_KIND_SIMILAR: RelationshipKind
RELATIONSHIP_KIND_COMPLEMENT: RelationshipKind
RELATIONSHIP_KIND_SUBSTITUTE: RelationshipKind
RELATIONSHIP_KIND_RELATED: RelationshipKind
RELATIONSHIP_KIND_PREREQUISITE: RelationshipKind
RELATIONSHIP_KIND_SEQUEL: RelationshipKind
RELATIONSHIP_KIND_RESPONSE: RelationshipKind
RELATIONSHIP_KIND_CITED: RelationshipKind
RELATIONSHIP_KIND_CONTRADICTS: RelationshipKind
SOURCE_UNSPECIFIED: Source
SOURCE_AUTO: Source
SOURCE_FAISS: Source
SOURCE_HNSW: Source
SOURCE_IVFFLAT: Source
SOURCE_EXACT: Source
SOURCE_TEXT: Source
INDEX_SCOPE_UNSPECIFIED: IndexScope
INDEX_SCOPE_FULL: IndexScope
INDEX_SCOPE_POPULAR: IndexScope
VIEW_UNSPECIFIED: View
VIEW_ID_SCORE: View
VIEW_BASIC: View
VIEW_FULL: View
SHORTFALL_REASON_UNSPECIFIED: ShortfallReason
SHORTFALL_REASON_FILTER_EXHAUSTED: ShortfallReason
SHORTFALL_REASON_SCAN_LIMIT: ShortfallReason
SHORTFALL_REASON_DEADLINE: ShortfallReason
SHORTFALL_REASON_COLLECTION_TOO_SMALL: ShortfallReason
SHORTFALL_REASON_THRESHOLD: ShortfallReason
SHORTFALL_REASON_OWNER_CAP: ShortfallReason
SHORTFALL_REASON_CANDIDATES_EXHAUSTED: ShortfallReason

class Vector(_message.Message):
    __slots__ = ("floats", "float32_le")
    FLOATS_FIELD_NUMBER: _ClassVar[int]
    FLOAT32_LE_FIELD_NUMBER: _ClassVar[int]
    floats: FloatArray
    float32_le: bytes
    def __init__(self, floats: _Optional[_Union[FloatArray, _Mapping]] = ..., float32_le: _Optional[bytes] = ...) -> None: ...

class FloatArray(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class AttributeValue(_message.Message):
    __slots__ = ("keyword", "keywords", "int64", "double", "bool", "timestamp")
    KEYWORD_FIELD_NUMBER: _ClassVar[int]
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    INT64_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_FIELD_NUMBER: _ClassVar[int]
    BOOL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    keyword: str
    keywords: KeywordList
    int64: int
    double: float
    bool: bool
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, keyword: _Optional[str] = ..., keywords: _Optional[_Union[KeywordList, _Mapping]] = ..., int64: _Optional[int] = ..., double: _Optional[float] = ..., bool: _Optional[bool] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class KeywordList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class TextSpan(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class TimeRange(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: _duration_pb2.Duration
    end: _duration_pb2.Duration
    def __init__(self, start: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("chunk_index", "vector", "text_span", "time_range", "text")
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    TEXT_SPAN_FIELD_NUMBER: _ClassVar[int]
    TIME_RANGE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    chunk_index: int
    vector: Vector
    text_span: TextSpan
    time_range: TimeRange
    text: str
    def __init__(self, chunk_index: _Optional[int] = ..., vector: _Optional[_Union[Vector, _Mapping]] = ..., text_span: _Optional[_Union[TextSpan, _Mapping]] = ..., time_range: _Optional[_Union[TimeRange, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("item_id", "chunks", "owner_id", "visibility", "audience", "status", "rating_value", "rating_count", "tags", "text", "attributes", "payload", "created_at", "updated_at", "view_count", "repost_count")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: AttributeValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[AttributeValue, _Mapping]] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RATING_VALUE_FIELD_NUMBER: _ClassVar[int]
    RATING_COUNT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    VIEW_COUNT_FIELD_NUMBER: _ClassVar[int]
    REPOST_COUNT_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    chunks: _containers.RepeatedCompositeFieldContainer[Chunk]
    owner_id: str
    visibility: Visibility
    audience: _containers.RepeatedScalarFieldContainer[str]
    status: ItemStatus
    rating_value: float
    rating_count: int
    tags: _containers.RepeatedScalarFieldContainer[str]
    text: str
    attributes: _containers.MessageMap[str, AttributeValue]
    payload: _struct_pb2.Struct
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    view_count: int
    repost_count: int
    def __init__(self, item_id: _Optional[str] = ..., chunks: _Optional[_Iterable[_Union[Chunk, _Mapping]]] = ..., owner_id: _Optional[str] = ..., visibility: _Optional[_Union[Visibility, str]] = ..., audience: _Optional[_Iterable[str]] = ..., status: _Optional[_Union[ItemStatus, str]] = ..., rating_value: _Optional[float] = ..., rating_count: _Optional[int] = ..., tags: _Optional[_Iterable[str]] = ..., text: _Optional[str] = ..., attributes: _Optional[_Mapping[str, AttributeValue]] = ..., payload: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., view_count: _Optional[int] = ..., repost_count: _Optional[int] = ...) -> None: ...

class Viewer(_message.Message):
    __slots__ = ("user_id", "group_ids", "unrestricted")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    UNRESTRICTED_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    group_ids: _containers.RepeatedScalarFieldContainer[str]
    unrestricted: bool
    def __init__(self, user_id: _Optional[str] = ..., group_ids: _Optional[_Iterable[str]] = ..., unrestricted: _Optional[bool] = ...) -> None: ...

class Relationship(_message.Message):
    __slots__ = ("item_id", "related_item_id", "kind", "weight", "confidence", "note")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    RELATED_ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    related_item_id: str
    kind: RelationshipKind
    weight: float
    confidence: float
    note: str
    def __init__(self, item_id: _Optional[str] = ..., related_item_id: _Optional[str] = ..., kind: _Optional[_Union[RelationshipKind, str]] = ..., weight: _Optional[float] = ..., confidence: _Optional[float] = ..., note: _Optional[str] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("must", "should", "must_not")
    MUST_FIELD_NUMBER: _ClassVar[int]
    SHOULD_FIELD_NUMBER: _ClassVar[int]
    MUST_NOT_FIELD_NUMBER: _ClassVar[int]
    must: _containers.RepeatedCompositeFieldContainer[Condition]
    should: _containers.RepeatedCompositeFieldContainer[Condition]
    must_not: _containers.RepeatedCompositeFieldContainer[Condition]
    def __init__(self, must: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., should: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., must_not: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("match", "range", "exists", "item_ids", "filter")
    MATCH_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    match: MatchAny
    range: Range
    exists: Exists
    item_ids: ItemIds
    filter: Filter
    def __init__(self, match: _Optional[_Union[MatchAny, _Mapping]] = ..., range: _Optional[_Union[Range, _Mapping]] = ..., exists: _Optional[_Union[Exists, _Mapping]] = ..., item_ids: _Optional[_Union[ItemIds, _Mapping]] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class MatchAny(_message.Message):
    __slots__ = ("attribute", "values")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    values: _containers.RepeatedCompositeFieldContainer[AttributeValue]
    def __init__(self, attribute: _Optional[str] = ..., values: _Optional[_Iterable[_Union[AttributeValue, _Mapping]]] = ...) -> None: ...

class Range(_message.Message):
    __slots__ = ("attribute", "gt", "gte", "lt", "lte")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    GT_FIELD_NUMBER: _ClassVar[int]
    GTE_FIELD_NUMBER: _ClassVar[int]
    LT_FIELD_NUMBER: _ClassVar[int]
    LTE_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    gt: AttributeValue
    gte: AttributeValue
    lt: AttributeValue
    lte: AttributeValue
    def __init__(self, attribute: _Optional[str] = ..., gt: _Optional[_Union[AttributeValue, _Mapping]] = ..., gte: _Optional[_Union[AttributeValue, _Mapping]] = ..., lt: _Optional[_Union[AttributeValue, _Mapping]] = ..., lte: _Optional[_Union[AttributeValue, _Mapping]] = ...) -> None: ...

class Exists(_message.Message):
    __slots__ = ("attribute",)
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    def __init__(self, attribute: _Optional[str] = ...) -> None: ...

class ItemIds(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class SearchParams(_message.Message):
    __slots__ = ("ef_search", "nprobe", "exact", "source", "index", "target_recall")
    EF_SEARCH_FIELD_NUMBER: _ClassVar[int]
    NPROBE_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TARGET_RECALL_FIELD_NUMBER: _ClassVar[int]
    ef_search: int
    nprobe: int
    exact: bool
    source: Source
    index: IndexScope
    target_recall: float
    def __init__(self, ef_search: _Optional[int] = ..., nprobe: _Optional[int] = ..., exact: _Optional[bool] = ..., source: _Optional[_Union[Source, str]] = ..., index: _Optional[_Union[IndexScope, str]] = ..., target_recall: _Optional[float] = ...) -> None: ...

class Diversity(_message.Message):
    __slots__ = ("mmr_lambda", "max_per_owner", "dpp_theta", "owner_decay")
    MMR_LAMBDA_FIELD_NUMBER: _ClassVar[int]
    MAX_PER_OWNER_FIELD_NUMBER: _ClassVar[int]
    DPP_THETA_FIELD_NUMBER: _ClassVar[int]
    OWNER_DECAY_FIELD_NUMBER: _ClassVar[int]
    mmr_lambda: float
    max_per_owner: int
    dpp_theta: float
    owner_decay: float
    def __init__(self, mmr_lambda: _Optional[float] = ..., max_per_owner: _Optional[int] = ..., dpp_theta: _Optional[float] = ..., owner_decay: _Optional[float] = ...) -> None: ...

class FreshnessBoost(_message.Message):
    __slots__ = ("half_life", "weight")
    HALF_LIFE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    half_life: _duration_pb2.Duration
    weight: float
    def __init__(self, half_life: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., weight: _Optional[float] = ...) -> None: ...

class PopularityBoost(_message.Message):
    __slots__ = ("weight",)
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    weight: float
    def __init__(self, weight: _Optional[float] = ...) -> None: ...

class RelatedBoost(_message.Message):
    __slots__ = ("item_ids", "weight")
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    weight: float
    def __init__(self, item_ids: _Optional[_Iterable[str]] = ..., weight: _Optional[float] = ...) -> None: ...

class Boosts(_message.Message):
    __slots__ = ("freshness", "popularity", "related_to")
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    POPULARITY_FIELD_NUMBER: _ClassVar[int]
    RELATED_TO_FIELD_NUMBER: _ClassVar[int]
    freshness: FreshnessBoost
    popularity: PopularityBoost
    related_to: RelatedBoost
    def __init__(self, freshness: _Optional[_Union[FreshnessBoost, _Mapping]] = ..., popularity: _Optional[_Union[PopularityBoost, _Mapping]] = ..., related_to: _Optional[_Union[RelatedBoost, _Mapping]] = ...) -> None: ...

class SearchOptions(_message.Message):
    __slots__ = ("limit", "score_threshold", "filter", "exclude_item_ids", "viewer", "diversity", "view", "params", "min_consistency_token", "embedding_version", "boosts")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    VIEWER_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    MIN_CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    BOOSTS_FIELD_NUMBER: _ClassVar[int]
    limit: int
    score_threshold: float
    filter: Filter
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    viewer: Viewer
    diversity: Diversity
    view: View
    params: SearchParams
    min_consistency_token: str
    embedding_version: int
    boosts: Boosts
    def __init__(self, limit: _Optional[int] = ..., score_threshold: _Optional[float] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., viewer: _Optional[_Union[Viewer, _Mapping]] = ..., diversity: _Optional[_Union[Diversity, _Mapping]] = ..., view: _Optional[_Union[View, str]] = ..., params: _Optional[_Union[SearchParams, _Mapping]] = ..., min_consistency_token: _Optional[str] = ..., embedding_version: _Optional[int] = ..., boosts: _Optional[_Union[Boosts, _Mapping]] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("dimension", "candidate_count")
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    dimension: int
    candidate_count: int
    def __init__(self, dimension: _Optional[int] = ..., candidate_count: _Optional[int] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("item_id", "score", "distance", "chunk_index", "contributions", "item", "snippet", "place")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    SNIPPET_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    score: float
    distance: float
    chunk_index: int
    contributions: _containers.RepeatedCompositeFieldContainer[Contribution]
    item: Item
    snippet: str
    place: ChunkPlace
    def __init__(self, item_id: _Optional[str] = ..., score: _Optional[float] = ..., distance: _Optional[float] = ..., chunk_index: _Optional[int] = ..., contributions: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ..., item: _Optional[_Union[Item, _Mapping]] = ..., snippet: _Optional[str] = ..., place: _Optional[_Union[ChunkPlace, _Mapping]] = ...) -> None: ...

class ChunkPlace(_message.Message):
    __slots__ = ("chunk_index", "text_span", "time_range", "text")
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_SPAN_FIELD_NUMBER: _ClassVar[int]
    TIME_RANGE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    chunk_index: int
    text_span: TextSpan
    time_range: TimeRange
    text: str
    def __init__(self, chunk_index: _Optional[int] = ..., text_span: _Optional[_Union[TextSpan, _Mapping]] = ..., time_range: _Optional[_Union[TimeRange, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("source", "rank", "score")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    source: str
    rank: int
    score: float
    def __init__(self, source: _Optional[str] = ..., rank: _Optional[int] = ..., score: _Optional[float] = ...) -> None: ...

class SourceTiming(_message.Message):
    __slots__ = ("source", "quota", "returned_count", "duration")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    RETURNED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    source: str
    quota: int
    returned_count: int
    duration: _duration_pb2.Duration
    def __init__(self, source: _Optional[str] = ..., quota: _Optional[int] = ..., returned_count: _Optional[int] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StageTiming(_message.Message):
    __slots__ = ("stage", "duration")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    stage: str
    duration: _duration_pb2.Duration
    def __init__(self, stage: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ResponseInfo(_message.Message):
    __slots__ = ("source", "embedding_version", "index_generation", "timings", "requested_count", "returned_count", "shortfall_reason", "degraded", "degraded_reason", "missing_item_ids", "consistency_token", "effort", "decision_id", "strategy", "propensity", "cached", "sources", "model_version")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_GENERATION_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    RETURNED_COUNT_FIELD_NUMBER: _ClassVar[int]
    SHORTFALL_REASON_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_REASON_FIELD_NUMBER: _ClassVar[int]
    MISSING_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EFFORT_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    source: Source
    embedding_version: int
    index_generation: int
    timings: _containers.RepeatedCompositeFieldContainer[StageTiming]
    requested_count: int
    returned_count: int
    shortfall_reason: ShortfallReason
    degraded: bool
    degraded_reason: str
    missing_item_ids: _containers.RepeatedScalarFieldContainer[str]
    consistency_token: str
    effort: int
    decision_id: str
    strategy: str
    propensity: float
    cached: bool
    sources: _containers.RepeatedCompositeFieldContainer[SourceTiming]
    model_version: str
    def __init__(self, source: _Optional[_Union[Source, str]] = ..., embedding_version: _Optional[int] = ..., index_generation: _Optional[int] = ..., timings: _Optional[_Iterable[_Union[StageTiming, _Mapping]]] = ..., requested_count: _Optional[int] = ..., returned_count: _Optional[int] = ..., shortfall_reason: _Optional[_Union[ShortfallReason, str]] = ..., degraded: _Optional[bool] = ..., degraded_reason: _Optional[str] = ..., missing_item_ids: _Optional[_Iterable[str]] = ..., consistency_token: _Optional[str] = ..., effort: _Optional[int] = ..., decision_id: _Optional[str] = ..., strategy: _Optional[str] = ..., propensity: _Optional[float] = ..., cached: _Optional[bool] = ..., sources: _Optional[_Iterable[_Union[SourceTiming, _Mapping]]] = ..., model_version: _Optional[str] = ...) -> None: ...
