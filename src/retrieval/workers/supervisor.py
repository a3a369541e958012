"""Keeps worker processes running: starts them, starts dead ones anew, ends them together."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from retrieval.domain.errors import UnavailableError
from retrieval.workers.line import READY, SERVE

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
"""A worker that dies is followed by the next one after the first delay; the delay doubles up to the longest."""
SETTLED_S = 30.0
"""A worker that lived as long starts over with the first delay."""
START_TIMEOUT_S = 120.0
"""A worker that is not ready by then is killed."""
MAX_FAILED_STARTS = 5
"""So many in a row, while no worker is ready, and the supervisor gives up."""
KILL_AFTER_S = 5.0
"""What a worker gets to close its connections, on top of the time its calls get to finish."""


class Supervisor:
    """`count` processes of `command`, which is told the worker's number by `--worker N` at its end."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], count: int, drain_s: float) -> None:
        self._command = command
        self._environment = environment
        self._count = count
        self._drain_s = drain_s
        self._processes: dict[int, Process] = {}
        self._ready: set[int] = set()
        self._all_ready = asyncio.Event()
        self._failed_starts = 0
        self._serving = False
        self._keepers: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Start the workers and wait until all of them accept calls. Raises: UnavailableError (WORKERS_FAILED)."""
        self._keepers = [asyncio.create_task(self._keep(number)) for number in range(1, self._count + 1)]
        ready = asyncio.ensure_future(self._all_ready.wait())
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
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._failed.cancel()
        running = [process for process in self._processes.values() if process.returncode is None]
        for process in running:
            process.terminate()
        ends = [asyncio.create_task(process.wait()) for process in running]
        if ends:
            await asyncio.wait(ends, timeout=self._drain_s + KILL_AFTER_S)
        for process in running:
            if process.returncode is None:
                log.warning("worker %d does not end and is killed", process.pid)
                process.kill()
        await asyncio.gather(*ends)

    async def _keep(self, number: int) -> None:
        """Have a worker of this number, for good."""
        loop = asyncio.get_running_loop()
        delay_s = FIRST_DELAY_S
        while True:
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
                delay_s = FIRST_DELAY_S
            log.warning("worker %d ended with %d; the next one starts in %.1f s", number, ended, delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)

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
            else:
                self._failed_starts += 1
            return await process.wait()
        finally:
            self._ready.discard(number)

    @staticmethod
    async def _is_ready(process: Process) -> bool:
        """Wait for a worker to say so. False: it ended first, or it took too long and is killed."""
        assert process.stdout is not None
        try:
            return await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S) == READY
        except TimeoutError:
            process.kill()
            return False

    @staticmethod
    def _tell_to_serve(process: Process) -> None:
        assert process.stdin is not None
        process.stdin.write(SERVE)
