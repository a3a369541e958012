"""The command line: `python -m benchmarks run`, see README.md beside this file."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.datasets import RECIPES
from benchmarks.measure import EFFORTS
from benchmarks.run_race import PEERS

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTS = ("race", "ladder", "life", "growth", "store")
DEFAULT_DATASETS = "synthetic-512,synthetic-2048,movies,glove,fashion-mnist"
DEFAULT_INDEX_DATASETS = "synthetic-512,synthetic-2048,glove,fashion-mnist,wordnet"


def main() -> int:
    """Runs a benchmark; the exit code is 1 where a bar is missed on the data it was stated for."""
    options = _parser().parse_args()
    # What was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A pipe or a log file has no width of its own.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    _require(options.dataset, RECIPES, "data sets")
    return int(options.command(options, console))


def _run(options: argparse.Namespace, console: Console) -> int:
    from benchmarks.parts import Settings, run_parts
    from benchmarks.report import print_bars

    _require(options.parts, PARTS, "parts")
    _require(options.sources, EFFORTS, "sources")
    _require(options.peers, PEERS, "peers")
    settings = Settings(
        options.dataset,
        options.rows,
        options.resolutions,
        options.sources,
        options.peers,
        options.growth,
        options.in_flight,
        options.seconds,
        options.k,
        options.processes,
        options.out,
    )
    bars = run_parts(options.parts, settings, console)
    print_bars(console, bars)
    return 0 if all(bar.holds for bar in bars if bar.binds) else 1


def _index_types(options: argparse.Namespace, console: Console) -> int:
    from benchmarks.index_types import run

    run(options.dataset, options.rows, options.indexes, options.out, console, options.graph_parameters)
    return 0


def _calibrated(options: argparse.Namespace, console: Console) -> int:
    from benchmarks.calibrated import run

    return 0 if run(options.dataset, options.rows, options.cores, options.out, console) else 1


def _require(given: Iterable[str], known: Iterable[str], what: str) -> None:
    if unknown := set(given) - set(known):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; {what}: {', '.join(known)}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmarks of the service.")
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser(
        "run", help="measure recall and speed", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = run.add_argument
    add("--parts", type=_words, default=",".join(PARTS), metavar="NAME,...", help=f"of {', '.join(PARTS)}")
    add("--dataset", type=_words, default=DEFAULT_DATASETS, metavar="NAME,...", help=f"of {', '.join(RECIPES)}")
    add("--rows", type=int, help="base rows at most (by data set; race and life: 100,000)")
    add("--peers", type=_words, default=",".join(PEERS), metavar="NAME,...", help="who else takes part in the race")
    add("--growth", type=_numbers, default="10000,100000", metavar="N,...", help="numbers of items; 1000000 takes long")
    add("--resolutions", type=_numbers, metavar="D,...", help="prefixes with an index of their own (by data set)")
    add("--sources", type=_words, default=",".join(EFFORTS), metavar="NAME,...", help="who answers")
    add("--in-flight", type=_numbers, default="1,8", metavar="N,...", help="requests in flight")
    add("--seconds", type=float, default=2.0, help="time a measurement takes")
    add("--k", type=int, default=10, help="hits a search, at most 100")
    add("--processes", type=int, default=2, help="processes that make load")
    add("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    run.set_defaults(command=_run)
    types = commands.add_parser(
        "index-types", help="compare index types in one process", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = types.add_argument
    add("--dataset", type=_words, default=DEFAULT_INDEX_DATASETS, metavar="NAME,...", help=f"of {', '.join(RECIPES)}")
    add("--rows", type=int, help="base rows at most (by data set)")
    add("--indexes", type=_words, default=(), metavar="NAME,...", help="index types to compare (all)")
    add("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    add("--graph-parameters", type=int, metavar="D", help="compare M and efConstruction on D components instead")
    types.set_defaults(command=_index_types)
    promise = commands.add_parser(
        "calibrated",
        help="hold segments against their promises",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = promise.add_argument
    add("--dataset", type=_words, default=DEFAULT_INDEX_DATASETS, metavar="NAME,...", help=f"of {', '.join(RECIPES)}")
    add("--rows", type=int, help="base rows at most (by data set)")
    add("--cores", type=int, default=1, help="threads of a build")
    add("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    promise.set_defaults(command=_calibrated)
    return parser


if __name__ == "__main__":
    sys.exit(main())
