"""Migrations: numbered SQL files, each with its undoing, applied in order under an advisory lock."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from retrieval.domain.errors import FailedPreconditionError
from retrieval.postgres.database import check_versions
from retrieval.postgres.sql_files import queries, sql_root
from retrieval.postgres.store_errors import translated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.up\.sql")
T = TypeVar("T")
MIGRATION_LOCK = 0x7265_7472_6965_7603  # "retriev", 3

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
        """Every migration, applied or not."""

        async def work(connection: Any) -> list[MigrationStatus]:
            applied = await self._applied(connection)
            moments = [row["applied_at"].isoformat(timespec="seconds") for row in applied]
            moments += [""] * (len(self._migrations) - len(moments))
            return [MigrationStatus(m, at) for m, at in zip(self._migrations, moments, strict=True)]

        return await self._locked(work)

    async def _locked(self, work: Callable[[Any], Awaitable[T]]) -> T:
        async with translated():
            connection = await asyncpg.connect(
                self._url, timeout=10, server_settings={"client_min_messages": "warning", "lock_timeout": "30s"}
            )
            try:
                await check_versions(connection)
                await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
                await self._prepare(connection)
                return await work(connection)
            finally:
                await connection.close()

    @staticmethod
    async def _prepare(connection: Any) -> None:
        await connection.execute(queries("migrations")["prepare"])

    async def _applied(self, connection: Any) -> list[Any]:
        rows = await connection.fetch(queries("migrations")["applied"])
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


async def require_current_schema(url: str) -> None:
    """Raises: FailedPreconditionError (SCHEMA_OUTDATED) when migrations are missing."""
    missing = [s for s in await Migrator(url).status() if not s.applied_at]
    if missing:
        raise FailedPreconditionError(
            f"{len(missing)} migrations are missing in the database: run `retrieval migrate up`",
            reason="SCHEMA_OUTDATED",
        )
