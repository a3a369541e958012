"""One measurement as a row of the results."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.load import LoadResult

RECALL_TARGETS = (0.99, 0.95)
CDF_PERCENTS = (*range(0, 91, 5), *range(91, 100), 99.5, 99.9)


@dataclass(frozen=True)
class Row:
    """`engine` answered through `front`; `recall`, from the replies that were timed, is None where nothing is searched.

    `target_recall` is the highest of the usual targets that this setting reaches. `effort` is the ef_search or nprobe
    that was used; `short` counts replies with fewer hits than exist.
    """

    engine: str
    source: str
    front: str
    dataset: str
    n: int
    dim: int
    k: int
    in_flight: int
    target_recall: float | None
    recall: float | None
    qps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    effort: int = 0
    bucket_below: int | None = None
    answered_by: str = ""
    replies: int = 0
    short: int = 0
    default: bool = False
    """Whether the setting is the one that runs when a request does not choose."""
    wanted_recall: float | None = None
    """What the engine was tuned to."""
    batch: int = 1
    """Queries a call; `qps` counts queries."""
    cdf_ms: tuple[float, ...] = ()
    """Latencies at `CDF_PERCENTS`, where they are plotted."""
    build_s: float | None = None
    memory_bytes: int | None = None

    @property
    def label(self) -> str:
        """Engine and source, for tables and legends."""
        return " ".join(part for part in (self.engine, self.source) if part)

    def as_json(self) -> dict[str, Any]:
        """The row with its figures rounded to what they are good for."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def figures(result: LoadResult, recall: float | None) -> dict[str, Any]:
    """The measured columns of a row."""
    return {
        "in_flight": result.in_flight,
        "target_recall": next((t for t in RECALL_TARGETS if recall is not None and recall >= t), None),
        "recall": recall,
        "qps": result.qps,
        "p50_ms": result.percentile(50),
        "p95_ms": result.percentile(95),
        "p99_ms": result.percentile(99),
        "answered_by": "+".join(sorted(result.sources)),
        "replies": len(result.found),
    }
