"""Figures of candidates beside baselines: what a run found, as a table and as a plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.ranking import Ranking

BAR = 1.1
"""HR@100 and nDCG@100 of the service are to be so many times those of the best single baseline."""
SERVICE = "service, hybrid"
"""The service as it comes."""
MEASURES = ("hr_10", "hr_100", "ndcg_10", "ndcg_100")
LABELS = {"hr_10": "HR@10", "hr_100": "HR@100", "ndcg_10": "nDCG@10", "ndcg_100": "nDCG@100"}


@dataclass(frozen=True)
class Row:
    """A recommender's figures. `single`: whether it is one of the baselines that the service must beat.

    `p50_ms`: of one question by itself, by RPC for the service, in process for a baseline; 0 where it was not timed.
    """

    name: str
    setting: str
    single: bool
    ranking: Ranking
    p50_ms: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """A run. `ratios`: the service's figures through the best one of all single baselines."""

    ratings: str
    protocol: str
    questions: int
    rows: list[Row]
    ratios: dict[str, float]
    train_s: float

    @property
    def passed(self) -> bool:
        """Whether both bars are met."""
        return min(self.ratios["hr_100"], self.ratios["ndcg_100"]) >= BAR


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """The service's figures through the best of the single baselines, by measure."""
    served = next(row.ranking for row in rows if row.name == SERVICE)
    single = [row.ranking for row in rows if row.single]
    return {m: round(getattr(served, m) / max(getattr(r, m) for r in single), 3) for m in MEASURES}


def table(outcome: Outcome) -> str:
    """The figures in Markdown."""
    lines = [
        f"{outcome.ratings}, {outcome.protocol}: {outcome.questions:,} questions, training {outcome.train_s:.0f} s",
        "",
        "| recommender | HR@10 | HR@100 | nDCG@10 | nDCG@100 | coverage | novelty, bits | p50, ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in _ordered(outcome.rows):
        name = f"{row.name} ({row.setting})" if row.setting else row.name
        figures = [f"{getattr(row.ranking, measure):.3f}" for measure in MEASURES]
        more = [f"{row.ranking.coverage:.3f}", f"{row.ranking.novelty:.1f}", f"{row.p50_ms:.1f}" if row.p50_ms else ""]
        cells = [f"**{cell}**" if row.name == SERVICE and cell else cell for cell in (name, *figures, *more)]
        lines.append("| " + " | ".join(cells) + " |")
    through = ", ".join(f"{LABELS[measure]} {ratio:.3f}" for measure, ratio in outcome.ratios.items())
    lines += ["", f"The service through the best single baseline of each measure: {through}.", ""]
    return "\n".join(lines)


def plot(path: Path, outcome: Outcome) -> None:
    """HR@100 and nDCG@100 of everybody, beside each other."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = _ordered(outcome.rows)[::-1]
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(1, 2, figsize=(9.6, 0.9 + 0.36 * len(rows)), layout="constrained", sharey=True)
        for axis, measure in zip(axes, ("hr_100", "ndcg_100"), strict=True):
            values = [getattr(row.ranking, measure) for row in rows]
            colours = ["#0072b2" if row.name == SERVICE else "#999999" for row in rows]
            bars = axis.barh([row.name for row in rows], values, color=colours)
            axis.bar_label(bars, fmt="%.3f", padding=3, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
            best = max(getattr(row.ranking, measure) for row in rows if row.single)
            axis.axvline(best * BAR, color="#d55e00", linestyle="--", linewidth=1.2, zorder=0)
            axis.set_title(LABELS[measure])
            axis.set_xlim(0, max(*values, best * BAR) * 1.15)
            axis.tick_params(left=False)
        figure.suptitle(
            f"{outcome.ratings}, {outcome.protocol}, {outcome.questions:,} questions"
            f" (dashed: {BAR} times the best single baseline)"
        )
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _ordered(rows: Sequence[Row]) -> list[Row]:
    """The service first, then by nDCG@100."""
    return sorted(rows, key=lambda row: (row.name != SERVICE, -row.ranking.ndcg_100))
