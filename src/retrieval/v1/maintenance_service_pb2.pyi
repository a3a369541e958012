import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from retrieval.v1 import background_task_pb2 as _background_task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListMaintenanceJobsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListMaintenanceJobsResponse(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[MaintenanceJob]
    def __init__(self, jobs: _Optional[_Iterable[_Union[MaintenanceJob, _Mapping]]] = ...) -> None: ...

class RunMaintenanceJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RunMaintenanceJobResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: MaintenanceRun
    def __init__(self, run: _Optional[_Union[MaintenanceRun, _Mapping]] = ...) -> None: ...

class MaintenanceJob(_message.Message):
    __slots__ = ("name", "description", "interval", "continuous", "running", "next_run_at", "last_run", "last_success_at", "consecutive_failures", "lag", "restarts", "last_failure", "last_failure_at")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    CONTINUOUS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    NEXT_RUN_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_RUN_FIELD_NUMBER: _ClassVar[int]
    LAST_SUCCESS_AT_FIELD_NUMBER: _ClassVar[int]
    CONSECUTIVE_FAILURES_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_AT_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    interval: _duration_pb2.Duration
    continuous: bool
    running: bool
    next_run_at: _timestamp_pb2.Timestamp
    last_run: MaintenanceRun
    last_success_at: _timestamp_pb2.Timestamp
    consecutive_failures: int
    lag: _duration_pb2.Duration
    restarts: int
    last_failure: str
    last_failure_at: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., continuous: _Optional[bool] = ..., running: _Optional[bool] = ..., next_run_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_run: _Optional[_Union[MaintenanceRun, _Mapping]] = ..., last_success_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., consecutive_failures: _Optional[int] = ..., lag: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., restarts: _Optional[int] = ..., last_failure: _Optional[str] = ..., last_failure_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListBackgroundTasksRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBackgroundTasksResponse(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[_background_task_pb2.BackgroundTask]
    def __init__(self, tasks: _Optional[_Iterable[_Union[_background_task_pb2.BackgroundTask, _Mapping]]] = ...) -> None: ...

class MaintenanceRun(_message.Message):
    __slots__ = ("started_at", "duration", "outcome", "affected", "detail", "error")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[MaintenanceRun.Outcome]
        OUTCOME_RUNNING: _ClassVar[MaintenanceRun.Outcome]
        OUTCOME_SUCCEEDED: _ClassVar[MaintenanceRun.Outcome]
        OUTCOME_FAILED: _ClassVar[MaintenanceRun.Outcome]
        OUTCOME_INTERRUPTED: _ClassVar[MaintenanceRun.Outcome]
    OUTCOME_UNSPECIFIED: MaintenanceRun.Outcome
    OUTCOME_RUNNING: MaintenanceRun.Outcome
    OUTCOME_SUCCEEDED: MaintenanceRun.Outcome
    OUTCOME_FAILED: MaintenanceRun.Outcome
    OUTCOME_INTERRUPTED: MaintenanceRun.Outcome
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    AFFECTED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    started_at: _timestamp_pb2.Timestamp
    duration: _duration_pb2.Duration
    outcome: MaintenanceRun.Outcome
    affected: int
    detail: str
    error: str
    def __init__(self, started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., outcome: _Optional[_Union[MaintenanceRun.Outcome, str]] = ..., affected: _Optional[int] = ..., detail: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...
