"""The service itself as an engine among its peers, on one of its fronts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmarks.cores import memory_bytes
from benchmarks.load import Answer
from benchmarks.peers.peer import TUNING_QUERIES
from benchmarks.searches import Search, WiredTarget
from retrieval.v1 import common_pb2, retrieval_service_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.datasets import Dataset

TARGETS = (0.90, 0.95, 0.99, 0.999)
"""The recalls that a segment is calibrated for."""
BATCH_METHOD = "/retrieval.v1.RetrievalService/BatchSearch"


@dataclass(frozen=True)
class OwnPeer:
    """See `Peer`: SearchMatryoshka from the FAISS cache. Its effort is `target_recall`: the service has a plan."""

    dataset: Dataset
    k: int
    address: str
    front: str
    pids: Sequence[int]
    build_s: float
    size_bytes: int
    name: str = "retrieval"
    efforts: ClassVar = TARGETS
    tuning_queries: ClassVar = TUNING_QUERIES

    def memory_bytes(self) -> int:
        """See `Peer`."""
        return memory_bytes(self.pids[0])

    def target(self, effort: float) -> WiredTarget:
        """See `Peer`."""
        search = Search("faiss", target_recall=effort)
        return WiredTarget(self.address, search.requests(self.dataset, self.dataset.key, self.k))

    def batched(self, effort: float, size: int) -> BatchTarget:
        """The same searches by so many in a call."""
        search = Search("faiss", target_recall=effort)
        requests = search.requests(self.dataset, self.dataset.key, self.k)
        return BatchTarget(
            self.address, [_batch(requests, start, size) for start in range(0, len(requests), size)], size
        )


@dataclass(frozen=True)
class BatchTarget(WiredTarget):
    """BatchSearch: a call is `size` queries, the first of call number i being i * size."""

    size: int
    method: ClassVar = BATCH_METHOD

    def read(self, reply: bytes) -> Answer:
        """Ids of all its results, each made different from those of the other results: see `apart`."""
        results = retrieval_service_pb2.BatchSearchResponse.FromString(reply).results
        if any(result.HasField("error") for result in results):
            raise ValueError(f"a search of a batch failed: {next(r.error for r in results if r.HasField('error'))}")
        sources = {common_pb2.Source.Name(result.info.source).removeprefix("SOURCE_").lower() for result in results}
        ids = [apart(place, int(hit.item_id)) for place, result in enumerate(results) for hit in result.hits]
        return Answer(ids, "+".join(sorted(sources)))


def apart(place: int, row: int) -> int:
    """A row found by the query at a place in its batch, told apart from the same row found by another."""
    return place << 40 | row


def batch_answers(answers: Sequence[frozenset[int]], size: int) -> list[frozenset[int]]:
    """What a perfect reply to each call of a `BatchTarget` holds, in its form."""
    return [
        frozenset(apart(p, row) for p in range(size) for row in answers[(start + p) % len(answers)])
        for start in range(0, len(answers), size)
    ]


def _batch(requests: Sequence[bytes], start: int, size: int) -> bytes:
    chosen = [requests[(start + number) % len(requests)] for number in range(size)]
    searches = [retrieval_service_pb2.SearchMatryoshkaRequest.FromString(request) for request in chosen]
    entries = [retrieval_service_pb2.BatchSearchEntry(matryoshka=search) for search in searches]
    return retrieval_service_pb2.BatchSearchRequest(searches=entries).SerializeToString()
