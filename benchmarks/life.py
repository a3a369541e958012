"""What happens around searches: restarts, memory, fresh writes, and the building of the next segment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import numpy as np
import psutil

from benchmarks.cores import memory_bytes
from benchmarks.peers.peer import found_by
from benchmarks.searches import CALL_TIMEOUT_S, CHANNEL_OPTIONS, METHOD, Search, SearchReply, WiredTarget
from benchmarks.servers import free_port, service_command
from benchmarks.servers import started as running
from retrieval.v1 import (
    collection_service_pb2,
    collection_service_pb2_grpc,
    common_pb2,
    item_service_pb2,
    item_service_pb2_grpc,
    retrieval_service_pb2,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.datasets import Dataset
    from benchmarks.load import LoadGenerator
    from benchmarks.servers import Server

TARGET = 0.95
UPSERTS = 100
FRESH_TIMEOUT_S = 5.0
POLL_S = 0.002
TOUCHING_QUERIES = 1000
BUILD_TIMEOUT_S = 3600.0


def searches(dataset: Dataset, address: str, k: int) -> WiredTarget:
    """The data set's queries to the cache of a service."""
    return WiredTarget(address, Search("faiss", target_recall=TARGET).requests(dataset, dataset.key, k))


def restart_s(dataset: Dataset, data_dir: Path, log: Path, k: int, settings: dict[str, str]) -> float:
    """Seconds from the start of a process to its first correct answer from FAISS; the database is up.

    Where `settings` name an empty `cache_dir`, the segment is built meanwhile.
    """
    port = free_port()
    address = f"127.0.0.1:{port}"
    request = searches(dataset, address, k).requests[0]
    exact = dataset.answers(k)[0]
    command, environment = service_command(data_dir, port, settings)
    began = time.perf_counter()

    def answers() -> bool:
        with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            search = channel.unary_unary(METHOD, response_deserializer=SearchReply.FromString)
            try:
                reply = search(request, timeout=1.0)
            except grpc.RpcError:
                return False
        found = {int(hit.item_id) for hit in reply.hits}
        return reply.info.source == common_pb2.SOURCE_FAISS and len(found & exact) >= k // 2

    with running(command, log, answers, environment, timeout_s=BUILD_TIMEOUT_S):
        return time.perf_counter() - began


@dataclass(frozen=True)
class Memory:
    """Of one process and of a second one that serves the same segment, and of one item."""

    first_bytes: int
    added_bytes: int
    bytes_per_item: float
    by_hand_per_item: float

    @property
    def second_share(self) -> float:
        """What the second process adds, as a share of the first."""
        return self.added_bytes / self.first_bytes


def by_hand(dim: int, coarse_dim: int, m: int) -> float:
    """Bytes of an item in half precision with the lowest layer of its graph: 2 m links of four bytes, and the codes of
    the prefix where the graph is over one.
    """
    return 2.0 * dim + (2.0 * coarse_dim if coarse_dim < dim else 0.0) + 8.0 * m


def touch(dataset: Dataset, server: Server, k: int) -> int:
    """Memory of a service (PSS) once many different searches have run."""
    found_by(searches(dataset, server.address, k), min(TOUCHING_QUERIES, len(dataset.queries)))
    return memory_bytes(server.pid)


def upserts_to_searchable_ms(dataset: Dataset, address: str, k: int) -> NDArray[np.float64]:
    """Milliseconds from the acknowledgement of a write until a search without a token finds it, (UPSERTS,).

    The rows that are written are removed again.
    """
    rng = np.random.default_rng(UPSERTS)
    vectors = rng.standard_normal((UPSERTS, dataset.dim)).astype("<f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [str(dataset.rows + number) for number in range(UPSERTS)]
    options = common_pb2.SearchOptions(limit=k, params=common_pb2.SearchParams(source=common_pb2.SOURCE_FAISS))
    took = []
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        items = item_service_pb2_grpc.ItemServiceStub(channel)
        search = channel.unary_unary(METHOD, response_deserializer=SearchReply.FromString)
        for name, vector in zip(names, vectors, strict=True):
            sent = common_pb2.Vector(float32_le=vector.tobytes())
            item = common_pb2.Item(item_id=name, chunks=[common_pb2.Chunk(vector=sent)])
            request = retrieval_service_pb2.SearchMatryoshkaRequest(
                collection=dataset.key, vector=sent, options=options
            ).SerializeToString()
            items.UpsertItems(
                item_service_pb2.UpsertItemsRequest(collection=dataset.key, items=[item]), timeout=CALL_TIMEOUT_S
            )
            began = time.perf_counter()
            while name not in {hit.item_id for hit in search(request, timeout=CALL_TIMEOUT_S).hits}:
                if time.perf_counter() - began > FRESH_TIMEOUT_S:
                    break
                time.sleep(POLL_S)
            took.append((time.perf_counter() - began) * 1e3)
        items.DeleteItems(item_service_pb2.DeleteItemsRequest(collection=dataset.key, item_ids=names))
    return np.array(took)


@dataclass(frozen=True)
class Building:
    """Searches in quiet and while the next segment is built. `throughout`: it was being built all that time."""

    in_flight: int
    quiet_p99_ms: float
    busy_p99_ms: float
    busy_recall: float
    throughout: bool


def search_while_building(
    dataset: Dataset, server: Server, generator: LoadGenerator, seconds: float, k: int, in_flight: int = 8
) -> Building:
    """Puts the same load on the service before and during a build, and waits for the end of that."""
    target = searches(dataset, server.address, k)
    quiet = generator.run(target, in_flight, seconds)
    with grpc.insecure_channel(server.address) as channel:
        stub = collection_service_pb2_grpc.CollectionServiceStub(channel)
        stub.PrewarmCache(collection_service_pb2.PrewarmCacheRequest(collection=dataset.key))
        deadline = time.monotonic() + 10.0
        while not is_building(server) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        began_building = is_building(server)
        busy = generator.run(target, in_flight, seconds)
        throughout = began_building and is_building(server)
        deadline = time.monotonic() + BUILD_TIMEOUT_S
        while is_building(server) and time.monotonic() < deadline:
            time.sleep(0.1)
    recall = busy.recall(dataset.answers(k), k)
    return Building(in_flight, quiet.percentile(99), busy.percentile(99), recall, throughout)


def is_building(server: Server) -> bool:
    """Whether the service has a child that builds a segment."""
    for child in psutil.Process(server.pid).children():
        try:
            if "build-segment" in child.cmdline():
                return True
        except psutil.NoSuchProcess:
            continue
    return False
