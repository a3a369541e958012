"""Asks a server for its health."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from retrieval.client.channel import open_channel

if TYPE_CHECKING:
    from pathlib import Path


async def is_serving(target: str, timeout_s: float = 3.0, ca: Path | None = None) -> bool:
    """Whether `grpc.health.v1` at `target` says SERVING. `ca`: see `open_channel`."""
    async with open_channel(target, ca) as channel:
        try:
            reply = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=timeout_s, wait_for_ready=True
            )
        except grpc.aio.AioRpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
