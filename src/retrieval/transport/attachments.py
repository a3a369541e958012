"""Bindings of requests and attachments of replies."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToDict, ParseDict

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.table_binding import binding_document, read_binding
from retrieval.transport import enums
from retrieval.transport.validate import text
from retrieval.transport.write_items import write_time
from retrieval.v1 import table_binding_pb2 as pb

if TYPE_CHECKING:
    from retrieval.application.attachment_ports import Attachment
    from retrieval.domain.table_binding import TableBinding

MAX_RELATION_BYTES = 256


def read_table_binding(message: pb.TableBinding, field: str) -> TableBinding:
    """The binding of a request. Raises: InvalidArgumentError (BAD_BINDING) naming the field."""
    try:
        return read_binding(MessageToDict(message, preserving_proto_field_name=True))
    except InvalidArgumentError as error:
        raise error.under(field) from error


def read_relation(value: str) -> str:
    """The name of an attached relation."""
    return text(value, "relation", MAX_RELATION_BYTES, required=True)


def write_attachment(attachment: Attachment) -> pb.AttachedTable:
    """An attachment with its progress."""
    return pb.AttachedTable(
        relation=attachment.relation,
        binding=ParseDict(binding_document(attachment.binding), pb.TableBinding()),
        state=enums.ATTACHMENT_STATE_OUT[attachment.state],
        error=attachment.error,
        rows_done=attachment.rows_done,
        rows_total=attachment.rows_total,
        waiting_changes=attachment.waiting,
        lag=timedelta(seconds=attachment.lag_s),
        problem_count=attachment.problem_count,
        problems=[
            pb.RowProblem(item_id=p.item_id, problem=p.problem, noted_at=write_time(p.noted_at))
            for p in attachment.problems
        ],
        created_at=write_time(attachment.created_at),
    )
