"""Milvus Lite's server, loaded by pymilvus and asked over gRPC with requests that pymilvus encodes."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks.cores import SERVER_CORE
from benchmarks.grpc_wire import GrpcConnection
from benchmarks.load import Answer
from benchmarks.peers.peer import CANDIDATES, LINKS, GraphPeer, PeerMissingError
from benchmarks.servers import accepts, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.datasets import Dataset

NAME = "bench"
BATCH = 5000
METHOD = "/milvus.proto.milvus.MilvusService/Search"


@dataclass(frozen=True)
class MilvusTarget:
    """See `WireTarget`."""

    address: str
    requests: list[bytes]
    shares_connections: ClassVar = True

    @property
    def query_count(self) -> int:
        """How many different requests there are."""
        return len(self.requests)

    def open(self) -> GrpcConnection:
        """A connection."""
        return GrpcConnection(self.address, METHOD, self.requests)

    def read(self, reply: bytes) -> Answer:
        """Ids of a reply. Raises: ValueError for one that says it failed."""
        from pymilvus.grpc_gen.milvus_pb2 import SearchResults

        results = SearchResults.FromString(reply)
        if results.status.code:
            raise ValueError(results.status.reason)
        return Answer(list(results.results.ids.int_id.data), "")


@dataclass(frozen=True)
class MilvusPeer(GraphPeer):
    """See `Peer`. It is so slow that its recall is measured on few queries."""

    dataset: Dataset
    k: int
    address: str
    pids: list[int]
    build_s: float
    name: str = "Milvus Lite"
    front: str = "grpcio"
    tuning_queries: ClassVar = 40

    def target(self, effort: int) -> MilvusTarget:
        """See `Peer`."""
        from pymilvus.client.prepare import Prepare

        parameters = {"metric_type": "COSINE", "params": {"ef": effort}}
        requests = [
            Prepare.search_requests_with_expr(NAME, "v", parameters, self.k, [query.tolist()]).SerializeToString()
            for query in self.dataset.queries
        ]
        return MilvusTarget(self.address, requests)


@contextmanager
def milvus_lite(dataset: Dataset, k: int, log: Path) -> Iterator[MilvusPeer]:
    """A server with one collection and its HNSW index."""
    binary = Path(sys.executable).with_name("milvus-lite")
    if not binary.exists() or any(importlib.util.find_spec(name) is None for name in ("milvus_lite", "pymilvus")):
        raise PeerMissingError("pip install milvus-lite pymilvus (the extra `bench`)")
    from pymilvus import DataType, MilvusClient

    port = free_port()
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        command = [str(binary), "server", "--data-dir", folder, "--host", "127.0.0.1", "--port", str(port)]
        with started(command, log, lambda: accepts(address), core=SERVER_CORE) as pid:
            client = MilvusClient(f"http://{address}")
            schema = client.create_schema()
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("v", DataType.FLOAT_VECTOR, dim=dataset.dim)
            client.create_collection(NAME, schema=schema)
            begin = time.perf_counter()
            for start in range(0, dataset.rows, BATCH):
                rows = dataset.base[start : start + BATCH]
                client.insert(NAME, [{"id": start + number, "v": row} for number, row in enumerate(rows)])
            client.flush(NAME)
            index = client.prepare_index_params()
            graph = {"M": LINKS, "efConstruction": CANDIDATES}
            index.add_index("v", index_type="HNSW", metric_type="COSINE", params=graph)
            client.create_index(NAME, index)
            client.load_collection(NAME)
            took = time.perf_counter() - begin
            client.close()
            yield MilvusPeer(dataset, k, address, [pid], took)
