"""A plot of recall against time for each index type."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.index_types import Setting

FAMILIES = {
    "hnsw-fp16": "#000000",
    "hnsw-fp16@": "#0072b2",
    "hnsw-sq8@": "#56b4e9",
    "hnsw-sq8": "#cc79a7",
    "hnsw": "#e69f00",
    "nsg": "#f0e442",
    "ivf-rabitq": "#d55e00",
    "ivf": "#009e73",
}
"""The colours of Okabe and Ito by the longest beginning of a name that fits."""
STYLES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
LOWEST, HIGHEST = 0.85, 0.9997


def plot(path: Path, settings: Sequence[Setting]) -> None:
    """The fastest setting for each recall that an index reaches."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    first = settings[0]
    used: dict[str, int] = {}
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axis = plt.subplots(figsize=(8.4, 6.4), layout="constrained")
        for index in dict.fromkeys(s.index for s in settings):
            points = _frontier([s for s in settings if s.index == index and s.target is None])
            family = max((f for f in FAMILIES if index.startswith(f)), key=len)
            style = STYLES[used.setdefault(family, 0) % len(STYLES)]
            used[family] += 1
            axis.plot(
                [min(s.recall, HIGHEST) for s in points],
                [s.microseconds for s in points],
                label=index,
                color=FAMILIES[family],
                linestyle=style,
                linewidth=2.6 if index == family else 1.6,
                marker="o",
                markersize=3,
            )
        axis.set_xscale("logit")
        axis.set_xlim(LOWEST, HIGHEST + 0.00005)
        axis.xaxis.set_major_locator(FixedLocator([0.9, 0.95, 0.98, 0.99, 0.995, 0.999]))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_yscale("log", subs=(2, 5))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.yaxis.set_minor_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.grid(visible=True, which="both", alpha=0.25, linewidth=0.6)
        axis.set_xlabel("recall@10 (logit scale)")
        axis.set_ylabel("µs a query, one thread (log scale)")
        figure.suptitle(f"{first.dataset}: {first.n:,} vectors of {first.dim} dimensions", fontweight="bold")
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _frontier(settings: Sequence[Setting]) -> list[Setting]:
    """Those that no other beats in both recall and time, by recall."""
    kept: list[Setting] = []
    for setting in sorted(settings, key=lambda s: (-s.recall, s.microseconds)):
        if setting.recall >= LOWEST and (not kept or setting.microseconds < kept[-1].microseconds):
            kept.append(setting)
    return kept[::-1]
