"""What user candidates cost beside one similar-item search: `python -m benchmarks.candidates_latency`.

A real server on an embedded Postgres, a client in this process. Users have 500 likes and 10,000 seen items, follow
owners and have all sources; a model is trained. One request at a time, in turns: a similar-item search of as many hits,
candidates worked out anew from what is in memory, the same from the kept result, and candidates right after an event.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import grpc
import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.served_ratings import run_command
from benchmarks.servers import service
from benchmarks.synthetic import matryoshka_like
from retrieval.client import RetrievalClient, vector
from retrieval.postgres.embedded import EmbeddedPostgres
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import collection_service_pb2_grpc as collections_grpc
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import feedback_service_pb2_grpc as feedback_grpc
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from retrieval.v1 import retrieval_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from numpy.typing import NDArray

COLLECTION = "speed"
DIMENSION = 256
OWNERS = 500
CROWD, CROWD_LIKES = 3000, 40
LIKES, SEEN, FOLLOWED = 500, 10_000, 20
HITS = 100
WARM_BAR, CACHED_BAR = 8.0, 1.2
BATCH = 1000
DAY_S = 86_400
CACHE_TIMEOUT_S = 600.0
SEED = 20261121
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Latencies:
    """Medians in milliseconds of one request at a time, and 95th percentiles.

    `first`: a user of whom nothing is in memory; `warm`: worked out anew; `cached`: the kept result; `after_event`: the
    request that follows an event of the user, which it must show.
    """

    items: int
    users: int
    rounds: int
    p50_ms: dict[str, float]
    p95_ms: dict[str, float]
    warm_ratio: float
    cached_ratio: float


class World:
    """Items in clusters, and users who like what is in some of them."""

    def __init__(self, items: int, users: int) -> None:
        self.vectors = matryoshka_like(items, DIMENSION, SEED)
        self.users = [f"heavy-{number}" for number in range(users)]
        self._rng = np.random.default_rng(SEED)
        self._near = self._neighbours()

    def item(self, number: int) -> common_pb.Item:
        """An item as it is upserted."""
        return common_pb.Item(
            item_id=f"item-{number}",
            owner_id=f"owner-{number % OWNERS}",
            created_at=Timestamp(seconds=int(time.time()) - number % (100 * DAY_S)),
            chunks=[common_pb.Chunk(vector=vector(self.vectors[number]))],
        )

    def events(self) -> list[feedback_pb.Event]:
        """Those of the crowd, then those of the heavy users."""
        found = []
        for user in range(CROWD):
            found += self._likes(f"crowd-{user}", CROWD_LIKES)
        for user in self.users:
            found += self._likes(user, LIKES)
            seen = self._rng.choice(len(self.vectors), SEEN - LIKES, replace=False)
            found += [self._event(user, int(i), "view") for i in seen]
        return found

    def _likes(self, user: str, count: int) -> list[feedback_pb.Event]:
        tastes = self._rng.choice(len(self._near), max(2, count // 60), replace=False)
        items = self._near[tastes].ravel()
        chosen = self._rng.choice(items, min(count, len(items)), replace=False)
        return [self._event(user, int(i), "like") for i in chosen]

    def _event(self, user: str, item: int, kind: str) -> feedback_pb.Event:
        ago_s = int(self._rng.integers(1, 60 * DAY_S))
        return event(user, f"item-{item}", kind, time.time() - ago_s)

    def _neighbours(self) -> NDArray[np.int64]:
        """(200, 80) the nearest items of 200 items: what somebody likes together."""
        centres = self._rng.choice(len(self.vectors), 200, replace=False)
        return np.argsort(-(self.vectors[centres] @ self.vectors.T), axis=1)[:, :80]


def event(user: str, item_id: str, kind: str, at_s: float) -> feedback_pb.Event:
    """An event with an id of its own."""
    moment = Timestamp(seconds=int(at_s))
    return feedback_pb.Event(
        user_id=user, item_id=item_id, type=kind, occurred_at=moment, event_id=f"{kind}-{item_id}-{int(at_s)}"
    )


async def fill(address: str, url: str, world: World) -> None:
    """Items, events, edges, relationships."""
    async with RetrievalClient(address, max_message_bytes=64 << 20) as client:
        await client.collections.CreateCollection(
            collections_pb.CreateCollectionRequest(
                collection=collections_pb.Collection(
                    name=COLLECTION, visibility_mode=collections_pb.VISIBILITY_MODE_PUBLIC_BY_DEFAULT
                ),
                embedding_version=collections_pb.EmbeddingVersion(model="synthetic", dimension=DIMENSION),
            )
        )

        async def items() -> AsyncIterator[items_pb.UpsertItemsRequest]:
            for start in range(0, len(world.vectors), BATCH):
                numbers = range(start, min(start + BATCH, len(world.vectors)))
                yield items_pb.UpsertItemsRequest(collection=COLLECTION, items=[world.item(n) for n in numbers])

        async for _ in client.stream_upsert(items()):
            pass
        made = world.events()

        async def batches() -> AsyncIterator[feedback_pb.RecordEventsRequest]:
            for start in range(0, len(made), BATCH):
                yield feedback_pb.RecordEventsRequest(collection=COLLECTION, events=made[start : start + BATCH])

        async for _ in client.stream_events(batches()):
            pass
        for user in world.users:
            edges = [
                feedback_pb.OwnerEdge(owner_id=f"owner-{n}", kind=feedback_pb.EDGE_KIND_FOLLOW) for n in range(FOLLOWED)
            ]
            await client.feedback.UpdateOwnerEdges(
                feedback_pb.UpdateOwnerEdgesRequest(collection=COLLECTION, user_id=user, add=edges)
            )
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO retrieval.relationships (collection_id, item_id, related_item_id, kind)"
            " SELECT collection_id, 'item-' || n, 'item-' || n + 1, 'complement'"
            " FROM retrieval.collections, generate_series(0, $2::int - 2) AS n WHERE name = $1",
            COLLECTION,
            len(world.vectors),
        )
    finally:
        await connection.close()


def measure(address: str, world: World, rounds: int) -> dict[str, list[float]]:
    """Milliseconds by kind of request, in turns."""
    rng = np.random.default_rng(1)
    times: dict[str, list[float]] = {}
    with grpc.insecure_channel(address) as channel:
        search, feedback = pb_grpc.RetrievalServiceStub(channel), feedback_grpc.FeedbackServiceStub(channel)
        options = common_pb.SearchOptions(limit=HITS)

        def timed(kind: str, call: Callable[[], pb.SearchUserCandidatesResponse]) -> pb.SearchUserCandidatesResponse:
            since = time.perf_counter()
            reply = call()
            times.setdefault(kind, []).append((time.perf_counter() - since) * 1e3)
            if len(reply.hits) != HITS:
                sys.exit(f"{kind}: {len(reply.hits)} hits of {HITS}")
            return reply

        def candidates(user: str, *, no_cache: bool) -> pb.SearchUserCandidatesResponse:
            request = pb.SearchUserCandidatesRequest(
                collection=COLLECTION, user_id=user, options=options, no_cache=no_cache
            )
            return search.SearchUserCandidates(request, timeout=30.0)

        for user in world.users:
            reply = timed("first", lambda user=user: candidates(user, no_cache=False))
        sources = {source.source for source in reply.info.sources}
        sys.stderr.write(f"sources: {', '.join(sorted(sources))}\n")
        for number in range(rounds):
            user = world.users[number % len(world.users)]
            seed = f"item-{rng.integers(len(world.vectors))}"
            request = pb.SearchSimilarItemsRequest(collection=COLLECTION, item_ids=[seed], options=options)
            timed("similar", lambda request=request: search.SearchSimilarItems(request, timeout=30.0))
            timed("warm", lambda user=user: candidates(user, no_cache=True))
            candidates(user, no_cache=False)
            if not timed("cached", lambda user=user: candidates(user, no_cache=False)).info.cached:
                sys.exit("a kept result did not serve")
            if number % 10 == 0:
                liked = reply_item(candidates(user, no_cache=False))
                feedback.RecordEvents(
                    feedback_pb.RecordEventsRequest(
                        collection=COLLECTION, events=[event(user, liked, "like", time.time())]
                    )
                )
                after = timed("after_event", lambda user=user: candidates(user, no_cache=False))
                if liked in {hit.item_id for hit in after.hits} or after.info.cached:
                    sys.exit("an event did not change the next candidates")
    return times


def measured(address: str, folder: Path, url: str, world: World, options: argparse.Namespace) -> dict[str, list[float]]:
    """`measure` once the cache holds everything and a trained model answers."""
    wait_for_cache(address, options.items)
    version = run_command(folder, "train", COLLECTION, database_url=url).split()[1]
    deadline = time.monotonic() + CACHE_TIMEOUT_S
    with grpc.insecure_channel(address) as channel:
        stub = pb_grpc.RetrievalServiceStub(channel)
        request = pb.SearchUserCandidatesRequest(collection=COLLECTION, user_id="nobody")
        while stub.SearchUserCandidates(request, timeout=30.0).info.model_version != version:
            if time.monotonic() > deadline:
                sys.exit("the model does not answer")
            time.sleep(0.2)
    return measure(address, world, options.rounds)


def reply_item(reply: pb.SearchUserCandidatesResponse) -> str:
    """The first hit."""
    return str(reply.hits[0].item_id)


def wait_for_cache(address: str, items: int) -> None:
    """Have the FAISS cache hold everything."""
    with grpc.insecure_channel(address) as channel:
        stub = collections_grpc.CollectionServiceStub(channel)
        deadline = time.monotonic() + CACHE_TIMEOUT_S
        asked_after = -1
        while time.monotonic() < deadline:
            held = stub.GetIndexStats(collections_pb.GetIndexStatsRequest(collection=COLLECTION)).cache
            if held.generation and (held.row_count, held.delta_rows) == (items, 0):
                return
            if held.generation > asked_after:
                asked_after = held.generation
                stub.PrewarmCache(collections_pb.PrewarmCacheRequest(collection=COLLECTION))
            time.sleep(0.5)
    sys.exit("the items are not in the cache")


async def main() -> int:
    """Run; 0 where both bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    world = World(options.items, options.users)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="candidates-")))
        embedded = EmbeddedPostgres(folder / "postgres")
        url = await embedded.start()
        stack.push_async_callback(embedded.stop)
        settings = {"database_url": url, "trending_refresh_s": "2"}
        server = stack.enter_context(service(folder / "data", folder / "server.log", **settings))
        await fill(server.address, url, world)
        times = await asyncio.to_thread(measured, server.address, folder / "data", url, world, options)
    p50 = {kind: round(float(np.median(found)), 3) for kind, found in times.items()}
    p95 = {kind: round(float(np.percentile(found, 95)), 3) for kind, found in times.items()}
    found = Latencies(
        options.items,
        options.users,
        options.rounds,
        p50,
        p95,
        round(p50["warm"] / p50["similar"], 2),
        round(p50["cached"] / p50["similar"], 2),
    )
    text = json.dumps(asdict(found), indent=1) + "\n"
    (RESULTS / "candidates-latency.json").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0 if found.warm_ratio <= WARM_BAR and found.cached_ratio <= CACHED_BAR else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
