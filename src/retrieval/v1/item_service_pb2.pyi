from retrieval.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UpsertItemsRequest(_message.Message):
    __slots__ = ("collection", "items", "request_id", "embedding_version")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    items: _containers.RepeatedCompositeFieldContainer[_common_pb2.Item]
    request_id: str
    embedding_version: int
    def __init__(self, collection: _Optional[str] = ..., items: _Optional[_Iterable[_Union[_common_pb2.Item, _Mapping]]] = ..., request_id: _Optional[str] = ..., embedding_version: _Optional[int] = ...) -> None: ...

class UpsertItemsResponse(_message.Message):
    __slots__ = ("upserted_count", "consistency_token")
    UPSERTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    upserted_count: int
    consistency_token: str
    def __init__(self, upserted_count: _Optional[int] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class StreamUpsertItemsRequest(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: UpsertItemsRequest
    def __init__(self, batch: _Optional[_Union[UpsertItemsRequest, _Mapping]] = ...) -> None: ...

class StreamUpsertItemsResponse(_message.Message):
    __slots__ = ("batch_index", "upserted_count", "consistency_token")
    BATCH_INDEX_FIELD_NUMBER: _ClassVar[int]
    UPSERTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    batch_index: int
    upserted_count: int
    consistency_token: str
    def __init__(self, batch_index: _Optional[int] = ..., upserted_count: _Optional[int] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class DeleteItemsRequest(_message.Message):
    __slots__ = ("collection", "item_ids", "request_id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    request_id: str
    def __init__(self, collection: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteItemsResponse(_message.Message):
    __slots__ = ("deleted_count", "consistency_token")
    DELETED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deleted_count: int
    consistency_token: str
    def __init__(self, deleted_count: _Optional[int] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class BatchGetItemsRequest(_message.Message):
    __slots__ = ("collection", "item_ids", "view", "viewer", "embedding_version")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    VIEWER_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    view: _common_pb2.View
    viewer: _common_pb2.Viewer
    embedding_version: int
    def __init__(self, collection: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., view: _Optional[_Union[_common_pb2.View, str]] = ..., viewer: _Optional[_Union[_common_pb2.Viewer, _Mapping]] = ..., embedding_version: _Optional[int] = ...) -> None: ...

class BatchGetItemsResponse(_message.Message):
    __slots__ = ("items", "missing_item_ids")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MISSING_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[_common_pb2.Item]
    missing_item_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, items: _Optional[_Iterable[_Union[_common_pb2.Item, _Mapping]]] = ..., missing_item_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListItemsRequest(_message.Message):
    __slots__ = ("collection", "page_size", "page_token", "filter", "viewer", "view")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    VIEWER_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    collection: str
    page_size: int
    page_token: str
    filter: _common_pb2.Filter
    viewer: _common_pb2.Viewer
    view: _common_pb2.View
    def __init__(self, collection: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., viewer: _Optional[_Union[_common_pb2.Viewer, _Mapping]] = ..., view: _Optional[_Union[_common_pb2.View, str]] = ...) -> None: ...

class ListItemsResponse(_message.Message):
    __slots__ = ("items", "next_page_token")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[_common_pb2.Item]
    next_page_token: str
    def __init__(self, items: _Optional[_Iterable[_Union[_common_pb2.Item, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpsertRelationshipsRequest(_message.Message):
    __slots__ = ("collection", "relationships")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    RELATIONSHIPS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    relationships: _containers.RepeatedCompositeFieldContainer[_common_pb2.Relationship]
    def __init__(self, collection: _Optional[str] = ..., relationships: _Optional[_Iterable[_Union[_common_pb2.Relationship, _Mapping]]] = ...) -> None: ...

class UpsertRelationshipsResponse(_message.Message):
    __slots__ = ("upserted_count",)
    UPSERTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    upserted_count: int
    def __init__(self, upserted_count: _Optional[int] = ...) -> None: ...

class RelationshipKey(_message.Message):
    __slots__ = ("item_id", "related_item_id", "kind")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    RELATED_ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    related_item_id: str
    kind: _common_pb2.RelationshipKind
    def __init__(self, item_id: _Optional[str] = ..., related_item_id: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.RelationshipKind, str]] = ...) -> None: ...

class DeleteRelationshipsRequest(_message.Message):
    __slots__ = ("collection", "relationships")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    RELATIONSHIPS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    relationships: _containers.RepeatedCompositeFieldContainer[RelationshipKey]
    def __init__(self, collection: _Optional[str] = ..., relationships: _Optional[_Iterable[_Union[RelationshipKey, _Mapping]]] = ...) -> None: ...

class DeleteRelationshipsResponse(_message.Message):
    __slots__ = ("deleted_count",)
    DELETED_COUNT_FIELD_NUMBER: _ClassVar[int]
    deleted_count: int
    def __init__(self, deleted_count: _Optional[int] = ...) -> None: ...
