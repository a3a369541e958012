import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from retrieval.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SeedStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEED_STRATEGY_UNSPECIFIED: _ClassVar[SeedStrategy]
    SEED_STRATEGY_AVERAGE_VECTOR: _ClassVar[SeedStrategy]
    SEED_STRATEGY_BEST_SCORE: _ClassVar[SeedStrategy]

class HybridMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HYBRID_MODE_UNSPECIFIED: _ClassVar[HybridMode]
    HYBRID_MODE_HYBRID: _ClassVar[HybridMode]
    HYBRID_MODE_TEXT: _ClassVar[HybridMode]
    HYBRID_MODE_VECTOR: _ClassVar[HybridMode]

class HybridFusion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HYBRID_FUSION_UNSPECIFIED: _ClassVar[HybridFusion]
    HYBRID_FUSION_SCORES: _ClassVar[HybridFusion]
    HYBRID_FUSION_RECIPROCAL_RANKS: _ClassVar[HybridFusion]

class TextMatch(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TEXT_MATCH_UNSPECIFIED: _ClassVar[TextMatch]
    TEXT_MATCH_ANY: _ClassVar[TextMatch]
    TEXT_MATCH_ALL: _ClassVar[TextMatch]

class RelationshipDirection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RELATIONSHIP_DIRECTION_UNSPECIFIED: _ClassVar[RelationshipDirection]
    RELATIONSHIP_DIRECTION_OUTGOING: _ClassVar[RelationshipDirection]
    RELATIONSHIP_DIRECTION_INCOMING: _ClassVar[RelationshipDirection]
    RELATIONSHIP_DIRECTION_BOTH: _ClassVar[RelationshipDirection]
SEED_STRATEGY_UNSPECIFIED: SeedStrategy
SEED_STRATEGY_AVERAGE_VECTOR: SeedStrategy
SEED_STRATEGY_BEST_SCORE: SeedStrategy
HYBRID_MODE_UNSPECIFIED: HybridMode
HYBRID_MODE_HYBRID: HybridMode
HYBRID_MODE_TEXT: HybridMode
HYBRID_MODE_VECTOR: HybridMode
HYBRID_FUSION_UNSPECIFIED: HybridFusion
HYBRID_FUSION_SCORES: HybridFusion
HYBRID_FUSION_RECIPROCAL_RANKS: HybridFusion
TEXT_MATCH_UNSPECIFIED: TextMatch
TEXT_MATCH_ANY: TextMatch
TEXT_MATCH_ALL: TextMatch
RELATIONSHIP_DIRECTION_UNSPECIFIED: RelationshipDirection
RELATIONSHIP_DIRECTION_OUTGOING: RelationshipDirection
RELATIONSHIP_DIRECTION_INCOMING: RelationshipDirection
RELATIONSHIP_DIRECTION_BOTH: RelationshipDirection

class SearchSimilarItemsRequest(_message.Message):
    __slots__ = ("collection", "item_ids", "negative_item_ids", "strategy", "options")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    negative_item_ids: _containers.RepeatedScalarFieldContainer[str]
    strategy: SeedStrategy
    options: _common_pb2.SearchOptions
    def __init__(self, collection: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., negative_item_ids: _Optional[_Iterable[str]] = ..., strategy: _Optional[_Union[SeedStrategy, str]] = ..., options: _Optional[_Union[_common_pb2.SearchOptions, _Mapping]] = ...) -> None: ...

class SearchSimilarItemsResponse(_message.Message):
    __slots__ = ("hits", "info")
    HITS_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[_common_pb2.Hit]
    info: _common_pb2.ResponseInfo
    def __init__(self, hits: _Optional[_Iterable[_Union[_common_pb2.Hit, _Mapping]]] = ..., info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ...) -> None: ...

class HistoryEntry(_message.Message):
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

class CandidateStrategy(_message.Message):
    __slots__ = ("name", "source_weights")
    class SourceWeightsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    source_weights: _containers.ScalarMap[str, float]
    def __init__(self, name: _Optional[str] = ..., source_weights: _Optional[_Mapping[str, float]] = ...) -> None: ...

class CandidateSourceSetting(_message.Message):
    __slots__ = ("source", "quota", "weight")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    source: str
    quota: int
    weight: float
    def __init__(self, source: _Optional[str] = ..., quota: _Optional[int] = ..., weight: _Optional[float] = ...) -> None: ...

class SearchUserCandidatesRequest(_message.Message):
    __slots__ = ("collection", "user_id", "history", "include_seen", "options", "strategies", "context", "sources", "user_vector", "no_cache")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    STRATEGIES_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    USER_VECTOR_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    user_id: str
    history: _containers.RepeatedCompositeFieldContainer[HistoryEntry]
    include_seen: bool
    options: _common_pb2.SearchOptions
    strategies: _containers.RepeatedCompositeFieldContainer[CandidateStrategy]
    context: _containers.ScalarMap[str, str]
    sources: _containers.RepeatedCompositeFieldContainer[CandidateSourceSetting]
    user_vector: _common_pb2.Vector
    no_cache: bool
    def __init__(self, collection: _Optional[str] = ..., user_id: _Optional[str] = ..., history: _Optional[_Iterable[_Union[HistoryEntry, _Mapping]]] = ..., include_seen: _Optional[bool] = ..., options: _Optional[_Union[_common_pb2.SearchOptions, _Mapping]] = ..., strategies: _Optional[_Iterable[_Union[CandidateStrategy, _Mapping]]] = ..., context: _Optional[_Mapping[str, str]] = ..., sources: _Optional[_Iterable[_Union[CandidateSourceSetting, _Mapping]]] = ..., user_vector: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ..., no_cache: _Optional[bool] = ...) -> None: ...

class SearchUserCandidatesResponse(_message.Message):
    __slots__ = ("hits", "info")
    HITS_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[_common_pb2.Hit]
    info: _common_pb2.ResponseInfo
    def __init__(self, hits: _Optional[_Iterable[_Union[_common_pb2.Hit, _Mapping]]] = ..., info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ...) -> None: ...

class SearchMatryoshkaRequest(_message.Message):
    __slots__ = ("collection", "vector", "stages", "options")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    vector: _common_pb2.Vector
    stages: _containers.RepeatedCompositeFieldContainer[_common_pb2.Stage]
    options: _common_pb2.SearchOptions
    def __init__(self, collection: _Optional[str] = ..., vector: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[_common_pb2.Stage, _Mapping]]] = ..., options: _Optional[_Union[_common_pb2.SearchOptions, _Mapping]] = ...) -> None: ...

class SearchMatryoshkaResponse(_message.Message):
    __slots__ = ("hits", "info", "stages")
    HITS_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[_common_pb2.Hit]
    info: _common_pb2.ResponseInfo
    stages: _containers.RepeatedCompositeFieldContainer[_common_pb2.Stage]
    def __init__(self, hits: _Optional[_Iterable[_Union[_common_pb2.Hit, _Mapping]]] = ..., info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[_common_pb2.Stage, _Mapping]]] = ...) -> None: ...

class SnippetOptions(_message.Message):
    __slots__ = ("max_words", "max_fragments", "start_marker", "end_marker", "raw")
    MAX_WORDS_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAGMENTS_FIELD_NUMBER: _ClassVar[int]
    START_MARKER_FIELD_NUMBER: _ClassVar[int]
    END_MARKER_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    max_words: int
    max_fragments: int
    start_marker: str
    end_marker: str
    raw: bool
    def __init__(self, max_words: _Optional[int] = ..., max_fragments: _Optional[int] = ..., start_marker: _Optional[str] = ..., end_marker: _Optional[str] = ..., raw: _Optional[bool] = ...) -> None: ...

class SearchHybridRequest(_message.Message):
    __slots__ = ("collection", "text", "vector", "options", "mode", "fusion", "text_weight", "vector_weight", "text_candidates", "vector_candidates", "match", "snippets")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    FUSION_FIELD_NUMBER: _ClassVar[int]
    TEXT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    VECTOR_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TEXT_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    VECTOR_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    SNIPPETS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    text: str
    vector: _common_pb2.Vector
    options: _common_pb2.SearchOptions
    mode: HybridMode
    fusion: HybridFusion
    text_weight: float
    vector_weight: float
    text_candidates: int
    vector_candidates: int
    match: TextMatch
    snippets: SnippetOptions
    def __init__(self, collection: _Optional[str] = ..., text: _Optional[str] = ..., vector: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ..., options: _Optional[_Union[_common_pb2.SearchOptions, _Mapping]] = ..., mode: _Optional[_Union[HybridMode, str]] = ..., fusion: _Optional[_Union[HybridFusion, str]] = ..., text_weight: _Optional[float] = ..., vector_weight: _Optional[float] = ..., text_candidates: _Optional[int] = ..., vector_candidates: _Optional[int] = ..., match: _Optional[_Union[TextMatch, str]] = ..., snippets: _Optional[_Union[SnippetOptions, _Mapping]] = ...) -> None: ...

class SearchHybridResponse(_message.Message):
    __slots__ = ("hits", "info")
    HITS_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[_common_pb2.Hit]
    info: _common_pb2.ResponseInfo
    def __init__(self, hits: _Optional[_Iterable[_Union[_common_pb2.Hit, _Mapping]]] = ..., info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ...) -> None: ...

class RankItemsRequest(_message.Message):
    __slots__ = ("collection", "item_ids", "vector", "seed_item_id", "user_id", "options")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    SEED_ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    vector: _common_pb2.Vector
    seed_item_id: str
    user_id: str
    options: _common_pb2.SearchOptions
    def __init__(self, collection: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., vector: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ..., seed_item_id: _Optional[str] = ..., user_id: _Optional[str] = ..., options: _Optional[_Union[_common_pb2.SearchOptions, _Mapping]] = ...) -> None: ...

class RankItemsResponse(_message.Message):
    __slots__ = ("hits", "info")
    HITS_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[_common_pb2.Hit]
    info: _common_pb2.ResponseInfo
    def __init__(self, hits: _Optional[_Iterable[_Union[_common_pb2.Hit, _Mapping]]] = ..., info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ...) -> None: ...

class BatchSearchEntry(_message.Message):
    __slots__ = ("similar_items", "user_candidates", "matryoshka", "rank_items", "hybrid")
    SIMILAR_ITEMS_FIELD_NUMBER: _ClassVar[int]
    USER_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    MATRYOSHKA_FIELD_NUMBER: _ClassVar[int]
    RANK_ITEMS_FIELD_NUMBER: _ClassVar[int]
    HYBRID_FIELD_NUMBER: _ClassVar[int]
    similar_items: SearchSimilarItemsRequest
    user_candidates: SearchUserCandidatesRequest
    matryoshka: SearchMatryoshkaRequest
    rank_items: RankItemsRequest
    hybrid: SearchHybridRequest
    def __init__(self, similar_items: _Optional[_Union[SearchSimilarItemsRequest, _Mapping]] = ..., user_candidates: _Optional[_Union[SearchUserCandidatesRequest, _Mapping]] = ..., matryoshka: _Optional[_Union[SearchMatryoshkaRequest, _Mapping]] = ..., rank_items: _Optional[_Union[RankItemsRequest, _Mapping]] = ..., hybrid: _Optional[_Union[SearchHybridRequest, _Mapping]] = ...) -> None: ...

class BatchSearchRequest(_message.Message):
    __slots__ = ("searches",)
    SEARCHES_FIELD_NUMBER: _ClassVar[int]
    searches: _containers.RepeatedCompositeFieldContainer[BatchSearchEntry]
    def __init__(self, searches: _Optional[_Iterable[_Union[BatchSearchEntry, _Mapping]]] = ...) -> None: ...

class SearchError(_message.Message):
    __slots__ = ("code", "reason", "message", "field")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    field: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., field: _Optional[str] = ...) -> None: ...

class BatchSearchResult(_message.Message):
    __slots__ = ("hits", "info", "error")
    HITS_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[_common_pb2.Hit]
    info: _common_pb2.ResponseInfo
    error: SearchError
    def __init__(self, hits: _Optional[_Iterable[_Union[_common_pb2.Hit, _Mapping]]] = ..., info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ..., error: _Optional[_Union[SearchError, _Mapping]] = ...) -> None: ...

class BatchSearchResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchSearchResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchSearchResult, _Mapping]]] = ...) -> None: ...

class ListRelatedItemsRequest(_message.Message):
    __slots__ = ("collection", "item_id", "page_size", "page_token", "kinds", "direction", "min_confidence", "depth", "filter", "viewer", "view")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    MIN_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    VIEWER_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    collection: str
    item_id: str
    page_size: int
    page_token: str
    kinds: _containers.RepeatedScalarFieldContainer[_common_pb2.RelationshipKind]
    direction: RelationshipDirection
    min_confidence: float
    depth: int
    filter: _common_pb2.Filter
    viewer: _common_pb2.Viewer
    view: _common_pb2.View
    def __init__(self, collection: _Optional[str] = ..., item_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., kinds: _Optional[_Iterable[_Union[_common_pb2.RelationshipKind, str]]] = ..., direction: _Optional[_Union[RelationshipDirection, str]] = ..., min_confidence: _Optional[float] = ..., depth: _Optional[int] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., viewer: _Optional[_Union[_common_pb2.Viewer, _Mapping]] = ..., view: _Optional[_Union[_common_pb2.View, str]] = ...) -> None: ...

class RelationshipPath(_message.Message):
    __slots__ = ("depth", "item_ids", "kinds", "strength", "notes")
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    depth: int
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    kinds: _containers.RepeatedScalarFieldContainer[_common_pb2.RelationshipKind]
    strength: float
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, depth: _Optional[int] = ..., item_ids: _Optional[_Iterable[str]] = ..., kinds: _Optional[_Iterable[_Union[_common_pb2.RelationshipKind, str]]] = ..., strength: _Optional[float] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class ListRelatedItemsResponse(_message.Message):
    __slots__ = ("hits", "next_page_token", "paths")
    HITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[_common_pb2.Hit]
    next_page_token: str
    paths: _containers.RepeatedCompositeFieldContainer[RelationshipPath]
    def __init__(self, hits: _Optional[_Iterable[_Union[_common_pb2.Hit, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., paths: _Optional[_Iterable[_Union[RelationshipPath, _Mapping]]] = ...) -> None: ...

class ListTrendingItemsRequest(_message.Message):
    __slots__ = ("collection", "page_size", "page_token", "window", "filter", "viewer", "view")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    VIEWER_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    collection: str
    page_size: int
    page_token: str
    window: _duration_pb2.Duration
    filter: _common_pb2.Filter
    viewer: _common_pb2.Viewer
    view: _common_pb2.View
    def __init__(self, collection: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., viewer: _Optional[_Union[_common_pb2.Viewer, _Mapping]] = ..., view: _Optional[_Union[_common_pb2.View, str]] = ...) -> None: ...

class ListTrendingItemsResponse(_message.Message):
    __slots__ = ("hits", "next_page_token", "refreshed_at")
    HITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REFRESHED_AT_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[_common_pb2.Hit]
    next_page_token: str
    refreshed_at: _timestamp_pb2.Timestamp
    def __init__(self, hits: _Optional[_Iterable[_Union[_common_pb2.Hit, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., refreshed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
