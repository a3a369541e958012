"""Chroma's own server (`chroma run`), loaded by its client and asked over HTTP."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cores import SERVER_CORE
from benchmarks.http_wire import HttpWire, post
from benchmarks.peers.peer import CANDIDATES, EFFORTS, LINKS, GraphPeer, PeerMissingError
from benchmarks.servers import accepts, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.datasets import Dataset

NAME = "bench"
BATCH = 2000


class ChromaPeer(GraphPeer):
    """See `Peer`. Its effort is a setting of the collection, which the server reads when it starts."""

    name = "Chroma"
    front = "HTTP"

    def __init__(self, dataset: Dataset, k: int, folder: str, log: Path) -> None:
        binary = Path(sys.executable).with_name("chroma")
        if importlib.util.find_spec("chromadb") is None or not binary.exists():
            raise PeerMissingError("pip install chromadb (the extra `bench`)")
        port = free_port()
        self._address = f"127.0.0.1:{port}"
        self._command = [str(binary), "run", "--path", folder, "--host", "127.0.0.1", "--port", str(port)]
        self._log = log
        self._server = ExitStack()
        self._dataset = dataset
        self._k = k
        self._effort: float = EFFORTS[0]
        self._bodies: list[bytes] = []
        self.pids: Sequence[int] = ()
        self.build_s = 0.0

    def start(self) -> None:
        """Start the server, or start it anew. Raises: ServerError."""
        self._server.close()
        environment = {**os.environ, "ANONYMIZED_TELEMETRY": "False"}
        ready = partial(accepts, self._address)
        self.pids = (self._server.enter_context(started(self._command, self._log, ready, environment, SERVER_CORE)),)

    def stop(self) -> None:
        """Stop the server."""
        self._server.close()

    def load(self) -> None:
        """Create the collection and fill it."""
        graph = {"space": "cosine", "ef_construction": CANDIDATES, "max_neighbors": LINKS, "ef_search": self._effort}
        dataset = self._dataset
        begin = time.perf_counter()
        collection = self._client().create_collection(NAME, configuration={"hnsw": graph}, embedding_function=None)
        for start in range(0, dataset.rows, BATCH):
            rows = dataset.base[start : start + BATCH]
            collection.add(ids=[str(start + number) for number in range(len(rows))], embeddings=rows)
        self._first_query(collection)
        self.build_s = time.perf_counter() - begin
        common = {"n_results": self._k, "include": ["distances"]}
        asked = [{"query_embeddings": [query.tolist()], **common} for query in dataset.queries]
        self._bodies = [json.dumps(request, separators=(",", ":")).encode() for request in asked]

    def target(self, effort: float) -> HttpWire:
        """See `Peer`."""
        collection = self._client().get_collection(NAME, embedding_function=None)
        if effort != self._effort:
            collection.modify(configuration={"hnsw": {"ef_search": effort}})
            self.start()
            self._effort = effort
            self._first_query(collection)
        path = f"/api/v2/tenants/default_tenant/databases/default_database/collections/{collection.id}/query"
        return HttpWire(self._address, [post(self._address, path, body) for body in self._bodies], ids)

    def _client(self) -> Any:
        import chromadb

        host, _, port = self._address.partition(":")
        return chromadb.HttpClient(host, int(port), settings=chromadb.Settings(anonymized_telemetry=False))

    def _first_query(self, collection: Any) -> None:
        """Has the index in memory."""
        collection.query(query_embeddings=self._dataset.queries[:1], n_results=self._k, include=["distances"])


def ids(body: bytes) -> list[int]:
    """Ids from the reply to a query."""
    return [int(text) for text in json.loads(body)["ids"][0]]


@contextmanager
def chroma(dataset: Dataset, k: int, log: Path) -> Iterator[ChromaPeer]:
    """A server with one collection."""
    with tempfile.TemporaryDirectory() as folder:
        peer = ChromaPeer(dataset, k, folder, log)
        try:
            peer.start()
            peer.load()
            yield peer
        finally:
            peer.stop()
