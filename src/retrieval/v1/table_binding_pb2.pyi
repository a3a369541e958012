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

class AttachmentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTACHMENT_STATE_UNSPECIFIED: _ClassVar[AttachmentState]
    ATTACHMENT_STATE_REQUESTED: _ClassVar[AttachmentState]
    ATTACHMENT_STATE_BACKFILLING: _ClassVar[AttachmentState]
    ATTACHMENT_STATE_FOLLOWING: _ClassVar[AttachmentState]
    ATTACHMENT_STATE_FAILED: _ClassVar[AttachmentState]
ATTACHMENT_STATE_UNSPECIFIED: AttachmentState
ATTACHMENT_STATE_REQUESTED: AttachmentState
ATTACHMENT_STATE_BACKFILLING: AttachmentState
ATTACHMENT_STATE_FOLLOWING: AttachmentState
ATTACHMENT_STATE_FAILED: AttachmentState

class TableBinding(_message.Message):
    __slots__ = ("relation", "key_column", "text_columns", "attributes", "owner_column", "visibility", "audience_column", "status", "rating_value_column", "rating_count_column", "tags_column", "created_at_column", "payload_columns", "vectors", "watched_tables")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RELATION_FIELD_NUMBER: _ClassVar[int]
    KEY_COLUMN_FIELD_NUMBER: _ClassVar[int]
    TEXT_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    OWNER_COLUMN_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_COLUMN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RATING_VALUE_COLUMN_FIELD_NUMBER: _ClassVar[int]
    RATING_COUNT_COLUMN_FIELD_NUMBER: _ClassVar[int]
    TAGS_COLUMN_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_COLUMN_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    WATCHED_TABLES_FIELD_NUMBER: _ClassVar[int]
    relation: str
    key_column: str
    text_columns: _containers.RepeatedScalarFieldContainer[str]
    attributes: _containers.ScalarMap[str, str]
    owner_column: str
    visibility: VisibilityColumn
    audience_column: str
    status: StatusColumn
    rating_value_column: str
    rating_count_column: str
    tags_column: str
    created_at_column: str
    payload_columns: _containers.RepeatedScalarFieldContainer[str]
    vectors: _containers.RepeatedCompositeFieldContainer[VectorColumn]
    watched_tables: _containers.RepeatedCompositeFieldContainer[WatchedTable]
    def __init__(self, relation: _Optional[str] = ..., key_column: _Optional[str] = ..., text_columns: _Optional[_Iterable[str]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., owner_column: _Optional[str] = ..., visibility: _Optional[_Union[VisibilityColumn, _Mapping]] = ..., audience_column: _Optional[str] = ..., status: _Optional[_Union[StatusColumn, _Mapping]] = ..., rating_value_column: _Optional[str] = ..., rating_count_column: _Optional[str] = ..., tags_column: _Optional[str] = ..., created_at_column: _Optional[str] = ..., payload_columns: _Optional[_Iterable[str]] = ..., vectors: _Optional[_Iterable[_Union[VectorColumn, _Mapping]]] = ..., watched_tables: _Optional[_Iterable[_Union[WatchedTable, _Mapping]]] = ...) -> None: ...

class VisibilityColumn(_message.Message):
    __slots__ = ("column", "values")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Visibility
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Visibility, str]] = ...) -> None: ...
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    column: str
    values: _containers.ScalarMap[str, _common_pb2.Visibility]
    def __init__(self, column: _Optional[str] = ..., values: _Optional[_Mapping[str, _common_pb2.Visibility]] = ...) -> None: ...

class StatusColumn(_message.Message):
    __slots__ = ("column", "values")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.ItemStatus
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.ItemStatus, str]] = ...) -> None: ...
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    column: str
    values: _containers.ScalarMap[str, _common_pb2.ItemStatus]
    def __init__(self, column: _Optional[str] = ..., values: _Optional[_Mapping[str, _common_pb2.ItemStatus]] = ...) -> None: ...

class VectorColumn(_message.Message):
    __slots__ = ("column", "embedding_version", "relation", "key_column", "chunk_index_column", "model_column", "text_column", "start_column", "end_column")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    KEY_COLUMN_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_COLUMN_FIELD_NUMBER: _ClassVar[int]
    MODEL_COLUMN_FIELD_NUMBER: _ClassVar[int]
    TEXT_COLUMN_FIELD_NUMBER: _ClassVar[int]
    START_COLUMN_FIELD_NUMBER: _ClassVar[int]
    END_COLUMN_FIELD_NUMBER: _ClassVar[int]
    column: str
    embedding_version: int
    relation: str
    key_column: str
    chunk_index_column: str
    model_column: str
    text_column: str
    start_column: str
    end_column: str
    def __init__(self, column: _Optional[str] = ..., embedding_version: _Optional[int] = ..., relation: _Optional[str] = ..., key_column: _Optional[str] = ..., chunk_index_column: _Optional[str] = ..., model_column: _Optional[str] = ..., text_column: _Optional[str] = ..., start_column: _Optional[str] = ..., end_column: _Optional[str] = ...) -> None: ...

class WatchedTable(_message.Message):
    __slots__ = ("table", "key_column")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEY_COLUMN_FIELD_NUMBER: _ClassVar[int]
    table: str
    key_column: str
    def __init__(self, table: _Optional[str] = ..., key_column: _Optional[str] = ...) -> None: ...

class AttachedTable(_message.Message):
    __slots__ = ("relation", "binding", "state", "error", "rows_done", "rows_total", "waiting_changes", "lag", "problem_count", "problems", "created_at")
    RELATION_FIELD_NUMBER: _ClassVar[int]
    BINDING_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ROWS_DONE_FIELD_NUMBER: _ClassVar[int]
    ROWS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    WAITING_CHANGES_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    relation: str
    binding: TableBinding
    state: AttachmentState
    error: str
    rows_done: int
    rows_total: int
    waiting_changes: int
    lag: _duration_pb2.Duration
    problem_count: int
    problems: _containers.RepeatedCompositeFieldContainer[RowProblem]
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, relation: _Optional[str] = ..., binding: _Optional[_Union[TableBinding, _Mapping]] = ..., state: _Optional[_Union[AttachmentState, str]] = ..., error: _Optional[str] = ..., rows_done: _Optional[int] = ..., rows_total: _Optional[int] = ..., waiting_changes: _Optional[int] = ..., lag: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., problem_count: _Optional[int] = ..., problems: _Optional[_Iterable[_Union[RowProblem, _Mapping]]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RowProblem(_message.Message):
    __slots__ = ("item_id", "problem", "noted_at")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    NOTED_AT_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    problem: str
    noted_at: _timestamp_pb2.Timestamp
    def __init__(self, item_id: _Optional[str] = ..., problem: _Optional[str] = ..., noted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
