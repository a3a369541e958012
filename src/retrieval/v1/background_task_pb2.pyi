import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BackgroundTaskState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BACKGROUND_TASK_STATE_UNSPECIFIED: _ClassVar[BackgroundTaskState]
    BACKGROUND_TASK_STATE_RUNNING: _ClassVar[BackgroundTaskState]
    BACKGROUND_TASK_STATE_FAILING: _ClassVar[BackgroundTaskState]
    BACKGROUND_TASK_STATE_STOPPED: _ClassVar[BackgroundTaskState]
BACKGROUND_TASK_STATE_UNSPECIFIED: BackgroundTaskState
BACKGROUND_TASK_STATE_RUNNING: BackgroundTaskState
BACKGROUND_TASK_STATE_FAILING: BackgroundTaskState
BACKGROUND_TASK_STATE_STOPPED: BackgroundTaskState

class BackgroundTask(_message.Message):
    __slots__ = ("name", "state", "vital", "down", "started_at", "restarts", "consecutive_failures", "last_success_at", "last_failure_at", "last_failure")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    VITAL_FIELD_NUMBER: _ClassVar[int]
    DOWN_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    CONSECUTIVE_FAILURES_FIELD_NUMBER: _ClassVar[int]
    LAST_SUCCESS_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: BackgroundTaskState
    vital: bool
    down: bool
    started_at: _timestamp_pb2.Timestamp
    restarts: int
    consecutive_failures: int
    last_success_at: _timestamp_pb2.Timestamp
    last_failure_at: _timestamp_pb2.Timestamp
    last_failure: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[BackgroundTaskState, str]] = ..., vital: _Optional[bool] = ..., down: _Optional[bool] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., restarts: _Optional[int] = ..., consecutive_failures: _Optional[int] = ..., last_success_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_failure_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_failure: _Optional[str] = ...) -> None: ...
