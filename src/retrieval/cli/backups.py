"""The commands `backup` and `restore`, with progress."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from retrieval.bootstrap import back_up_database, restore_database
from retrieval.cli.progress import shown_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from retrieval.config import Settings
    from retrieval.postgres.backup_manifest import BackupManifest

log = logging.getLogger("retrieval.backup")


async def run_backup(settings: Settings, options: argparse.Namespace) -> int:
    """Back up, and print what is in it."""
    with shown_line(log) as show:
        manifest = await back_up_database(settings, options.file, _shown(show))
    sys.stdout.write(f"{options.file}: {_contents(manifest)}\n")
    return 0


async def run_restore(settings: Settings, options: argparse.Namespace) -> int:
    """Restore, and print what is there now."""
    with shown_line(log) as show:
        manifest = await restore_database(settings, options.file, _shown(show), replace=options.replace)
    sys.stdout.write(f"restored {options.file} of {manifest.created_at}: {_contents(manifest)}\n")
    return 0


def _shown(show: Callable[[str], None]) -> Callable[[str, int, int], None]:
    def report(what: str, done: int, total: int) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        show(f"{what} {done / 1e6:.1f}{of} MB")

    return report


def _contents(manifest: BackupManifest) -> str:
    items = sum(counts["items"] for counts in manifest.collections.values())
    events = sum(counts["events"] for counts in manifest.collections.values())
    collections = len(manifest.collections)
    return f"{collections} collections, {items} items, {events} events, {manifest.size_bytes / 1e6:.1f} MB"
