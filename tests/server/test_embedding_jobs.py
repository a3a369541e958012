"""Real server processes that embed texts: killed in the middle, and re-embedding under searches."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import asyncpg
import numpy as np
import pytest

from retrieval.client import RetrievalClient
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from tests.embedding_jobs import DIM, check_texts, embed
from tests.embedding_server import EmbeddingServer
from tests.server.commands import run_command
from tests.server.process import server_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import Stores

ITEMS = 300
BATCH, CONCURRENCY = 8, 2


@pytest.fixture
async def http() -> AsyncIterator[EmbeddingServer]:
    server = EmbeddingServer()
    await server.start()
    yield server
    await server.stop()


def environment(database_url: str, http: EmbeddingServer, *models: str) -> dict[str, str]:
    """Models of this test alone: the database has jobs of others."""
    return {
        "RETRIEVAL_DATABASE_URL": database_url,
        "RETRIEVAL_EMBEDDING_URL": http.url,
        "RETRIEVAL_EMBEDDING_MODELS": ",".join(f"{model}:{DIM}" for model in models),
        "RETRIEVAL_EMBEDDING_BATCH": str(BATCH),
        "RETRIEVAL_EMBEDDING_CONCURRENCY": str(CONCURRENCY),
        "RETRIEVAL_EMBEDDING_LEASE_S": "1",
    }


async def fill(client: RetrievalClient, name: str, model: str) -> dict[str, str]:
    """A collection that embeds texts by that model; its texts by item id."""
    texts = {f"i{n:03d}": f"{name} {n}" for n in range(ITEMS)}
    await client.collections.CreateCollection(
        collections_pb.CreateCollectionRequest(
            collection=collections_pb.Collection(name=name),
            embedding_version=collections_pb.EmbeddingVersion(model=model, dimension=DIM, embeds_text=True),
        )
    )
    await client.upsert_items(name, [common_pb.Item(item_id=i, text=t) for i, t in texts.items()])
    return texts


async def until_embedded(client: RetrievalClient, name: str) -> None:
    while True:
        (stats, *_) = (await client.embedding_jobs.stats(name)).versions
        if stats.done == stats.total and not stats.queued and not stats.leased and not stats.retrying:
            return
        await asyncio.sleep(0.05)


async def test_a_killed_server_loses_nothing_and_applies_nothing_twice(
    database_url: str, http: EmbeddingServer, postgres: Stores, name: str
) -> None:
    http.pause_s = 0.02
    settings = environment(database_url, http, name)
    async with server_process("--migrate", **settings) as first, RetrievalClient(first.target) as client:
        texts = await fill(client, name, name)
        while len(http.requests) < 10:
            await asyncio.sleep(0.005)
        first.kill()
        await first.process.wait()
    done_before = len(http.texts)
    assert done_before < ITEMS
    async with server_process(**settings) as second, RetrievalClient(second.target) as client:
        await until_embedded(client, name)
        reply = await client.embedding_jobs.stats(name)
        assert (reply.versions[0].done, reply.versions[0].dead) == (ITEMS, 0)
    asked = Counter(http.texts)
    assert set(asked) == set(texts.values())
    # What was under way when the process died is done again, and nothing else is.
    assert sum(asked.values()) <= ITEMS + BATCH * CONCURRENCY
    collection = await postgres.collections.get(name)
    await check_texts(postgres, collection, collection.active, texts)
    connection = await asyncpg.connect(database_url)
    applied = await connection.fetch(
        "SELECT count(*) AS times FROM retrieval.pgqueuer_log WHERE entrypoint = $1 AND status = 'successful' "
        "GROUP BY job_id",
        f"embed:{collection.active.version_id}",
    )
    await connection.close()
    assert [r["times"] for r in applied] == [1] * ITEMS


def near(model: str, text: str, size: int) -> Any:
    """A vector that is nearest to that of text number n ^ 1 by models "…1", and to n ^ 2 by models "…2"."""
    number = int(text.rpartition(" ")[2])
    pair = f"{model} {number & ~int(model[-1])}"
    row = embed(pair, size).astype(np.float32) + 0.05 * embed(text, size).astype(np.float32)
    return row / np.linalg.norm(row)


async def test_searches_never_fail_nor_mix_versions_while_a_collection_is_embedded_anew(
    database_url: str, http: EmbeddingServer, name: str
) -> None:
    http.vector_of = near
    old, new = f"{name}-1", f"{name}-2"
    served: Counter[int] = Counter()
    stop = asyncio.Event()
    async with (
        server_process("--migrate", **environment(database_url, http, old, new)) as server,
        RetrievalClient(server.target) as client,
    ):
        await fill(client, name, old)
        await until_embedded(client, name)

        async def search(seed: int) -> None:
            rng = np.random.default_rng(seed)
            while not stop.is_set():
                number = int(rng.integers(ITEMS - ITEMS % 4))
                reply = await client.similar(name, [f"i{number:03d}"], options=common_pb.SearchOptions(limit=1))
                version = reply.info.embedding_version
                served[version] += 1
                nearest = number ^ version
                assert [h.item_id for h in reply.hits] == [f"i{nearest:03d}"], f"by version {version}"

        async def some_more() -> None:
            """Let searches go on for a while with what is active now."""
            seen = sum(served.values())
            while sum(served.values()) < seen + 100 and not any(s.done() for s in searches):
                await asyncio.sleep(0.01)

        searches = [asyncio.create_task(search(seed)) for seed in range(4)]
        try:
            await some_more()
            http.pause_s = 0.05
            shape = ("--model", new, "--dimension", str(DIM), "--resolutions", "4")
            command = ("reembed", name, "--target", server.target, *shape)
            code, _, _ = await run_command(*command, kill_at="texts: ")
            assert code == -signal.SIGKILL
            http.pause_s = 0.0
            code, out, log = await run_command(*command)
            assert (code, out) == (0, f"version 2 of {name} is active: {ITEMS} of {ITEMS} texts are embedded\n")
            assert f"texts: {ITEMS} of {ITEMS}" in log
            assert "indexes: " in log
            await some_more()
            await client.collections.RollbackEmbeddingVersion(
                collections_pb.RollbackEmbeddingVersionRequest(collection=name)
            )
            await some_more()
            code, out, _ = await run_command(*command)
            assert code == 0
            await some_more()
        finally:
            stop.set()
            await asyncio.gather(*searches)
        found = await client.collections.GetCollection(collections_pb.GetCollectionRequest(collection=name))
        assert [v.model for v in found.collection.embedding_versions] == [old, new]
        assert found.collection.active_embedding_version == 2
    assert set(served) == {1, 2}
    assert sum(text.startswith(name) for text in http.texts) == 2 * ITEMS, "each text once by each model"
