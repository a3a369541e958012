"""Tables for the terminal, JSON for other programs, a plot for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.table import Table

from retrieval.v1 import collection_service_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from benchmarks.bars import Bar
    from benchmarks.rows import Row

IndexStats = collection_service_pb2.IndexStats

COLOURS = {"hnsw": "#0072b2", "ivfflat": "#d55e00", "exact": "#009e73", "funnel": "#cc79a7"}
"""The colours of Okabe and Ito, which the colour-blind can tell apart (jfly.uni-koeln.de/color)."""


def print_rows(console: Console, title: str, rows: Sequence[Row]) -> None:
    """A table with the recall beside every speed."""
    table = Table(title=title, title_justify="left")
    for name in ("engine", "source", "filter"):
        table.add_column(name, no_wrap=True)
    recall = f"recall@{rows[0].k}" if rows else "recall"
    for name in ("ef / nprobe", "in flight", recall, "QPS", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    ordered = sorted(rows, key=lambda r: (r.in_flight, -(r.bucket_below or 1000), r.source, r.effort, r.engine))
    for row, after in zip(ordered, [*ordered[1:], None], strict=True):
        source = f"{row.source} > {row.answered_by}" if row.source == "auto" else row.source
        table.add_row(
            row.engine,
            source + (" (default)" if row.default else ""),
            "" if row.bucket_below is None else f"{row.bucket_below / 10:g} %",
            str(row.effort or ""),
            str(row.in_flight),
            "" if row.recall is None else f"{row.recall:.4f}",
            f"{row.qps:,.0f}",
            *(f"{ms:.2f}" for ms in (row.p50_ms, row.p95_ms, row.p99_ms)),
            end_section=after is not None and (after.in_flight, after.source) != (row.in_flight, row.source),
        )
    console.print(table)


def print_indexes(console: Console, indexes: Sequence[IndexStats]) -> None:
    """Sizes and build times."""
    table = Table(title="indexes", title_justify="left")
    for name in ("kind", "dim", "parameters", "size", "build"):
        table.add_column(name, justify="left" if name in {"kind", "parameters"} else "right")
    for index in indexes:
        kind = collection_service_pb2.IndexKind.Name(index.kind).removeprefix("INDEX_KIND_").lower()
        graph = f"m {index.m}, ef_construction {index.ef_construction}" if index.m else ""
        parameters = f"{index.lists} lists" if index.lists else graph
        size, build = f"{index.size_bytes / 2**20:,.1f} MiB", f"{index.build_ms / 1000:.1f} s"
        table.add_row(kind, str(index.dimension or ""), parameters, size, build)
    console.print(table)


def print_bars(console: Console, bars: Sequence[Bar]) -> None:
    """PASS or FAIL, the promise, and what was measured; yes or no where the bar was stated for other data."""
    for bar in bars:
        binding = "[bold green]PASS[/]" if bar.holds else "[bold red]FAIL[/]"
        verdict = binding if bar.binds else f"[dim]{'yes ' if bar.holds else 'no  '}[/]"
        console.print(f"{verdict}  {bar.promise}: [bold]{bar.evidence}[/]", highlight=False, soft_wrap=True)


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """All rows as a JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n", encoding="utf-8")


def plot(path: Path, rows: Sequence[Row]) -> None:
    """Recall against queries a second, a panel for each number of requests in flight."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    levels = sorted({row.in_flight for row in rows})
    shown = [row for row in rows if row.bucket_below is None and not (row.default and row.engine == "retrieval")]
    curves = [row for row in shown if row.recall is not None]
    if not curves:
        return
    # At least two points of recall: on easy data, differences below that are noise.
    lowest = min(0.98, *(row.recall for row in curves))
    width = 1.0 - lowest
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(
            1, len(levels), figsize=(5.4 * len(levels) + 0.6, 4.9), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, level in zip(axes[0], levels, strict=True):
            _panel(axis, [row for row in shown if row.in_flight == level], width)
            axis.set_title(f"{level} request{'s' if level > 1 else ''} in flight", fontsize=11)
            axis.set_xlabel(f"recall@{rows[0].k}, of the replies that were timed")
            axis.set_xlim(lowest - 0.06 * width, 1.0 + 0.06 * width)
        axes[0][0].set_ylabel("queries a second (log scale)")
        first = rows[0]
        figure.suptitle(f"{first.dataset}: {first.n:,} vectors of {first.dim} dimensions", fontweight="bold")
        lines = {label: line for axis in axes[0] for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=min(len(lines), 4), frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def _panel(axis, rows: Sequence[Row], width: float) -> None:
    from matplotlib.ticker import StrMethodFormatter

    axis.set_yscale("log", subs=(2, 5))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.yaxis.set_minor_formatter(StrMethodFormatter("{x:,.0f}"))
    labelled: list[tuple[float, float]] = []
    axis.grid(visible=True, which="both", alpha=0.25, linewidth=0.6)
    for source, colour in COLOURS.items():
        for engine in ("asyncpg", "retrieval"):
            points = [r for r in rows if (r.engine, r.source, r.default) == (engine, source, False)]
            points.sort(key=lambda r: (r.effort, r.recall))
            if not points:
                continue
            own = engine == "retrieval"
            axis.plot(
                [r.recall for r in points],
                [r.qps for r in points],
                label=source if own else f"{source}, bare asyncpg",
                color=colour,
                alpha=1.0 if own else 0.55,
                linestyle="-" if own else ":",
                linewidth=2.0 if own else 1.4,
                marker="*" if source == "funnel" else "o" if own else "x",
                markersize=13 if source == "funnel" else 5,
            )
            if own and len(points) > 1:
                for r in points:
                    if any(abs(r.recall - x) < 0.05 * width and 0.8 < r.qps / y < 1.25 for x, y in labelled):
                        continue  # it would cover another one
                    labelled.append((r.recall, r.qps))
                    axis.annotate(str(r.effort), (r.recall, r.qps), (5, 5), textcoords="offset points", fontsize=7.5)
    for echo in (r for r in rows if r.engine == "echo"):
        axis.axhline(echo.qps, color="0.35", linestyle="--", linewidth=1.2, label="empty RPC (echo server)")
