"""Real server processes that are killed, a database that crashes, files that go: what was acknowledged is found."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.patience import PATIENCE_S
from tests.server.process import DIM, Stubs, create, server_process, stubs_for, vector
from tests.torture.world import own_postgres

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.server.process import ServerProcess

OPERATIONS = 240
NAME = "crashes"
LOST = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


async def persistently(call: Callable[[], Awaitable[Any]]) -> Any:
    """The reply, once somebody is there to give it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() not in LOST or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


class Writer:
    """Writes, deletes and hides items over gRPC, and knows which are to be found."""

    def __init__(self, stubs: Stubs, seed: int) -> None:
        self.stubs = stubs
        self.chooser = random.Random(seed)
        self.rng = np.random.default_rng(seed)
        self.seen: dict[str, np.ndarray] = {}
        self.token = ""
        self.number = 0
        self.sources: list[int] = []

    async def write(self) -> None:
        ids = [f"i{self.chooser.randrange(300)}" for _ in range(self.chooser.choice((1, 5, 20)))]
        hidden = self.chooser.random() < 0.3
        rows = {i: self.rng.standard_normal(DIM).astype(np.float32) for i in dict.fromkeys(ids)}
        visibility = common_pb.VISIBILITY_PRIVATE if hidden else common_pb.VISIBILITY_PUBLIC
        items = [
            common_pb.Item(
                item_id=i, visibility=visibility, owner_id="owner", chunks=[common_pb.Chunk(vector=vector(row))]
            )
            for i, row in rows.items()
        ]
        self.number += 1
        request = items_pb.UpsertItemsRequest(collection=NAME, items=items, request_id=f"write-{self.number}")
        self.token = (await persistently(lambda: self.stubs.items.UpsertItems(request, timeout=10))).consistency_token
        for item_id, row in rows.items():
            self.seen.pop(item_id, None)
            if not hidden:
                self.seen[item_id] = row

    async def delete(self) -> None:
        ids = self.chooser.sample(sorted(self.seen), min(len(self.seen), 3))
        if not ids:
            return
        self.number += 1
        request = items_pb.DeleteItemsRequest(collection=NAME, item_ids=ids, request_id=f"delete-{self.number}")
        self.token = (await persistently(lambda: self.stubs.items.DeleteItems(request, timeout=10))).consistency_token
        for item_id in ids:
            del self.seen[item_id]

    async def search(self) -> None:
        """Exactly right with the token of the last write, whoever answers."""
        query = self.rng.standard_normal(DIM).astype(np.float32)
        options = common_pb.SearchOptions(limit=10, min_consistency_token=self.token)
        request = pb.SearchMatryoshkaRequest(collection=NAME, vector=vector(query), options=options)
        reply = await persistently(lambda: self.stubs.retrieval.SearchMatryoshka(request, timeout=10))
        self.sources.append(reply.info.source)
        ids = list(self.seen)
        rows = np.stack([self.seen[i] for i in ids]) if ids else np.zeros((0, DIM), np.float32)
        truth = np.sort(1 - rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query))[:10]
        assert {h.item_id for h in reply.hits} <= self.seen.keys(), "an item that is hidden or deleted"
        np.testing.assert_allclose([h.distance for h in reply.hits], truth, atol=4e-3)

    async def operate(self, count: int) -> None:
        for _ in range(count):
            await self.chooser.choices((self.write, self.delete, self.search), (3, 1, 4))[0]()


def workers(server: ServerProcess) -> dict[str, int]:
    """The newest process of each worker."""
    return {number: int(p) for number, p in re.findall(r"worker (\d) is process (\d+)", "".join(server.lines))}


async def kill_a_worker(server: ServerProcess, chooser: random.Random) -> None:
    """The newest of one of the two; another takes its place."""
    before = workers(server)
    # It may be gone by itself: one that starts while Postgres is down ends, and another is tried.
    with suppress(ProcessLookupError):
        os.kill(before[chooser.choice("12")], signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        while workers(server) == before:
            await asyncio.sleep(0.02)


async def test_crashes_of_every_part(tmp_path: Path) -> None:
    seed = int(os.environ.get("RETRIEVAL_TORTURE_SEED", "1"))
    print(f"RETRIEVAL_TORTURE_SEED={seed} repeats this run")  # noqa: T201  # pytest shows it where the test fails
    chooser = random.Random(f"crashes {seed}")
    async with own_postgres() as postgres:
        environment = {
            "RETRIEVAL_DATABASE_URL": postgres.url,
            "RETRIEVAL_CACHE_DIR": str(tmp_path / "cache"),
            "RETRIEVAL_CACHE_DELTA_ROWS": "100",
            "RETRIEVAL_SEARCH_CONNECTIONS": "3",
            "RETRIEVAL_WRITE_CONNECTIONS": "3",
        }
        async with (
            server_process("--workers", "2", "--migrate", **environment) as server,
            stubs_for(server.target) as stubs,
        ):
            await persistently(lambda: create(stubs, NAME))
            writer = Writer(stubs, seed)
            disturbances: list[Callable[[], Awaitable[None]]] = [
                lambda: kill_a_worker(server, chooser),
                postgres.crash,
                lambda: asyncio.to_thread(shutil.rmtree, tmp_path / "cache", ignore_errors=True),
                lambda: kill_a_worker(server, chooser),
            ]
            for disturb in disturbances:
                # In the midst of it, and after it.
                async with asyncio.TaskGroup() as group:
                    group.create_task(writer.operate(OPERATIONS // 8))
                    group.create_task(disturb())
                await writer.operate(OPERATIONS // 8)
        answered = writer.sources.count(common_pb.SOURCE_FAISS)
        assert answered > len(writer.sources) / 4, writer.sources
