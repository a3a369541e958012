"""Attaching a table through a real server: by command, by call, and over its death."""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from typing import TYPE_CHECKING, Any

import asyncpg
import grpc
import pytest

from retrieval.cli.attaching import run_attach, run_attached, run_detach, run_resync
from retrieval.client.reasons import error_reason
from retrieval.config import Settings
from retrieval.domain.errors import RetrievalError
from retrieval.v1 import collection_service_pb2 as pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from retrieval.v1 import table_binding_pb2 as binding_pb
from tests.patience import PATIENCE_S
from tests.server.commands import run_command
from tests.server.conftest import ADMIN_TOKEN
from tests.server.process import server_process, stubs_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.server.process import ServerProcess, Stubs

DIM = 4
ADMIN = (("authorization", f"Bearer {ADMIN_TOKEN}"),)
ROWS = """
INSERT INTO {table} (title, embedding)
SELECT 'post ' || n, ARRAY[n, 1, 2, 3]::vector FROM generate_series($1::integer, $2::integer) AS n
"""


@pytest.fixture
async def table(database_url: str, name: str) -> AsyncIterator[str]:
    schema = f"app_{name.replace('-', '_')}"
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"CREATE SCHEMA {schema}")
    await connection.execute(
        f"CREATE TABLE {schema}.posts (id bigserial PRIMARY KEY, title text, embedding vector({DIM}))"
    )
    yield f"{schema}.posts"
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def binding(table: str) -> binding_pb.TableBinding:
    return binding_pb.TableBinding(
        relation=table, text_columns=["title"], vectors=[binding_pb.VectorColumn(column="embedding")]
    )


async def create(stubs: Stubs, name: str) -> None:
    await stubs.collections.CreateCollection(
        pb.CreateCollectionRequest(
            collection=pb.Collection(name=name), embedding_version=pb.EmbeddingVersion(model="test", dimension=DIM)
        )
    )


async def attached(stubs: Stubs, name: str) -> binding_pb.AttachedTable:
    reply = await stubs.collections.ListAttachedTables(pb.ListAttachedTablesRequest(collection=name), metadata=ADMIN)
    return reply.attached_tables[0]


async def test_a_token_reflects_what_was_applied(stubs: Stubs, app: Any, table: str, name: str) -> None:
    await create(stubs, name)
    await stubs.collections.AttachTable(pb.AttachTableRequest(collection=name, binding=binding(table)), metadata=ADMIN)
    for number in range(1, 4):
        await app.execute(ROWS.format(table=table), number, number)
        await in_step(stubs, name)
        listed = await stubs.collections.ListAttachedTables(
            pb.ListAttachedTablesRequest(collection=name), metadata=ADMIN
        )
        query = common_pb.Vector(floats=common_pb.FloatArray(values=[1, 1, 1, 1]))
        options = common_pb.SearchOptions(min_consistency_token=listed.consistency_token)
        reply = await stubs.retrieval.SearchMatryoshka(
            retrieval_pb.SearchMatryoshkaRequest(collection=name, vector=query, options=options)
        )
        assert len(reply.hits) == number


async def in_step(stubs: Stubs, name: str) -> binding_pb.AttachedTable:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await attached(stubs, name)
            if found.state == binding_pb.ATTACHMENT_STATE_FOLLOWING and not found.waiting_changes:
                return found
            await asyncio.sleep(0.05)


async def ids(stubs: Stubs, name: str) -> set[int]:
    found: set[int] = set()
    token = ""
    while True:
        page = await stubs.items.ListItems(items_pb.ListItemsRequest(collection=name, page_size=1000, page_token=token))
        found.update(int(item.item_id) for item in page.items)
        token = page.next_page_token
        if not token:
            return found


async def test_commands(
    server: ServerProcess,
    stubs: Stubs,
    app: Any,
    table: str,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await create(stubs, name)
    await app.execute(ROWS.format(table=table), 1, 12)
    file = tmp_path / "binding.json"
    file.write_text(json.dumps({"relation": table, "text_columns": ["title"], "vectors": [{"column": "embedding"}]}))
    target = ("--target", server.target)
    code, out, err = await run_command("attach", name, str(file), *target, RETRIEVAL_ADMIN_TOKEN=ADMIN_TOKEN)
    assert (code, out) == (0, f"{table}: following, 12 rows read, 0 changes waiting, 0 problems\n")
    assert "rows: 12 of 12" in err
    query = common_pb.Vector(floats=common_pb.FloatArray(values=[12, 1, 2, 3]))
    hits = await stubs.retrieval.SearchMatryoshka(retrieval_pb.SearchMatryoshkaRequest(collection=name, vector=query))
    assert hits.hits[0].item_id == "12"
    # The others in this process, which need not start.
    settings = Settings(admin_token=ADMIN_TOKEN)
    given = Namespace(target=server.target, ca=None, collection=name, relation=table, binding=file, no_wait=False)
    given.delete_items = True
    capsys.readouterr()
    assert await run_attach(settings, given) == 0
    assert capsys.readouterr().out.startswith("it is attached already")
    assert await run_resync(settings, given) == 0
    assert await run_attached(settings, given) == 0
    assert capsys.readouterr().out == 2 * out
    assert await run_detach(settings, given) == 0
    assert capsys.readouterr().out == "detached; 12 items deleted\n"
    with pytest.raises(RetrievalError) as gone:
        await run_detach(settings, given)
    assert gone.value.reason == "TABLE_NOT_ATTACHED"
    file.write_text('{"relatoin": "x"}')
    with pytest.raises(RetrievalError) as bad:
        await run_attach(settings, given)
    assert bad.value.reason == "BAD_BINDING"


async def test_calls_need_the_admin_token(stubs: Stubs, table: str, name: str) -> None:
    await create(stubs, name)
    calls = (
        (stubs.collections.AttachTable, pb.AttachTableRequest(collection=name, binding=binding(table))),
        (stubs.collections.DetachTable, pb.DetachTableRequest(collection=name, relation=table)),
        (stubs.collections.ResyncTable, pb.ResyncTableRequest(collection=name, relation=table)),
        (stubs.collections.ListAttachedTables, pb.ListAttachedTablesRequest(collection=name)),
    )
    for call, request in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(request)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert error_reason(caught.value)[0] == "ADMIN_TOKEN_REQUIRED"


async def test_errors_name_the_field(stubs: Stubs, table: str, name: str) -> None:
    await create(stubs, name)
    wrong = binding(table)
    wrong.vectors[0].column = "emb"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.collections.AttachTable(pb.AttachTableRequest(collection=name, binding=wrong), metadata=ADMIN)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    reason, fields = error_reason(caught.value)
    assert reason == "UNKNOWN_COLUMN"
    assert fields[0][0] == "binding.vectors[0].column"


async def test_a_reply_shows_the_binding(stubs: Stubs, app: Any, table: str, name: str) -> None:
    await create(stubs, name)
    await app.execute(f"ALTER TABLE {table} ADD COLUMN seen text")
    given = binding(table)
    given.visibility.column = "seen"
    given.visibility.values["all"] = common_pb.VISIBILITY_PUBLIC
    reply = await stubs.collections.AttachTable(pb.AttachTableRequest(collection=name, binding=given), metadata=ADMIN)
    given.key_column = "id"
    given.vectors[0].embedding_version = 1
    assert reply.attached_table.binding == given


async def test_killed_in_the_middle(database_url: str, app: Any, table: str, name: str) -> None:
    """Of a backfill, and of changes; the application writes on, and the next server brings all of it in."""
    settings = {"RETRIEVAL_DATABASE_URL": database_url, "RETRIEVAL_ADMIN_TOKEN": ADMIN_TOKEN}
    await app.execute(ROWS.format(table=table), 1, 16_000)
    async with server_process("--migrate", **settings) as server, stubs_for(server.target) as stubs:
        await create(stubs, name)
        request = pb.AttachTableRequest(collection=name, binding=binding(table))
        await stubs.collections.AttachTable(request, metadata=ADMIN)
        while not (await attached(stubs, name)).rows_done:
            await asyncio.sleep(0.01)
        server.kill()
        await server.process.wait()
    done = await app.fetchval("SELECT rows_done FROM retrieval.attached_tables WHERE relation = $1", table)
    assert 0 < done < 16_000
    await app.execute(f"DELETE FROM {table} WHERE id % 2 = 0")
    await app.execute(ROWS.format(table=table), 50_001, 50_100)
    async with server_process(**settings) as server, stubs_for(server.target) as stubs:
        found = await in_step(stubs, name)
        assert found.problem_count == 0
        wanted = {r["id"] for r in await app.fetch(f"SELECT id FROM {table}")}
        assert await ids(stubs, name) == wanted
        await app.execute(f"UPDATE {table} SET title = 'x'")
        server.kill()
        await server.process.wait()
    async with server_process(**settings) as server, stubs_for(server.target) as stubs:
        await in_step(stubs, name)
        page = await stubs.items.ListItems(items_pb.ListItemsRequest(collection=name, page_size=1000))
        assert {item.text for item in page.items} == {"x"}
        assert await ids(stubs, name) == wanted
