import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from retrieval.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetUserProfileRequest(_message.Message):
    __slots__ = ("collection", "user_id", "embedding_version", "facet_limit", "group_ids", "min_consistency_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    FACET_LIMIT_FIELD_NUMBER: _ClassVar[int]
    GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    MIN_CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    user_id: str
    embedding_version: int
    facet_limit: int
    group_ids: _containers.RepeatedScalarFieldContainer[str]
    min_consistency_token: str
    def __init__(self, collection: _Optional[str] = ..., user_id: _Optional[str] = ..., embedding_version: _Optional[int] = ..., facet_limit: _Optional[int] = ..., group_ids: _Optional[_Iterable[str]] = ..., min_consistency_token: _Optional[str] = ...) -> None: ...

class GetUserProfileResponse(_message.Message):
    __slots__ = ("profile",)
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    profile: UserProfile
    def __init__(self, profile: _Optional[_Union[UserProfile, _Mapping]] = ...) -> None: ...

class Interest(_message.Message):
    __slots__ = ("weight", "medoid_item_id", "item_ids", "item_count")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MEDOID_ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    weight: float
    medoid_item_id: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    item_count: int
    def __init__(self, weight: _Optional[float] = ..., medoid_item_id: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., item_count: _Optional[int] = ...) -> None: ...

class Facet(_message.Message):
    __slots__ = ("attribute", "value", "user_share", "catalogue_share")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    USER_SHARE_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_SHARE_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    value: str
    user_share: float
    catalogue_share: float
    def __init__(self, attribute: _Optional[str] = ..., value: _Optional[str] = ..., user_share: _Optional[float] = ..., catalogue_share: _Optional[float] = ...) -> None: ...

class UserProfile(_message.Message):
    __slots__ = ("interests", "facets", "gaps", "event_counts", "positive_item_count", "negative_item_count", "seen_item_count", "followed_owner_count", "blocked_owner_count", "muted_owner_count", "newest_event_at", "oldest_event_at", "has_user_vector", "user_vector_set_at", "embedding_version", "interests_at", "computed_at")
    class EventCountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    INTERESTS_FIELD_NUMBER: _ClassVar[int]
    FACETS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    EVENT_COUNTS_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEEN_ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    FOLLOWED_OWNER_COUNT_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_OWNER_COUNT_FIELD_NUMBER: _ClassVar[int]
    MUTED_OWNER_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEWEST_EVENT_AT_FIELD_NUMBER: _ClassVar[int]
    OLDEST_EVENT_AT_FIELD_NUMBER: _ClassVar[int]
    HAS_USER_VECTOR_FIELD_NUMBER: _ClassVar[int]
    USER_VECTOR_SET_AT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    INTERESTS_AT_FIELD_NUMBER: _ClassVar[int]
    COMPUTED_AT_FIELD_NUMBER: _ClassVar[int]
    interests: _containers.RepeatedCompositeFieldContainer[Interest]
    facets: _containers.RepeatedCompositeFieldContainer[Facet]
    gaps: _containers.RepeatedCompositeFieldContainer[Facet]
    event_counts: _containers.ScalarMap[str, int]
    positive_item_count: int
    negative_item_count: int
    seen_item_count: int
    followed_owner_count: int
    blocked_owner_count: int
    muted_owner_count: int
    newest_event_at: _timestamp_pb2.Timestamp
    oldest_event_at: _timestamp_pb2.Timestamp
    has_user_vector: bool
    user_vector_set_at: _timestamp_pb2.Timestamp
    embedding_version: int
    interests_at: _timestamp_pb2.Timestamp
    computed_at: _timestamp_pb2.Timestamp
    def __init__(self, interests: _Optional[_Iterable[_Union[Interest, _Mapping]]] = ..., facets: _Optional[_Iterable[_Union[Facet, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[Facet, _Mapping]]] = ..., event_counts: _Optional[_Mapping[str, int]] = ..., positive_item_count: _Optional[int] = ..., negative_item_count: _Optional[int] = ..., seen_item_count: _Optional[int] = ..., followed_owner_count: _Optional[int] = ..., blocked_owner_count: _Optional[int] = ..., muted_owner_count: _Optional[int] = ..., newest_event_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., oldest_event_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., has_user_vector: _Optional[bool] = ..., user_vector_set_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., embedding_version: _Optional[int] = ..., interests_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., computed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SetUserVectorRequest(_message.Message):
    __slots__ = ("collection", "user_id", "embedding_version", "vector")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    collection: str
    user_id: str
    embedding_version: int
    vector: _common_pb2.Vector
    def __init__(self, collection: _Optional[str] = ..., user_id: _Optional[str] = ..., embedding_version: _Optional[int] = ..., vector: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ...) -> None: ...

class SetUserVectorResponse(_message.Message):
    __slots__ = ("consistency_token",)
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    consistency_token: str
    def __init__(self, consistency_token: _Optional[str] = ...) -> None: ...
