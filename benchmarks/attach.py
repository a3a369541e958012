"""What it costs to follow a table: `python -m benchmarks.attach`.

A real server over an embedded Postgres, and an application's table with text and vectors in the same database.

- **Backfill**: from the AttachTable call until all rows are searchable items, beside a bare INSERT … SELECT of the same
  columns into the same tables, which checks nothing; in turns.
- **Inserts**: the application's own INSERT into a followed table beside one into a table of the same shape that nobody
  follows, by statements of one row, of a hundred, and of ten thousand; every other statement, with the service at work
  beside both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.servers import service
from retrieval.client import RetrievalClient
from retrieval.postgres.embedded import EmbeddedPostgres
from retrieval.v1 import collection_service_pb2 as pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import table_binding_pb2 as binding_pb

BACKFILL_BAR = 2.0
INSERT_BAR = 1.15
TOKEN = "benchmark"
SIZES = {1: 2000, 100: 300, 10_000: 20}
"""Rows of a statement, and how many statements go into either table."""
WAIT_S = 600.0

TABLE = """
CREATE TABLE public.{name} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL, body text NOT NULL, author bigint NOT NULL, platform text NOT NULL, likes integer NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(), embedding vector({dim}) NOT NULL
)
"""
# Words of a vocabulary of 20,000, so that the text index has something to do; vectors of uniform components.
ROWS = """
INSERT INTO public.{name} (title, body, author, platform, likes, embedding)
SELECT
    'post ' || n,
    (SELECT string_agg('w' || (random() ^ 2 * 20000)::int, ' ') FROM generate_series(1, 40) WHERE n > 0),
    n % 1000, (ARRAY['web', 'ios', 'android'])[1 + n % 3], n % 977,
    (SELECT array_agg(random() - 0.5) FROM generate_series(1, {dim}) WHERE n > 0)::vector
FROM generate_series(1, {rows}) AS n
"""
BARE_ITEMS = """
INSERT INTO retrieval.items (
    collection_id, item_id, owner_id, visibility, status, text, text_language, attributes, created_at, updated_at
)
SELECT $1, id::text, author::text, 'public', 'approved', title || E'\\n\\n' || body, 'simple',
    jsonb_build_object('platform', platform, 'likes', likes), made_at, now()
FROM public.posts
"""
BARE_EMBEDDINGS = """
INSERT INTO retrieval.embeddings_v{version_id} (
    version_id, item_id, chunk_index, embedding, owner_id, visibility, audience, status, rating_count, tags,
    attributes, created_at
)
SELECT {version_id}, id::text, 0, l2_normalize(embedding)::halfvec({dim}), author::text, 'public', '{{}}', 'approved',
    0, '{{}}', jsonb_build_object('platform', platform, 'likes', likes), made_at
FROM public.posts
"""


def binding(table: str) -> binding_pb.TableBinding:
    return binding_pb.TableBinding(
        relation=f"public.{table}",
        text_columns=["title", "body"],
        owner_column="author",
        attributes={"platform": "platform", "likes": "likes"},
        created_at_column="made_at",
        vectors=[binding_pb.VectorColumn(column="embedding")],
    )


class Service:
    """The calls of the benchmark."""

    def __init__(self, client: RetrievalClient, dim: int) -> None:
        self._client = client
        self._dim = dim
        self._metadata = [("authorization", f"Bearer {TOKEN}")]

    async def create(self, name: str) -> None:
        attributes = [
            pb.AttributeDefinition(name="platform", type=common_pb.ATTRIBUTE_TYPE_KEYWORD),
            pb.AttributeDefinition(name="likes", type=common_pb.ATTRIBUTE_TYPE_INT64),
        ]
        await self._client.collections.CreateCollection(
            pb.CreateCollectionRequest(
                collection=pb.Collection(name=name, attributes=attributes),
                embedding_version=pb.EmbeddingVersion(model="none", dimension=self._dim),
            )
        )

    async def delete(self, name: str) -> None:
        await self._client.collections.DeleteCollection(pb.DeleteCollectionRequest(collection=name))

    async def attach(self, name: str, table: str) -> float:
        """Seconds until all rows are in."""
        began = time.perf_counter()
        await self._client.collections.AttachTable(
            pb.AttachTableRequest(collection=name, binding=binding(table)), metadata=self._metadata
        )
        await self.in_step(name)
        return time.perf_counter() - began

    async def in_step(self, name: str) -> None:
        """Wait until every change is applied."""
        ends = time.monotonic() + WAIT_S
        while time.monotonic() < ends:
            reply = await self._client.collections.ListAttachedTables(
                pb.ListAttachedTablesRequest(collection=name), metadata=self._metadata
            )
            found = reply.attached_tables[0]
            if found.problem_count or found.error:
                sys.exit(f"the table is not followed: {found}")
            if found.state == binding_pb.ATTACHMENT_STATE_FOLLOWING and not found.waiting_changes:
                return
            await asyncio.sleep(0.02)
        sys.exit("the table is not read in time")


async def ids(connection: Any, name: str) -> tuple[int, int]:
    row = await connection.fetchrow(
        "SELECT collection_id, version_id FROM retrieval.collections JOIN retrieval.embedding_versions"
        " USING (collection_id) WHERE name = $1",
        name,
    )
    return row["collection_id"], row["version_id"]


async def backfill(connection: Any, calls: Service, dim: int, turns: int) -> dict[str, Any]:
    """Seconds of both, in turns."""
    bare: list[float] = []
    attached: list[float] = []
    for turn in range(turns):
        await calls.create("bare")
        collection_id, version_id = await ids(connection, "bare")
        await connection.execute("CHECKPOINT")
        began = time.perf_counter()
        async with connection.transaction():
            await connection.execute(BARE_ITEMS, collection_id)
            await connection.execute(BARE_EMBEDDINGS.format(version_id=version_id, dim=dim))
        bare.append(time.perf_counter() - began)
        await calls.delete("bare")
        await calls.create("attached")
        await connection.execute("CHECKPOINT")
        attached.append(await calls.attach("attached", "posts"))
        collection_id, version_id = await ids(connection, "attached")
        counts = await connection.fetchrow(
            f"SELECT (SELECT count(*) FROM retrieval.items WHERE collection_id = $1) AS items,"
            f" (SELECT count(*) FROM retrieval.embeddings_v{version_id}) AS embeddings,"
            " (SELECT count(*) FROM public.posts) AS rows",
            collection_id,
        )
        if len(set(counts.values())) > 1:
            sys.exit(f"not all rows are in: {dict(counts)}")
        await calls.delete("attached")
        print(f"turn {turn + 1}: bare {bare[-1]:.2f} s, attached {attached[-1]:.2f} s", flush=True)
    ratio = statistics.median(a / b for a, b in zip(attached, bare, strict=True))
    return {"bare_s": bare, "attached_s": attached, "ratio": round(ratio, 3), "bar": BACKFILL_BAR}


async def inserts(connection: Any, calls: Service, dim: int) -> dict[str, Any]:
    """Time of a statement into either table, by rows of a statement."""
    source = "SELECT title, body, author, platform, likes, embedding FROM public.posts WHERE id BETWEEN $1 AND $2"
    columns = "(title, body, author, platform, likes, embedding)"
    names = ("followed", "alone")
    for name in names:
        await connection.execute(TABLE.format(name=name, dim=dim))
    await calls.create("followed")
    await calls.attach("followed", "followed")
    statements = {name: await connection.prepare(f"INSERT INTO public.{name} {columns} {source}") for name in names}
    result: dict[str, Any] = {"bar": INSERT_BAR}
    for rows, count in SIZES.items():
        times: dict[str, list[float]] = {name: [] for name in names}
        await connection.execute("CHECKPOINT")
        at = 1
        for number in range(count):
            for name in names if number % 2 else names[::-1]:
                began = time.perf_counter()
                await statements[name].fetch(at, at + rows - 1)
                times[name].append(time.perf_counter() - began)
            at = at + rows if at + 2 * rows <= 20_000 else 1
            if rows > 100:
                await calls.in_step("followed")
        middle = {name: statistics.median(values) for name, values in times.items()}
        total = {name: sum(values) for name, values in times.items()}
        result[str(rows)] = {
            "alone_ms": round(middle["alone"] * 1e3, 3),
            "followed_ms": round(middle["followed"] * 1e3, 3),
            "ratio_of_medians": round(middle["followed"] / middle["alone"], 3),
            "ratio_of_sums": round(total["followed"] / total["alone"], 3),
        }
        print(f"{rows} rows a statement: {result[str(rows)]}", flush=True)
    await calls.in_step("followed")
    return result


async def main() -> int:
    """Exit code 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attach", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the backfill")
    parser.add_argument("--dim", type=int, default=384, help="components of the vectors")
    parser.add_argument("--turns", type=int, default=3, help="measurements of each")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retrieval-attach-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        embedded = EmbeddedPostgres(folder / "postgres")
        url = await embedded.start()
        try:
            settings = {"database_url": url, "cache_memory_budget_bytes": "0", "admin_token": TOKEN}
            with service(folder, folder / "server.log", **settings) as server:
                async with RetrievalClient(server.address) as client:
                    connection = await asyncpg.connect(url)
                    calls = Service(client, options.dim)
                    await connection.execute(TABLE.format(name="posts", dim=options.dim))
                    await connection.execute(ROWS.format(name="posts", dim=options.dim, rows=options.rows))
                    await connection.execute("VACUUM ANALYZE public.posts")
                    filled = await backfill(connection, calls, options.dim, options.turns)
                    written = await inserts(connection, calls, options.dim)
                    await connection.close()
        finally:
            await embedded.stop()
    holds = filled["ratio"] <= BACKFILL_BAR and all(
        v["ratio_of_medians"] <= INSERT_BAR for v in written.values() if isinstance(v, dict)
    )
    report = {"rows": options.rows, "dim": options.dim, "holds": holds, "backfill": filled, "inserts": written}
    text = json.dumps(report, indent=2)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "attach.json").write_text(text + "\n", encoding="utf-8")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
