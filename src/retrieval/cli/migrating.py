"""The command `migrate`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from retrieval.bootstrap import migrating

if TYPE_CHECKING:
    import argparse

    from retrieval.config import Settings


async def run_migrate(settings: Settings, options: argparse.Namespace) -> int:
    """Move the schema up or down, or print where it is."""
    async with migrating(settings, create=options.direction == "up") as migrator:
        if options.direction == "status":
            for status in await migrator.status():
                migration = status.migration
                sys.stdout.write(f"{migration.number:04d} {migration.name:32} {status.applied_at or 'missing'}\n")
            return 0
        if options.direction == "up":
            count = await migrator.up()
        else:
            count = await migrator.down(options.steps)
        sys.stdout.write(f"{count} migrations {'applied' if options.direction == 'up' else 'undone'}\n")
    return 0
