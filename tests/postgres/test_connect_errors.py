"""What servers and poolers say at connecting, told to an operator."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from retrieval.config import SettingsError
from retrieval.domain.errors import FailedPreconditionError, RetrievalError, UnavailableError
from retrieval.postgres import connect_errors
from retrieval.postgres.backup import back_up
from retrieval.postgres.connect_errors import connect, explained, require_sessions
from retrieval.postgres.migrate import Migrator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def refusing(code: str, said: str) -> AsyncIterator[str]:
    """URL of a server that answers each start of a session with this error and nothing else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A request for TLS comes first: eight bytes, of which the last four are its code.
        (size,) = struct.unpack("!i", await reader.readexactly(4))
        if (await reader.readexactly(size - 4))[:4] == struct.pack("!i", 80877103):
            writer.write(b"N")
            (size,) = struct.unpack("!i", await reader.readexactly(4))
            await reader.readexactly(size - 4)
        fields = b"".join(f"{key}{text}\0".encode() for key, text in (("S", "FATAL"), ("C", code), ("M", said)))
        writer.write(b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"postgresql://ann:s3cret@127.0.0.1:{server.sockets[0].getsockname()[1]}/shop"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("code", "said", "reason", "helps"),
    [
        ("28P01", "password authentication failed", "WRONG_PASSWORD", "ALTER ROLE \"ann\" PASSWORD '...'"),
        ("28000", 'role "ann" does not exist', "ROLE_REFUSED", 'CREATE ROLE "ann" LOGIN'),
        ("28000", "no pg_hba.conf entry for host", "ROLE_REFUSED", "pg_hba.conf"),
        ("3D000", 'database "shop" does not exist', "NO_SUCH_DATABASE", 'CREATE DATABASE "shop"'),
        ("42501", "permission denied", "RIGHTS_MISSING", 'GRANT CONNECT ON DATABASE "shop" TO "ann"'),
        ("42704", 'unrecognized parameter "x"', "BAD_DATABASE_URL", "RETRIEVAL_DATABASE_URL"),
        # PgBouncer, which knows few settings of a session.
        ("08P01", "unsupported startup parameter: jit", "POOLED_TRANSACTIONS", "name the database itself"),
        ("57P03", "the database system is starting up", "DATABASE_UNREACHABLE", "starting up"),
        ("53300", "too many clients", "DATABASE_UNREACHABLE", "too many clients"),
        ("XX000", "something else", "DATABASE_REFUSED", "SQLSTATE XX000"),
    ],
)
async def test_what_a_server_refuses(code: str, said: str, reason: str, helps: str, tmp_path: Path) -> None:
    async with refusing(code, said) as url:
        for attempt in (
            connect(url),
            Migrator(url).status(),
            Migrator(url).up(),
            back_up(url, tmp_path / "backup", lambda *_: None),
        ):
            with pytest.raises(RetrievalError) as caught:
                await attempt
            assert caught.value.reason == reason
            assert helps in caught.value.message
            assert "s3cret" not in caught.value.message
            away = reason == "DATABASE_UNREACHABLE"
            assert isinstance(caught.value, UnavailableError if away else FailedPreconditionError)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (asyncpg.InvalidSQLStatementNameError("unknown statement"), "POOLED_TRANSACTIONS"),
        (asyncpg.DuplicatePreparedStatementError("it exists"), "POOLED_TRANSACTIONS"),
        (asyncpg.ReadOnlySQLTransactionError("read only"), "DATABASE_READ_ONLY"),
        (asyncpg.DiskFullError("no space left"), "DATABASE_DISK_FULL"),
        (asyncpg.LockNotAvailableError("lock timeout"), "DATABASE_LOCKED"),
        (asyncpg.UndefinedFileError("$libdir/vector"), "NO_PGVECTOR"),
        (asyncpg.InternalClientError("got result for unknown protocol state"), "DATABASE_UNREACHABLE"),
        (asyncpg.ConnectionDoesNotExistError("closed"), "DATABASE_UNREACHABLE"),
        (TimeoutError(), "DATABASE_UNREACHABLE"),
    ],
)
def test_what_comes_later(error: Exception, reason: str) -> None:
    with pytest.raises(RetrievalError) as caught, explained("postgresql://ann@host/shop"):
        raise error
    assert caught.value.reason == reason


@pytest.mark.parametrize("error", [asyncpg.PostgresSyntaxError("at or near"), ValueError("a defect"), KeyError("x")])
def test_a_defect_stays_one(error: Exception) -> None:
    with pytest.raises(type(error)), explained("postgresql://ann@host/shop"):
        raise error


async def test_an_option_of_the_url_that_cannot_be() -> None:
    with pytest.raises(SettingsError, match="RETRIEVAL_DATABASE_URL"):
        await connect("postgresql://ann@127.0.0.1:1/shop?sslmode=wild")


class Client:
    """A client of a pooler, which serves each statement by the next process that it was given."""

    def __init__(self, *processes: int) -> None:
        self._processes = list(processes)

    async def fetchval(self, _: str) -> int:
        return self._processes.pop(0)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("one", "other", "pooled"),
    [
        (Client(1, 1), Client(2), False),
        (Client(1), Client(1), True),
        (Client(1, 3), Client(2), True),
    ],
)
async def test_a_pooler_of_transactions_is_noticed(
    one: Client, other: Client, pooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect_other(_: str) -> Any:
        return other

    monkeypatch.setattr(connect_errors, "connect", connect_other)
    if not pooled:
        await require_sessions(one, "postgresql://ann@host/shop")
        return
    with pytest.raises(FailedPreconditionError) as caught:
        await require_sessions(one, "postgresql://ann@host/shop")
    assert caught.value.reason == "POOLED_TRANSACTIONS"
