"""`retrieval care` against a server process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.server.commands import Ran, run_command
from tests.server.conftest import ADMIN_TOKEN

if TYPE_CHECKING:
    from tests.server.process import ServerProcess


async def care(*arguments: str, token: str = ADMIN_TOKEN) -> Ran:
    return await run_command("care", *arguments, RETRIEVAL_ADMIN_TOKEN=token)


async def test_jobs_are_shown_and_run(server: ServerProcess) -> None:
    code, out, err = await care("run", "prune-requests", "--target", server.target)
    assert code == 0, err
    assert out.startswith("prune-requests: succeeded, 0 affected in ")
    code, out, err = await care("--target", server.target)
    assert code == 0, err
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert {"prune-events", "prune-change-log", "fold-events", "refresh-trends", "index-care"} <= set(rows)
    assert "succeeded" in rows["prune-requests"]
    assert "1 d" in rows["prune-requests"]
    assert "running" in rows["fold-events"]


async def test_what_is_refused_says_so(server: ServerProcess) -> None:
    code, _, err = await care("run", "make-coffee", "--target", server.target)
    assert (code, "JOB_NOT_FOUND" in err) == (1, True), err
    code, _, err = await care("run", "prune-requests", "--target", server.target, token="")
    assert (code, "ADMIN_TOKEN_REQUIRED" in err) == (1, True), err
    code, _, err = await care("run", "--target", server.target)
    assert (code, "care run NAME" in err) == (2, True), err
    code, _, err = await care("--target", "127.0.0.1:1")
    assert (code, "cannot be reached" in err) == (1, True), err
