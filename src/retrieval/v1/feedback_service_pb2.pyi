import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EdgeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EDGE_KIND_UNSPECIFIED: _ClassVar[EdgeKind]
    EDGE_KIND_FOLLOW: _ClassVar[EdgeKind]
    EDGE_KIND_BLOCK: _ClassVar[EdgeKind]
    EDGE_KIND_MUTE: _ClassVar[EdgeKind]
EDGE_KIND_UNSPECIFIED: EdgeKind
EDGE_KIND_FOLLOW: EdgeKind
EDGE_KIND_BLOCK: EdgeKind
EDGE_KIND_MUTE: EdgeKind

class Event(_message.Message):
    __slots__ = ("user_id", "item_id", "type", "occurred_at", "event_id", "value", "dwell_ms", "position", "predicted_score", "algorithm", "device", "context")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    DWELL_MS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_SCORE_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    item_id: str
    type: str
    occurred_at: _timestamp_pb2.Timestamp
    event_id: str
    value: float
    dwell_ms: int
    position: int
    predicted_score: float
    algorithm: str
    device: str
    context: _struct_pb2.Struct
    def __init__(self, user_id: _Optional[str] = ..., item_id: _Optional[str] = ..., type: _Optional[str] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event_id: _Optional[str] = ..., value: _Optional[float] = ..., dwell_ms: _Optional[int] = ..., position: _Optional[int] = ..., predicted_score: _Optional[float] = ..., algorithm: _Optional[str] = ..., device: _Optional[str] = ..., context: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class RecordEventsRequest(_message.Message):
    __slots__ = ("collection", "events")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, collection: _Optional[str] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class RecordEventsResponse(_message.Message):
    __slots__ = ("recorded_count", "duplicate_count", "consistency_token")
    RECORDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    recorded_count: int
    duplicate_count: int
    consistency_token: str
    def __init__(self, recorded_count: _Optional[int] = ..., duplicate_count: _Optional[int] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class StreamEventsRequest(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: RecordEventsRequest
    def __init__(self, batch: _Optional[_Union[RecordEventsRequest, _Mapping]] = ...) -> None: ...

class StreamEventsResponse(_message.Message):
    __slots__ = ("batch_index", "recorded_count", "duplicate_count", "consistency_token")
    BATCH_INDEX_FIELD_NUMBER: _ClassVar[int]
    RECORDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    batch_index: int
    recorded_count: int
    duplicate_count: int
    consistency_token: str
    def __init__(self, batch_index: _Optional[int] = ..., recorded_count: _Optional[int] = ..., duplicate_count: _Optional[int] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class OwnerEdge(_message.Message):
    __slots__ = ("owner_id", "kind")
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    owner_id: str
    kind: EdgeKind
    def __init__(self, owner_id: _Optional[str] = ..., kind: _Optional[_Union[EdgeKind, str]] = ...) -> None: ...

class UpdateOwnerEdgesRequest(_message.Message):
    __slots__ = ("collection", "user_id", "add", "remove")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    user_id: str
    add: _containers.RepeatedCompositeFieldContainer[OwnerEdge]
    remove: _containers.RepeatedCompositeFieldContainer[OwnerEdge]
    def __init__(self, collection: _Optional[str] = ..., user_id: _Optional[str] = ..., add: _Optional[_Iterable[_Union[OwnerEdge, _Mapping]]] = ..., remove: _Optional[_Iterable[_Union[OwnerEdge, _Mapping]]] = ...) -> None: ...

class UpdateOwnerEdgesResponse(_message.Message):
    __slots__ = ("added_count", "removed_count")
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REMOVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    added_count: int
    removed_count: int
    def __init__(self, added_count: _Optional[int] = ..., removed_count: _Optional[int] = ...) -> None: ...

class DeleteUserDataRequest(_message.Message):
    __slots__ = ("collection", "user_id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    user_id: str
    def __init__(self, collection: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class DeleteUserDataResponse(_message.Message):
    __slots__ = ("event_count", "edge_count", "profile_count", "other_count")
    EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    EDGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROFILE_COUNT_FIELD_NUMBER: _ClassVar[int]
    OTHER_COUNT_FIELD_NUMBER: _ClassVar[int]
    event_count: int
    edge_count: int
    profile_count: int
    other_count: int
    def __init__(self, event_count: _Optional[int] = ..., edge_count: _Optional[int] = ..., profile_count: _Optional[int] = ..., other_count: _Optional[int] = ...) -> None: ...

class ReportRewardRequest(_message.Message):
    __slots__ = ("collection", "decision_id", "reward")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    collection: str
    decision_id: str
    reward: float
    def __init__(self, collection: _Optional[str] = ..., decision_id: _Optional[str] = ..., reward: _Optional[float] = ...) -> None: ...

class ReportRewardResponse(_message.Message):
    __slots__ = ("applied", "strategy")
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    applied: bool
    strategy: str
    def __init__(self, applied: _Optional[bool] = ..., strategy: _Optional[str] = ...) -> None: ...
