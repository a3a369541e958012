"""There are no tables to attach without a database; implements `AttachmentStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.errors import FailedPreconditionError, NotFoundError

if TYPE_CHECKING:
    from retrieval.application.attachment_ports import Attachment
    from retrieval.domain.model import Collection
    from retrieval.domain.table_binding import TableBinding


class ReferenceAttachments:
    """Has none, and says so."""

    async def attach(self, collection: Collection, binding: TableBinding) -> Attachment:  # noqa: ARG002
        """See `AttachmentStore`."""
        raise FailedPreconditionError(
            "this server holds everything in memory; tables are attached where it runs on a database",
            reason="NO_DATABASE",
        )

    async def attachments(self, collection: Collection) -> list[Attachment]:  # noqa: ARG002
        """See `AttachmentStore`."""
        return []

    async def detach(self, collection: Collection, relation: str, *, delete_items: bool) -> int:  # noqa: ARG002
        """See `AttachmentStore`."""
        raise _not_attached(collection)

    async def resync(self, collection: Collection, relation: str) -> Attachment:  # noqa: ARG002
        """See `AttachmentStore`."""
        raise _not_attached(collection)


def _not_attached(collection: Collection) -> NotFoundError:
    return NotFoundError(f"no table is attached to {collection.name!r}", reason="TABLE_NOT_ATTACHED")
