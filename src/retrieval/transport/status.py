"""The error table: which gRPC status an error becomes, and what the caller is told.

Nothing else in the service chooses a status. What is not a `RetrievalError` is a defect: it is logged with its
traceback, and the caller learns no more than the id to ask the log for.
"""

from __future__ import annotations

import logging
import traceback
from contextvars import ContextVar
from typing import TYPE_CHECKING

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details_pb
from google.rpc import status_pb2 as status_pb
from grpc_status import rpc_status

from retrieval.domain.errors import (
    AlreadyExistsError,
    ConflictError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ResourceExhaustedError,
    RetrievalError,
    UnavailableError,
)
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

log = logging.getLogger(__name__)

DOMAIN = "retrieval.v1"
"""`ErrorInfo.domain` of every error."""

MAX_TEXT_BYTES = 1024
MAX_VIOLATIONS = 8
# Statuses travel in HTTP/2 trailers, of which gRPC clients accept 8 KiB by default.

call_id: ContextVar[str] = ContextVar("call_id", default="-")
"""Names the call in progress in the log and in replies."""


class InternalError(RetrievalError):
    """A defect of the service."""

    reason = "INTERNAL"


CODES: Mapping[type[RetrievalError], grpc.StatusCode] = {
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    ConflictError: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    InternalError: grpc.StatusCode.INTERNAL,
}


def code_of(error: RetrievalError) -> grpc.StatusCode:
    """The status of an error: that of its class or of the nearest base class in the table."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), grpc.StatusCode.UNKNOWN)


def known(error: Exception) -> RetrievalError:
    """`error` itself where callers may see it; else it is logged and an `InternalError` stands in for it."""
    if isinstance(error, RetrievalError):
        return error
    log.error("internal error in call %s", call_id.get(), exc_info=error)
    return InternalError(f"internal error; the log has the details under call id {call_id.get()}")


def rich_status(error: RetrievalError) -> grpc.Status:
    """The status with `ErrorInfo`, and `BadRequest` or `RetryInfo` where they apply."""
    parts: list[Message] = [details_pb.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    if error.violations:
        bad = details_pb.BadRequest()
        for violation in error.violations[:MAX_VIOLATIONS]:
            bad.field_violations.add(field=_clip(violation.field), description=_clip(violation.description))
        parts.append(bad)
    if isinstance(error, OverloadedError):
        delay = Duration()
        delay.FromMicroseconds(int(error.retry_after_s * 1e6))
        parts.append(details_pb.RetryInfo(retry_delay=delay))
    status = status_pb.Status(code=code_of(error).value[0], message=_clip(error.message))
    for part in parts:
        packed = AnyMessage()
        packed.Pack(part)
        status.details.append(packed)
    made: grpc.Status = rpc_status.to_status(status)
    return made


def forget_frames(error: BaseException) -> None:
    """Let go of what the frames of an error that was told hold: requests and what was made of them.

    Frames and errors refer to each other, so that all of it would stay until the collector comes round, which is rare.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            each.__traceback__ = None
            waiting += (each.__cause__, each.__context__)


def search_error(error: Exception) -> retrieval_pb.SearchError:
    """The same for one search of a batch."""
    shown = known(error)
    told = retrieval_pb.SearchError(
        code=code_of(shown).value[0],
        reason=shown.reason,
        message=_clip(shown.message),
        field=_clip(shown.violations[0].field) if shown.violations else "",
    )
    forget_frames(error)
    return told


def _clip(text: str) -> str:
    if len(text) * 4 <= MAX_TEXT_BYTES:
        return text
    raw = text.encode()
    return text if len(raw) <= MAX_TEXT_BYTES else raw[:MAX_TEXT_BYTES].decode(errors="ignore") + "…"
