"""SQL that makes embeddings of a vector column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.limits import MAX_CHUNK_TEXT_BYTES, MAX_TIME_MS
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import MAX_CHUNKS, Metric
from retrieval.domain.vectors import HALF_MAX
from retrieval.postgres.attach.row_sql import KEYS, quoted
from retrieval.postgres.sql_files import fill, queries

if TYPE_CHECKING:
    from retrieval.domain.model import EmbeddingVersion
    from retrieval.domain.table_binding import VectorColumn
    from retrieval.postgres.attach.relations import Column, Relation

_MOST_COMPONENTS = 16_000
"""Of pgvector's type `vector` (pgvector README, "Vector Type")."""
_VECTORS = frozenset({"vector", "halfvec"})
_JSON = frozenset({"json", "jsonb", "text", "varchar"})
_FLOATS = frozenset({"float4", "float8", "numeric", "int4"})
_WHOLE = frozenset({"int2", "int4", "int8"})
_NUMBERS = _WHOLE | {"numeric", "float4", "float8"}


class VectorSelect:
    """The SELECT over rows `s` of the relation that holds a vector column; `own`: whether that is the items' relation.

    Raises on making: InvalidArgumentError (UNKNOWN_COLUMN, COLUMN_TYPE) naming the field of the binding.
    """

    def __init__(
        self,
        relation: Relation,
        bound: VectorColumn,
        version: EmbeddingVersion,
        metric: Metric,
        key: Column,
        number: int,
    ) -> None:
        field = f"vectors[{number}]"
        self.relation = relation
        self.bound = bound
        self.version = version
        self.part = number + 1
        self.own = not bound.relation
        self.key = relation.column(bound.key_column, f"{field}.key_column", KEYS) if bound.key_column else key
        if not self.own and not bound.key_column:
            raise InvalidArgumentError.of(f"{field}.key_column", "is required beside a relation", reason="BAD_BINDING")
        if self.key.kind != key.kind:
            raise InvalidArgumentError.of(
                f"{field}.key_column", f"is of type {self.key.kind}, the items' key is {key.kind}", reason="COLUMN_TYPE"
            )
        self._metric = metric
        self._vector = _parsed(relation.column(bound.column, f"{field}.column"), f"{field}.column")
        self._chunk = "0"
        used = [self.key, relation.column(bound.column, f"{field}.column")]
        if bound.chunk_index_column:
            column = relation.column(bound.chunk_index_column, f"{field}.chunk_index_column", _WHOLE)
            self._chunk = column.of("s")
            used.append(column)
        self._place = "NULL::text AS chunk_text, NULL::bigint AS start_ms, NULL::bigint AS end_ms"
        if bound.text_column or bound.start_column:
            self._place, places = _place(relation, bound, field)
            used += places
        self._model, self._counts = "", "true"
        if bound.model_column:
            column = relation.column(bound.model_column, f"{field}.model_column")
            self._model = f"{column.of('s')}::text IS NOT DISTINCT FROM {quoted(version.model)}"
            self._counts = self._beside(column)
            used.append(column)
        self.columns = used

    @property
    def rows(self) -> str:
        """(item_id, chunk_index, vector, problem) of the rows with keys $1, as the application made them."""
        checks = [(f"{self._vector} IS NULL", "not a vector")]
        if self._model:
            checks.insert(0, (f"NOT ({self._model})", "of another model than the version"))
        if self.bound.chunk_index_column:
            checks.append((f"{self._chunk} IS NULL OR {self._chunk} NOT BETWEEN 0 AND 32767", "no chunk index"))
        if not self.own:
            place = f"{self.key.of('s')}, {self._chunk}"
            checks.append((f"row_number() OVER (PARTITION BY {place}) > 1", "more than one row of this key and chunk"))
            place = f"PARTITION BY {self.key.of('s')} ORDER BY {self._chunk}"
            checks.append((f"row_number() OVER ({place}) > {MAX_CHUNKS}", f"more than {MAX_CHUNKS} chunks"))
        raw = self.relation.column(self.bound.column, "").of("s")
        said = " ".join(f"WHEN {condition} THEN '{text}'" for condition, text in checks)
        return fill(
            queries("attachments")["vector_rows"],
            key=self.key.name,
            key_type=self.key.kind,
            chunk=self._chunk,
            vector=self._vector,
            place=self._place,
            checks=said,
            counts=self._counts,
            relation=self.relation.name,
            column=raw,
        )

    def _beside(self, model: Column) -> str:
        """Leaves a row of another model out without a word where one of the version's model stands beside it."""
        bound, key = self.bound, self.key
        same = [f"{key.of('m')} = {key.of('s')}", f"{model.of('m')}::text = {quoted(self.version.model)}"]
        same.append(f"{self.relation.column(bound.column, '').of('m')} IS NOT NULL")
        if bound.chunk_index_column:
            same.append(f"{self.relation.column(bound.chunk_index_column, '').of('m')} = {self._chunk}")
        return f"({self._model} OR NOT EXISTS (SELECT FROM {self.relation.name} AS m WHERE {' AND '.join(same)}))"

    @property
    def ready(self) -> str:
        """(item_id, chunk_index, embedding, problem): the same with embeddings as they are stored."""
        dim = self.version.dimension
        if self._metric is Metric.COSINE:
            stored, refused = "l2_normalize(vector)", ("vector_norm(vector) = 0", "the zero vector")
        else:
            # The norm bounds every component, and only vectors beyond it need a look at each.
            most = "(SELECT max(abs(x)) FROM unnest(vector::real[]) AS x)"
            stored = "vector"
            refused = (f"vector_norm(vector) > {HALF_MAX:.0f} AND {most} > {HALF_MAX:.0f}", "beyond half precision")
        return fill(
            queries("attachments")["stored_vectors"],
            rows=self.rows,
            dim=dim,
            stored=stored,
            refused=refused[0],
            why=refused[1],
        )


def _place(relation: Relation, bound: VectorColumn, field: str) -> tuple[str, list[Column]]:
    """Columns chunk_text, start_ms and end_ms, and which of the relation's they are made of."""
    used: list[Column] = []
    text, start, end = "NULL::text", "NULL::bigint", "NULL::bigint"
    if bound.text_column:
        used.append(relation.column(bound.text_column, f"{field}.text_column"))
        value = f"{used[0].of('s')}::text"
        fits = f"octet_length({value}) <= {MAX_CHUNK_TEXT_BYTES}"
        text = f"nullif(CASE WHEN {fits} THEN {value} ELSE left({value}, {MAX_CHUNK_TEXT_BYTES // 4}) END, '')"
    if bound.start_column:
        first = relation.column(bound.start_column, f"{field}.start_column", _NUMBERS)
        last = relation.column(bound.end_column, f"{field}.end_column", _NUMBERS)
        used += [first, last]
        begins, ends = f"{first.of('s')}::double precision", f"{last.of('s')}::double precision"
        # Half a millisecond would round to an empty range.
        valid = f"{begins} >= 0 AND {ends} <= {MAX_TIME_MS // 1000} AND {ends} - {begins} >= 0.001"
        start, end = (f"CASE WHEN {valid} THEN round({moment} * 1000)::bigint END" for moment in (begins, ends))
    return f"{text} AS chunk_text, {start} AS start_ms, {end} AS end_ms", used


def _parsed(column: Column, field: str) -> str:
    value = column.of("s")
    if column.element in _FLOATS:
        # A cast of what is no vector would fail the statement: NaN is greater than any number.
        fits = fill(queries("attachments")["components_fit"], vector=value)
        return (
            f"CASE WHEN array_position({value}, NULL) IS NULL AND cardinality({value}) BETWEEN 1 AND {_MOST_COMPONENTS}"
            f" AND ({fits}) THEN {value}::vector END"
        )
    if column.kind in _VECTORS and not column.element:
        return value if column.kind == "vector" else f"{value}::vector"
    if column.kind in _JSON and not column.element:
        return f"retrieval.vector_of({value}::text)"
    raise InvalidArgumentError.of(
        field,
        f"is of type {column.kind}; a vector, halfvec, an array of numbers or JSON is needed",
        reason="COLUMN_TYPE",
    )
