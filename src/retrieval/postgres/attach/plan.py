"""A binding made ready for one database: relations looked up, statements written, tables to watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.table_binding import settle_binding
from retrieval.postgres.attach.followers import Watch, merged
from retrieval.postgres.attach.relations import read_relation
from retrieval.postgres.attach.row_sql import KEYS, RowSelect
from retrieval.postgres.attach.vector_sql import VectorSelect
from retrieval.postgres.names import partition
from retrieval.postgres.sql_files import fill, queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection
    from retrieval.domain.table_binding import TableBinding
    from retrieval.postgres.attach.relations import Relation


@dataclass(frozen=True, slots=True)
class AttachmentPlan:
    """What an attachment does, in SQL. Statements of one attachment carry its id."""

    collection: Collection
    binding: TableBinding
    relation: Relation
    rows: RowSelect
    vectors: tuple[VectorSelect, ...]
    watches: Sequence[Watch]

    def upsert_rows(self, attachment_id: int) -> str:
        """Statement that writes items of keys."""
        fields = self.rows.fields
        listed = ", ".join(f"{sql} AS {'given_at' if name == 'created_at' else name}" for name, sql in fields.items())
        return self._about_rows("upsert_rows", attachment_id=attachment_id, fields=listed, problem=self.rows.problem)

    def next_keys(self) -> str:
        """Statement that reads a page of keys."""
        return self._about_rows("next_keys")

    def existing_keys(self) -> str:
        """Statement that tells which of some keys the relation has."""
        return self._about_rows("existing_keys")

    def count_rows(self) -> str:
        """Statement that counts the relation."""
        return self._about_rows("count_rows")

    def upsert_vectors(self, vector: VectorSelect, attachment_id: int, incoming: str) -> str:
        """Statement that writes the embeddings that `incoming` selects."""
        return fill(
            queries("attachments")["upsert_vectors"],
            first="true" if vector.version.embeds_text else "false",
            partition=partition(vector.version.version_id),
            version_id=vector.version.version_id,
            attachment_id=attachment_id,
            part=vector.part,
            field=f"vectors[{vector.part - 1}]",
            incoming=incoming,
        )

    def _about_rows(self, name: str, **more: object) -> str:
        return fill(
            queries("attachments")[name],
            relation=self.relation.name,
            key=self.rows.key.name,
            key_type=self.rows.key_type,
            valid=self.rows.valid,
            **more,
        )


async def plan_attachment(connection: Any, collection: Collection, given: TableBinding) -> AttachmentPlan:
    """Check a binding against the collection and the database.

    Raises: InvalidArgumentError naming the field; FailedPreconditionError (TABLE_NOT_ACCESSIBLE).
    """
    binding = settle_binding(given, collection)
    relation = await read_relation(connection, binding.relation, "relation")
    rows = RowSelect(relation, binding, collection)
    versions = {version.version: version for version in collection.versions}
    vectors: list[VectorSelect] = []
    for number, bound in enumerate(binding.vectors):
        home = (
            await read_relation(connection, bound.relation, f"vectors[{number}].relation")
            if bound.relation
            else relation
        )
        vectors.append(
            VectorSelect(home, bound, versions[bound.embedding_version], collection.metric, rows.key, number)
        )
    watches: list[Watch] = []
    if relation.is_table:
        watches.append(Watch(relation, rows.key, tuple(rows.columns)))
    watches += [Watch(v.relation, v.key, tuple(v.columns)) for v in vectors if v.relation.is_table]
    for number, watched in enumerate(binding.watched_tables):
        field = f"watched_tables[{number}]"
        table = await read_relation(connection, watched.table, f"{field}.table")
        if not table.is_table:
            raise InvalidArgumentError.of(f"{field}.table", f"{table.name} is not a table", reason="UNKNOWN_RELATION")
        key = table.column(watched.key_column, f"{field}.key_column", KEYS)
        if key.kind != rows.key_type:
            raise InvalidArgumentError.of(
                f"{field}.key_column", f"is of type {key.kind}, the items' key is {rows.key_type}", reason="COLUMN_TYPE"
            )
        watches.append(Watch(table, key, tuple(table.columns.values())))
    views = [r for r in (relation, *(v.relation for v in vectors)) if not r.is_table]
    if views and not binding.watched_tables:
        raise InvalidArgumentError.of(
            "watched_tables",
            f"is required for {views[0].name}, which is a view: name the tables that it reads, each with the column "
            "that holds the item's key",
            reason="BAD_BINDING",
        )
    return AttachmentPlan(collection, binding, relation, rows, tuple(vectors), merged(watches))
