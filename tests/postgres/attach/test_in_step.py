"""Whatever an application does to its table, from several connections at once, the items end up as the rows are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.table_binding import read_binding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.postgres.attach.conftest import App

WRITERS = 3
NUMBERS = st.integers(0, 7)
FREE = st.integers(8, 40)
"""Mostly free, so that a row can take such a key."""
STATEMENTS = st.one_of(
    st.tuples(st.just("put"), NUMBERS, st.integers(0, 99)),
    st.tuples(st.just("many"), NUMBERS, st.integers(0, 99)),
    st.tuples(st.just("change"), NUMBERS, st.integers(0, 99)),
    st.tuples(st.just("move"), NUMBERS, FREE),
    st.tuples(st.just("delete"), NUMBERS | FREE, st.just(0)),
    st.tuples(st.just("copy"), NUMBERS, st.integers(0, 99)),
)
COMMITS = st.sampled_from([True, True, True, False])
TRANSACTIONS = st.lists(st.tuples(st.lists(STATEMENTS, min_size=1, max_size=4), COMMITS), min_size=3, max_size=8)

SQL = {
    "put": "INSERT INTO {table} VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET likes = excluded.likes",
    "many": "INSERT INTO {table} SELECT n, $2 FROM generate_series(0, $1::integer) AS n ON CONFLICT DO NOTHING",
    "change": "UPDATE {table} SET likes = likes + $2 WHERE id >= $1",
    "move": "UPDATE {table} SET id = $2 WHERE id = $1 AND NOT EXISTS (SELECT FROM {table} WHERE id = $2)",
    "delete": "DELETE FROM {table} WHERE id = $1 AND $2::integer = 0",
    "truncate": "TRUNCATE {table}",
}


@pytest.mark.parametrize("attach_first", [True, False])
async def test_items_are_as_the_rows_are(app: App, database_url: str, *, attach_first: bool) -> None:
    table = f"{app.schema}.numbers"
    await app.run(f"CREATE TABLE {table} (id integer PRIMARY KEY, likes integer NOT NULL)")
    writers = [await asyncpg.connect(database_url) for _ in range(WRITERS)]
    binding = {"relation": table, "text_columns": ["id", "likes"], "rating_count_column": "likes"}
    if attach_first:
        await app.stores.attachments.attach(app.collection, read_binding(binding))

    loop = asyncio.get_running_loop()

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(st.lists(TRANSACTIONS, min_size=WRITERS, max_size=WRITERS), st.integers(0, 4))
    def holds(histories: list[Any], truncates: int) -> None:
        # Seldom: it has the whole table read, which puts right whatever went wrong before.
        asyncio.run_coroutine_threadsafe(check(histories, truncates=truncates == 4), loop).result(60)

    async def check(histories: list[Any], *, truncates: bool) -> None:
        if truncates:
            histories = [*histories[1:], [([("truncate", 0, 0)], True)]]
        writing = asyncio.gather(*(_write(c, table, h) for c, h in zip(writers, histories, strict=True)))
        if not attach_first:
            await _unless_busy(lambda: app.stores.attachments.attach(app.collection, read_binding(binding)))
        await writing
        items = await app.items()
        rows = await app.connection.fetch(f"SELECT id, likes FROM {table}")
        assert {(i.item_id, i.rating_count, i.text) for i in items.values()} == {
            (str(r["id"]), r["likes"], f"{r['id']}\n\n{r['likes']}") for r in rows
        }
        if not attach_first:
            await _unless_busy(lambda: app.stores.attachments.detach(app.collection, table, delete_items=True))

    try:
        await asyncio.to_thread(holds)
    finally:
        for writer in writers:
            await writer.close()


async def _unless_busy(call: Callable[[], Awaitable[object]]) -> None:
    """Try until no writer holds the table."""
    while True:
        try:
            await call()
        except FailedPreconditionError as error:
            if error.reason != "TABLE_BUSY":
                raise
        else:
            return


async def _write(connection: Any, table: str, history: Any) -> None:
    for statements, commits in history:
        transaction = connection.transaction()
        await transaction.start()
        try:
            for kind, first, second in statements:
                if kind == "copy":
                    await connection.execute(f"DELETE FROM {table} WHERE id = $1", first)
                    schema, _, name = table.partition(".")
                    await connection.copy_records_to_table(name, schema_name=schema, records=[(first, second)])
                elif kind == "truncate":
                    await connection.execute(SQL[kind].format(table=table))
                else:
                    await connection.execute(SQL[kind].format(table=table), first, second)
        except (asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError):
            await transaction.rollback()
            continue
        await (transaction.commit() if commits else transaction.rollback())
