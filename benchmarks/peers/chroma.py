"""Chroma's own server (`chroma run`), loaded by its client and asked over HTTP."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cores import SERVER_CORE
from benchmarks.http_wire import HttpWire, post
from benchmarks.peers.peer import CANDIDATES, EFFORTS, LINKS, GraphPeer, PeerMissingError
from benchmarks.servers import accepts, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.datasets import Dataset

BATCH = 2000


@dataclass(frozen=True)
class ChromaPeer(GraphPeer):
    """See `Peer`. Its effort is a setting of the collection."""

    address: str
    collection: Any
    bodies: list[bytes]
    pids: list[int]
    build_s: float
    name: str = "Chroma"
    front: str = "HTTP"

    def target(self, effort: int) -> HttpWire:
        """See `Peer`."""
        self.collection.modify(configuration={"hnsw": {"ef_search": effort}})
        path = f"/api/v2/tenants/default_tenant/databases/default_database/collections/{self.collection.id}/query"
        return HttpWire(self.address, [post(self.address, path, body) for body in self.bodies], ids)


def ids(body: bytes) -> list[int]:
    """Ids from the reply to a query."""
    return [int(text) for text in json.loads(body)["ids"][0]]


@contextmanager
def chroma(dataset: Dataset, k: int, log: Path) -> Iterator[ChromaPeer]:
    """A server with one collection."""
    binary = Path(sys.executable).with_name("chroma")
    if importlib.util.find_spec("chromadb") is None or not binary.exists():
        raise PeerMissingError("pip install chromadb (the extra `bench`)")
    import chromadb

    port = free_port()
    address = f"127.0.0.1:{port}"
    environment = {**os.environ, "ANONYMIZED_TELEMETRY": "False"}
    with tempfile.TemporaryDirectory() as folder:
        command = [str(binary), "run", "--path", folder, "--host", "127.0.0.1", "--port", str(port)]
        with started(command, log, lambda: accepts(address), environment, SERVER_CORE) as pid:
            client = chromadb.HttpClient("127.0.0.1", port, settings=chromadb.Settings(anonymized_telemetry=False))
            graph = {"space": "cosine", "ef_construction": CANDIDATES, "max_neighbors": LINKS, "ef_search": EFFORTS[0]}
            collection = client.create_collection("bench", configuration={"hnsw": graph}, embedding_function=None)
            begin = time.perf_counter()
            for start in range(0, dataset.rows, BATCH):
                rows = dataset.base[start : start + BATCH]
                collection.add(ids=[str(start + number) for number in range(len(rows))], embeddings=rows)
            collection.query(query_embeddings=dataset.queries[:1], n_results=k, include=["distances"])
            took = time.perf_counter() - begin
            asked = [
                {"query_embeddings": [q.tolist()], "n_results": k, "include": ["distances"]} for q in dataset.queries
            ]
            bodies = [json.dumps(request, separators=(",", ":")).encode() for request in asked]
            yield ChromaPeer(address, collection, bodies, [pid], took)
