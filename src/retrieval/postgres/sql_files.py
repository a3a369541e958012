"""Finds the SQL files: inside an installed wheel, or at the top of a source tree."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def sql_root() -> Path:
    """The folder that holds `migrations/` and `queries/`."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "_sql", package.parent.parent / "sql"):
        if (candidate / "migrations").is_dir():
            return candidate
    raise RuntimeError("the SQL files are missing from this installation")


@cache
def queries(file: str) -> dict[str, str]:
    """Statements of `queries/<file>.sql` by name, without their comments' indentation or trailing space."""
    parts = _NAME.split((sql_root() / "queries" / f"{file}.sql").read_text(encoding="utf-8"))
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def fill(statement: str, **values: object) -> str:
    """Put identifiers and numbers into the `{name}` places of a statement. Never for a caller's values."""
    for name, value in values.items():
        statement = statement.replace("{" + name + "}", str(value))
    return statement
