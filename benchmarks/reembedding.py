"""What searches notice of a collection being embedded anew: `python -m benchmarks.reembedding`.

    python -m benchmarks.reembedding --items 50000 --seconds 10 --in-flight 2

A real server over an embedded Postgres gets the bundled films, again and again until there are enough of them, and
embeds their texts itself. Searches for similar items run all the time while the collection is embedded anew with half
the components, activated, and rolled back in the end. Every reply is held against the vectors of the
version that it names: a hit whose score is not of that version is counted as mixed. The exit code is 0 only where no
search failed and none was mixed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np

from benchmarks.servers import service
from retrieval.client import RetrievalClient
from retrieval.client.indexes import build_indexes
from retrieval.client.reembedding import Wanted, reembed
from retrieval.embedding.wordllama import DIMENSION, MODEL, WordLlamaEmbedder
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.v1 import retrieval_service_pb2 as retrieval_pb

RESULTS = Path(__file__).resolve().parent / "results"
FILMS = Path(__file__).resolve().parents[1] / "examples" / "movies" / "items.jsonl"
COLLECTION = "reembedded"
SHORT = DIMENSION // 2
BATCH = 500
TOLERANCE = 5e-3
"""Scores come of half-precision components."""
PATIENCE_S = 3600.0
WARMING_S = 2.0


@dataclass(slots=True)
class Phase:
    """Searches of one part of the run. `mixed`: replies with a hit that is not scored as by their version."""

    name: str
    failed: int = 0
    mixed: int = 0
    latencies_ms: list[float] = field(default_factory=list, repr=False)
    versions: dict[int, int] = field(default_factory=dict)

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.latencies_ms, percent)) if self.latencies_ms else 0.0


class Searches:
    """Searches for similar items, `in_flight` at a time, until stopped; `phase` is where they are counted."""

    def __init__(self, client: RetrievalClient, vectors: NDArray[np.float32]) -> None:
        self._client = client
        self._vectors = vectors
        self._places = {f"{n:06d}": n for n in range(len(vectors))}
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.phase = Phase("warming")

    def start(self, in_flight: int) -> None:
        self._tasks = [asyncio.create_task(self._search(seed)) for seed in range(in_flight)]

    async def stop(self) -> None:
        self._stopped.set()
        await asyncio.gather(*self._tasks)

    async def _search(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        options = common_pb.SearchOptions(limit=10)
        while not self._stopped.is_set():
            number = int(rng.integers(len(self._vectors)))
            phase, since = self.phase, time.perf_counter()
            try:
                reply = await self._client.similar(COLLECTION, [f"{number:06d}"], options=options, timeout_s=30.0)
            except grpc.aio.AioRpcError as error:
                phase.failed += 1
                say(f"a search failed: {error.code().name} {error.details()}")
                continue
            phase.latencies_ms.append((time.perf_counter() - since) * 1e3)
            version = reply.info.embedding_version
            phase.versions[version] = phase.versions.get(version, 0) + 1
            phase.mixed += self._is_mixed(number, version, reply)

    def _is_mixed(self, number: int, version: int, reply: retrieval_pb.SearchSimilarItemsResponse) -> bool:
        length = DIMENSION if version == 1 else SHORT
        rows = self._vectors[[number, *(self._places[hit.item_id] for hit in reply.hits)], :length]
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        scores = np.array([hit.score for hit in reply.hits])
        return len(scores) == 0 or bool(np.abs(rows[1:] @ rows[0] - scores).max() > TOLERANCE)


def texts_of(count: int) -> list[str]:
    """The texts of the films, again with a number until there are so many."""
    films = [json.loads(line)["text"] for line in FILMS.read_text(encoding="utf-8").splitlines() if line]
    return [films[n % len(films)] if n < len(films) else f"{films[n % len(films)]}, part {n}" for n in range(count)]


async def fill(client: RetrievalClient, texts: list[str]) -> float:
    """Write the items and wait until the service has embedded them; the seconds that took."""
    since = time.perf_counter()
    await client.collections.CreateCollection(
        collections_pb.CreateCollectionRequest(
            collection=collections_pb.Collection(name=COLLECTION),
            embedding_version=collections_pb.EmbeddingVersion(model=MODEL, dimension=DIMENSION, embeds_text=True),
        )
    )
    for start in range(0, len(texts), BATCH):
        batch = enumerate(texts[start : start + BATCH], start)
        await client.upsert_items(COLLECTION, [common_pb.Item(item_id=f"{n:06d}", text=t) for n, t in batch])
    async with asyncio.timeout(PATIENCE_S):
        while True:
            (stats,) = (await client.embedding_jobs.stats(COLLECTION)).versions
            if stats.done == len(texts) and not stats.queued and not stats.leased:
                return time.perf_counter() - since
            await asyncio.sleep(0.5)


async def run(count: int, seconds: float, in_flight: int) -> dict[str, object]:
    """All of it; the figures."""
    texts = texts_of(count)
    vectors = await asyncio.to_thread(WordLlamaEmbedder().embed, texts)
    before, during, after, back = (Phase(name) for name in ("before", "during", "activated", "rolled back"))
    with (
        tempfile.TemporaryDirectory(prefix="retrieval-bench-", ignore_cleanup_errors=True) as folder,
        service(Path(folder), Path(folder) / "service.log") as server,
    ):
        async with RetrievalClient(server.address) as client:
            filled_s = await fill(client, texts)
            say(f"{count} texts written and embedded in {filled_s:.0f} s")
            await build_indexes(client.collections, COLLECTION, lambda *_: None)
            searches = Searches(client, vectors)
            searches.start(in_flight)
            await asyncio.sleep(WARMING_S)
            searches.phase = before
            await asyncio.sleep(seconds)
            searches.phase = during
            since = time.perf_counter()
            done = await reembed(server.address, Wanted(COLLECTION, MODEL, SHORT), lambda *_: None)
            took_s = time.perf_counter() - since
            searches.phase = after
            await asyncio.sleep(seconds)
            searches.phase = back
            await client.collections.RollbackEmbeddingVersion(
                collections_pb.RollbackEmbeddingVersionRequest(collection=COLLECTION)
            )
            await asyncio.sleep(seconds)
            await searches.stop()
    phases = [before, during, after, back]
    return {
        "items": count,
        "in_flight": in_flight,
        "first_fill_s": filled_s,
        "reembed_s": took_s,
        "texts_per_s": done.embedded / took_s,
        "phases": [
            {
                **{k: v for k, v in asdict(phase).items() if k != "latencies_ms"},
                "searches": len(phase.latencies_ms),
                "p50_ms": phase.percentile(50),
                "p99_ms": phase.percentile(99),
            }
            for phase in phases
        ],
    }


def table(figures: dict[str, object]) -> str:
    """The figures for people."""
    rate = f"{figures['texts_per_s']:.0f} texts/s beside {figures['in_flight']} searches in flight"
    lines = [
        f"{figures['items']} texts embedded anew in {figures['reembed_s']:.0f} s, indexes included: {rate}",
        "",
        "| phase | searches | failed | mixed | p50 ms | p99 ms | by version |",
        "|---|---|---|---|---|---|---|",
    ]
    for p in figures["phases"]:  # type: ignore[attr-defined]
        versions = ", ".join(f"{version}: {count}" for version, count in sorted(p["versions"].items()))
        lines.append(
            f"| {p['name']} | {p['searches']} | {p['failed']} | {p['mixed']} | {p['p50_ms']:.1f} | {p['p99_ms']:.1f} "
            f"| {versions} |"
        )
    return "\n".join([*lines, ""])


def say(line: str) -> None:
    """A line of progress."""
    sys.stderr.write(line + "\n")


def main() -> int:
    """Run; 0 where no search failed or was mixed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of searches before, after activation and rollback")
    parser.add_argument("--in-flight", type=int, default=2, help="searches at the same time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the figures")
    options = parser.parse_args()
    figures = asyncio.run(run(options.items, options.seconds, options.in_flight))
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "reembedding.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(figures))
    return int(any(p["failed"] or p["mixed"] for p in figures["phases"]))  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
