"""A real server process, and a client beside it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
from google.protobuf import json_format

from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import collection_service_pb2_grpc as collections_grpc
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2_grpc as feedback_grpc
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import item_service_pb2_grpc as items_grpc
from retrieval.v1 import profile_service_pb2_grpc as profiles_grpc
from retrieval.v1 import retrieval_service_pb2_grpc as retrieval_grpc
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BIN = Path(sys.executable).parent
DIM = 16


class Stubs:
    """All services behind one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.collections = collections_grpc.CollectionServiceStub(channel)
        self.items = items_grpc.ItemServiceStub(channel)
        self.feedback = feedback_grpc.FeedbackServiceStub(channel)
        self.profiles = profiles_grpc.ProfileServiceStub(channel)
        self.retrieval = retrieval_grpc.RetrievalServiceStub(channel)


@dataclass(slots=True)
class ServerProcess:
    """A `retrieval serve` process."""

    process: asyncio.subprocess.Process
    target: str
    lines: list[str] = field(default_factory=list)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    async def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


@asynccontextmanager
async def server_process(*arguments: str, **environment: str) -> AsyncIterator[ServerProcess]:
    """Start a server on a free port and stop it in the end, whatever became of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "retrieval.cli.main",
        "serve",
        "--port",
        "0",
        *arguments,
        env=os.environ | environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                line = (await process.stderr.readline()).decode()
                assert line, f"the server ended with {await process.wait()}: {''.join(lines)}"
                lines.append(line)
                found = re.search(r"serving on (\S+:\d+)", line)
                if found:
                    break
        stderr = process.stderr

        async def drain() -> None:
            async for raw in stderr:
                lines.append(raw.decode())

        reading = asyncio.create_task(drain())
        yield ServerProcess(process, found[1], lines)
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), PATIENCE_S)
        await reading
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def stubs_for(target: str) -> AsyncIterator[Stubs]:
    async with grpc.aio.insecure_channel(target) as channel:
        yield Stubs(channel)


def vector(values: np.ndarray) -> common_pb.Vector:
    return common_pb.Vector(float32_le=values.astype("<f4").tobytes())


def random_items(start: int, count: int, dim: int = DIM) -> list[common_pb.Item]:
    rows = np.random.default_rng(start).standard_normal((count, dim))
    return [
        common_pb.Item(item_id=f"item-{start + i:06d}", chunks=[common_pb.Chunk(vector=vector(row))])
        for i, row in enumerate(rows)
    ]


async def create(stubs: Stubs, name: str, dim: int = DIM, **settings: object) -> None:
    body = {
        "collection": {
            "name": name,
            "attributes": [{"name": "year", "type": "ATTRIBUTE_TYPE_INT64"}],
        },
        "embedding_version": {"model": "test", "dimension": dim},
    }
    body["collection"].update(settings)
    await stubs.collections.CreateCollection(json_format.ParseDict(body, collections_pb.CreateCollectionRequest()))


async def upsert(stubs: Stubs, name: str, items: list[common_pb.Item]) -> str:
    reply = await stubs.items.UpsertItems(items_pb.UpsertItemsRequest(collection=name, items=items))
    return reply.consistency_token
