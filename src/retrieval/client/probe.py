"""Asks a server for its health."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from retrieval.client.channel import open_channel, told
from retrieval.domain.errors import DeadlineExceededError, RetrievalError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

SERVING = health_pb2.HealthCheckResponse.SERVING


async def check_health(target: str, timeout_s: float = 3.0, ca: Path | None = None) -> None:
    """Return where `grpc.health.v1` at `target` says SERVING. `ca`: see `open_channel`.

    Raises: UnavailableError (SERVICE_UNREACHABLE, NOT_SERVING); DeadlineExceededError; RetrievalError for another
    answer, as of a server that has no health service; UsageError.
    """
    async with open_channel(target, ca) as channel:
        try:
            reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise DeadlineExceededError(f"{target} did not answer within {timeout_s:g} s") from error
            raise told(error, target, ca) from error
    if reply.status != SERVING:
        said = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
        raise UnavailableError(
            f"{target} answers and says {said}: it is starting or draining, or its database does not answer; its log "
            "says which",
            reason="NOT_SERVING",
        )


async def is_serving(target: str, timeout_s: float = 3.0, ca: Path | None = None) -> bool:
    """Whether `check_health` finds nothing wrong."""
    try:
        await check_health(target, timeout_s, ca)
    except RetrievalError:
        return False
    return True
