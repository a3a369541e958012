"""Reads the rich status of a failed call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.rpc import error_details_pb2 as details_pb
from grpc_status import rpc_status

if TYPE_CHECKING:
    import grpc


def error_reason(error: grpc.RpcError) -> tuple[str, list[tuple[str, str]]]:
    """The reason, e.g. `COLLECTION_NOT_FOUND`, and the offending fields as (path, description).

    The reason is empty where the status did not come from the service itself, e.g. when the server is not there.
    """
    reason = ""
    fields: list[tuple[str, str]] = []
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        if detail.Is(details_pb.ErrorInfo.DESCRIPTOR):
            info = details_pb.ErrorInfo()
            detail.Unpack(info)
            reason = info.reason
        elif detail.Is(details_pb.BadRequest.DESCRIPTOR):
            bad = details_pb.BadRequest()
            detail.Unpack(bad)
            fields.extend((violation.field, violation.description) for violation in bad.field_violations)
    return reason, fields
