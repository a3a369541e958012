"""Keeps worker processes running: starts them, starts dead ones anew, ends them together."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.domain.errors import UnavailableError
from retrieval.workers.line import READY, SERVE, STORE_AWAY

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence

    from retrieval.application.task_supervisor import BackgroundTask

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
"""A worker that dies is followed by the next one after the first delay; the delay doubles up to the longest."""
SETTLED_S = 30.0
"""A worker that lived as long starts over with the first delay."""
START_TIMEOUT_S = 120.0
"""A worker that is not ready by then, on top of the time that it may wait for the database, is killed."""
MAX_FAILED_STARTS = 5
"""So many in a row, while no worker is ready, and the supervisor gives up. An outage of the database is waited out."""
KILL_AFTER_S = 5.0
"""What a worker gets to close its connections, on top of the time its calls get to finish."""


class Supervisor:
    """`count` processes of `command`, which is told the worker's number by `--worker N` at its end.

    `wait_s`: how long a worker may wait for the database before it is ready.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], count: int, drain_s: float, wait_s: float = 0.0
    ) -> None:
        self._start_timeout_s = START_TIMEOUT_S + wait_s
        self._command = command
        self._environment = environment
        self._count = count
        self._drain_s = drain_s
        self._processes: dict[int, Process] = {}
        self._ready: set[int] = set()
        self._all_ready = asyncio.Event()
        self._failed_starts = 0
        self._serving = False
        self._tasks = TaskSupervisor()
        self._keepers: list[BackgroundTask] = []
        self._delays_s = dict.fromkeys(range(1, count + 1), FIRST_DELAY_S)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Start the workers and wait until all of them accept calls. Raises: UnavailableError (WORKERS_FAILED)."""
        self._keepers = [
            self._tasks.start(f"worker-{number}", partial(self._live, number), partial(self._pause, number))
            for number in range(1, self._count + 1)
        ]
        ready = asyncio.ensure_future(self._all_ready.wait())  # awaited: below
        outcomes: tuple[asyncio.Future[Any], ...] = (ready, self._failed)
        try:
            await asyncio.wait(outcomes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._failed.done():
            self._failed.result()

    def serve(self) -> None:
        """Let the health of all workers say SERVING, and that of those to come."""
        self._serving = True
        for number in self._ready:
            self._tell_to_serve(self._processes[number])

    async def failed(self) -> None:
        """Returns never, unless cancelled. Raises: UnavailableError (WORKERS_FAILED) when no worker can be had."""
        await asyncio.shield(self._failed)

    async def stop(self) -> None:
        """Let all workers finish their calls and end; those that do not in time are killed."""
        for keeper in self._keepers:
            await keeper.stop()
        self._failed.cancel()
        running = [process for process in self._processes.values() if process.returncode is None]
        for process in running:
            process.terminate()
        ends = [asyncio.create_task(process.wait()) for process in running]  # awaited: below
        if ends:
            await asyncio.wait(ends, timeout=self._drain_s + KILL_AFTER_S)
        for process in running:
            if process.returncode is None:
                log.warning("worker %d does not end and is killed", process.pid)
                process.kill()
        await asyncio.gather(*ends)

    async def _live(self, number: int) -> None:
        """The life of a worker of this number, and what follows from its end."""
        loop = asyncio.get_running_loop()
        born = loop.time()
        ended = await self._run(number)
        if self._failed_starts >= MAX_FAILED_STARTS and not self._ready and not self._failed.done():
            self._failed.set_exception(
                UnavailableError(
                    f"{self._failed_starts} workers in a row ended before they were ready; the log says why",
                    reason="WORKERS_FAILED",
                )
            )
        if loop.time() - born >= SETTLED_S:
            self._delays_s[number] = FIRST_DELAY_S
        log.warning("worker %d ended with %d; the next one starts in %.1f s", number, ended, self._delays_s[number])

    async def _pause(self, number: int) -> None:
        delay_s = self._delays_s[number]
        self._delays_s[number] = min(2 * delay_s, LONGEST_DELAY_S)
        await asyncio.sleep(delay_s)

    async def _run(self, number: int) -> int:
        """One life of a worker; returns its exit code."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            "--worker",
            str(number),
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C is for the supervisor, which ends its workers in good order.
            start_new_session=True,
        )
        self._processes[number] = process
        log.info("worker %d is process %d", number, process.pid)
        try:
            if await self._is_ready(process):
                self._failed_starts = 0
                self._ready.add(number)
                if len(self._ready) == self._count:
                    self._all_ready.set()
                if self._serving:
                    self._tell_to_serve(process)
                return await process.wait()
            code = await process.wait()
            if code != STORE_AWAY:
                self._failed_starts += 1
            return code
        finally:
            self._ready.discard(number)

    async def _is_ready(self, process: Process) -> bool:
        """Wait for a worker to say so. False: it ended first, or it took too long and is killed."""
        assert process.stdout is not None
        try:
            return await asyncio.wait_for(process.stdout.readline(), self._start_timeout_s) == READY
        except TimeoutError:
            process.kill()
            return False

    @staticmethod
    def _tell_to_serve(process: Process) -> None:
        assert process.stdin is not None
        process.stdin.write(SERVE)
