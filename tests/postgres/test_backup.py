"""Backups: whole, of one moment, restored as a database of its own or not at all."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import numpy as np
import pytest

from retrieval.application.ports import BuildSpec, IndexKind
from retrieval.bootstrap import cached, serving
from retrieval.config import Settings
from retrieval.domain.bandit import Decision
from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.model import Event, Viewer
from retrieval.domain.owner_edges import EdgeKind, OwnerEdge
from retrieval.domain.relationships import Relationship, RelationshipKind
from retrieval.domain.search import SearchOptions, Source
from retrieval.postgres import programs
from retrieval.postgres import restore as restore_module
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.backup import back_up
from retrieval.postgres.backup_manifest import manifest_path, read_manifest
from retrieval.postgres.migrate import Migrator, available
from retrieval.postgres.names import partition
from retrieval.postgres.restore import restore
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from tests.caches import cache_of, caught_up
from tests.catalogue import DataSet, load, make
from tests.faiss_cache.searching import THOROUGH
from tests.faiss_cache.searching import ask as ask_cache
from tests.models import activate, blended, two_communities
from tests.postgres.conftest import scratch_database
from tests.postgres.dump_schema import dump
from tests.server.commands import Ran, run_command, start_command
from tests.server.process import stubs_for, vector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from retrieval.application.ports import Stores

NOW_US = 1_790_000_000_000_000
MEMORY_MB = 64
EVERYTHING = SearchOptions(viewer=Viewer(unrestricted=True), params=THOROUGH)


def quiet(what: str, done: int, total: int) -> None:
    """A report that nobody reads."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[PostgresAdapter, Stores]]:
    adapter = PostgresAdapter(Settings(database_url=url, maintenance_work_mem_mb=MEMORY_MB))
    try:
        yield adapter, await adapter.open(migrate=True, chores=False)
    finally:
        await adapter.close()


@dataclass(frozen=True, slots=True)
class Original:
    """A database with something of everything, and its backup."""

    url: str
    data: DataSet
    file: Path
    contents: dict[str, str]


async def fill(stores: Stores, data: DataSet) -> None:
    """Something of everything."""
    collection = await load(stores, data)
    second = await stores.collections.create_version(data.name, replace(data.version(), model="another"))
    items = list(data.items.values())
    await stores.items.upsert(collection, second, items[:50], "a request", b"fingerprint")
    await stores.builder.build(collection, collection.active, BuildSpec(frozenset(IndexKind), lists=10))
    await stores.builder.wait_idle()
    owned = [item for item in items if item.owner_id]
    events = [
        Event(f"user-{n % 7}", items[n].item_id, ("like", "view", "dwell")[n % 3], NOW_US - n * 3_600_000_000, f"e{n}")
        for n in range(300)
    ]
    await stores.events.record(collection, events)
    await stores.engagement.refresh_trending(collection)
    await stores.engagement.set_edges(collection, "user-1", [OwnerEdge(owned[0].owner_id, EdgeKind.FOLLOW)], [])
    related = [
        Relationship(items[n].item_id, items[n + 1].item_id, next(iter(RelationshipKind)), 0.5, 0.5) for n in range(20)
    ]
    await stores.relationships.upsert(collection, related)
    decision = Decision(str(uuid4()), "balanced", 0.5, "context", "user-1", NOW_US)
    await stores.bandits.log(collection, decision)
    await stores.bandits.reward(collection, decision.decision_id, 1.0, NOW_US, 10**12)
    model = blended(two_communities([item.item_id for item in items[:60]]))
    await activate(stores, collection, model, "1")


@pytest.fixture(scope="module")
async def original(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    file = tmp_path_factory.mktemp("backup") / "service.backup"
    data = make("films", 1200, dimension=16, resolutions=(8,), max_chunks=2)
    async with scratch_database(database_url) as url:
        async with opened(url) as (_, stores):
            await fill(stores, data)
        await back_up(url, file, quiet)
        yield Original(url, data, file, await contents(url))


async def contents(url: str) -> dict[str, str]:
    """A digest of the rows of each table, without what a restore makes anew."""
    connection = await asyncpg.connect(url)
    tables = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'retrieval'::regnamespace AND relkind = 'r'"
        " AND relname NOT IN ('change_log', 'service_state') ORDER BY 1"
    )
    less = {"requests": " - 'transaction_id'", "index_builds": " - 'built_churn'"}
    found = {}
    for (table,) in tables:
        row = f"(to_jsonb(t){less.get(table, '')})::text"
        sql = f"SELECT count(*) || md5(coalesce(string_agg({row}, ' ' ORDER BY {row}), '')) FROM retrieval.{table} AS t"
        found[table] = await connection.fetchval(sql)
    await connection.close()
    return found


async def ask(url: str, data: DataSet) -> list[object]:
    """Answers of a server over the database, from every index, for several viewers."""
    settings = Settings(
        database_url=url, port=0, cache_memory_budget_bytes=0, admin_token="t", front="grpcio", drain_s=0.5
    )
    answers: list[object] = []
    async with serving(settings) as server, stubs_for(f"127.0.0.1:{server.port}") as stubs:
        for number, source in enumerate((common_pb.SOURCE_HNSW, common_pb.SOURCE_IVFFLAT, common_pb.SOURCE_EXACT) * 4):
            groups = [f"group-{number % 4}"] if number % 2 else []
            reply = await stubs.retrieval.SearchMatryoshka(
                retrieval_pb.SearchMatryoshkaRequest(
                    collection=data.name,
                    vector=vector(data.queries[number]),
                    options=common_pb.SearchOptions(
                        limit=20,
                        viewer=common_pb.Viewer(user_id="owner-1", group_ids=groups),
                        params=common_pb.SearchParams(source=source, ef_search=1000, nprobe=10),
                    ),
                )
            )
            assert reply.info.source == source
            assert len(reply.hits) == 20
            answers.append([(hit.item_id, hit.chunk_index, round(hit.distance, 5)) for hit in reply.hits])
        for user in ("user-1", "user-2", "nobody"):
            reply = await stubs.retrieval.SearchUserCandidates(
                retrieval_pb.SearchUserCandidatesRequest(collection=data.name, user_id=user, no_cache=True)
            )
            assert reply.hits
            answers.append([(hit.item_id, round(hit.score, 5)) for hit in reply.hits])
    return answers


async def identity(url: str) -> str:
    connection = await asyncpg.connect(url)
    found = await connection.fetchval("SELECT identity::text FROM retrieval.service_state")
    await connection.close()
    return str(found)


async def test_a_restored_database_is_the_same_and_answers_so(
    original: Original, empty_database: str, tmp_path: Path
) -> None:
    await restore(empty_database, original.file, MEMORY_MB, quiet)
    assert await contents(empty_database) == original.contents
    assert await asyncio.to_thread(dump, empty_database) == await asyncio.to_thread(dump, original.url)
    assert await identity(empty_database) != await identity(original.url)
    connection = await asyncpg.connect(empty_database)
    tables = ["items", "embeddings", "relationships", "item_counts"]
    async with opened(original.url) as (_, stores):
        found = await stores.collections.get(original.data.name)
    tables += [partition(version.version_id) for version in found.versions]
    for table in tables:
        assert await connection.fetchval(
            "SELECT has_table_privilege('retrieval_reader', $1, 'SELECT')", f"retrieval.{table}"
        )
    assert not await connection.fetchval("SELECT has_table_privilege('retrieval_reader', 'retrieval.events', 'SELECT')")
    await connection.close()
    assert await ask(empty_database, original.data) == await ask(original.url, original.data)


async def test_a_restored_database_is_followed_from_its_own_beginning(
    original: Original, empty_database: str, database_url: str, tmp_path: Path
) -> None:
    """The server's transactions may be numbered lower than those of the one that was backed up."""
    connection = await asyncpg.connect(original.url)
    await connection.execute(
        "INSERT INTO retrieval.requests (collection_id, request_id, fingerprint, affected, transaction_id)"
        " SELECT collection_id, 'of the future', '', 1, '999999999999' FROM retrieval.collections"
    )
    await connection.execute(
        "INSERT INTO retrieval.change_log (collection_id, item_ids, transaction_id) VALUES (1, '{}', '999999999999')"
    )
    file = tmp_path / "future"
    await back_up(original.url, file, quiet)
    await connection.execute("DELETE FROM retrieval.change_log WHERE transaction_id = '999999999999'")
    await connection.execute("DELETE FROM retrieval.requests WHERE request_id = 'of the future'")
    await connection.close()
    await restore(empty_database, file, MEMORY_MB, quiet)
    async with opened(empty_database) as (adapter, stores):
        settings = Settings(cache_dir=tmp_path / "cache", cache_memory_budget_bytes=10**9)
        async with cached(adapter, stores, settings) as with_cache:
            collection = await stores.collections.get(original.data.name)
            await caught_up(with_cache, collection.name)
            receipt = await stores.items.upsert(collection, collection.active, [], "of the future", b"")
            assert await cache_of(with_cache).wait_for(receipt.token, 10)
            before = await ask_cache(with_cache, original.data, options=EVERYTHING)
            assert before.report.source is Source.FAISS
            await stores.items.delete(collection, [before.hits[0].item_id], "", b"")
            await caught_up(with_cache, collection.name)
            after = await ask_cache(with_cache, original.data, options=EVERYTHING)
            assert after.report.source is Source.FAISS
            assert after.hits[0].item_id == before.hits[1].item_id


async def test_a_backup_is_of_one_moment(database_url: str, empty_database: str, tmp_path: Path) -> None:
    """Items that are written in pairs are there in pairs, each with its embedding."""
    data = make("films", 400, dimension=16)
    async with scratch_database(database_url) as url, opened(url) as (_, stores):
        collection = await load(stores, data)
        first = next(iter(data.items.values()))
        written = 0
        stop = asyncio.Event()

        async def write(writer: int) -> None:
            nonlocal written
            while not stop.is_set():
                pair = [replace(first, item_id=f"pair-{writer}-{written}-{side}") for side in "ab"]
                await stores.items.upsert(collection, collection.active, pair, uuid4().hex, b"")
                written += 1

        writers = [asyncio.create_task(write(n)) for n in range(3)]
        while written < 20:
            await asyncio.sleep(0.01)
        before = written
        manifest = await back_up(url, tmp_path / "busy", quiet)
        stop.set()
        await asyncio.gather(*writers)
        assert written > before, "writers went on"
    await restore(empty_database, tmp_path / "busy", MEMORY_MB, quiet)
    connection = await asyncpg.connect(empty_database)
    single = (
        "SELECT count(*) FROM (SELECT left(item_id, -2) FROM retrieval.items WHERE item_id LIKE 'pair-%'"
        " GROUP BY 1 HAVING count(*) <> 2) AS t"
    )
    assert await connection.fetchval(single) == 0
    items = await connection.fetchval("SELECT count(*) FROM retrieval.items")
    assert items == manifest.collections[data.name]["items"] >= 400 + 2 * 20
    assert items == await connection.fetchval("SELECT count(DISTINCT item_id) FROM retrieval.embeddings")
    requests = await connection.fetchval("SELECT count(*) FROM retrieval.requests")
    assert items == 400 + 2 * requests
    await connection.close()


async def refused(call: object) -> str:
    with pytest.raises(FailedPreconditionError) as caught:
        await call  # type: ignore[misc]
    return caught.value.reason


async def test_what_is_there_stays_unless_it_is_to_be_replaced(
    original: Original, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(empty_database) as (_, stores):
        other = make("other", 10, dimension=4)
        await load(stores, other)
        monkeypatch.setattr(restore_module, "LEAVE_S", 0.2)
        again = restore(empty_database, original.file, MEMORY_MB, quiet, replace=True)
        assert await refused(again) == "RESTORE_TARGET_IN_USE"
    monkeypatch.undo()
    before, was = await contents(empty_database), await identity(empty_database)
    assert await refused(restore(empty_database, original.file, MEMORY_MB, quiet)) == "RESTORE_TARGET_NOT_EMPTY"
    assert (await contents(empty_database), await identity(empty_database)) == (before, was)
    await restore(empty_database, original.file, MEMORY_MB, quiet, replace=True)
    assert await contents(empty_database) == original.contents
    assert await identity(empty_database) not in {was, await identity(original.url)}


async def test_of_two_restores_one_is_refused(original: Original, empty_database: str) -> None:
    results = await asyncio.gather(
        *(restore(empty_database, original.file, MEMORY_MB, quiet) for _ in range(2)), return_exceptions=True
    )
    reasons = [result.reason for result in results if isinstance(result, FailedPreconditionError)]
    assert reasons == ["RESTORE_TARGET_NOT_EMPTY"], results
    assert await contents(empty_database) == original.contents


def copy_of(original: Original, folder: Path, **changes: object) -> Path:
    file = folder / "copy"
    file.write_bytes(original.file.read_bytes())
    values = json.loads(manifest_path(original.file).read_text())
    manifest_path(file).write_text(json.dumps(values | changes))
    return file


async def test_a_bad_backup_changes_nothing(original: Original, empty_database: str, tmp_path: Path) -> None:
    async with opened(empty_database) as (_, stores):
        await load(stores, make("other", 10, dimension=4))
    before, was = await contents(empty_database), await identity(empty_database)

    async def reason(file: Path) -> str:
        return await refused(restore(empty_database, file, MEMORY_MB, quiet, replace=True))

    manifest = read_manifest(original.file)
    assert await reason(tmp_path / "nowhere") == "BACKUP_NOT_FOUND"
    assert await reason(copy_of(original, tmp_path, format=2)) == "BACKUP_TOO_NEW"
    assert await reason(copy_of(original, tmp_path, migration=len(available()) + 1)) == "SCHEMA_TOO_NEW"
    assert await reason(copy_of(original, tmp_path, server_major=99)) == "RESTORE_TARGET_TOO_OLD"
    assert await reason(copy_of(original, tmp_path, program_major=99)) == "PROGRAM_TOO_OLD"
    assert await reason(copy_of(original, tmp_path, vector_schema="elsewhere")) == "VECTOR_SCHEMA_DIFFERS"
    assert await reason(copy_of(original, tmp_path, sha256="0" * 64)) == "BACKUP_DAMAGED"
    for wrong in ({"items": -1}, {"items; DROP": 1}, {"items": "1"}):
        assert await reason(copy_of(original, tmp_path, tables=wrong)) == "BACKUP_DAMAGED"
    assert await reason(copy_of(original, tmp_path, collections={"a'b": {"items": 1}})) == "BACKUP_DAMAGED"
    damaged = copy_of(original, tmp_path)
    raw = bytearray(damaged.read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged.write_bytes(raw)
    assert await reason(damaged) == "BACKUP_DAMAGED"
    damaged.write_bytes(raw[:-1])
    assert await reason(damaged) == "BACKUP_DAMAGED"
    # Counts are looked at when all is there: what was replaced until then comes back.
    fewer = manifest.tables | {"items": manifest.tables["items"] + 1}
    assert await reason(copy_of(original, tmp_path, tables=fewer)) == "RESTORE_FAILED"
    fewer_items = {original.data.name: {"items": 1}}
    assert await reason(copy_of(original, tmp_path, collections=fewer_items)) == "RESTORE_FAILED"
    assert (await contents(empty_database), await identity(empty_database)) == (before, was)


async def test_a_backup_of_an_older_schema_is_migrated(database_url: str, empty_database: str, tmp_path: Path) -> None:
    async with scratch_database(database_url) as url:
        await Migrator(url).up()
        expected = await asyncio.to_thread(dump, url)
        await Migrator(url).down(1)
        manifest = await back_up(url, tmp_path / "old", quiet)
    assert manifest.migration == len(available()) - 1
    await restore(empty_database, tmp_path / "old", MEMORY_MB, quiet)
    assert await asyncio.to_thread(dump, empty_database) == expected
    assert all(status.applied_at for status in await Migrator(empty_database).status())


async def test_a_backup_is_written_whole_or_not_at_all(
    original: Original, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await refused(back_up(original.url, original.file, quiet)) == "BACKUP_EXISTS"
    assert await refused(back_up(original.url, tmp_path / "no" / "folder", quiet)) == "NO_SUCH_FOLDER"
    assert await refused(back_up(empty_database, tmp_path / "empty", quiet)) == "NOTHING_TO_BACK_UP"

    async def old(path: Path) -> int:
        return 14

    monkeypatch.setattr(programs, "_version", old)
    with pytest.raises(FailedPreconditionError, match="pg_dump 14 is too old: install") as caught:
        await back_up(original.url, tmp_path / "old", quiet)
    assert caught.value.reason == "PROGRAM_TOO_OLD"
    monkeypatch.setattr(programs, "_candidates", lambda name: [])
    assert await refused(back_up(original.url, tmp_path / "none", quiet)) == "PROGRAM_MISSING"
    monkeypatch.undo()

    class FullError(Exception):
        pass

    def full(what: str, done: int, total: int) -> None:
        raise FullError

    with pytest.raises(FullError):
        await back_up(original.url, tmp_path / "cut off", full)
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(FailedPreconditionError, match="cannot be written: No space") as caught:
        await back_up(original.url, tmp_path / "full", quiet)
    assert caught.value.reason == "BACKUP_NOT_WRITTEN"
    assert not [*await asyncio.to_thread(os.listdir, tmp_path)]


@pytest.mark.parametrize(
    ("url", "clean", "password"),
    [
        ("postgresql://u:s%40crt@h:5432/d?sslmode=require", "postgresql://u@h:5432/d?sslmode=require", "s@crt"),
        ("postgresql://u:@/d?host=%2Ftmp%2Fx", "postgresql://u@/d?host=%2Ftmp%2Fx", None),
        ("postgres://h/d?password=a%20b&user=u", "postgres://h/d?user=u", "a b"),
        ("postgresql://h1:1,h2:2/d", "postgresql://h1:1,h2:2/d", None),
    ],
)
def test_passwords_stay_off_the_command_line(url: str, clean: str, password: str | None) -> None:
    assert programs.without_password(url) == (clean, {"PGPASSWORD": password} if password else {})


async def run(*arguments: str, url: str) -> Ran:
    return await run_command(*arguments, RETRIEVAL_DATABASE_URL=url)


async def test_the_commands(original: Original, empty_database: str, tmp_path: Path) -> None:
    file = tmp_path / "by-command"
    code, out, err = await run("backup", str(file), url=original.url)
    assert code == 0, err
    assert f"{file}: 1 collections, 1200 items, 300 events" in out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    expected = await contents(original.url)
    code, _, err = await run("backup", str(file), url=original.url)
    assert (code, "BACKUP_EXISTS" in err) == (1, True)
    code, out, err = await run("restore", str(file), url=empty_database)
    assert (code, "1200 items" in out) == (0, True), err
    code, _, err = await run("restore", str(file), url=empty_database)
    assert (code, "RESTORE_TARGET_NOT_EMPTY" in err) == (1, True)
    code, out, err = await run("restore", str(file), "--replace", url=empty_database)
    assert code == 0, err
    assert await contents(empty_database) == expected


async def test_a_killed_restore_leaves_what_was_there(original: Original, empty_database: str) -> None:
    async with opened(empty_database) as (_, stores):
        await load(stores, make("other", 10, dimension=4))
    before, was = await contents(empty_database), await identity(empty_database)
    reader, watcher = await asyncpg.connect(empty_database), await asyncpg.connect(empty_database)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    there = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'retrieval-backup'"
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(reader.transaction())
        await reader.execute("SELECT FROM retrieval.items LIMIT 1")
        process = await start_command("restore", str(original.file), "--replace", RETRIEVAL_DATABASE_URL=empty_database)
        while not await watcher.fetchval(waits):
            assert process.returncode is None, (await process.communicate())[1]
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    while await watcher.fetchval(there):
        await asyncio.sleep(0.02)
    await reader.close()
    await watcher.close()
    assert (await contents(empty_database), await identity(empty_database)) == (before, was)
    await restore(empty_database, original.file, MEMORY_MB, quiet, replace=True)
    assert np.all(list((await contents(empty_database)).values()))
