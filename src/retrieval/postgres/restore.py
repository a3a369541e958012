"""Restores: a backup becomes the database's schema `retrieval` in one transaction, and a database of its own."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from retrieval.domain.errors import FailedPreconditionError
from retrieval.postgres.backup import APPLICATION
from retrieval.postgres.backup_manifest import CHUNK_BYTES, BackupManifest, read_manifest, verify
from retrieval.postgres.connect_errors import connect, explained, refusal, require_sessions, require_writable
from retrieval.postgres.database import check_versions
from retrieval.postgres.migrate import MIGRATION_LOCK, Migrator, available
from retrieval.postgres.programs import Complaints, find_program, kill, running, without_password
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.wall import raise_wall

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable
    from pathlib import Path

    Report = Callable[[str, int, int], None]

LEAVE_S = 5.0
"""Time that the connections of a service that was just stopped get to go away."""
_MISSING, _TAKEN = "RB001", "RB002"
"""SQLSTATEs of `check_count`, and of `begin_restore` where somebody was faster."""
_END_OF_HEAD = b"SELECT pg_catalog.set_config"
"""The last of the settings that a dump begins with."""

_REFUSED = re.compile(r"(?:ERROR|FATAL):\s+([0-9A-Z]{5}): (.*)")
"""What psql says of the server's answer, at this verbosity."""
RIGHTS = "GRANT CREATE ON DATABASE {database} TO {role}"

log = logging.getLogger(__name__)


async def restore(url: str, file: Path, memory_mb: int, report: Report, *, replace: bool = False) -> BackupManifest:
    """Make the backup the content of the database, whole or not at all, and bring it to the schema of this release.

    It gets an identity of its own. `replace`: what the database has goes. `report`: see `back_up`.

    Raises: FailedPreconditionError (BACKUP_NOT_FOUND, BACKUP_DAMAGED, BACKUP_TOO_NEW, SCHEMA_TOO_NEW,
    RESTORE_TARGET_NOT_EMPTY, RESTORE_TARGET_IN_USE, RESTORE_TARGET_TOO_OLD, VECTOR_SCHEMA_DIFFERS, PROGRAM_MISSING,
    PROGRAM_TOO_OLD, RESTORE_FAILED, and those of `check_versions`).
    """
    manifest = await asyncio.to_thread(read_manifest, file)
    if manifest.migration > len(available()):
        raise FailedPreconditionError(
            f"the backup is at migration {manifest.migration}, this release ends at {len(available())}; "
            "restore it with a newer release",
            reason="SCHEMA_TOO_NEW",
        )
    await asyncio.to_thread(verify, file, manifest, report)
    connection = await connect(url, application_name=APPLICATION)
    try:
        with explained(url):
            await require_writable(connection, url)
            await require_sessions(connection, url)
            await _check_target(connection, manifest, replace=replace)
        reader, _ = await find_program("pg_restore", manifest.program_major)
    finally:
        await connection.close()
    # Of the same release: pg_restore writes commands that earlier ones of psql do not know.
    writer = reader.with_name("psql")
    if not writer.is_file():
        raise FailedPreconditionError(f"there is no psql beside {reader}: install it", reason="PROGRAM_MISSING")
    begin = fill(
        queries("backup")["begin_restore"],
        memory_mb=memory_mb,
        vector_schema=manifest.vector_schema,
        lock=MIGRATION_LOCK,
        replace=replace,
    )
    await _replay(reader, writer, url, file, manifest, begin, report)
    await Migrator(url).up()
    connection = await connect(url, application_name=APPLICATION)
    try:
        with explained(url):
            await raise_wall(connection)
            await connection.execute(queries("backup")["forget_statistics"])
            # Dumps hold no statistics of the planner's, without which no index is chosen.
            for (table,) in await connection.fetch(queries("backup")["tables"]):
                await connection.execute(fill(queries("backup")["analyze"], table=table))
    finally:
        await connection.close()
    return manifest


async def _check_target(connection: Any, manifest: BackupManifest, *, replace: bool) -> None:
    sql = queries("backup")
    await check_versions(connection)
    major = connection.get_server_version().major
    if major < manifest.server_major:
        raise FailedPreconditionError(
            f"the backup is of PostgreSQL {manifest.server_major}, the server is a {major}; restore to a newer server",
            reason="RESTORE_TARGET_TOO_OLD",
        )
    there = await connection.fetchval("SELECT to_regclass('retrieval.collections')") is not None
    if there and not replace and await connection.fetchval(sql["has_collections"]):
        raise _not_empty()
    schema = await connection.fetchval(sql["vector_schema"])
    if schema not in {None, manifest.vector_schema}:
        raise FailedPreconditionError(
            f"the extension vector is in schema {schema}, where the backup is from it was in {manifest.vector_schema}; "
            f"run ALTER EXTENSION vector SET SCHEMA {manifest.vector_schema}",
            reason="VECTOR_SCHEMA_DIFFERS",
        )
    # A service goes on with what it remembers of the database that it started on.
    with suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            while await connection.fetchval(sql["users_of_database"]):  # noqa: ASYNC110 - others end the wait
                await asyncio.sleep(0.1)
            return
    raise FailedPreconditionError(
        "a service is connected to the database: stop all of its servers, and repeat", reason="RESTORE_TARGET_IN_USE"
    )


def _not_empty() -> FailedPreconditionError:
    return FailedPreconditionError(
        "the database has collections: restore to an empty one, or repeat with --replace, and they are gone",
        reason="RESTORE_TARGET_NOT_EMPTY",
    )


async def _replay(
    reader: Path, writer: Path, url: str, file: Path, manifest: BackupManifest, begin: str, report: Report
) -> None:
    """Run the backup as a script between our own beginning and end.

    Not `pg_restore --single-transaction`: what was there before goes, and the identity comes, in the same transaction.
    The last word is COMMIT, said once pg_restore has come to its end, so whoever is killed before has changed nothing.
    """
    target, secrets = without_password(url)
    quiet = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose", "--no-password")
    with Complaints() as said_by_reader, Complaints() as said_by_writer:
        async with (
            running(
                writer, *quiet, "--file=-", f"--dbname={target}", secrets=secrets, complaints=said_by_writer, reads=True
            ) as psql,
            running(
                reader, "--file=-", "--no-owner", "--no-acl", str(file), secrets={}, complaints=said_by_reader
            ) as pg_restore,
        ):
            assert psql.stdin is not None
            # A psql that met an error reads no more.
            with suppress(BrokenPipeError, ConnectionResetError):
                await _feed(psql.stdin, pg_restore, manifest, begin, report)
            psql.stdin.close()
            code = await psql.wait()
            if code != 0:
                await kill(pg_restore)
            read_code = await pg_restore.wait()
        said = said_by_writer.read()
        log.debug("psql said: %s", said)
        complaint = said_by_reader.read()
    if code == 0 and read_code == 0:
        return
    if _TAKEN in said:
        raise _not_empty()
    if _MISSING in said:
        raise FailedPreconditionError(
            "the backup does not hold the rows that its manifest names; nothing was changed", reason="RESTORE_FAILED"
        )
    if (refused := _REFUSED.search(said)) is not None:
        remedy = f"CREATE EXTENSION vector as an administrator; and {RIGHTS}"
        raise refusal(refused[1], f"{refused[2]}; nothing was changed", url, remedy)
    log.error("the restore failed: psql ended with %d: %s; pg_restore with %d: %s", code, said, read_code, complaint)
    raise FailedPreconditionError(
        "the restore failed, and nothing was changed; the log says what psql and pg_restore said",
        reason="RESTORE_FAILED",
    )


async def _feed(
    psql: asyncio.StreamWriter, pg_restore: Process, manifest: BackupManifest, begin: str, report: Report
) -> None:
    sql = queries("backup")
    assert pg_restore.stdout is not None
    await _say(psql, f"{begin}\n{sql['make_reader']};\n".encode())
    done = 0
    while (line := await pg_restore.stdout.readline()) and not line.startswith(_END_OF_HEAD):
        # Servers before PostgreSQL 17 do not know what newer programs set here.
        if not line.startswith(b"SET transaction_timeout"):
            await _say(psql, line)
    await _say(psql, line)
    while chunk := await pg_restore.stdout.read(CHUNK_BYTES):
        await _say(psql, chunk)
        done += len(chunk)
        report("restored", done, 0)
    if await pg_restore.wait() != 0:
        return
    checks = [fill(sql["check_count"], counted=counted, count=count) for counted, count in _counts(manifest)]
    await _say(psql, "\n".join([*checks, sql["finish_restore"], ""]).encode())


async def _say(psql: asyncio.StreamWriter, script: bytes) -> None:
    """Raises: BrokenPipeError, ConnectionResetError where psql has ended."""
    if psql.is_closing():
        # uvloop's transports raise RuntimeError at a write then.
        raise BrokenPipeError
    psql.write(script)
    await psql.drain()


def _counts(manifest: BackupManifest) -> list[tuple[str, int]]:
    """Queries and what they have to give."""
    sql = queries("backup")
    found = [(fill(sql["count_rows"], table=table), count) for table, count in manifest.tables.items()]
    for name, counts in manifest.collections.items():
        found.append((fill(sql["count_items_of"], collection=name), counts["items"]))
    return found
