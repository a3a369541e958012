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

class EmbeddingJobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMBEDDING_JOB_STATE_UNSPECIFIED: _ClassVar[EmbeddingJobState]
    EMBEDDING_JOB_STATE_APPLIED: _ClassVar[EmbeddingJobState]
    EMBEDDING_JOB_STATE_TEXT_CHANGED: _ClassVar[EmbeddingJobState]
    EMBEDDING_JOB_STATE_ITEM_DELETED: _ClassVar[EmbeddingJobState]
    EMBEDDING_JOB_STATE_LEASE_LOST: _ClassVar[EmbeddingJobState]
    EMBEDDING_JOB_STATE_RETRY: _ClassVar[EmbeddingJobState]
    EMBEDDING_JOB_STATE_DEAD: _ClassVar[EmbeddingJobState]
EMBEDDING_JOB_STATE_UNSPECIFIED: EmbeddingJobState
EMBEDDING_JOB_STATE_APPLIED: EmbeddingJobState
EMBEDDING_JOB_STATE_TEXT_CHANGED: EmbeddingJobState
EMBEDDING_JOB_STATE_ITEM_DELETED: EmbeddingJobState
EMBEDDING_JOB_STATE_LEASE_LOST: EmbeddingJobState
EMBEDDING_JOB_STATE_RETRY: EmbeddingJobState
EMBEDDING_JOB_STATE_DEAD: EmbeddingJobState

class EmbeddingJob(_message.Message):
    __slots__ = ("job_id", "item_id", "text", "attempt")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    job_id: int
    item_id: str
    text: str
    attempt: int
    def __init__(self, job_id: _Optional[int] = ..., item_id: _Optional[str] = ..., text: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class LeaseEmbeddingJobsRequest(_message.Message):
    __slots__ = ("collection", "embedding_version", "max_jobs", "lease_duration")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_JOBS_FIELD_NUMBER: _ClassVar[int]
    LEASE_DURATION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    embedding_version: int
    max_jobs: int
    lease_duration: _duration_pb2.Duration
    def __init__(self, collection: _Optional[str] = ..., embedding_version: _Optional[int] = ..., max_jobs: _Optional[int] = ..., lease_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class LeaseEmbeddingJobsResponse(_message.Message):
    __slots__ = ("lease_id", "jobs", "embedding_version", "model", "dimension")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    jobs: _containers.RepeatedCompositeFieldContainer[EmbeddingJob]
    embedding_version: int
    model: str
    dimension: int
    def __init__(self, lease_id: _Optional[str] = ..., jobs: _Optional[_Iterable[_Union[EmbeddingJob, _Mapping]]] = ..., embedding_version: _Optional[int] = ..., model: _Optional[str] = ..., dimension: _Optional[int] = ...) -> None: ...

class EmbeddingJobResult(_message.Message):
    __slots__ = ("job_id", "chunks")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    job_id: int
    chunks: _containers.RepeatedCompositeFieldContainer[_common_pb2.Chunk]
    def __init__(self, job_id: _Optional[int] = ..., chunks: _Optional[_Iterable[_Union[_common_pb2.Chunk, _Mapping]]] = ...) -> None: ...

class CompleteEmbeddingJobsRequest(_message.Message):
    __slots__ = ("lease_id", "results")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    results: _containers.RepeatedCompositeFieldContainer[EmbeddingJobResult]
    def __init__(self, lease_id: _Optional[str] = ..., results: _Optional[_Iterable[_Union[EmbeddingJobResult, _Mapping]]] = ...) -> None: ...

class EmbeddingJobOutcome(_message.Message):
    __slots__ = ("job_id", "state")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    job_id: int
    state: EmbeddingJobState
    def __init__(self, job_id: _Optional[int] = ..., state: _Optional[_Union[EmbeddingJobState, str]] = ...) -> None: ...

class CompleteEmbeddingJobsResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[EmbeddingJobOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[EmbeddingJobOutcome, _Mapping]]] = ...) -> None: ...

class EmbeddingJobFailure(_message.Message):
    __slots__ = ("job_id", "error", "permanent", "retry_after")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PERMANENT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    job_id: int
    error: str
    permanent: bool
    retry_after: _duration_pb2.Duration
    def __init__(self, job_id: _Optional[int] = ..., error: _Optional[str] = ..., permanent: _Optional[bool] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class FailEmbeddingJobsRequest(_message.Message):
    __slots__ = ("lease_id", "failures")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    failures: _containers.RepeatedCompositeFieldContainer[EmbeddingJobFailure]
    def __init__(self, lease_id: _Optional[str] = ..., failures: _Optional[_Iterable[_Union[EmbeddingJobFailure, _Mapping]]] = ...) -> None: ...

class FailEmbeddingJobsResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[EmbeddingJobOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[EmbeddingJobOutcome, _Mapping]]] = ...) -> None: ...

class ExtendEmbeddingLeaseRequest(_message.Message):
    __slots__ = ("lease_id", "lease_duration")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_DURATION_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    lease_duration: _duration_pb2.Duration
    def __init__(self, lease_id: _Optional[str] = ..., lease_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ExtendEmbeddingLeaseResponse(_message.Message):
    __slots__ = ("job_count",)
    JOB_COUNT_FIELD_NUMBER: _ClassVar[int]
    job_count: int
    def __init__(self, job_count: _Optional[int] = ...) -> None: ...

class GetEmbeddingJobStatsRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class EmbeddingJobStats(_message.Message):
    __slots__ = ("embedding_version", "model", "queued", "leased", "retrying", "dead", "done", "total", "outstanding", "oldest_age")
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    LEASED_FIELD_NUMBER: _ClassVar[int]
    RETRYING_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_FIELD_NUMBER: _ClassVar[int]
    OLDEST_AGE_FIELD_NUMBER: _ClassVar[int]
    embedding_version: int
    model: str
    queued: int
    leased: int
    retrying: int
    dead: int
    done: int
    total: int
    outstanding: int
    oldest_age: _duration_pb2.Duration
    def __init__(self, embedding_version: _Optional[int] = ..., model: _Optional[str] = ..., queued: _Optional[int] = ..., leased: _Optional[int] = ..., retrying: _Optional[int] = ..., dead: _Optional[int] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., outstanding: _Optional[int] = ..., oldest_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class TextModel(_message.Message):
    __slots__ = ("model", "dimension")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    dimension: int
    def __init__(self, model: _Optional[str] = ..., dimension: _Optional[int] = ...) -> None: ...

class GetEmbeddingJobStatsResponse(_message.Message):
    __slots__ = ("versions", "text_models")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    TEXT_MODELS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[EmbeddingJobStats]
    text_models: _containers.RepeatedCompositeFieldContainer[TextModel]
    def __init__(self, versions: _Optional[_Iterable[_Union[EmbeddingJobStats, _Mapping]]] = ..., text_models: _Optional[_Iterable[_Union[TextModel, _Mapping]]] = ...) -> None: ...

class ListFailedEmbeddingJobsRequest(_message.Message):
    __slots__ = ("collection", "embedding_version", "page_size", "page_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    embedding_version: int
    page_size: int
    page_token: str
    def __init__(self, collection: _Optional[str] = ..., embedding_version: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class FailedEmbeddingJob(_message.Message):
    __slots__ = ("job_id", "item_id", "error", "attempts", "failed_at")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_AT_FIELD_NUMBER: _ClassVar[int]
    job_id: int
    item_id: str
    error: str
    attempts: int
    failed_at: _timestamp_pb2.Timestamp
    def __init__(self, job_id: _Optional[int] = ..., item_id: _Optional[str] = ..., error: _Optional[str] = ..., attempts: _Optional[int] = ..., failed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListFailedEmbeddingJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[FailedEmbeddingJob]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[FailedEmbeddingJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetryFailedEmbeddingJobsRequest(_message.Message):
    __slots__ = ("collection", "embedding_version", "job_ids")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    JOB_IDS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    embedding_version: int
    job_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, collection: _Optional[str] = ..., embedding_version: _Optional[int] = ..., job_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class RetryFailedEmbeddingJobsResponse(_message.Message):
    __slots__ = ("job_count",)
    JOB_COUNT_FIELD_NUMBER: _ClassVar[int]
    job_count: int
    def __init__(self, job_count: _Optional[int] = ...) -> None: ...
