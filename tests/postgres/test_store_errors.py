"""Every SQLSTATE that a caller or an operator can do something about has a status, a reason and a message of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import grpc
import pytest

from retrieval.domain.errors import RetrievalError, UnavailableError
from retrieval.postgres.database import Database
from retrieval.postgres.store_errors import BY_CLASS, BY_SQLSTATE, meaning, translated
from retrieval.transport.status import code_of
from tests.postgres.conftest import scratch_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "relation secret_table of host db-7"
UNAVAILABLE, NOT_FOUND = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND
PRECONDITION, EXHAUSTED = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.RESOURCE_EXHAUSTED
DEADLINE = grpc.StatusCode.DEADLINE_EXCEEDED


def said(code: str, message: str = SECRET, **fields: str) -> asyncpg.PostgresError:
    error = asyncpg.PostgresError.new({"C": code, "M": message, **fields})
    assert isinstance(error, asyncpg.PostgresError)
    # A class that the driver does not know keeps its code all the same.
    error.sqlstate = code
    return error


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("08006", UNAVAILABLE, "STORE_UNAVAILABLE"),
        ("08P01", UNAVAILABLE, "STORE_UNAVAILABLE"),
        ("22021", PRECONDITION, "DATABASE_ENCODING"),
        ("22P05", PRECONDITION, "DATABASE_ENCODING"),
        ("23503", NOT_FOUND, "COLLECTION_NOT_FOUND"),
        ("23505", UNAVAILABLE, "WRITE_CONFLICT"),
        ("25006", UNAVAILABLE, "DATABASE_READ_ONLY"),
        ("25P03", UNAVAILABLE, "STORE_UNAVAILABLE"),
        ("26000", PRECONDITION, "POOLED_TRANSACTIONS"),
        ("28P01", UNAVAILABLE, "ROLE_REFUSED"),
        ("28000", UNAVAILABLE, "ROLE_REFUSED"),
        ("3D000", UNAVAILABLE, "ROLE_REFUSED"),
        ("3F000", PRECONDITION, "SCHEMA_OUTDATED"),
        ("40001", UNAVAILABLE, "WRITE_CONFLICT"),
        ("40P01", UNAVAILABLE, "WRITE_CONFLICT"),
        ("42501", PRECONDITION, "RIGHTS_MISSING"),
        ("42P01", NOT_FOUND, "COLLECTION_NOT_FOUND"),
        ("42P05", PRECONDITION, "POOLED_TRANSACTIONS"),
        ("53100", EXHAUSTED, "DATABASE_DISK_FULL"),
        ("53200", EXHAUSTED, "DATABASE_OUT_OF_RESOURCES"),
        ("53300", UNAVAILABLE, "STORE_UNAVAILABLE"),
        ("53400", EXHAUSTED, "DATABASE_OUT_OF_RESOURCES"),
        ("54000", EXHAUSTED, "DATABASE_LIMIT"),
        ("54001", EXHAUSTED, "DATABASE_LIMIT"),
        ("55006", UNAVAILABLE, "DATABASE_LOCKED"),
        ("55P03", UNAVAILABLE, "DATABASE_LOCKED"),
        ("57014", DEADLINE, "DEADLINE_EXCEEDED"),
        ("57P01", UNAVAILABLE, "STORE_UNAVAILABLE"),
        ("57P02", UNAVAILABLE, "STORE_UNAVAILABLE"),
        ("57P03", UNAVAILABLE, "STORE_UNAVAILABLE"),
        ("57P05", UNAVAILABLE, "STORE_UNAVAILABLE"),
        ("58030", UNAVAILABLE, "STORE_UNAVAILABLE"),
        ("XX001", PRECONDITION, "DATABASE_CORRUPTED"),
        ("XX002", PRECONDITION, "DATABASE_CORRUPTED"),
    ],
)
async def test_codes(code: str, status: grpc.StatusCode, reason: str) -> None:
    with pytest.raises(RetrievalError) as raised:
        async with translated():
            raise said(code)
    told = meaning(raised.value)
    assert told is raised.value
    assert (code_of(told), told.reason) == (status, reason)
    assert "secret" not in told.message
    assert "db-7" not in told.message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("could not open relation with OID 4711", "COLLECTION_NOT_FOUND"),
        ("cache lookup failed for relation 4711", "COLLECTION_NOT_FOUND"),
        ("tuple concurrently updated", "WRITE_CONFLICT"),
        ("tuple concurrently deleted", "WRITE_CONFLICT"),
    ],
)
def test_what_meets_ddl(text: str, reason: str) -> None:
    told = meaning(said("XX000", text))
    assert told is not None
    assert told.reason == reason


def test_a_row_without_a_partition_is_of_a_collection_that_is_gone() -> None:
    told = meaning(said("23514"))
    assert told is not None
    assert told.reason == "COLLECTION_NOT_FOUND"
    assert meaning(said("23514", n="items_status_check")) is None, "a constraint that is broken is a defect"


@pytest.mark.parametrize(
    "code", ["22003", "22012", "23502", "42601", "42703", "42883", "XX000", "P0001", "21000", "0A000"]
)
def test_defects_stay_defects(code: str) -> None:
    assert meaning(said(code)) is None


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        ConnectionResetError(),
        FileNotFoundError(2, "no socket"),
        TimeoutError(),
        EOFError(),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_connection_that_goes_away_in_any_way(error: Exception) -> None:
    told = meaning(error)
    assert isinstance(told, UnavailableError)
    assert told.reason == "STORE_UNAVAILABLE"


def test_wrong_arguments_are_no_outage() -> None:
    assert meaning(asyncpg.exceptions._base.DataError("invalid input for query argument $1")) is None


def test_the_table_knows_its_classes() -> None:
    """Of the classes of appendix A those are missing that only a wrong statement or wrong data can cause."""
    assert set(BY_CLASS) == {"08", "25", "28", "40", "53", "54", "55", "57", "58"}
    assert all(len(code) == 5 for code in BY_SQLSTATE)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    from retrieval.config import Settings
    from retrieval.postgres.migrate import Migrator

    async with scratch_database(database_url) as url:
        await Migrator(url).up()
        made = Database(url, Settings())
        await made.open()
        yield made
        await made.close()


@pytest.mark.parametrize(
    ("setting", "statement", "reason"),
    [
        ("lock_timeout = '10ms'", "SELECT 1 FROM retrieval.collections", "DATABASE_LOCKED"),
        ("statement_timeout = '10ms'", "SELECT pg_sleep(5)", "DEADLINE_EXCEEDED"),
        ("default_transaction_read_only = on", "CREATE TABLE retrieval.more (n integer)", "DATABASE_READ_ONLY"),
        ("role = pg_monitor", "SELECT * FROM retrieval.collections", "RIGHTS_MISSING"),
    ],
)
async def test_a_database_that_says_so(database: Database, setting: str, statement: str, reason: str) -> None:
    async with database.transaction() as holder:
        await holder.execute("LOCK TABLE retrieval.collections")

        async def ask() -> None:
            async with database.connection() as connection:
                await connection.execute(f"SET {setting}")
                await connection.execute(statement)

        with pytest.raises(RetrievalError) as raised:
            await ask()
    told = meaning(raised.value)
    assert told is raised.value
    assert told.reason == reason
