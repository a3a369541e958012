"""What stands beside a backup and says what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from retrieval.domain.errors import FailedPreconditionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMAT = 1
CHUNK_BYTES = 1 << 20
_TABLE = re.compile(r"[a-z0-9_]{1,63}")
_COLLECTION = re.compile(r"[a-z0-9_-]{1,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class BackupManifest:
    """A backup: of which schema (`migration`) and server, its size and SHA-256, and its rows.

    `tables`: rows by table; `collections`: items, embeddings and events by collection.
    """

    format: int
    created_at: str
    migration: int
    server_major: int
    program_major: int
    vector_schema: str
    size_bytes: int
    sha256: str
    tables: dict[str, int]
    collections: dict[str, dict[str, int]]

    def save(self, file: Path) -> None:
        """Write it beside the backup, whole or not at all."""
        path = manifest_path(file)
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("w", encoding="utf-8") as out:
            json.dump(asdict(self), out, indent=2, ensure_ascii=False)
            out.write("\n")
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)


def manifest_path(file: Path) -> Path:
    """Where the manifest of a backup is."""
    return file.with_name(f"{file.name}.manifest.json")


def read_manifest(file: Path) -> BackupManifest:
    """The manifest beside a backup.

    Raises: FailedPreconditionError (BACKUP_NOT_FOUND, BACKUP_DAMAGED, BACKUP_TOO_NEW).
    """
    path = manifest_path(file)
    for needed in (file, path):
        if not needed.is_file():
            raise FailedPreconditionError(
                f"{needed} does not exist: a backup is two files, FILE and FILE.manifest.json",
                reason="BACKUP_NOT_FOUND",
            )
    damaged = FailedPreconditionError(f"{path} is not the manifest of a backup", reason="BACKUP_DAMAGED")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] > FORMAT:
            raise FailedPreconditionError(
                f"{file} is of a newer release (format {values['format']}): restore it with that one",
                reason="BACKUP_TOO_NEW",
            )
        manifest = BackupManifest(**{field.name: values[field.name] for field in fields(BackupManifest)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged from error
    numbers = [manifest.migration, manifest.server_major, manifest.program_major, manifest.size_bytes]
    counts = [*manifest.tables.values(), *(n for c in manifest.collections.values() for n in c.values())]
    # Names and numbers become part of a script.
    if not (
        all(type(number) is int and number >= 0 for number in (*numbers, *counts))
        and all(_TABLE.fullmatch(table) for table in (*manifest.tables, manifest.vector_schema))
        and all(_COLLECTION.fullmatch(name) for name in manifest.collections)
        and _SHA256.fullmatch(manifest.sha256)
    ):
        raise damaged
    return manifest


def verify(file: Path, manifest: BackupManifest, report: Callable[[str, int, int], None]) -> None:
    """Read the whole backup and hold it against its manifest. Raises: FailedPreconditionError (BACKUP_DAMAGED)."""
    digest, done = hashlib.sha256(), 0
    try:
        with file.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                done += len(chunk)
                report("verified", done, manifest.size_bytes)
    except OSError as error:
        raise FailedPreconditionError(f"{file} cannot be read: {error.strerror}", reason="BACKUP_DAMAGED") from error
    if (done, digest.hexdigest()) != (manifest.size_bytes, manifest.sha256):
        raise FailedPreconditionError(
            f"{file} is damaged, or its manifest belongs to another backup; nothing was changed",
            reason="BACKUP_DAMAGED",
        )
