"""Migrations: numbered SQL files, each with its undoing, applied in order under an advisory lock."""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from retrieval.domain.errors import FailedPreconditionError
from retrieval.postgres.connect_errors import connect, explained, pooled, require_sessions, require_writable
from retrieval.postgres.database import check_versions
from retrieval.postgres.sql_files import queries, sql_root

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.up\.sql")
T = TypeVar("T")
MIGRATION_LOCK = 0x7265_7472_6965_7603  # "retriev", 3
LOCK_TIMEOUT = "30s"
_MISSING = (
    ("has_extension", "create_extension", "CREATE EXTENSION vector as an administrator"),
    ("has_schema", "create_schema", "GRANT CREATE ON DATABASE {database} TO {role} as an administrator"),
    ("has_migrations", "create_migrations", "GRANT CREATE ON SCHEMA retrieval TO {role}"),
)
"""What a database has before any migration: how to look, how to make it, and who may."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration; `checksum` is the SHA-256 of its up file."""

    number: int
    name: str
    up: str
    down: str
    checksum: str


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """A migration and when it was applied (ISO 8601; empty: not yet)."""

    migration: Migration
    applied_at: str


def available(folder: Path | None = None) -> list[Migration]:
    """All migrations in order. Raises: ValueError when numbers are not 1, 2, 3… or a down file is missing."""
    found: list[Migration] = []
    for path in sorted((folder or sql_root() / "migrations").glob("*.up.sql")):
        match = _FILE.fullmatch(path.name)
        if match is None or int(match[1]) != len(found) + 1:
            raise ValueError(f"{path.name} is not the next migration NNNN_verb_object.up.sql")
        up = path.read_text(encoding="utf-8")
        down = path.with_name(path.name.replace(".up.", ".down.")).read_text(encoding="utf-8")
        found.append(Migration(int(match[1]), match[2], up, down, hashlib.sha256(up.encode()).hexdigest()))
    return found


class Migrator:
    """Moves a database between schema versions; each step is a transaction."""

    def __init__(self, url: str, migrations: list[Migration] | None = None) -> None:
        self._url = url
        self._migrations = available() if migrations is None else migrations

    async def up(self, report: Callable[[Migration], None] | None = None) -> int:
        """Apply what is missing and return how many that was. `report` is called after each."""

        async def work(connection: Any) -> int:
            await self._prepare(connection)
            applied = await self._applied(connection)
            for migration in self._migrations[len(applied) :]:
                async with connection.transaction():
                    await connection.execute(migration.up)
                    await connection.execute(
                        queries("migrations")["record"],
                        migration.number,
                        migration.name,
                        migration.checksum,
                    )
                log.info("applied migration %04d_%s", migration.number, migration.name)
                if report is not None:
                    report(migration)
            return len(self._migrations) - len(applied)

        return await self._locked(work)

    async def down(self, steps: int = 1) -> int:
        """Undo the last `steps` migrations and return how many that was. Their data is lost."""

        async def work(connection: Any) -> int:
            applied = await self._applied(connection)
            undone = list(reversed(self._migrations[: len(applied)]))[:steps]
            for migration in undone:
                async with connection.transaction():
                    await connection.execute(migration.down)
                    await connection.execute(queries("migrations")["forget"], migration.number)
                log.info("undid migration %04d_%s", migration.number, migration.name)
            return len(undone)

        return await self._locked(work)

    async def status(self) -> list[MigrationStatus]:
        """Every migration, applied or not. It changes nothing, and takes no right but to read."""
        async with self._connected() as connection:
            applied = await self._applied(connection)
        moments = [row["applied_at"].isoformat(timespec="seconds") for row in applied]
        moments += [""] * (len(self._migrations) - len(moments))
        return [MigrationStatus(m, at) for m, at in zip(self._migrations, moments, strict=True)]

    async def require_current(self) -> None:
        """Raises: FailedPreconditionError (SCHEMA_OUTDATED) when migrations are missing; as `require_sessions`,
        `require_writable`.
        """
        async with self._connected() as connection:
            await self._require_usable(connection)
            missing = len(self._migrations) - len(await self._applied(connection))
        if missing:
            raise FailedPreconditionError(
                f"{missing} migrations are missing in the database: run `retrieval migrate up`",
                reason="SCHEMA_OUTDATED",
            )

    async def _locked(self, work: Callable[[Any], Awaitable[T]]) -> T:
        async with self._connected() as connection:
            await self._require_usable(connection)
            await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
            return await work(connection)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        connection = await connect(
            self._url,
            client_min_messages="warning",
            lock_timeout=LOCK_TIMEOUT,
            search_path="retrieval, public, extensions",
        )
        try:
            with explained(self._url):
                await check_versions(connection)
                yield connection
        finally:
            await connection.close()

    async def _require_usable(self, connection: Any) -> None:
        await require_sessions(connection, self._url)
        await require_writable(connection, self._url)
        if await connection.fetchval("SHOW lock_timeout") != LOCK_TIMEOUT:
            raise pooled("it drops the settings of a session", self._url)

    async def _prepare(self, connection: Any) -> None:
        sql = queries("migrations")
        for look, make, remedy in _MISSING:
            if not await connection.fetchval(sql[look]):
                with explained(self._url, remedy):
                    await connection.execute(sql[make])

    async def _applied(self, connection: Any) -> list[Any]:
        sql = queries("migrations")
        rows = await connection.fetch(sql["applied"]) if await connection.fetchval(sql["has_migrations"]) else []
        if len(rows) > len(self._migrations):
            raise FailedPreconditionError(
                f"the database is at migration {len(rows)}, this release ends at {len(self._migrations)}; "
                "run a newer release",
                reason="SCHEMA_TOO_NEW",
            )
        for row, migration in zip(rows, self._migrations, strict=False):
            if row["number"] != migration.number or row["checksum"] != migration.checksum:
                raise FailedPreconditionError(
                    f"migration {row['number']:04d}_{row['name']} was changed after it was applied: restore the file "
                    "and put the change into a new migration",
                    reason="MIGRATION_CHANGED",
                )
        return list(rows)
