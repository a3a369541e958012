"""The parts of `python -m benchmarks run`: each starts what it needs, measures, writes its results, returns bars."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import psutil

from benchmarks import datasets, run
from benchmarks.bars import STATED_ROWS, Bar
from benchmarks.cores import LOAD_CORE, SERVER_CORE
from benchmarks.database import database_url
from benchmarks.growth import grow, judge_growth, plot_growth
from benchmarks.ladder import climb, judge_ladder
from benchmarks.life import search_while_building, upserts_to_searchable_ms
from benchmarks.load import LoadGenerator
from benchmarks.loading import cache
from benchmarks.race_bars import LONG, SHORT, judge_race
from benchmarks.race_report import plot_latency, plot_recall, print_race
from benchmarks.report import print_rows, write_json
from benchmarks.run_race import run_race
from benchmarks.servers import service

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

LOGS = datasets.CACHE / "logs"
BUSY_PERCENT = 15
SEARCHABLE_MS = 200.0
BUILDING_TIMES = 3.0


@dataclass(frozen=True)
class Settings:
    """What to run. `rows` None: what each part is stated for."""

    datasets: tuple[str, ...]
    rows: int | None
    resolutions: tuple[int, ...] | None
    sources: tuple[str, ...]
    peers: tuple[str, ...]
    sizes: tuple[int, ...]
    in_flight: tuple[int, ...]
    seconds: float
    k: int
    processes: int
    out: Path

    @property
    def stated_rows(self) -> int:
        """Rows of the synthetic sets."""
        return self.rows or STATED_ROWS


def run_parts(names: Sequence[str], settings: Settings, console: Console) -> list[Bar]:
    """Runs the parts in turn; returns the bars of all."""
    LOGS.mkdir(parents=True, exist_ok=True)
    bars: list[Bar] = []
    for name in names:
        if (busy := psutil.cpu_percent(1.0)) > BUSY_PERCENT:
            console.print(f"[yellow]note[/] the machine is {busy:.0f} % busy with other work: speeds will be low")
        bars += PARTS[name](settings, console)
    return bars


def race(settings: Settings, console: Console) -> list[Bar]:
    """The cache among its peers."""
    rows = run_race(settings.datasets, settings.stated_rows, settings.peers, settings.seconds, settings.k, console)
    print_race(console, rows)
    write_json(settings.out / "race.json", rows)
    plot_recall(settings.out / "race-recall.png", rows)
    for name, wanted in ((SHORT, 0.95), (LONG, 0.99)):
        plot_latency(settings.out / f"race-latency-{name}.png", [r for r in rows if r.dataset == name], wanted)
    return judge_race(rows)


def ladder(settings: Settings, console: Console) -> list[Bar]:
    """Recall of the cache at its targets and under filters, on every data set that is there."""
    bars: list[Bar] = []
    rows = []
    data_dir = datasets.CACHE / "data"
    with ExitStack() as stack:
        home = stack.enter_context(service(data_dir, LOGS / "home.log"))
        url = database_url(data_dir)
        own = stack.enter_context(service(data_dir, LOGS / "native.log", SERVER_CORE, front="native", database_url=url))
        generator = stack.enter_context(LoadGenerator(1, LOAD_CORE))
        for name in settings.datasets:
            dataset = run.get_dataset(name, settings.rows, (), console)
            if dataset is None:
                continue
            for server in (home, own):
                asyncio.run(cache(dataset, server.address, console))
            found = climb(dataset, own.address, generator, settings.seconds, settings.k)
            print_rows(console, f"{name}, {dataset.rows:,} x {dataset.dim}, filtered", found.rows)
            rows += found.rows
            bars += judge_ladder(found)
    write_json(settings.out / "ladder.json", rows)
    return bars


def life(settings: Settings, console: Console) -> list[Bar]:
    """Fresh writes and builds beside searches."""
    data_dir = datasets.CACHE / "data"
    dataset = datasets.load(SHORT, settings.stated_rows, ())
    with (
        service(data_dir, LOGS / "home.log", SERVER_CORE, front="native") as server,
        LoadGenerator(1, LOAD_CORE) as generator,
    ):
        asyncio.run(cache(dataset, server.address, console))
        with console.status("writing, and looking for what was written"):
            fresh = upserts_to_searchable_ms(dataset, server.address, settings.k)
        with console.status("searching while the next segment is built"):
            seconds = max(settings.seconds, 3.0)
            building = search_while_building(dataset, server, generator, seconds, settings.k)
    stated = dataset.rows >= STATED_ROWS
    ratio = building.busy_p99_ms / building.quiet_p99_ms
    throughout = "" if building.throughout else "; the build ended before"
    p50, p99 = (float(np.percentile(fresh, percent)) for percent in (50, 99))
    results = {"rows": dataset.rows, "upsert_p50_ms": p50, "upsert_p99_ms": p99, **asdict(building)}
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / "life.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return [
        Bar(
            f"upsert to searchable without a token: p99 <= {SEARCHABLE_MS:g} ms",
            p99 <= SEARCHABLE_MS,
            f"{p99:.0f} ms (p50 {p50:.0f} ms, {len(fresh)} writes)",
            stated,
        ),
        Bar(
            f"while a segment is built on the same core: p99 <= {BUILDING_TIMES:g} x quiet",
            ratio <= BUILDING_TIMES and building.throughout,
            f"{ratio:.2f} x ({building.busy_p99_ms:.2f} against {building.quiet_p99_ms:.2f} ms at"
            f" {building.in_flight} in flight, recall {building.busy_recall:.3f}{throughout})",
            stated,
        ),
    ]


def growth(settings: Settings, console: Console) -> list[Bar]:
    """Ever more items."""
    with LoadGenerator(1, LOAD_CORE) as generator:
        found = grow(settings.sizes, LOGS, generator, settings.seconds, settings.k, console)
    settings.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps([size.as_json() for size in found], indent=1)
    (settings.out / "growth.json").write_text(text + "\n", encoding="utf-8")
    plot_growth(settings.out / "growth.png", found)
    return judge_growth(found)


def store(settings: Settings, console: Console) -> list[Bar]:
    """Postgres alone."""
    return run.run(
        run.Options(
            settings.datasets,
            settings.rows,
            settings.resolutions,
            settings.sources,
            settings.in_flight,
            settings.seconds,
            settings.k,
            settings.processes,
            settings.out,
        ),
        console,
    )


PARTS: dict[str, Callable[[Settings, Console], list[Bar]]] = {
    "race": race,
    "ladder": ladder,
    "life": life,
    "growth": growth,
    "store": store,
}
