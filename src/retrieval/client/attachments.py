"""Attaches tables, and waits until their rows are in."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
from google.protobuf.json_format import Parse, ParseError

from retrieval.client.channel import bearer, calling
from retrieval.client.reasons import error_reason
from retrieval.domain.errors import InvalidArgumentError, NotFoundError
from retrieval.v1 import collection_service_pb2 as pb
from retrieval.v1 import collection_service_pb2_grpc as pb_grpc
from retrieval.v1 import table_binding_pb2 as binding_pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

CALL_S = 60.0
POLL_S = 0.2

AttachedTable = binding_pb.AttachedTable
AttachmentState = binding_pb.AttachmentState
FAILED = binding_pb.ATTACHMENT_STATE_FAILED
FOLLOWING = binding_pb.ATTACHMENT_STATE_FOLLOWING


class AttachmentService:
    """What the commands about attached tables need of a service."""

    def __init__(self, channel: grpc.aio.Channel, admin_token: str) -> None:
        self._collections = pb_grpc.CollectionServiceStub(channel)
        self._metadata = bearer(admin_token)

    async def attach(self, collection: str, binding: str) -> AttachedTable | None:
        """Attach the table of a binding in JSON; None where it is attached already.

        Raises: InvalidArgumentError (BAD_BINDING) for what is no TableBinding.
        """
        try:
            message = Parse(binding, binding_pb.TableBinding())
        except ParseError as error:
            raise InvalidArgumentError(f"this is no TableBinding in JSON: {error}", reason="BAD_BINDING") from error
        request = pb.AttachTableRequest(collection=collection, binding=message)
        try:
            reply: pb.AttachTableResponse = await self._collections.AttachTable(
                request, metadata=self._metadata, timeout=CALL_S
            )
        except grpc.aio.AioRpcError as error:
            if error_reason(error)[0] == "TABLE_ATTACHED":
                return None
            raise
        return reply.attached_table

    async def tables(self, collection: str) -> list[AttachedTable]:
        """All that a collection follows."""
        request = pb.ListAttachedTablesRequest(collection=collection)
        reply = await self._collections.ListAttachedTables(request, metadata=self._metadata, timeout=CALL_S)
        return list(reply.attached_tables)

    async def follow(self, collection: str, relation: str, show: Callable[[AttachedTable], None]) -> AttachedTable:
        """Return once all rows are in, or nothing helps; `show` hears how far it is."""
        while True:
            found = next((t for t in await self.tables(collection) if t.relation == relation), None)
            if found is None:
                raise NotFoundError(f"{relation} was detached meanwhile", reason="TABLE_NOT_ATTACHED")
            show(found)
            if found.state in {FAILED, FOLLOWING}:
                return found
            await asyncio.sleep(POLL_S)

    async def detach(self, collection: str, relation: str, *, delete_items: bool) -> int:
        """Follow a table no more; returns how many items went with it."""
        request = pb.DetachTableRequest(collection=collection, relation=relation, delete_items=delete_items)
        reply = await self._collections.DetachTable(request, metadata=self._metadata)
        return int(reply.deleted_item_count)

    async def resync(self, collection: str, relation: str) -> AttachedTable:
        """Have a table read again."""
        request = pb.ResyncTableRequest(collection=collection, relation=relation)
        reply: pb.ResyncTableResponse = await self._collections.ResyncTable(
            request, metadata=self._metadata, timeout=CALL_S
        )
        return reply.attached_table


@asynccontextmanager
async def attachment_service(target: str, admin_token: str, ca: Path | None = None) -> AsyncIterator[AttachmentService]:
    """The service at `target`. Raises: as `calling`."""
    async with calling(target, ca) as channel:
        yield AttachmentService(channel, admin_token)
