"""Tables and plots of the race."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks.rows import CDF_PERCENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.console import Console

    from benchmarks.rows import Row

STYLES = {
    ("retrieval", "native"): ("#0072b2", "-", "o"),
    ("retrieval", "grpcio"): ("#56b4e9", "-", "o"),
    ("RediSearch", "RESP"): ("#d55e00", "--", "s"),
    ("Redis vector set", "RESP"): ("#e69f00", "--", "s"),
    ("pgvector", "asyncpg"): ("#009e73", "--", "^"),
    ("Chroma", "HTTP"): ("#cc79a7", "--", "v"),
    ("Milvus Lite", "grpcio"): ("#7f7f7f", "--", "D"),
    ("echo", "native"): ("0.25", ":", ""),
    ("echo", "grpcio"): ("0.55", ":", ""),
}
"""The colours of Okabe and Ito; own engines in full lines, ceilings dotted."""


def print_race(console: Console, rows: Sequence[Row]) -> None:
    """The tuned engines, fastest first at each load, as shares of RediSearch's speed where that ran."""
    table = Table(title="every server on one core, load from the other", title_justify="left")
    for name in ("data", "recall >=", "in flight", "engine", "front"):
        table.add_column(name, no_wrap=True)
    for name in ("effort", "recall", "QPS", "x RediSearch", "p50 ms", "p99 ms", "build s", "bytes/item"):
        table.add_column(name, justify="right", no_wrap=True)
    tuned = [r for r in rows if r.wanted_recall is not None]
    order = sorted(tuned, key=lambda r: (r.dataset, r.in_flight, r.wanted_recall or 9.0, -r.qps))
    for row, after in zip(order, [*order[1:], None], strict=True):
        peer = next((r for r in rows if r.engine == "RediSearch" and _load(r) == _load(row)), None)
        name = f"{row.engine}, {row.batch} a call" if row.batch > 1 else row.engine
        table.add_row(
            row.dataset,
            f"{row.wanted_recall}" if row.wanted_recall else "",
            str(row.in_flight),
            name,
            row.front,
            f"{row.effort:g}" if row.effort else "",
            "" if row.recall is None else f"{row.recall:.4f}",
            f"{row.qps:,.0f}",
            f"{row.qps / peer.qps:.2f}" if peer and row.batch == 1 else "",
            f"{row.p50_ms:.3f}",
            f"{row.p99_ms:.3f}",
            f"{row.build_s:.0f}" if row.build_s is not None else "",
            f"{row.memory_bytes / row.n:,.0f}" if row.memory_bytes else "",
            end_section=after is not None and _load(after) != _load(row),
        )
    console.print(table)


def plot_recall(path: Path, rows: Sequence[Row]) -> None:
    """Recall against queries a second, every engine along its efforts, one panel a data set."""
    curves = [r for r in rows if r.recall is not None and r.wanted_recall is None]
    names = list(dict.fromkeys(r.dataset for r in curves))
    if not names:
        return
    plt = _pyplot()
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(1, len(names), figsize=(6.0 * len(names), 5.2), squeeze=False, layout="constrained")
        for axis, name in zip(axes[0], names, strict=True):
            shown = [r for r in curves if r.dataset == name]
            for (engine, front), (colour, line, marker) in STYLES.items():
                points = [r for r in shown if (r.engine, r.front) == (engine, front)]
                if points:
                    x, y = [r.recall for r in points], [r.qps for r in points]
                    axis.plot(x, y, line, color=colour, marker=marker, ms=5, label=f"{engine} ({front})")
            for echo in _once(r for r in rows if (r.engine, r.dataset) == ("echo", name)):
                if echo.in_flight == shown[0].in_flight:
                    colour, line, _ = STYLES["echo", echo.front]
                    axis.axhline(echo.qps, color=colour, ls=line, label=f"empty RPC ({echo.front})")
            axis.set_yscale("log", subs=(2, 5))
            axis.yaxis.set_major_formatter("{x:,.0f}")
            axis.yaxis.set_minor_formatter("{x:,.0f}")
            axis.grid(visible=True, which="both", alpha=0.25, lw=0.6)
            first = shown[0]
            axis.set_title(f"{first.n:,} x {first.dim}, {first.in_flight} in flight, one core", fontsize=11)
            axis.set_xlabel(f"recall@{first.k}, of the replies that were timed")
        axes[0][0].set_ylabel("queries a second (log scale)")
        _finish(plt, figure, axes[0], path)


def plot_latency(path: Path, rows: Sequence[Row], wanted: float) -> None:
    """The share of calls that took at most so long, every engine tuned to a recall, one panel a load."""
    shown = _once(r for r in rows if r.cdf_ms and r.wanted_recall == wanted)
    loads = sorted({r.in_flight for r in shown})
    if not shown:
        return
    plt = _pyplot()
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(
            1, len(loads), figsize=(4.6 * len(loads), 5.0), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, load in zip(axes[0], loads, strict=True):
            for row in (r for r in shown if r.in_flight == load):
                colour, line, _ = STYLES[row.engine, row.front]
                axis.plot(row.cdf_ms, CDF_PERCENTS, line, color=colour, label=f"{row.engine} ({row.front})")
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
            axis.grid(visible=True, which="both", alpha=0.25, lw=0.6)
            axis.set_title(f"{load} in flight", fontsize=11)
            axis.set_xlabel("milliseconds (log scale)")
        axes[0][0].set_ylabel("% of calls answered")
        first = shown[0]
        figure.suptitle(f"{first.dataset}, {first.n:,} items, recall >= {wanted}, one core", fontweight="bold")
        _finish(plt, figure, axes[0], path)


def _once(rows: Iterable[Row]) -> list[Row]:
    """The first row of each engine at each load."""
    first: dict[tuple[str, str, int], Row] = {}
    for row in rows:
        first.setdefault((row.engine, row.front, row.in_flight), row)
    return list(first.values())


def _load(row: Row) -> tuple[str, float | None, int]:
    return row.dataset, row.wanted_recall, row.in_flight


def _pyplot():
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _finish(plt, figure, axes, path: Path) -> None:
    lines = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=min(len(lines), 4), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
