"""The part `store`: starts the service without its cache, loads, measures what Postgres answers, reports."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import datasets
from benchmarks.bars import judge
from benchmarks.database import database_url, version_id
from benchmarks.load import LoadGenerator
from benchmarks.loading import index_stats, load
from benchmarks.measure import Bench, Place
from benchmarks.report import plot, print_indexes, print_rows, write_json
from benchmarks.servers import echo, service

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from benchmarks.bars import Bar
    from benchmarks.datasets import Dataset


@dataclass(frozen=True)
class Options:
    """What to measure."""

    datasets: tuple[str, ...]
    rows: int | None
    resolutions: tuple[int, ...] | None
    sources: tuple[str, ...]
    in_flight: tuple[int, ...]
    seconds: float
    k: int
    processes: int
    out: Path


def run(options: Options, console: Console) -> list[Bar]:
    """Measures every data set that is there; returns the bars of all of them."""
    chosen = [
        dataset
        for name in options.datasets
        if (dataset := get_dataset(name, options.rows, options.resolutions, console))
    ]
    data_dir = datasets.CACHE / "data"
    log = datasets.CACHE / "service.log"
    bars: list[Bar] = []
    with ExitStack() as stack:
        address = stack.enter_context(service(data_dir, log, cache_memory_budget_bytes="0")).address
        echo_address = stack.enter_context(echo()).address
        generator = stack.enter_context(LoadGenerator(options.processes))
        for dataset in chosen:
            console.rule(f"{dataset.name}: {dataset.rows:,} x {dataset.dim}")
            bars += _one(dataset, options, console, generator, data_dir, address, echo_address)
    return bars


def get_dataset(name: str, rows: int | None, resolutions: tuple[int, ...] | None, console: Console) -> Dataset | None:
    """The data set, or None with a line that says why it is skipped."""
    try:
        with console.status(f"preparing {name}"):
            return datasets.load(name, rows, resolutions)
    except datasets.DatasetMissingError as missing:
        console.print(f"[yellow]skipped[/] {name}: {missing}", highlight=False)
        return None


def _one(
    dataset: Dataset,
    options: Options,
    console: Console,
    generator: LoadGenerator,
    data_dir: Path,
    address: str,
    echo_address: str,
) -> list[Bar]:
    loaded = asyncio.run(load(dataset, address, data_dir, console))
    url = database_url(data_dir)
    place = Place(address, echo_address, url, loaded.collection, asyncio.run(version_id(url, loaded.collection)))
    bench = Bench(
        dataset,
        place,
        generator,
        console,
        options.sources,
        options.in_flight,
        options.seconds,
        options.k,
    )
    with console.status(f"measuring {dataset.name}"):
        found = bench.measure()
    indexes = list(asyncio.run(index_stats(address, loaded.collection)).indexes)
    bars = judge(dataset, found, loaded, indexes)
    print_rows(console, f"{dataset.name}, {dataset.rows:,} x {dataset.dim}", found.rows)
    print_indexes(console, indexes)
    write_json(options.out / f"{dataset.name}.json", found.rows)
    plot(options.out / f"{dataset.name}.png", found.rows)
    console.print(f"rows and plot: {options.out / dataset.name}.json, .png", highlight=False)
    return bars
