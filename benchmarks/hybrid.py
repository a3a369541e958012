"""How good hybrid search is beside text and vector alone: `python -m benchmarks.hybrid`.

    python -m benchmarks.hybrid --documents docs.jsonl --queries queries.tsv --judgements qrels.txt

A real server over an embedded Postgres gets the documents with WordLlama's vectors; every question is asked as it is
written, and the service embeds it. Without files, the bundled films are judged by the people who like them (see
`judged.bundled`). The exit code is 0 only where the default settings beat both arms alone in nDCG@10.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.judged import Judged, JudgedError, bundled, ndcg, read, recall
from benchmarks.servers import service
from retrieval.client import RetrievalClient
from retrieval.embedding.wordllama import DIMENSION, MODEL, WordLlamaEmbedder
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import retrieval_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).resolve().parent / "results"
COLLECTION = "judged"
BATCH = 500
LISTED = 100
TIMED = 200
IN_FLIGHT = 2
MAX_QUESTION_BYTES = 16_000
BUILD_TIMEOUT_S = 600.0

DEFAULT = "hybrid, by scores (default)"
ALONE = ("text", "vector")
SYSTEMS = {
    "text": pb.SearchHybridRequest(mode=pb.HYBRID_MODE_TEXT),
    "vector": pb.SearchHybridRequest(mode=pb.HYBRID_MODE_VECTOR),
    DEFAULT: pb.SearchHybridRequest(),
    "hybrid, by ranks": pb.SearchHybridRequest(
        fusion=pb.HYBRID_FUSION_RECIPROCAL_RANKS, text_weight=1.0, vector_weight=1.0
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """What one way of asking gave. `p50_ms`: of pages of ten, one question at a time."""

    name: str
    ndcg_10: float
    recall_100: float
    p50_ms: float
    empty: float


async def load(client: RetrievalClient, judged: Judged, language: str) -> None:
    """Create the collection, write the documents with their vectors, build the indexes."""
    await client.collections.CreateCollection(
        collections_pb.CreateCollectionRequest(
            collection=collections_pb.Collection(name=COLLECTION, text_language=language),
            embedding_version=collections_pb.EmbeddingVersion(model=MODEL, dimension=DIMENSION),
        )
    )
    embedder, rows = WordLlamaEmbedder(), list(judged.documents.items())
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        vectors = await asyncio.to_thread(embedder.embed, [text for _, text in batch])
        items = [common_pb.Item(item_id=item_id, text=text) for item_id, text in batch]
        for item, vector in zip(items, vectors, strict=True):
            if vector.any():
                item.chunks.add(vector=common_pb.Vector(float32_le=vector.astype("<f4").tobytes()))
        await client.upsert_items(COLLECTION, items)
    await client.collections.BuildIndex(collections_pb.BuildIndexRequest(collection=COLLECTION))
    deadline = time.monotonic() + BUILD_TIMEOUT_S
    while time.monotonic() < deadline:
        stats = await client.collections.GetIndexStats(collections_pb.GetIndexStatsRequest(collection=COLLECTION))
        if all(index.state == collections_pb.INDEX_STATE_READY for index in stats.indexes):
            return
        await asyncio.sleep(0.2)
    raise JudgedError("the indexes were not built in time")


async def ask(client: RetrievalClient, system: str, question: str, limit: int) -> list[str]:
    """Ids of the hits of one question."""
    request = pb.SearchHybridRequest(collection=COLLECTION, text=question, options=common_pb.SearchOptions(limit=limit))
    request.MergeFrom(SYSTEMS[system])
    reply = await client.retrieval.SearchHybrid(request, timeout=60.0)
    return [hit.item_id for hit in reply.hits]


async def measure(client: RetrievalClient, system: str, judged: Judged) -> Row:
    """Ask every question, and time some of them."""
    questions = {key: _clipped(text) for key, text in judged.questions.items()}
    free = asyncio.Semaphore(IN_FLIGHT)

    async def one(question: str) -> list[str]:
        async with free:
            return await ask(client, system, question, LISTED)

    found = dict(zip(questions, await asyncio.gather(*map(one, questions.values())), strict=True))
    times = []
    for question in list(questions.values())[:TIMED]:
        since = time.perf_counter()
        await ask(client, system, question, 10)
        times.append((time.perf_counter() - since) * 1e3)
    grades = judged.grades
    return Row(
        system,
        float(np.mean([ndcg(found[key], grades[key]) for key in questions])),
        float(np.mean([recall(found[key], grades[key]) for key in questions])),
        float(np.median(times)),
        float(np.mean([not found[key] for key in questions])),
    )


def _clipped(question: str) -> str:
    return question.encode()[:MAX_QUESTION_BYTES].decode(errors="ignore")


async def run(judged: Judged, language: str) -> list[Row]:
    """Start the service, load, and ask in every way."""
    say(f"{judged.name}: {len(judged.documents):,} documents, {len(judged.questions):,} questions")
    with tempfile.TemporaryDirectory(prefix="hybrid-") as name:
        folder = Path(name)
        with service(folder / "data", folder / "server.log") as server:
            async with RetrievalClient(server.address) as client:
                await load(client, judged, language)
                rows = []
                for system in SYSTEMS:
                    rows.append(await measure(client, system, judged))
                    say(f"{system}: nDCG@10 {rows[-1].ndcg_10:.4f}")
                return rows


def passed(rows: Sequence[Row]) -> bool:
    """Whether the default settings beat both arms alone in nDCG@10."""
    by_name = {row.name: row.ndcg_10 for row in rows}
    return all(by_name[DEFAULT] > by_name[name] for name in ALONE)


def table(judged: Judged, rows: Sequence[Row]) -> str:
    """The figures in Markdown."""
    lines = [
        f"{judged.name}: {len(judged.documents):,} documents, {len(judged.questions):,} questions",
        "",
        "| search | nDCG@10 | recall@100 | p50, ms | without a hit |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {r.name} | {r.ndcg_10:.4f} | {r.recall_100:.4f} | {r.p50_ms:.1f} | {100 * r.empty:.1f} % |"
            for r in rows
        ),
        "",
        f"{'PASS' if passed(rows) else 'FAIL'}: the default settings beat text and vector alone in nDCG@10",
        "",
    ]
    return "\n".join(lines)


def plot(path: Path, judged: Judged, rows: Sequence[Row]) -> None:
    """nDCG@10 and recall@100 beside each other."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(1, 2, figsize=(9.6, 2.6), layout="constrained", sharey=True)
        for axis, measure_name, title in zip(axes, ("ndcg_10", "recall_100"), ("nDCG@10", "recall@100"), strict=True):
            values = [getattr(row, measure_name) for row in rows][::-1]
            colours = ["#0072b2" if row.name == DEFAULT else "#999999" for row in rows][::-1]
            bars = axis.barh([row.name for row in rows][::-1], values, color=colours)
            axis.bar_label(bars, fmt="%.3f", padding=3)
            axis.set_title(title)
            axis.set_xlim(0, max(values) * 1.15)
            axis.tick_params(left=False)
        figure.suptitle(f"{judged.name}: {len(judged.documents):,} documents, {len(judged.questions):,} questions")
        figure.savefig(path, dpi=130)
        plt.close(figure)


def say(line: str) -> None:
    """A line of progress."""
    sys.stderr.write(line + "\n")


def main() -> int:
    """Run; 0 where the default settings beat both arms alone in nDCG@10."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, help='JSON lines {"id", "title", "text"}, or id<TAB>text')
    parser.add_argument("--queries", type=Path, help="id<TAB>text, or JSON lines")
    parser.add_argument("--judgements", type=Path, help="query document grade, or TREC qrels")
    parser.add_argument("--language", default="english", help="text language of the documents")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for figures and plot")
    options = parser.parse_args()
    files = [options.documents, options.queries, options.judgements]
    if any(files) and not all(files):
        parser.error("--documents, --queries and --judgements go together")
    try:
        judged = read(*files) if all(files) else bundled()
    except (JudgedError, OSError, ValueError) as error:
        sys.exit(str(error))
    rows = asyncio.run(run(judged, options.language))
    options.results.mkdir(parents=True, exist_ok=True)
    figures = {"collection": judged.name, "passed": passed(rows), "rows": [asdict(row) for row in rows]}
    (options.results / f"hybrid-{judged.name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    plot(options.results / f"hybrid-{judged.name}.png", judged, rows)
    sys.stdout.write(table(judged, rows))
    return 0 if passed(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
