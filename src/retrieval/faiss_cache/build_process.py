"""Builds a segment in a process of its own, at low priority: searches keep their core, and their interpreter."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from retrieval.domain.errors import FailedPreconditionError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retrieval.domain.model import Collection, EmbeddingVersion


VERSION_EMPTY = 66
"""Exit code of a build that found no rows: EX_NOINPUT of sysexits.h."""


class BuildProcess:
    """Runs `retrieval build-segment`. `environment`: the settings that the child is to have."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def __call__(self, collection: Collection, version: EmbeddingVersion) -> None:
        """See `keeper.Build`. The child ends when this process does, since its standard input ends then."""
        command = ("-m", "retrieval.cli.main", "build-segment", collection.name, "--version", str(version.version))
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            "--attached",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env={**os.environ, **self._environment},
        )
        try:
            code = await child.wait()
        finally:
            if child.returncode is None:
                child.terminate()
                await child.wait()
        if code == VERSION_EMPTY:
            raise FailedPreconditionError(
                f"embedding version {version.version} of {collection.name!r} holds no rows yet", reason="VERSION_EMPTY"
            )
        if code != 0:
            raise UnavailableError(f"the build ended with exit code {code}; see the log", reason="SEGMENT_NOT_BUILT")
