"""What the catalogue of the database says about a relation and its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLES = frozenset({"r", "p"})
"""pg_class.relkind of what triggers can be put on: tables and partitioned tables."""
_READABLE = TABLES | {"v", "m"}

# Types that have an equality operator of their own; values of others are compared as text.
_COMPARABLE = frozenset(
    {"int2", "int4", "int8", "uuid", "text", "varchar", "bool", "float4", "float8", "numeric"}
    | {"timestamp", "timestamptz", "date", "jsonb", "vector", "halfvec"}
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `name` quoted; `kind`: type below any domain; `element`: that of an array's values, or empty."""

    name: str
    kind: str
    element: str

    def of(self, row: str) -> str:
        """SQL of the column's value in a row."""
        return f"{row}.{self.name}"

    def comparable(self, row: str) -> str:
        """SQL of a value that IS DISTINCT FROM takes."""
        return self.of(row) if self.kind in _COMPARABLE else f"{self.of(row)}::pg_catalog.text"


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view. `name`: with its schema, quoted; `columns` by their plain names.

    `unique`: columns, quoted, that no two rows have the same value of.
    """

    name: str
    kind: str
    may_trigger: bool
    columns: Mapping[str, Column]
    unique: frozenset[str]

    @property
    def is_table(self) -> bool:
        """Whether triggers can tell of changes."""
        return self.kind in TABLES

    def column(self, name: str, field: str, kinds: frozenset[str] | None = None) -> Column:
        """A column of one of these kinds. Raises: InvalidArgumentError (UNKNOWN_COLUMN, COLUMN_TYPE) at `field`."""
        found = self.columns.get(name)
        if found is None:
            raise InvalidArgumentError.of(
                field, f"{self.name} has no column {name!r}; it has {', '.join(self.columns)}", reason="UNKNOWN_COLUMN"
            )
        if kinds is not None and (found.element or found.kind) not in kinds:
            raise InvalidArgumentError.of(
                field,
                f"column {name!r} of {self.name} is of type {found.kind}, which cannot be taken here",
                reason="COLUMN_TYPE",
            )
        return found


async def read_relation(connection: Any, given: str, field: str) -> Relation:
    """The relation of a name, as SQL would find it.

    Raises: InvalidArgumentError (UNKNOWN_RELATION), FailedPreconditionError (TABLE_NOT_ACCESSIBLE).
    """
    sql = queries("attachments")
    try:
        row = await connection.fetchrow(sql["relation"], given)
    except asyncpg.SyntaxOrAccessError:
        row = None
    if row is None or row["schema"] == "retrieval" or row["kind"] not in _READABLE:
        raise InvalidArgumentError.of(
            field,
            f"there is no table or view {given!r} that could be followed; name it schema.table, quoted as in SQL",
            reason="UNKNOWN_RELATION",
        )
    if not row["readable"] or row["secured"]:
        why = "may not read it" if not row["readable"] else "sees only part of it by row-level security"
        raise FailedPreconditionError(
            f"the service's database role {why}: {row['name']}; GRANT SELECT on it, or BYPASSRLS to the role",
            reason="TABLE_NOT_ACCESSIBLE",
        )
    columns = {
        r["plain"]: Column(r["name"], r["kind"], r["element"])
        for r in await connection.fetch(sql["columns"], row["oid"])
    }
    unique = frozenset(r["name"] for r in await connection.fetch(sql["unique_columns"], row["oid"]))
    return Relation(row["name"], row["kind"], row["may_trigger"], columns, unique)
