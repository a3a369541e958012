"""What an adapter of another engine offers, and how its effort is tuned."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from benchmarks.cores import memory_bytes, tree
from benchmarks.truth import recall
from benchmarks.wire import closed_loop, open_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.datasets import Dataset
    from benchmarks.load import Target, WireTarget

LINKS, CANDIDATES = 16, 200
"""M and efConstruction of every HNSW graph that is built here."""
EFFORTS = (10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""ef_search that are tried, cheapest first."""
TUNING_QUERIES = 500
PATIENCE_S = 600.0


class GraphPeer:
    """What most engines have in common: HNSW with an ef_search, in processes of their own."""

    pids: Sequence[int]
    efforts = EFFORTS
    tuning_queries = TUNING_QUERIES

    def memory_bytes(self) -> int:
        """See `Peer`: the whole server."""
        return sum(memory_bytes(child) for pid in self.pids for child in tree(pid))


class PeerMissingError(Exception):
    """The engine is not installed, or does not start here; the message says how to get it."""


@dataclass(frozen=True)
class Tuned:
    """The cheapest effort that reached a recall, or the best one where none did."""

    effort: float
    recall: float


class Peer(Protocol):
    """An engine that runs and holds a data set."""

    name: str
    front: str
    pids: Sequence[int]
    build_s: float
    """From the first row sent until a search sees all of them through the finished index."""
    tuning_queries: int
    efforts: Sequence[float]
    """What `target` takes, cheapest first."""

    def memory_bytes(self) -> int:
        """Memory that the data set takes, or the whole server where that cannot be told apart."""
        ...

    def target(self, effort: float) -> Target | WireTarget:
        """The queries of the data set at an effort, which holds until the next one is asked for."""
        ...


def found_by(target: Target | WireTarget, count: int) -> list[list[int]]:
    """The ids that each of the first `count` queries finds."""
    if not hasattr(target, "open"):
        return asyncio.run(_found_by_async(target, count))
    connections = open_all(target, 1)
    try:
        calls = closed_loop(connections, [0], target.query_count, PATIENCE_S, count)
    finally:
        for connection in connections:
            connection.socket.close()
    return [target.read(call.reply).ids for call in calls]


async def _found_by_async(target: Target, count: int) -> list[list[int]]:
    async with target.connect() as call:
        return [target.read(await call(query)).ids for query in range(count)]


def tune(peer: Peer, dataset: Dataset, k: int, wanted: float) -> Tuned:
    """The smallest effort at which the engine finds the share `wanted` of the exact neighbours."""
    answers = dataset.answers(k)[: peer.tuning_queries]
    best = Tuned(0, 0.0)
    for effort in peer.efforts:
        found = found_by(peer.target(effort), len(answers))
        best = max(best, Tuned(effort, recall(found, answers, k)), key=lambda tuned: tuned.recall)
        if best.recall >= wanted:
            break
    return best
