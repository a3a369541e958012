"""What an operator can get wrong ends in one line with a reason and what to do, never in a traceback."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from retrieval.postgres.migrate import Migrator
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from tests.patience import PATIENCE_S
from tests.postgres.conftest import scratch_database
from tests.server.commands import run_command
from tests.server.process import create, server_process, stubs_for, upsert
from tests.transport.conftest import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CERTIFICATE = Path(__file__).parents[1] / "transport" / "tls" / "certificate.pem"


async def line_of(*arguments: str, code: int = 1, **environment: str) -> str:
    """The one line that a command that fails says."""
    ran = await run_command(*arguments, **environment)
    assert (ran.code, ran.log.count("\n"), ran.log.startswith("retrieval: ")) == (code, 1, True), ran.log
    return ran.log


@pytest.fixture
async def empty_database(database_url: str) -> AsyncIterator[str]:
    async with scratch_database(database_url) as url:
        yield url


@pytest.fixture
async def lowly(database_url: str) -> AsyncIterator[str]:
    """URL of a database of its own, as a role that may do nothing but log in."""
    name = f"lowly_{uuid4().hex[:8]}"
    async with scratch_database(database_url) as url:
        parts = urlsplit(url)
        admin = await asyncpg.connect(url)
        await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'lowly'")
        try:
            yield urlunsplit(parts._replace(netloc=f"{name}:lowly@{parts.netloc.rpartition('@')[2]}"))
        finally:
            await admin.execute(f"DROP OWNED BY {name}")
            await admin.execute(f"DROP ROLE {name}")
            await admin.close()


async def test_rights_that_are_missing(lowly: str, database_url: str, tmp_path: Path) -> None:
    """Each message has the statement that helps; with all of them run, the role can migrate."""
    where = {"RETRIEVAL_DATABASE_URL": lowly, "RETRIEVAL_DATA_DIR": str(tmp_path)}
    role, database = urlsplit(lowly).username, urlsplit(lowly).path[1:]
    admin_url = urlunsplit(urlsplit(database_url)._replace(path=f"/{database}"))
    helps = ["CREATE EXTENSION vector", f'GRANT CREATE ON DATABASE "{database}" TO "{role}"']
    admin = await asyncpg.connect(admin_url)
    try:
        for statement in helps:
            line = await line_of("migrate", "up", **where)
            assert "[RIGHTS_MISSING]" in line
            assert statement in line
            await admin.execute(statement)
        assert (await run_command("migrate", "up", **where)).code == 0
        # What is there already takes no right to make it.
        await admin.execute(f'REVOKE CREATE ON DATABASE "{database}" FROM "{role}"')
        assert (await run_command("migrate", "up", **where)).out == "0 migrations applied\n"
        assert (await run_command("migrate", "status", **where)).code == 0
    finally:
        await admin.close()


async def test_looking_changes_nothing(lowly: str) -> None:
    ran = await run_command("migrate", "status", RETRIEVAL_DATABASE_URL=lowly)
    assert (ran.code, ran.log) == (0, "")
    assert ran.out.count("missing\n") == len(ran.out.splitlines())


async def test_a_restore_without_the_rights(lowly: str, database_url: str, empty_database: str, tmp_path: Path) -> None:
    await Migrator(empty_database).up()
    file = str(tmp_path / "backup")
    assert (await run_command("backup", file, RETRIEVAL_DATABASE_URL=empty_database)).code == 0
    line = await line_of("restore", file, RETRIEVAL_DATABASE_URL=lowly)
    assert "[RIGHTS_MISSING]" in line
    assert "CREATE EXTENSION vector" in line
    assert "nothing was changed" in line


async def test_a_database_that_takes_no_writes(empty_database: str, tmp_path: Path) -> None:
    admin = await asyncpg.connect(empty_database)
    database = urlsplit(empty_database).path[1:]
    await admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    await admin.close()
    where = {"RETRIEVAL_DATABASE_URL": empty_database, "RETRIEVAL_DATA_DIR": str(tmp_path)}
    for arguments in (("migrate", "up"), ("serve", "--port", "0"), ("serve", "--port", "0", "--workers", "2")):
        line = await line_of(*arguments, **where)
        assert f'ALTER DATABASE "{database}" RESET default_transaction_read_only' in line
        assert "[DATABASE_READ_ONLY]" in line
    assert (await run_command("migrate", "status", **where)).code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": "/no_such_database"}, 'CREATE DATABASE "no_such_database"'),
        ({"netloc": "127.0.0.1:1", "query": ""}, "Connection refused"),
        ({"netloc": "no.such.host.invalid", "query": ""}, "at no.such.host.invalid cannot be reached"),
    ],
)
async def test_a_database_that_is_not_there(database_url: str, change: dict[str, str], said: str) -> None:
    url = urlunsplit(urlsplit(database_url)._replace(**change))
    assert said in await line_of("migrate", "up", RETRIEVAL_DATABASE_URL=url)


@pytest.mark.parametrize(
    "arguments", [("train", "x"), ("build-segment", "x"), ("backup", "x"), ("migrate", "status"), ("migrate", "down")]
)
async def test_no_database_is_made_to_look_into(arguments: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    line = await line_of(*arguments, RETRIEVAL_DATABASE_URL="", RETRIEVAL_DATA_DIR=str(folder))
    assert "[NO_DATABASE]" in line
    assert "RETRIEVAL_DATABASE_URL" in line
    assert not folder.exists()


async def test_nor_for_a_backup_that_is_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    line = await line_of("restore", str(tmp_path / "x"), RETRIEVAL_DATABASE_URL="", RETRIEVAL_DATA_DIR=str(folder))
    assert "[BACKUP_NOT_FOUND]" in line
    assert not folder.exists()


async def test_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    line = await line_of("serve", "--port", "0", RETRIEVAL_DATABASE_URL="", RETRIEVAL_DATA_DIR=str(file))
    assert f"the data folder {file} cannot be used" in line
    assert "[DATA_DIR_UNUSABLE]" in line


@pytest.fixture
def broken() -> Iterator[str]:
    """A data folder with a database that is none."""
    # Not below the test's folder, which is closed to the user that Postgres runs as when started by root.
    with tempfile.TemporaryDirectory(prefix="retrieval-test-") as folder:
        database = Path(folder, "postgres")
        database.mkdir()
        (database / "PG_VERSION").write_text("9\n")
        yield folder


async def test_an_embedded_database_that_does_not_start(broken: str) -> None:
    for command in (("serve", "--port", "0"), ("migrate", "status")):
        line = await line_of(*command, RETRIEVAL_DATABASE_URL="", RETRIEVAL_DATA_DIR=broken)
        assert "[DATABASE_NOT_STARTED]" in line
        assert "pg_control" in line or "postgresql.conf" in line
        assert "RETRIEVAL_DATA_DIR" in line


async def test_a_cache_folder_that_cannot_be(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    where = {"RETRIEVAL_DATABASE_URL": database_url, "RETRIEVAL_CACHE_DIR": str(file)}
    assert (await run_command("migrate", "up", **where)).code == 0
    line = await line_of("serve", "--port", "0", code=2, **where)
    assert "RETRIEVAL_CACHE_DIR" in line


@pytest.mark.parametrize("front", ["grpcio", "native"])
async def test_a_port_that_is_taken(front: str) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = await run_command("serve", "--memory", "--port", port, RETRIEVAL_FRONT=front)
    assert ran.code == 1
    assert ran.log.splitlines()[-1].endswith("[ADDRESS_IN_USE]")
    assert "Traceback" not in ran.log


CALLS = {
    "attach": ("attach", "c", "{file}"),
    "attached": ("attached", "c"),
    "care": ("care",),
    "detach": ("detach", "c", "t"),
    "export": ("export-pairs", "c", "--model-version", "v", "--out", "{file}.pairs"),
    "generate": ("generate-pairs", "c", "--model-version", "v", "--start", "2026-01-01", "--end", "2026-02-01"),
    "health": ("health",),
    "reembed": ("reembed", "c", "--model", "m", "--dimension", "8"),
    "resync": ("resync", "c", "t"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_service_that_is_not_there(name: str, tmp_path: Path) -> None:
    file = tmp_path / "binding.json"
    file.write_text("{}")
    arguments = [argument.format(file=file) for argument in CALLS[name]]
    ran = await run_command(*arguments, "--target", "127.0.0.1:1")
    last = ran.log.splitlines()[-1]
    assert (ran.code, "Traceback" in ran.log) == (1, False)
    assert "127.0.0.1:1 cannot be reached" in last
    assert last.endswith("[SERVICE_UNREACHABLE]")
    ran = await run_command(*arguments, "--ca", str(file))
    assert (ran.code, ran.log.splitlines()[-1].startswith(f"retrieval: --ca {file} must be a PEM file")) == (2, True)


async def test_a_binding_that_cannot_be_read(tmp_path: Path) -> None:
    assert "nowhere.json cannot be read" in await line_of("attach", "c", str(tmp_path / "nowhere.json"), code=2)


async def test_health_says_what_is_wrong(front: str) -> None:
    async with running(front, warming=True) as run:
        target = f"127.0.0.1:{run.server.port}"
        assert "says NOT_SERVING" in await line_of("health", "--target", target)
        assert "[NOT_SERVING]" in await line_of("health", "--target", target)
        run.server.ready()
        async with asyncio.timeout(PATIENCE_S):
            while (await run_command("health", "--target", target)).code:
                pass
        line = await line_of("health", "--target", target, "--ca", str(CERTIFICATE))
        assert "the service must speak TLS" in line


async def test_health_of_a_port_that_says_nothing() -> None:
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        line = await line_of("health", "--target", target)
    assert "did not answer within" in line
    assert line.endswith("[DEADLINE_EXCEEDED]\n")


async def test_a_model_that_nobody_knows_is_refused(database_url: str, name: str, tmp_path: Path) -> None:
    where = {"RETRIEVAL_DATABASE_URL": database_url, "RETRIEVAL_DATA_DIR": str(tmp_path)}
    async with server_process("--migrate", **where) as server, stubs_for(server.target) as stubs:
        await create(stubs, name)
        shape = ("reembed", name, "--target", server.target, "--dimension", "64", "--model")
        line = await line_of(*shape, "wordlama-l2-supercat-256")
        assert "'wordllama-l2-supercat-256' of up to 256 components" in line
        assert "[UNKNOWN_MODEL]" in line
        assert "[UNKNOWN_MODEL]" in await line_of(
            *("reembed", name, "--target", server.target),
            *("--dimension", "512", "--model", "wordllama-l2-supercat-256"),
        )
        found = await stubs.collections.GetCollection(collections_pb.GetCollectionRequest(collection=name))
        assert len(found.collection.embedding_versions) == 1, "nothing was made"
        # A worker that was promised and does not come is not waited for for ever.
        await upsert(stubs, name, [common_pb.Item(item_id="a", text="a film about crows")])
        ran = await run_command(*shape, "of-a-worker", "--worker", "--patience", "0.5")
        assert (ran.code, "Traceback" in ran.log) == (1, False), ran.log
        assert ran.log.splitlines()[-1].endswith("[NOBODY_EMBEDS]")
