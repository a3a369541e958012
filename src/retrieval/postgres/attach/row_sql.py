"""SQL that makes items of the rows of a relation.

Limits are those of a call that writes items (`transport.read_items`). What breaks one is left out or cut, and the row's
`problem` says so: a row of somebody else's table must not hold up the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.limits import (
    MAX_ID_BYTES,
    MAX_ITEM_TEXT_BYTES,
    MAX_KEYWORD_BYTES,
    MAX_LABELS,
    MAX_PAYLOAD_BYTES,
)
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import AttributeType, Collection, ItemStatus, Visibility
from retrieval.postgres.sql_files import fill, queries

if TYPE_CHECKING:
    from retrieval.domain.table_binding import TableBinding, ValueColumn
    from retrieval.postgres.attach.relations import Column, Relation

KEYS = frozenset({"uuid", "int2", "int4", "int8", "text", "varchar"})
_TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "name"})
_WHOLE = frozenset({"int2", "int4", "int8"})
_NUMBERS = _WHOLE | {"numeric", "float4", "float8"}
_TIMES = frozenset({"timestamptz", "timestamp", "date"})
_JSON = frozenset({"json", "jsonb"})

_DOUBLE_MAX, _DOUBLE_MIN = "1.7976931348623157e308", "2.3e-308"
"""The largest double, and a little more than the least that has all its digits (IEEE 754-2008 binary64)."""
_FIRST_MOMENT, _LAST_MOMENT = "timestamptz '0001-01-01 00:00Z'", "timestamptz '9999-12-31 23:59:59.999999Z'"
_TIME_RANGE = {
    "timestamptz": (_FIRST_MOMENT, _LAST_MOMENT),
    "timestamp": ("timestamp '0001-01-01'", "timestamp '9999-12-31 23:59:59.999999'"),
    "date": ("date '0001-01-01'", "date '9999-12-31'"),
}
"""The first and the last moment that the contract can carry (google.protobuf.Timestamp), by type of column."""
_MOST_PAIRS = 40  # jsonb_build_object takes 100 arguments
_CONTROLS = r"'[\u0001-\u001f\u007f-\u009f]'"


class RowSelect:
    """The columns of a SELECT over rows `s` of a relation, and what can be wrong with a row.

    Raises on making: InvalidArgumentError (UNKNOWN_COLUMN, COLUMN_TYPE) naming the field of the binding.
    """

    def __init__(self, relation: Relation, binding: TableBinding, collection: Collection) -> None:
        self._relation = relation
        self._problems: list[tuple[str, str]] = []
        self.key = relation.column(binding.key_column, "key_column", KEYS)
        self.key_type = self.key.kind
        if self.key.element:
            raise InvalidArgumentError.of("key_column", "is an array, which names no item", reason="COLUMN_TYPE")
        self._used: dict[str, Column] = {self.key.name: self.key}
        item_id = f"{self.key.of('s')}::text"
        self.valid = "true"
        if self.key_type in _TEXTS:
            self.valid = f"(octet_length({item_id}) BETWEEN 1 AND {MAX_ID_BYTES} AND {item_id} !~ {_CONTROLS})"
            self._problems.append(
                (f"NOT {self.valid}", "the key is no item id: empty, too long or with control characters")
            )
        if not relation.is_table:  # of a table the key is unique
            first = f"(row_number() OVER (PARTITION BY {self.key.of('s')}) = 1)"
            self.valid = f"({self.valid} AND {first})"
            self._problems.append((f"NOT {first}", "more than one row of this key"))
        elif self.key.name not in relation.unique:
            raise InvalidArgumentError.of(
                "key_column",
                f"column {binding.key_column!r} of {relation.name} is not unique: it needs a unique index of its own",
                reason="KEY_NOT_UNIQUE",
            )
        self.fields = {
            "item_id": item_id,
            "owner_id": self._text(binding.owner_column, "owner_column"),
            "visibility": self._word(
                binding.visibility, "visibility", collection.visibility_mode.default.value, _VISIBILITIES, "private"
            ),
            "audience": self._labels(binding.audience_column, "audience_column"),
            "status": self._word(binding.status, "status", ItemStatus.APPROVED.value, _STATUSES, "pending"),
            "rating_value": self._number(binding.rating_value_column, "rating_value_column"),
            "rating_count": self._count(binding.rating_count_column),
            "tags": self._labels(binding.tags_column, "tags_column"),
            "text": self._body(binding.text_columns),
            "attributes": self._attributes(binding, collection),
            "payload": self._payload(binding.payload_columns),
            "created_at": self._moment(binding.created_at_column, "created_at_column"),
        }

    @property
    def columns(self) -> list[Column]:
        """Columns of which a change matters."""
        return list(self._used.values())

    @property
    def problem(self) -> str:
        """SQL of what is wrong with the row; null: nothing."""
        if not self._problems:
            return "NULL::text"
        said = ", ".join(f"CASE WHEN {condition} THEN '{text}' END" for condition, text in self._problems)
        return f"nullif(concat_ws('; ', {said}), '')"

    def _column(self, name: str, field: str, kinds: frozenset[str] | None = None) -> Column:
        found = self._relation.column(name, field, kinds)
        self._used[found.name] = found
        return found

    def _text(self, name: str, field: str) -> str:
        if not name:
            return "''"
        value = f"{self._column(name, field).of('s')}::text"
        self._problems.append((f"octet_length({value}) > {MAX_ID_BYTES}", f"{field}: longer than {MAX_ID_BYTES} bytes"))
        return f"CASE WHEN octet_length({value}) <= {MAX_ID_BYTES} THEN {value} ELSE '' END"

    def _word(self, bound: ValueColumn, field: str, default: str, known: dict[str, str], least: str) -> str:
        """A translated value; `least` stands for what is not known, so that a new value shows nothing to anybody."""
        if not bound.column:
            return f"'{default}'"
        value = f"{self._column(bound.column, f'{field}.column').of('s')}::text"
        cases = " ".join(f"WHEN {quoted(given)} THEN '{word}'" for given, word in (bound.values or known).items())
        self._problems.append(
            (f"CASE {value} {cases} END IS NULL", f"{field}: a value without a meaning, taken as {least}")
        )
        return f"CASE {value} {cases} ELSE '{least}' END"

    def _labels(self, name: str, field: str) -> str:
        return self._list(name, field, MAX_KEYWORD_BYTES) if name else "'{}'::text[]"

    def _list(self, name: str, field: str, most_bytes: int) -> str:
        column = self._column(name, field)
        value = column.of("s")
        if column.element:
            each = f"unnest({value}::text[])"
        elif column.kind in _JSON:
            each = f"jsonb_array_elements_text(CASE jsonb_typeof({value}::jsonb) WHEN 'array' THEN {value}::jsonb END)"
            self._problems.append((f"jsonb_typeof({value}::jsonb) NOT IN ('array', 'null')", f"{field}: no list"))
        else:
            raise InvalidArgumentError.of(
                field, f"column {name!r} is of type {column.kind}, neither an array nor JSON", reason="COLUMN_TYPE"
            )
        fits = f"octet_length(label) <= {most_bytes}"
        rows = fill(queries("attachments")["labels"], each=each)
        self._problems.append(
            (
                fill(
                    "EXISTS ({rows} AND NOT {fits}) OR cardinality(ARRAY({rows})) > {most}",
                    rows=rows,
                    fits=fits,
                    most=MAX_LABELS,
                ),
                f"{field}: more than {MAX_LABELS} values, or longer than {most_bytes} bytes",
            )
        )
        return f"ARRAY({rows} AND {fits} LIMIT {MAX_LABELS})"

    def _number(self, name: str, field: str) -> str:
        if not name:
            return "NULL::double precision"
        column = self._column(name, field, _NUMBERS)
        value = column.of("s")
        finite = f"{value} > '-infinity' AND {value} < 'infinity'"
        exact = f"{value}::double precision"
        if column.kind == "numeric":
            # The cast refuses what is out of the range of a double, at either end.
            finite = f"abs({value}) <= {_DOUBLE_MAX}"
            exact = f"CASE WHEN abs({value}) >= {_DOUBLE_MIN} THEN {value}::double precision ELSE 0 END"
        elif column.kind in _WHOLE:
            return exact
        self._problems.append((f"NOT ({finite})", f"{field}: not finite, or beyond the range of a double"))
        return f"CASE WHEN {finite} THEN {exact} END"

    def _count(self, name: str) -> str:
        if not name:
            return "0::bigint"
        value = self._column(name, "rating_count_column", _WHOLE).of("s")
        self._problems.append((f"{value} < 0", "rating_count_column: negative, taken as 0"))
        return f"greatest({value}, 0)::bigint"

    def _body(self, names: tuple[str, ...]) -> str:
        if not names:
            return "''"
        columns = [self._column(name, f"text_columns[{number}]") for number, name in enumerate(names)]
        parts = ", ".join(f"nullif({column.of('s')}::text, '')" for column in columns)
        text = f"concat_ws(E'\\n\\n', {parts})"
        self._problems.append(
            (
                f"octet_length({text}) > {MAX_ITEM_TEXT_BYTES}",
                f"text_columns: cut, being longer than {MAX_ITEM_TEXT_BYTES} bytes",
            )
        )
        fits = f"octet_length({text}) <= {MAX_ITEM_TEXT_BYTES}"
        return f"CASE WHEN {fits} THEN {text} ELSE left({text}, {MAX_ITEM_TEXT_BYTES // 4}) END"

    def _attributes(self, binding: TableBinding, collection: Collection) -> str:
        pairs = [
            f"'{name}', {self._attribute(column, collection.attributes[name], f'attributes.{name}')}"
            for name, column in binding.attributes.items()
        ]
        if not pairs:
            return "'{}'::jsonb"
        objects = (
            f"jsonb_build_object({', '.join(pairs[start : start + _MOST_PAIRS])})"
            for start in range(0, len(pairs), _MOST_PAIRS)
        )
        return f"jsonb_strip_nulls({' || '.join(objects)})"

    def _attribute(self, name: str, kind: AttributeType, field: str) -> str:
        if kind is AttributeType.KEYWORD_LIST:
            return f"nullif({self._list(name, field, MAX_KEYWORD_BYTES)}, '{{}}')"
        if kind is AttributeType.DOUBLE:
            return self._number(name, field)
        if kind is AttributeType.TIMESTAMP:
            return f"(extract(epoch FROM {self._moment(name, field)}) * 1000000)::bigint"
        if kind is AttributeType.INT64:
            return f"{self._column(name, field, _WHOLE).of('s')}::bigint"
        if kind is AttributeType.BOOL:
            return self._column(name, field, frozenset({"bool"})).of("s")
        value = f"{self._column(name, field).of('s')}::text"
        self._problems.append(
            (f"octet_length({value}) > {MAX_KEYWORD_BYTES}", f"{field}: longer than {MAX_KEYWORD_BYTES} bytes")
        )
        return f"CASE WHEN octet_length({value}) <= {MAX_KEYWORD_BYTES} THEN {value} END"

    def _payload(self, names: tuple[str, ...]) -> str:
        if not names:
            return "NULL::jsonb"
        pairs = [
            f"{quoted(name)}, to_jsonb({self._column(name, f'payload_columns[{number}]').of('s')})"
            for number, name in enumerate(names)
        ]
        objects = (
            f"jsonb_build_object({', '.join(pairs[start : start + _MOST_PAIRS])})"
            for start in range(0, len(pairs), _MOST_PAIRS)
        )
        payload = f"({' || '.join(objects)})"
        self._problems.append(
            (
                f"octet_length({payload}::text) > {MAX_PAYLOAD_BYTES}",
                f"payload_columns: longer than {MAX_PAYLOAD_BYTES} bytes",
            )
        )
        return f"CASE WHEN octet_length({payload}::text) <= {MAX_PAYLOAD_BYTES} THEN {payload} END"

    def _moment(self, name: str, field: str) -> str:
        if not name:
            return "NULL::timestamptz"
        column = self._column(name, field, _TIMES)
        value = column.of("s")
        moment = value if column.kind == "timestamptz" else f"({value}::timestamp AT TIME ZONE 'UTC')"
        # Compared in its own type: a date of the year 5,000,000 cannot become a timestamp.
        first, last = _TIME_RANGE[column.kind]
        within = f"{value} BETWEEN {first} AND {last}"
        self._problems.append((f"isfinite({value}) AND NOT ({within})", f"{field}: not between the years 1 and 9999"))
        # "Never" and "always" stay comparable: they are the last and the first moment that there is.
        return (
            f"CASE {value} WHEN 'infinity' THEN {_LAST_MOMENT} WHEN '-infinity' THEN {_FIRST_MOMENT}"
            f" ELSE CASE WHEN {within} THEN {moment} END END"
        )


_VISIBILITIES = {v.value: v.value for v in Visibility}
_STATUSES = {s.value: s.value for s in ItemStatus}


def quoted(value: str) -> str:
    """A string as an SQL literal, for statements that cannot take parameters (standard_conforming_strings is on)."""
    return "'" + value.replace("'", "''") + "'"
