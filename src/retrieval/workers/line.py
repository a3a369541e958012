"""A worker's line to its supervisor: its standard input and output.

The worker says READY once it accepts calls; the supervisor says SERVE once health may say SERVING. The input ends when
the supervisor does, however that came about: a worker never outlives it.
"""

from __future__ import annotations

import asyncio
import os
import sys

READY = b"ready\n"
SERVE = b"serve\n"
STORE_AWAY = 75
"""Exit code of a worker that gave up waiting for the database: EX_TEMPFAIL of sysexits.h."""


class SupervisorLine:
    """The worker's end. `serving` is set when it is told to serve, `stop` when the supervisor is gone."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.serving = asyncio.Event()
        self._stop = stop

    async def listen(self) -> None:
        """Take in what the supervisor says, until it is gone."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for said in reader:
            if said == SERVE:
                self.serving.set()
        self._stop.set()

    @staticmethod
    def ready() -> None:
        """Tell the supervisor that this worker accepts calls."""
        os.write(sys.stdout.fileno(), READY)
