"""How long a cheap search waits while one large legal request runs: `python -m benchmarks.held_up`, see README.md."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.largest_requests import DIM, Largest, event, item, largest, vector
from benchmarks.servers import service
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import collection_service_pb2_grpc as collections_grpc
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import feedback_service_pb2_grpc as feedback_grpc
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import item_service_pb2_grpc as items_grpc
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "held"
BAR_MS = 50.0
CALM_S = 3.0
PROBE_PAUSE_S = 0.002
CALL_S = 60.0
MESSAGE_BYTES = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


class Row(NamedTuple):
    """A large call beside cheap searches; times in milliseconds. `over_ms`: beyond the worst of a calm time."""

    name: str
    status: str
    took_ms: float
    hot_ms: float
    usual_ms: float
    over_ms: float


def prober(address: str, method: str, request: bytes, pipe: Any) -> None:
    """Ask again and again; sends (began, ended) of all since, on the monotonic clock, whenever it is asked."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(method)
        times: list[tuple[float, float]] = []
        while True:
            began = time.monotonic()
            call(request, timeout=CALL_S)
            times.append((began, time.monotonic()))
            if pipe.poll():
                if pipe.recv() == "stop":
                    return
                pipe.send(times)
                times = []
            time.sleep(PROBE_PAUSE_S)


def fill(address: str, items: int, console: Console) -> None:
    """The collection that the calls are about, one with chunks, and one from which items are deleted."""
    with grpc.insecure_channel(address, MESSAGE_BYTES) as channel:
        collections = collections_grpc.CollectionServiceStub(channel)
        writes, feedback = items_grpc.ItemServiceStub(channel), feedback_grpc.FeedbackServiceStub(channel)
        for name, count in ((NAME, items), (f"{NAME}-chunks", 0), (f"{NAME}-gone", 1000)):
            collections.CreateCollection(
                collections_pb.CreateCollectionRequest(
                    collection=collections_pb.Collection(
                        name=name,
                        attributes=[
                            collections_pb.AttributeDefinition(name="tag", type=common_pb.ATTRIBUTE_TYPE_KEYWORD)
                        ],
                    ),
                    embedding_version=collections_pb.EmbeddingVersion(model="test", dimension=DIM),
                )
            )
            for start in range(0, count, 500):
                writes.UpsertItems(
                    items_pb.UpsertItemsRequest(
                        collection=name, items=[item(n) for n in range(start, min(start + 500, count))]
                    )
                )
        for start in range(0, 20_000, 1000):
            feedback.RecordEvents(
                feedback_pb.RecordEventsRequest(collection=NAME, events=[event(start + n) for n in range(1000)])
            )
        collections.BuildIndex(collections_pb.BuildIndexRequest(collection=NAME))
        console.print(f"{items} items and 20,000 events are in; waiting for indexes and cache")
        until = time.monotonic() + 300
        while time.monotonic() < until:
            stats = collections.GetIndexStats(collections_pb.GetIndexStatsRequest(collection=NAME))
            ready = all(i.state == collections_pb.INDEX_STATE_READY for i in stats.indexes)
            if ready and stats.cache.generation and stats.cache.state == collections_pb.CACHE_STATE_RESIDENT:
                return
            time.sleep(0.5)
        sys.exit("the cache does not hold the collection")


class Probes:
    """Two cheap searches, each in a process of its own: one for the hot path, one for the usual way."""

    def __init__(self, address: str) -> None:
        small = common_pb.SearchOptions(limit=10)
        hot = retrieval_pb.SearchMatryoshkaRequest(collection=NAME, vector=vector(1), options=small)
        usual = retrieval_pb.SearchSimilarItemsRequest(collection=NAME, item_ids=["item-000001"], options=small)
        self._pipes, self._processes = [], []
        context = multiprocessing.get_context("spawn")
        for method, request in (("SearchMatryoshka", hot), ("SearchSimilarItems", usual)):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=prober,
                args=(address, f"/retrieval.v1.RetrievalService/{method}", request.SerializeToString(), theirs),
                daemon=True,
            )
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def since(self) -> list[list[tuple[float, float]]]:
        """What either saw since the last time."""
        for pipe in self._pipes:
            pipe.send("times")
        return [pipe.recv() for pipe in self._pipes]

    def stop(self) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send("stop")
            process.join(CALL_S)


def worst_ms(times: Sequence[tuple[float, float]], spans: Sequence[tuple[float, float]]) -> float:
    """The longest of the calls that overlap one of the spans."""
    over = [e - b for b, e in times if any(b < end and e > start for start, end in spans)]
    return max(over, default=0.0) * 1000


def measure(address: str, calls: Sequence[Largest], repeats: int) -> Iterator[Row]:
    """A row for each call."""
    probes = Probes(address)
    with grpc.insecure_channel(address, MESSAGE_BYTES) as channel:
        time.sleep(1)
        probes.since()
        time.sleep(CALM_S)
        calm = [worst_ms(times, [(0.0, float("inf"))]) for times in probes.since()]
        yield Row("calm", "OK", 0.0, calm[0], calm[1], 0.0)
        for large in calls:
            call = channel.unary_unary(large.method)
            spans, status = [], "OK"
            probes.since()
            for _ in range(repeats):
                began = time.monotonic()
                try:
                    call(large.request, timeout=CALL_S)
                except grpc.RpcError as error:
                    status = f"{error.code().name} {error.details()[:60]}"
                spans.append((began, time.monotonic()))
            time.sleep(0.2)
            hot, usual = (worst_ms(times, spans) for times in probes.since())
            took = float(np.median([end - start for start, end in spans])) * 1000
            yield Row(large.name, status, took, hot, usual, max(hot - calm[0], usual - calm[1]))
    probes.stop()


def main() -> int:
    """The exit code is 1 where a cheap search was held up for longer than the bar."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.held_up", description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--front", action="append", choices=["grpcio", "native"])
    parser.add_argument("--only", default="", help="calls whose names contain this")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=160)
    failed = False
    for front in given.front or ["grpcio", "native"]:
        # Not below a folder that only this user may enter: Postgres runs as another one when started by root.
        with tempfile.TemporaryDirectory(prefix="retrieval-bench-", ignore_cleanup_errors=True) as folder:
            log = Path(folder, "log")
            with service(Path(folder), log, front=front, max_message_bytes=str(16 << 20)) as server:
                fill(server.address, given.items, console)
                calls = [c for c in largest(NAME, given.items) if given.only in c.name]
                table = Table("call", "status", "took, ms", "hot, ms", "usual way, ms", "over calm, ms", title=front)
                rows = []
                for row in measure(server.address, calls, given.repeats):
                    rows.append(row)
                    console.print(f"  {row.name}: {row.over_ms:.0f} ms over calm ({row.status})")
                    table.add_row(row.name, row.status, *(f"{value:.1f}" for value in row[2:]))
                console.print(table)
                if not given.only:
                    given.out.mkdir(parents=True, exist_ok=True)
                    file = given.out / f"held-up-{front}.json"
                    file.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
                failed |= any(row.over_ms > BAR_MS for row in rows)
    console.print("FAIL" if failed else "PASS", f"no cheap search is held up by more than {BAR_MS:.0f} ms")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
