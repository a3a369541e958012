"""How many events a second StreamEvents takes, and whether a killed server loses one: `python -m benchmarks.events`.

A real server over an embedded Postgres, and a typed client in this process, all on the cores of this machine. Batches
of 1000 events of 10,000 users with items by Zipf's law, as feeds have them. Then the same while the server is killed:
what was acknowledged must be in Postgres, and the counters of the items must be those of the events.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import grpc
import numpy as np
import psutil
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.cores import tree
from benchmarks.servers import service
from retrieval.client import RetrievalClient
from retrieval.postgres.embedded import EmbeddedPostgres
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import feedback_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BAR_PER_S = 10_000
BATCH = 1000
USERS = 10_000
ITEMS = 100_000
ZIPF = 1.1
"""Exponent of the law: near what is reported of views of videos and pages."""
TYPES = ("view", "impression", "like", "repost", "click", "dwell")
SHARES = (0.45, 0.3, 0.1, 0.03, 0.07, 0.05)
FOLD_TIMEOUT_S = 60.0
UNACKNOWLEDGED = 8
"""Batches a stream has under way at most: enough that nobody waits, and few enough that all end when time is up."""


@dataclass(frozen=True)
class Ingest:
    """What a run took. `slowest_second`: events acknowledged in the worst of its seconds."""

    streams: int
    seconds: float
    events: int
    per_s: float
    slowest_second: int
    client_cpu_s: float
    server_cpu_s: float
    postgres_cpu_s: float
    per_server_cpu_s: float
    per_postgres_cpu_s: float


@dataclass(frozen=True)
class Killed:
    """What became of the events around a kill. `uncounted`: views that are stored and on no item, or the reverse."""

    acknowledged: int
    stored: int
    lost: int
    uncounted: int


class Source:
    """Batches of events that are all different."""

    def __init__(self, collection: str, seed: int) -> None:
        self._collection = collection
        self._rng = np.random.default_rng(seed)
        self._weights = 1.0 / np.arange(1, ITEMS + 1) ** ZIPF
        self._weights /= self._weights.sum()
        self._label = f"s{seed}"
        self._made = 0

    def batch(self) -> pb.RecordEventsRequest:
        """The next one."""
        users = self._rng.integers(USERS, size=BATCH).tolist()
        items = self._rng.choice(ITEMS, size=BATCH, p=self._weights).tolist()
        types = self._rng.choice(len(TYPES), size=BATCH, p=SHARES).tolist()
        now = time.time_ns()
        events = []
        for number in range(BATCH):
            at = now - number * 1000
            events.append(
                pb.Event(
                    user_id=f"user-{users[number]}",
                    item_id=f"item-{items[number]}",
                    type=TYPES[types[number]],
                    occurred_at=Timestamp(seconds=at // 1_000_000_000, nanos=at % 1_000_000_000),
                    event_id=f"{self._label}-{self._made}",
                    dwell_ms=4000 if types[number] == 5 else None,
                )
            )
            self._made += 1
        return pb.RecordEventsRequest(collection=self._collection, events=events)


async def stream(client: RetrievalClient, source: Source, seconds: float, acknowledged: list[float]) -> None:
    """Send batches for so long; when each was acknowledged goes to `acknowledged`."""
    ends = time.perf_counter() + seconds
    free = asyncio.Semaphore(UNACKNOWLEDGED)

    async def batches() -> AsyncIterator[pb.RecordEventsRequest]:
        while time.perf_counter() < ends:
            await free.acquire()
            yield source.batch()

    async for reply in client.stream_events(batches()):
        if reply.recorded_count != BATCH:
            sys.exit(f"only {reply.recorded_count} of {BATCH} events were new")
        acknowledged.append(time.perf_counter())
        free.release()


async def create(client: RetrievalClient, name: str) -> None:
    await client.collections.CreateCollection(
        collections_pb.CreateCollectionRequest(
            collection=collections_pb.Collection(name=name),
            embedding_version=collections_pb.EmbeddingVersion(model="none", dimension=4),
        )
    )


async def ingest(address: str, server: int, postmaster: int, streams: int, seconds: float) -> Ingest:
    """Streams at full speed."""
    acknowledged: list[float] = []
    async with RetrievalClient(address) as client:
        await create(client, "speed")
        await stream(client, Source("speed", 1000), 1.0, [])  # the month is made, plans are
        before = [cpu_s(os.getpid(), alone=True), cpu_s(server), cpu_s(postmaster)]
        began = time.perf_counter()
        await asyncio.gather(
            *(stream(client, Source("speed", number), seconds, acknowledged) for number in range(streams))
        )
        took = time.perf_counter() - began
        after = [cpu_s(os.getpid(), alone=True), cpu_s(server), cpu_s(postmaster)]
    spent = [late - early for early, late in zip(before, after, strict=True)]
    per_second = np.bincount([int(moment - began) for moment in acknowledged])[: int(seconds)]
    events = len(acknowledged) * BATCH
    return Ingest(
        streams,
        round(took, 2),
        events,
        round(events / took),
        int(per_second.min()) * BATCH,
        *(round(s, 2) for s in spent),
        round(events / spent[1]),
        round(events / spent[2]),
    )


def cpu_s(pid: int, *, alone: bool = False) -> float:
    """CPU seconds that a process, and what it started and is still there, has used."""
    used = 0.0
    for each in [pid] if alone else tree(pid):
        try:
            times = psutil.Process(each).cpu_times()
        except psutil.NoSuchProcess:
            continue
        used += times.user + times.system
    return used


async def killed(url: str, folder: Path, seconds: float) -> Killed:
    """Kill a server in the middle of a stream, and look for what it acknowledged once another one runs."""
    sent: list[list[str]] = []
    acknowledged = 0
    source = Source("killed", 77)
    settings = {"database_url": url, "cache_memory_budget_bytes": "0"}
    with ExitStack() as stack:
        server = stack.enter_context(service(folder, folder / "killed.log", **settings))
        async with RetrievalClient(server.address) as client:
            await create(client, "killed")

            async def batches() -> AsyncIterator[pb.RecordEventsRequest]:
                while True:
                    batch = source.batch()
                    sent.append([e.event_id for e in batch.events])
                    yield batch

            ends = time.perf_counter() + seconds
            try:
                async for _ in client.stream_events(batches()):
                    acknowledged += 1
                    if time.perf_counter() > ends:
                        os.kill(server.pid, signal.SIGKILL)
            except grpc.aio.AioRpcError:
                pass
    with service(folder, folder / "restarted.log", **settings):
        connection = await asyncpg.connect(url)
        try:
            deadline = time.monotonic() + FOLD_TIMEOUT_S
            while await connection.fetchval("SELECT count(*) FROM retrieval.event_batches"):
                if time.monotonic() > deadline:
                    sys.exit("events are not added up in time")
                await asyncio.sleep(0.1)
            of = "JOIN retrieval.collections c USING (collection_id) WHERE c.name = 'killed'"
            rows = await connection.fetch(f"SELECT event_id, event_type FROM retrieval.events {of}")
            counted = await connection.fetchval(f"SELECT sum(view_count) FROM retrieval.item_counts {of}")
        finally:
            await connection.close()
    stored = {r["event_id"] for r in rows}
    promised = {event_id for batch in sent[:acknowledged] for event_id in batch}
    views = sum(r["event_type"] == "view" for r in rows)
    return Killed(len(promised), len(stored), len(promised - stored), abs(views - int(counted or 0)))


async def main() -> int:
    """Exit code 1 where the bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="time of the measurement")
    parser.add_argument("--streams", type=int, default=2, help="streams at once")
    parser.add_argument("--front", default="auto", help="front of the server")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retrieval-events-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        embedded = EmbeddedPostgres(folder / "postgres")
        url = await embedded.start()
        try:
            connection = await asyncpg.connect(url)
            postmaster = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).ppid()
            await connection.close()
            settings = {"database_url": url, "front": options.front, "cache_memory_budget_bytes": "0"}
            with service(folder, folder / "server.log", **settings) as server:
                speed = await ingest(server.address, server.pid, postmaster, options.streams, options.seconds)
            crash = await killed(url, folder, 3.0)
        finally:
            await embedded.stop()
    holds = speed.per_s >= BAR_PER_S and not crash.lost and not crash.uncounted
    report = {"bar_per_s": BAR_PER_S, "holds": holds, "ingest": asdict(speed), "killed": asdict(crash)}
    text = json.dumps(report, indent=2)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "events.json").write_text(text + "\n", encoding="utf-8")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
