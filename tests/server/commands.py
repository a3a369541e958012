"""Commands of the service, as processes."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import NamedTuple

from tests.patience import PATIENCE_S


class Ran(NamedTuple):
    """A command that ended: exit code, standard output and standard error."""

    code: int
    out: str
    log: str


async def start_command(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    """`retrieval` with these arguments, and the environment beside that of the tests."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "retrieval.cli.main", *arguments),
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run_command(*arguments: str, kill_at: str = "", **environment: str) -> Ran:
    """Run a command to its end, or kill it once it says `kill_at`."""
    process = await start_command(*arguments, **environment)
    assert process.stdout is not None
    assert process.stderr is not None
    log = ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            out = asyncio.create_task(process.stdout.read())
            async for raw in process.stderr:
                log += raw.decode()
                if kill_at and kill_at in log:
                    process.kill()
                    kill_at = ""
            return Ran(await process.wait(), (await out).decode(), log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
