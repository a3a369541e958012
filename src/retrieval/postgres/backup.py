"""Backups: the schema `retrieval` as pg_dump writes it, as of one moment, while the service goes on."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from retrieval.domain.errors import FailedPreconditionError
from retrieval.postgres.backup_manifest import CHUNK_BYTES, FORMAT, BackupManifest, manifest_path
from retrieval.postgres.connect_errors import connect, explained
from retrieval.postgres.programs import Complaints, find_program, running, without_password
from retrieval.postgres.sql_files import fill, queries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APPLICATION = "retrieval-backup"
PRIVATE = 0o600
"""Items of every visibility are in it, and what users did."""

log = logging.getLogger(__name__)


async def back_up(url: str, file: Path, report: Callable[[str, int, int], None]) -> BackupManifest:
    """Write a backup of the database to `file`, and its manifest beside it; both are there at the end, or neither.

    `report` hears what was done, how many bytes, and of how many (0: not known).

    Raises: FailedPreconditionError (BACKUP_EXISTS, NO_SUCH_FOLDER, NOTHING_TO_BACK_UP, PROGRAM_MISSING,
    PROGRAM_TOO_OLD, BACKUP_NOT_WRITTEN, BACKUP_FAILED).
    """
    for path in (file, manifest_path(file)):
        if path.exists():
            raise FailedPreconditionError(f"{path} exists: name another file, or remove it", reason="BACKUP_EXISTS")
    if not file.parent.is_dir():
        raise FailedPreconditionError(f"{file.parent} is not a folder", reason="NO_SUCH_FOLDER")
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with explained(url):
            manifest = await _write(url, partial, report)
        with _written(file):
            _publish(partial, file, manifest)
    finally:
        partial.unlink(missing_ok=True)
    return manifest


@contextmanager
def _written(file: Path) -> Iterator[None]:
    """What the disk refuses is the caller's to mend, and no trouble with the database."""
    try:
        yield
    except OSError as error:
        raise FailedPreconditionError(
            f"{file} cannot be written: {error.strerror}", reason="BACKUP_NOT_WRITTEN"
        ) from error


def _publish(partial: Path, file: Path, manifest: BackupManifest) -> None:
    """Give a backup that is complete its name, and its manifest beside it; where that fails, neither is there."""
    partial.replace(file)
    try:
        manifest.save(file)
    except BaseException:
        file.unlink()
        raise


async def _write(url: str, partial: Path, report: Callable[[str, int, int], None]) -> BackupManifest:
    sql = queries("backup")
    nothing = FailedPreconditionError("the database has no schema `retrieval`", reason="NOTHING_TO_BACK_UP")
    connection = await connect(url, application_name=APPLICATION)
    try:
        if await connection.fetchval("SELECT to_regclass('retrieval.migrations')") is None:
            raise nothing
        server_major = connection.get_server_version().major
        program, program_major = await find_program("pg_dump", server_major)
        # What is counted here and what pg_dump reads are of the same snapshot.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await connection.fetchval(sql["export_snapshot"])
            migration = await connection.fetchval(sql["migration"])
            if migration is None:
                raise nothing
            vector_schema = await connection.fetchval(sql["vector_schema"])
            tables, collections = await _counts(connection)
            size, sha256 = await _dump(program, url, snapshot, partial, report)
    finally:
        connection.terminate()
    created_at = datetime.now(UTC).isoformat(timespec="seconds")
    return BackupManifest(
        FORMAT,
        created_at,
        migration,
        server_major,
        program_major,
        vector_schema,
        size,
        sha256,
        tables,
        collections,
    )


async def _counts(connection: Any) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    sql = queries("backup")
    tables = {}
    for (table,) in await connection.fetch(sql["tables"]):
        tables[table] = await connection.fetchval(fill(sql["count_rows"], table=table))
    rows = await connection.fetch(sql["count_by_collection"])
    return tables, {r["name"]: {what: r[what] for what in ("items", "embeddings", "events")} for r in rows}


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE), "wb")


async def _dump(
    program: Path, url: str, snapshot: str, partial: Path, report: Callable[[str, int, int], None]
) -> tuple[int, str]:
    """Size and SHA-256 of what was written to `partial`, durably."""
    target, secrets = without_password(url)
    digest, size = hashlib.sha256(), 0
    arguments = (
        "--format=custom",
        "--schema=retrieval",
        "--exclude-table-data=retrieval.change_log",
        f"--snapshot={snapshot}",
        "--no-password",
        f"--dbname={target}",
    )
    with Complaints() as complaints:
        async with running(program, *arguments, secrets=secrets, complaints=complaints) as process:
            assert process.stdout is not None
            with _written(partial), await asyncio.to_thread(_create, partial) as out:
                while chunk := await process.stdout.read(CHUNK_BYTES):
                    digest.update(chunk)
                    await asyncio.to_thread(out.write, chunk)
                    size += len(chunk)
                    report("written", size, 0)
                out.flush()
                await asyncio.to_thread(os.fsync, out.fileno())
            code = await process.wait()
        said = complaints.read()
    if code != 0:
        log.error("pg_dump ended with %d: %s", code, said)
        raise FailedPreconditionError(
            "the backup failed, and nothing of it is left; the log says what pg_dump said", reason="BACKUP_FAILED"
        )
    return size, digest.hexdigest()
