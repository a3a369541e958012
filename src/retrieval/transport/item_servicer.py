"""ItemService: writes and reads items."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

from retrieval.application.ingest import (
    ListItems,
    PreparedUpsert,
    Upsert,
    delete_items,
    get_items,
    list_items,
    prepare_upsert,
    upsert_items,
    write_upsert,
)
from retrieval.application.limits import MAX_BATCH_ITEMS
from retrieval.application.related_items import delete_relationships, upsert_relationships
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.search import NO_FILTER, View
from retrieval.transport import enums
from retrieval.transport.acknowledge import acknowledge
from retrieval.transport.apart import LARGE_REPLY_HITS, apart, apart_if, large_request
from retrieval.transport.caller import Caller
from retrieval.transport.paging import page_size, read_token, write_token
from retrieval.transport.read_filters import read_filter
from retrieval.transport.read_items import read_items
from retrieval.transport.read_relationships import read_relationship_keys, read_relationships
from retrieval.transport.read_search import read_collection_name
from retrieval.transport.validate import identifiers, require, text, version_number
from retrieval.transport.write_items import write_item
from retrieval.v1 import item_service_pb2 as pb
from retrieval.v1 import item_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import grpc

    from retrieval.application.service import Service
    from retrieval.domain.model import Item, Viewer
    from retrieval.v1 import common_pb2 as common_pb

    Context = grpc.aio.ServicerContext[Any, Any]

MAX_REQUEST_ID_BYTES = 128


class ItemServicer(pb_grpc.ItemServiceServicer):
    """See `ItemService` in the contract."""

    def __init__(self, service: Service, admin_token: str) -> None:
        self._stores = service.stores
        self._admin_token = admin_token

    async def UpsertItems(self, request: pb.UpsertItemsRequest, _context: Context) -> pb.UpsertItemsResponse:
        """Write a batch, all or none."""
        receipt = await upsert_items(self._stores, await apart(_read_upsert, request))
        return pb.UpsertItemsResponse(upserted_count=receipt.count, consistency_token=receipt.token)

    async def StreamUpsertItems(
        self, request_iterator: AsyncIterator[pb.StreamUpsertItemsRequest], context: Context
    ) -> None:
        """Write batch after batch; while one is written the next ones are decoded and checked."""
        await acknowledge(request_iterator, self._prepare, self._write_batch, context)

    async def DeleteItems(self, request: pb.DeleteItemsRequest, _context: Context) -> pb.DeleteItemsResponse:
        """Delete items, all or none."""
        ids = identifiers(request.item_ids, "item_ids", MAX_BATCH_ITEMS, required=True)
        name, request_id = read_collection_name(request.collection), _request_id(request.request_id)
        receipt = await delete_items(self._stores, name, ids, request_id)
        return pb.DeleteItemsResponse(deleted_count=receipt.count, consistency_token=receipt.token)

    async def BatchGetItems(self, request: pb.BatchGetItemsRequest, context: Context) -> pb.BatchGetItemsResponse:
        """Items by id."""
        name = read_collection_name(request.collection)
        found = await get_items(
            self._stores,
            name,
            identifiers(request.item_ids, "item_ids", MAX_BATCH_ITEMS, required=True),
            self._viewer(request, context),
            full=_is_full(request.view),
            embedding_version=version_number(request.embedding_version),
        )
        reply = pb.BatchGetItemsResponse(missing_item_ids=found.missing_item_ids)
        await self._write(found.items, name, reply)
        return reply

    async def ListItems(self, request: pb.ListItemsRequest, context: Context) -> pb.ListItemsResponse:
        """A page of items by id."""
        name = read_collection_name(request.collection)
        same = (name.encode(), request.filter.SerializeToString(deterministic=True))
        query = ListItems(
            name,
            page_size(request.page_size),
            read_token(request.page_token, *same),
            await apart(read_filter, request.filter, "filter") if request.HasField("filter") else NO_FILTER,
            self._viewer(request, context),
            _is_full(request.view),
        )
        items, last_id = await list_items(self._stores, query)
        reply = pb.ListItemsResponse(next_page_token=write_token(last_id, *same))
        await self._write(items, name, reply)
        return reply

    async def UpsertRelationships(
        self, request: pb.UpsertRelationshipsRequest, _context: Context
    ) -> pb.UpsertRelationshipsResponse:
        """Declare relationships, all or none."""
        name = read_collection_name(request.collection)
        written = await upsert_relationships(self._stores, name, await apart(read_relationships, request.relationships))
        return pb.UpsertRelationshipsResponse(upserted_count=written)

    async def DeleteRelationships(
        self, request: pb.DeleteRelationshipsRequest, _context: Context
    ) -> pb.DeleteRelationshipsResponse:
        """Withdraw relationships, all or none."""
        name = read_collection_name(request.collection)
        deleted = await delete_relationships(
            self._stores, name, await apart(read_relationship_keys, request.relationships)
        )
        return pb.DeleteRelationshipsResponse(deleted_count=deleted)

    def _viewer(self, request: pb.BatchGetItemsRequest | pb.ListItemsRequest, context: Context) -> Viewer | None:
        if not request.HasField("viewer"):
            return None
        return Caller(context.invocation_metadata, self._admin_token).viewer(request.viewer, "viewer")

    async def _write(
        self, items: Sequence[Item], collection: str, into: pb.BatchGetItemsResponse | pb.ListItemsResponse
    ) -> None:
        types = (await self._stores.collections.get(collection)).attributes

        def write() -> None:
            for item in items:
                write_item(item, types, into.items.add())

        await apart_if(len(items) > LARGE_REPLY_HITS, write)

    async def _prepare(self, request: pb.StreamUpsertItemsRequest) -> PreparedUpsert:
        require(request.HasField("batch"), "batch", "is required")
        try:
            return await prepare_upsert(self._stores, await apart(_read_upsert, request.batch))
        except InvalidArgumentError as error:
            raise error.under("batch") from error

    async def _write_batch(self, number: int, batch: PreparedUpsert) -> pb.StreamUpsertItemsResponse:
        receipt = await write_upsert(self._stores, batch)
        return pb.StreamUpsertItemsResponse(
            batch_index=number, upserted_count=receipt.count, consistency_token=receipt.token
        )


def _read_upsert(request: pb.UpsertItemsRequest) -> Upsert:
    request_id = _request_id(request.request_id)
    return Upsert(
        read_collection_name(request.collection),
        partial(read_items, request.items),
        request_id,
        _fingerprint(request) if request_id else b"",
        version_number(request.embedding_version),
        large_request.get(),
    )


def _request_id(value: str) -> str:
    return text(value, "request_id", MAX_REQUEST_ID_BYTES)


def _fingerprint(request: pb.UpsertItemsRequest) -> bytes:
    """A digest of all that a repeated request must have in common with the first one."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def _is_full(view: common_pb.View) -> bool:
    wanted = enums.read(enums.VIEW, view, "view", View.BASIC)
    require(wanted is not View.ID_SCORE, "view", "must be VIEW_BASIC or VIEW_FULL")
    return wanted is View.FULL
