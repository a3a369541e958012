"""Calls of MaintenanceService."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from retrieval.client.channel import bearer, calling
from retrieval.v1 import maintenance_service_pb2 as pb
from retrieval.v1 import maintenance_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    import grpc


class MaintenanceClient:
    """Jobs that come round, over a channel that somebody else closes; errors are `grpc.aio.AioRpcError`."""

    def __init__(self, channel: grpc.aio.Channel, *, admin_token: str = "") -> None:
        self.stub = pb_grpc.MaintenanceServiceStub(channel)
        self._metadata = bearer(admin_token)

    async def jobs(self, *, timeout_s: float | None = None) -> Sequence[pb.MaintenanceJob]:
        """All jobs by name."""
        reply: pb.ListMaintenanceJobsResponse = await self.stub.ListMaintenanceJobs(
            pb.ListMaintenanceJobsRequest(), timeout=timeout_s, metadata=self._metadata
        )
        return reply.jobs

    async def run(self, name: str, *, timeout_s: float | None = None) -> pb.MaintenanceRun:
        """Run a job now. Needs the admin token."""
        reply: pb.RunMaintenanceJobResponse = await self.stub.RunMaintenanceJob(
            pb.RunMaintenanceJobRequest(name=name), timeout=timeout_s, metadata=self._metadata
        )
        return reply.run


@asynccontextmanager
async def maintenance_of(target: str, admin_token: str, ca: Path | None = None) -> AsyncIterator[MaintenanceClient]:
    """The jobs of the service at `target`. Raises: as `calling`."""
    async with calling(target, ca) as channel:
        yield MaintenanceClient(channel, admin_token=admin_token)
