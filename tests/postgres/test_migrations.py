"""Migrations: replay gives the schema on file, up and down are inverse, nothing is applied twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest

from retrieval.config import Settings
from retrieval.domain.errors import FailedPreconditionError
from retrieval.postgres import database
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.migrate import Migrator, available
from tests.postgres.dump_schema import SCHEMA, dump

if TYPE_CHECKING:
    from pathlib import Path


async def test_replay_gives_the_schema_on_file(empty_database: str) -> None:
    await Migrator(empty_database).up()
    assert await asyncio.to_thread(dump, empty_database) == SCHEMA.read_text(encoding="utf-8")


async def test_up_down_up_is_identity(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    count = len(available())
    assert await migrator.up() == count
    before = await asyncio.to_thread(dump, empty_database)
    for number in range(1, count + 1):
        assert await migrator.down(number) == number
        assert [bool(s.applied_at) for s in await migrator.status()] == [True] * (count - number) + [False] * number
        assert await migrator.up() == number
        assert await asyncio.to_thread(dump, empty_database) == before


async def test_down_removes_every_table(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    await migrator.up()
    await migrator.down(100)
    connection = await asyncpg.connect(empty_database)
    left = await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'retrieval'::regnamespace")
    await connection.close()
    assert {r[0] for r in left} == {"migrations", "migrations_pkey"}


async def test_status_and_report(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    assert [s.applied_at for s in await migrator.status()] == [""] * len(available())
    with pytest.raises(FailedPreconditionError, match="retrieval migrate up") as caught:
        await Migrator(empty_database).require_current()
    assert caught.value.reason == "SCHEMA_OUTDATED"
    seen: list[int] = []
    await migrator.up(lambda m: seen.append(m.number))
    assert seen == [m.number for m in available()]
    assert all(s.applied_at for s in await migrator.status())
    await Migrator(empty_database).require_current()
    assert await migrator.up() == 0


async def test_a_changed_migration_is_refused(empty_database: str) -> None:
    await Migrator(empty_database).up()
    first, *others = available()
    changed = Migrator(empty_database, [replace(first, checksum="0" * 64), *others])
    for action in (changed.up, changed.down, changed.status):
        with pytest.raises(FailedPreconditionError, match=f"0001_{first.name} was changed") as caught:
            await action()
        assert caught.value.reason == "MIGRATION_CHANGED"


async def test_a_newer_schema_is_refused(empty_database: str) -> None:
    await Migrator(empty_database).up()
    with pytest.raises(FailedPreconditionError, match="run a newer release") as caught:
        await Migrator(empty_database, available()[:1]).up()
    assert caught.value.reason == "SCHEMA_TOO_NEW"


async def test_a_failing_migration_leaves_nothing_of_itself(empty_database: str) -> None:
    bad = replace(available()[0], number=2, name="break", up="CREATE TABLE retrieval.half (); SELECT 1/0;")
    migrator = Migrator(empty_database, [available()[0], bad])
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrator.up()
    assert [bool(s.applied_at) for s in await migrator.status()] == [True, False]
    connection = await asyncpg.connect(empty_database)
    assert await connection.fetchval("SELECT to_regclass('retrieval.half')") is None
    await connection.close()


async def test_concurrent_calls_apply_once(empty_database: str) -> None:
    applied = await asyncio.gather(*(Migrator(empty_database).up() for _ in range(4)))
    assert sorted(applied) == [0, 0, 0, len(available())]


def test_files_are_numbered_without_gaps(tmp_path: Path) -> None:
    for name in ("0001_create_a.up.sql", "0001_create_a.down.sql", "0003_create_b.up.sql", "0003_create_b.down.sql"):
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match="0003_create_b"):
        available(tmp_path)


async def test_an_old_pgvector_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MIN_PGVECTOR", (99, 1, 2))
    adapter = PostgresAdapter(Settings(database_url=database_url))
    with pytest.raises(
        FailedPreconditionError, match=r"pgvector 99\.1\.2 or newer is needed.*the server has"
    ) as caught:
        await adapter.open(migrate=True)
    assert caught.value.reason == "DATABASE_TOO_OLD"
    await adapter.close()


async def test_an_old_postgres_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MIN_POSTGRES", 99)
    adapter = PostgresAdapter(Settings(database_url=database_url))
    with pytest.raises(FailedPreconditionError, match="PostgreSQL 99 or newer is needed") as caught:
        await adapter.open(migrate=False)
    assert caught.value.reason == "DATABASE_TOO_OLD"
    await adapter.close()
