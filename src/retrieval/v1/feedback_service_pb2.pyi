import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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
