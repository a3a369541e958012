"""How speed, memory, restarts and builds grow with the number of items, at equal recall."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import datasets
from benchmarks.bare_faiss import BareFaiss, newest_segment
from benchmarks.bars import Bar
from benchmarks.cores import SERVER_CORE, memory_bytes
from benchmarks.database import database_url, version_id
from benchmarks.life import Memory, by_hand, restart_s, touch
from benchmarks.loading import cache, index_stats
from benchmarks.peers.own import OwnPeer
from benchmarks.peers.peer import tune
from benchmarks.servers import service
from retrieval.faiss_cache.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from benchmarks.datasets import Dataset
    from benchmarks.load import LoadGenerator
    from benchmarks.servers import Server
    from retrieval.faiss_cache.manifest import Manifest
    from retrieval.v1 import collection_service_pb2

NAME = "synthetic-512"
WANTED = 0.95
IN_FLIGHT = 8
RESTARTS = 3
SMALL, LARGE = 100_000, 1_000_000
SLOWER = 1.6
STRUCTURE_SHARE = 1.3
SECOND_SHARE = 0.25
RESTART_S = 2.0


@dataclass(frozen=True)
class Size:
    """The figures of one number of items. `recall` is that of the replies whose `qps` was measured."""

    rows: int
    recall: float
    qps: float
    p50_ms: float
    build_s: float
    segment_bytes: int
    map_ms: float
    restart_s: float
    cold_s: float | None
    """From the start of a process without a segment to its first correct answer from FAISS; up to `SMALL` rows."""
    memory: Memory

    def as_json(self) -> dict[str, object]:
        """The figures, rounded."""
        flat = {name: value for name, value in asdict(self).items() if name != "memory"}
        flat |= asdict(self.memory) | {"second_share": self.memory.second_share}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in flat.items()}


def grow(
    sizes: Sequence[int], logs: Path, generator: LoadGenerator, seconds: float, k: int, console: Console
) -> list[Size]:
    """Measures every number of items, the smallest first; each has a database of its own."""
    found = []
    with BareFaiss() as bare:
        for rows in sorted(sizes):
            console.rule(f"{NAME}: {rows:,} items")
            with console.status(f"preparing {rows:,} rows"):
                dataset = datasets.load(NAME, rows, ())
            data_dir = datasets.CACHE / f"data-{rows}"
            with service(data_dir, logs / "home.log") as home:
                asyncio.run(cache(dataset, home.address, console))
                held = asyncio.run(index_stats(home.address, dataset.key)).cache
            # From here on nobody but the processes that are measured maps the segment.
            with service(data_dir, logs / "home.log", cache_memory_budget_bytes="0") as home:
                trial = Trial(dataset, data_dir, database_url(data_dir), held, home, logs, k)
                found.append(trial.measure(generator, bare, seconds, console))
    return found


@dataclass(frozen=True)
class Trial:
    """One number of items, loaded and cached. `home` keeps the database and has no cache itself."""

    dataset: Dataset
    data_dir: Path
    url: str
    held: collection_service_pb2.CacheStats
    home: Server
    logs: Path
    k: int

    def measure(self, generator: LoadGenerator, bare: BareFaiss, seconds: float, console: Console) -> Size:
        """Restarts, then a worker under load, then a second one beside it."""
        dataset, k = self.dataset, self.k
        folder = newest_segment(self.data_dir / "cache", asyncio.run(version_id(self.url, dataset.key)))
        maps = [bare.map_s(folder, dataset.queries, k) for _ in range(RESTARTS)]
        settings = {"front": "native", "database_url": self.url}
        log = self.logs / "restart.log"
        restarts = [restart_s(dataset, self.data_dir, log, k, settings) for _ in range(RESTARTS)]
        cold = None
        if dataset.rows <= SMALL:  # beyond, it is the time of the build
            with tempfile.TemporaryDirectory() as empty:
                cold = restart_s(dataset, self.data_dir, log, k, {**settings, "cache_dir": empty})
        with self._worker("first") as first:
            peer = OwnPeer(dataset, k, first.address, "native", [first.pid], 0.0, self.held.size_bytes)
            tuned = tune(peer, dataset, k, WANTED)
            fast = generator.run(peer.target(tuned.effort), IN_FLIGHT, seconds)
            one = generator.run(peer.target(tuned.effort), 1, seconds)
            memory = self._memory(first, read_manifest(folder))
        size = Size(
            dataset.rows,
            fast.recall(dataset.answers(k), k),
            fast.qps,
            one.percentile(50),
            self.held.build_ms / 1e3,
            self.held.size_bytes,
            float(np.median(maps)) * 1e3,
            float(np.median(restarts)),
            cold,
            memory,
        )
        console.print(size.as_json(), highlight=False)
        return size

    @contextmanager
    def _worker(self, name: str) -> Iterator[Server]:
        log = self.logs / f"{name}.log"
        with service(self.data_dir, log, SERVER_CORE, front="native", database_url=self.url) as server:
            asyncio.run(cache(self.dataset, server.address, None))
            yield server

    def _memory(self, first: Server, manifest: Manifest) -> Memory:
        alone = touch(self.dataset, first, self.k)
        own = memory_bytes(first.pid, "Pss_Anon") - memory_bytes(self.home.pid, "Pss_Anon")
        with self._worker("second") as second:
            both = touch(self.dataset, second, self.k) + memory_bytes(first.pid)
        rows = self.dataset.rows
        theory = by_hand(manifest.full_dimension, manifest.dimension, manifest.m)
        return Memory(alone, both - alone, (self.held.size_bytes + own) / rows, theory)


def judge_growth(found: Sequence[Size]) -> list[Bar]:
    """The bars of growth; they bind at the sizes they were stated for."""
    by_rows = {size.rows: size for size in found}
    if not found:
        return []
    last = max(found, key=lambda size: size.rows)
    stated = last.rows >= LARGE
    memory = last.memory
    bars = [
        Bar(
            f"{last.rows:,} items: restart to the first correct answer <= {RESTART_S:g} s",
            last.restart_s <= RESTART_S,
            f"{last.restart_s:.2f} s, of which {last.map_ms:.0f} ms map the segment",
            stated,
        ),
        Bar(
            f"{last.rows:,} items: a second worker adds <= {SECOND_SHARE:.0%} of the first one's memory",
            memory.second_share <= SECOND_SHARE,
            f"{memory.second_share:.1%} ({memory.added_bytes / 2**20:,.0f} on {memory.first_bytes / 2**20:,.0f} MiB)",
            stated,
        ),
        Bar(
            f"{last.rows:,} items: bytes an item <= {STRUCTURE_SHARE} x vectors and graph by hand",
            memory.bytes_per_item <= STRUCTURE_SHARE * memory.by_hand_per_item,
            f"{memory.bytes_per_item / memory.by_hand_per_item:.2f} x"
            f" ({memory.bytes_per_item:,.0f} against {memory.by_hand_per_item:,.0f} bytes)",
            last.rows >= SMALL,
        ),
    ]
    if SMALL in by_rows and LARGE in by_rows:
        small, large = by_rows[SMALL], by_rows[LARGE]
        ratio = small.qps / large.qps
        evidence = (
            f"{ratio:.2f} x ({small.qps:,.0f} to {large.qps:,.0f}; recall {small.recall:.4f}, {large.recall:.4f})"
        )
        holds = ratio <= SLOWER and min(small.recall, large.recall) >= WANTED
        bars.append(Bar(f"100k -> 1M items: QPS falls by at most {SLOWER} x at recall >= {WANTED}", holds, evidence))
    return bars


def plot_growth(path: Path, found: Sequence[Size]) -> None:
    """Four figures against the number of items."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    panels = (
        (f"queries a second, {IN_FLIGHT} in flight", lambda s: s.qps, "log"),
        ("build of the segment, seconds", lambda s: s.build_s, "log"),
        ("restart to first answer, seconds", lambda s: s.restart_s, "linear"),
        ("bytes an item", lambda s: s.memory.bytes_per_item, "linear"),
    )
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(1, len(panels), figsize=(4.0 * len(panels), 3.8), layout="constrained")
        x = [size.rows for size in found]
        for axis, (title, value, scale) in zip(axes, panels, strict=True):
            y = [value(size) for size in found]
            axis.plot(x, y, "o-", color="#0072b2", ms=5)
            for size, at in zip(found, y, strict=True):
                note = f"{at:,.0f}" if at >= 100 else f"{at:,.2f}"
                if value is panels[0][1]:
                    note += f"\nrecall {size.recall:.3f}"
                axis.annotate(note, (size.rows, at), (0, 7), textcoords="offset points", fontsize=8, ha="center")
            axis.set_xscale("log")
            axis.set_yscale(scale, **({"subs": (2, 5)} if scale == "log" else {}))
            for side in (axis.xaxis, axis.yaxis):
                side.set_major_formatter("{x:,g}")
                side.set_minor_formatter("{x:,g}" if side is axis.yaxis and scale == "log" else "")
            axis.set_ylim(*((min(y) / 2, max(y) * 2) if scale == "log" else (0, max(y) * 1.3)))
            axis.margins(x=0.2)
            axis.grid(visible=True, alpha=0.25, lw=0.6)
            axis.set_title(title, fontsize=11)
            axis.set_xlabel("items (log scale)")
        figure.suptitle(f"{NAME}: growth at recall >= {WANTED}, one core", fontweight="bold")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
        plt.close(figure)
