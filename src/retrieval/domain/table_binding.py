"""How rows of an application's own table become items of a collection."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import ItemStatus, Visibility

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retrieval.domain.model import Collection

MAX_NAME_BYTES = 63
"""Longer identifiers Postgres cuts (PostgreSQL documentation, "Identifiers and Key Words")."""
MAX_COLUMNS = 64
MAX_VECTORS = 16
MAX_WATCHED = 16
MAX_VALUES = 64


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """A column whose values are translated; one that is not in `values` stands for the least visible there is.

    Without `values`, those of the column are the words that the service uses itself.
    """

    column: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """A column with embeddings of items, of the items' relation or of another one.

    `embedding_version`: which version they belong to; 0 until the active one takes its place. `model_column`: rows
    where it does not hold the version's model are left out. The last three say where in the item a chunk is.
    """

    column: str = ""
    embedding_version: int = 0
    relation: str = ""
    key_column: str = ""
    chunk_index_column: str = ""
    model_column: str = ""
    text_column: str = ""
    start_column: str = ""
    end_column: str = ""


@dataclass(frozen=True, slots=True)
class WatchedTable:
    """A table whose rows say which item changed when they change: those that a view reads."""

    table: str = ""
    key_column: str = ""


@dataclass(frozen=True, slots=True)
class TableBinding:
    """Names of a relation and its columns; empty ones are not bound."""

    relation: str
    key_column: str = "id"
    text_columns: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    owner_column: str = ""
    visibility: ValueColumn = ValueColumn()
    audience_column: str = ""
    status: ValueColumn = ValueColumn()
    rating_value_column: str = ""
    rating_count_column: str = ""
    tags_column: str = ""
    created_at_column: str = ""
    payload_columns: tuple[str, ...] = ()
    vectors: tuple[VectorColumn, ...] = ()
    watched_tables: tuple[WatchedTable, ...] = ()


def read_binding(document: Mapping[str, Any]) -> TableBinding:
    """The binding that a JSON object describes; its fields are those of the message `TableBinding`.

    Raises: InvalidArgumentError naming the field.
    """
    binding: TableBinding = _read(TableBinding, document, "", _PARTS)
    _require(binding.relation, "relation", "is required")
    _require(binding.key_column, "key_column", "must not be empty")
    _most(binding.text_columns, "text_columns", MAX_COLUMNS)
    _most(binding.payload_columns, "payload_columns", MAX_COLUMNS)
    _most(binding.vectors, "vectors", MAX_VECTORS)
    _most(binding.watched_tables, "watched_tables", MAX_WATCHED)
    for number, vector in enumerate(binding.vectors):
        _require(vector.column, f"vectors[{number}].column", "is required")
        _require(
            bool(vector.start_column) == bool(vector.end_column),
            f"vectors[{number}].end_column",
            "goes with start_column: both or neither",
        )
        _require(vector.embedding_version >= 0, f"vectors[{number}].embedding_version", "must not be negative")
    for number, watched in enumerate(binding.watched_tables):
        _require(watched.table, f"watched_tables[{number}].table", "is required")
        _require(watched.key_column, f"watched_tables[{number}].key_column", "is required")
    return replace(
        binding,
        visibility=_words(binding.visibility, "visibility", {v.value for v in Visibility}),
        status=_words(binding.status, "status", {s.value for s in ItemStatus}),
    )


def binding_document(binding: TableBinding) -> dict[str, Any]:
    """The JSON object that `read_binding` reads, with the names that the contract gives to values."""
    document = {name: value for name, value in asdict(binding).items() if value}
    for part, prefix in _PREFIXES.items():
        column = document.pop(part)
        if column["column"]:
            values = {given: prefix + word.upper() for given, word in column["values"].items()}
            document[part] = {"column": column["column"], "values": values}
    return document


def write_binding(binding: TableBinding) -> str:
    """The same as text."""
    return json.dumps(binding_document(binding))


def settle_binding(binding: TableBinding, collection: Collection) -> TableBinding:
    """The binding with version numbers in place of 0, checked against the collection.

    Raises: InvalidArgumentError (UNDECLARED_ATTRIBUTE, UNKNOWN_EMBEDDING_VERSION, TWO_COLUMNS_FOR_ONE_VERSION).
    """
    for name in binding.attributes:
        if name not in collection.attributes:
            declared = ", ".join(sorted(collection.attributes)) or "none"
            raise InvalidArgumentError.of(
                f"attributes.{name}",
                f"is not declared by collection {collection.name!r} (declared: {declared})",
                reason="UNDECLARED_ATTRIBUTE",
            )
    numbers = {version.version for version in collection.versions}
    settled: list[VectorColumn] = []
    for number, vector in enumerate(binding.vectors):
        version = vector.embedding_version or collection.active.version
        where = f"vectors[{number}].embedding_version"
        if version not in numbers:
            raise InvalidArgumentError.of(
                where, f"collection {collection.name!r} has no version {version}", reason="UNKNOWN_EMBEDDING_VERSION"
            )
        if any(other.embedding_version == version for other in settled):
            raise InvalidArgumentError.of(
                where, f"version {version} has a column already", reason="TWO_COLUMNS_FOR_ONE_VERSION"
            )
        settled.append(replace(vector, embedding_version=version))
    return replace(binding, vectors=tuple(settled))


_PARTS: Mapping[str, type] = {
    "visibility": ValueColumn,
    "status": ValueColumn,
    "vectors": VectorColumn,
    "watched_tables": WatchedTable,
}
_LISTS = ("vectors", "watched_tables")
_PREFIXES = {"visibility": "VISIBILITY_", "status": "ITEM_STATUS_"}


def _read(kind: Any, document: Any, where: str, parts: Mapping[str, type] | None = None) -> Any:
    """A dataclass from a JSON object: fields are names, lists or mappings of names, numbers, or parts like this."""
    _require(isinstance(document, dict), where or "binding", "must be a JSON object")
    known = kind.__dataclass_fields__
    values: dict[str, Any] = {}
    for key, given in document.items():
        path = f"{where}.{key}" if where else key
        _require(key in known, path, f"is not a field; there are {', '.join(known)}")
        part = (parts or {}).get(key)
        if part is not None and key in _LISTS:
            _require(isinstance(given, list), path, "must be a list")
            values[key] = tuple(_read(part, each, f"{path}[{number}]") for number, each in enumerate(given))
        elif part is not None:
            values[key] = _read(part, given, path)
        elif key.endswith("_columns"):
            _require(isinstance(given, list), path, "must be a list")
            values[key] = tuple(_name(each, f"{path}[{number}]") for number, each in enumerate(given))
        elif key in {"attributes", "values"}:
            _require(isinstance(given, dict), path, "must be a JSON object")
            _require(len(given) <= MAX_VALUES, path, f"has more than {MAX_VALUES} entries")
            values[key] = {str(name): _name(each, f"{path}.{name}") for name, each in given.items()}
        elif key == "embedding_version":
            _require(isinstance(given, int) and not isinstance(given, bool), path, "must be a whole number")
            values[key] = given
        else:
            values[key] = _name(given, path, most=2 * MAX_NAME_BYTES + 5)
    if "relation" in known and kind is TableBinding:
        values.setdefault("relation", "")
    return kind(**values)


def _name(given: Any, path: str, most: int = MAX_NAME_BYTES) -> str:
    _require(isinstance(given, str), path, "must be text")
    _require(len(given.encode()) <= most, path, f"is longer than {most} bytes")
    _require("\x00" not in given, path, "contains the NUL character")
    return str(given)


def _words(column: ValueColumn, where: str, known: set[str]) -> ValueColumn:
    """The column with the values' meanings in the words of the domain; the contract's names are taken too."""
    _require(column.column or not column.values, f"{where}.column", "is required where there are values")
    meant = {value: word.removeprefix(_PREFIXES[where]).lower() for value, word in column.values.items()}
    for value, word in meant.items():
        _require(word in known, f"{where}.values.{value}", f"is {word!r}, none of {', '.join(sorted(known))}")
    return replace(column, values=meant)


def _most(values: tuple[Any, ...], where: str, most: int) -> None:
    _require(len(values) <= most, where, f"has more than {most} entries")


def _require(condition: object, where: str, description: str) -> None:
    if not condition:
        raise InvalidArgumentError.of(where, description, reason="BAD_BINDING")
