"""MaintenanceService: the jobs that come round, and what runs in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.transport.caller import Caller
from retrieval.transport.validate import text
from retrieval.transport.write_maintenance import write_job, write_run, write_task
from retrieval.v1 import maintenance_service_pb2 as pb
from retrieval.v1 import maintenance_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc

    from retrieval.application.service import Service

    Context = grpc.aio.ServicerContext[Any, Any]

MAX_NAME_BYTES = 128


class MaintenanceServicer(pb_grpc.MaintenanceServiceServicer):
    """See `MaintenanceService` in the contract."""

    def __init__(self, service: Service, admin_token: str) -> None:
        self._maintenance = service.stores.maintenance
        self._tasks = service.tasks
        self._admin_token = admin_token

    async def ListMaintenanceJobs(
        self, _request: pb.ListMaintenanceJobsRequest, _context: Context
    ) -> pb.ListMaintenanceJobsResponse:
        """All jobs and how they went."""
        return pb.ListMaintenanceJobsResponse(jobs=[write_job(job) for job in await self._maintenance.jobs()])

    async def ListBackgroundTasks(
        self, _request: pb.ListBackgroundTasksRequest, _context: Context
    ) -> pb.ListBackgroundTasksResponse:
        """What runs in the background of this process."""
        return pb.ListBackgroundTasksResponse(tasks=[write_task(task) for task in self._tasks.reports()])

    async def RunMaintenanceJob(
        self, request: pb.RunMaintenanceJobRequest, context: Context
    ) -> pb.RunMaintenanceJobResponse:
        """Run a job now, within the deadline."""
        Caller(context.invocation_metadata, self._admin_token).require_admin("RunMaintenanceJob")
        name = text(request.name, "name", MAX_NAME_BYTES, required=True)
        return pb.RunMaintenanceJobResponse(run=write_run(await self._maintenance.run(name)))
