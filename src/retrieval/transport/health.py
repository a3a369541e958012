"""grpc.health.v1: NOT_SERVING while warming or draining, and where the store or a vital background task is down."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from retrieval.application.task_supervisor import BackgroundTask, TaskSupervisor

log = logging.getLogger(__name__)

TASK = "health"
INTERVAL_S = 1.0
PROBE_TIMEOUT_S = 2.0
FAREWELL_S = 0.05
"""Time watchers get to hear NOT_SERVING before their streams end."""

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class HealthServicer(health_aio.HealthServicer):  # type: ignore[misc]  # the package is untyped
    """The standard servicer, with `List`, which it lacks, and `end_watches`: streams would hold up a drain."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Task[None]] = set()

    async def List(self, _request: Any, _context: Any) -> Any:
        """The status of every service."""
        statuses = {
            service: health_pb2.HealthCheckResponse(status=status) for service, status in self._server_status.items()
        }
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(self, request: Any, context: Any) -> None:
        """Tell the status of a service and every change of it."""
        watch = asyncio.create_task(super().Watch(request, context))  # awaited: below
        self._watches.add(watch)
        try:
            await asyncio.wait({watch})
        finally:
            self._watches.discard(watch)
            watch.cancel()
        if not watch.cancelled():
            await watch

    async def end_watches(self) -> None:
        """End all streams in good order, once they have told what there is to tell."""
        if self._watches:
            await asyncio.sleep(FAREWELL_S)
        for watch in tuple(self._watches):
            watch.cancel()


class HealthMonitor:
    """Keeps the health of all services in step with the store."""

    def __init__(
        self, is_alive: Callable[[], Awaitable[bool]], services: Sequence[str], tasks: TaskSupervisor, *, warming: bool
    ) -> None:
        self.servicer = HealthServicer()
        self._is_alive = is_alive
        self._supervisor = tasks
        self._said = NOT_SERVING
        self._names = ("", *services)
        self._warm = asyncio.Event()
        if not warming:
            self._warm.set()
        self._task: BackgroundTask | None = None

    async def start(self) -> None:
        """Say NOT_SERVING, and look after the store from now on."""
        await self._tell(NOT_SERVING)
        self._task = self._supervisor.start(TASK, self._look, INTERVAL_S)

    def ready(self) -> None:
        """Warming is over."""
        self._warm.set()

    async def drain(self) -> None:
        """Say NOT_SERVING for good."""
        if self._task is not None:
            await self._task.stop()
        await self.servicer.enter_graceful_shutdown()
        await self.servicer.end_watches()

    async def _look(self) -> None:
        await self._warm.wait()
        trouble = await self._trouble()
        now = NOT_SERVING if trouble else SERVING
        if now != self._said:
            if trouble:
                log.warning("health: NOT_SERVING: %s", trouble)
            else:
                log.info("health: SERVING")
            await self._tell(now)
            self._said = now

    async def _trouble(self) -> str:
        """Why this process does not serve as it should; empty where it does."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                alive = await self._is_alive()
        except Exception as error:
            log.debug("the store does not answer: %r", error)
            alive = False
        if not alive:
            return "the store does not answer"
        down = self._supervisor.down()
        return f"background tasks are down: {', '.join(down)}" if down else ""

    async def _tell(self, status: int) -> None:
        for name in self._names:
            await self.servicer.set(name, status)
