"""The bars that the project holds itself to, each as a line with the figure that was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from retrieval.v1 import collection_service_pb2

if TYPE_CHECKING:
    from benchmarks.datasets import Dataset
    from benchmarks.loading import Loaded
    from benchmarks.measure import Measurement

IndexStats = collection_service_pb2.IndexStats


STATED_ROWS = 100_000


class Bar(NamedTuple):
    """What was promised, whether it holds, and the evidence. A bar binds on the data set it was stated for."""

    promise: str
    holds: bool
    evidence: str
    binds: bool = True


def judge(dataset: Dataset, found: Measurement, loaded: Loaded, indexes: list[IndexStats]) -> list[Bar]:
    """The bars that the measurements of one data set can speak for.

    Those of the funnel are stated for 2048 dimensions, all others for `STATED_ROWS` rows of 512.
    """
    ratio = loaded.stream_rows_per_s / loaded.copy_rows_per_s
    rates = f"{ratio:.2f} x ({loaded.stream_rows_per_s:,.0f} against {loaded.copy_rows_per_s:,.0f} rows/s)"
    ingest = Bar("StreamUpsertItems >= 0.5 x a bare binary COPY of the same rows", ratio >= 0.5, rates)
    general = [*_recall(found), *_filters(dataset, found), *_overhead(found), ingest]
    binds = dataset.name == "synthetic-512" and dataset.rows >= STATED_ROWS
    funnel_binds = dataset.name == "synthetic-2048"
    return [
        *(bar._replace(binds=binds) for bar in general),
        *(bar._replace(binds=funnel_binds) for bar in _funnel(dataset, found, indexes)),
    ]


def _recall(found: Measurement) -> list[Bar]:
    own = [r for r in found.rows if r.engine == "retrieval" and r.source == "hnsw" and r.recall is not None]
    if not own:
        return []
    default = next((r for r in own if r.default), own[0])
    best = min((r for r in own if r.recall >= 0.99), key=lambda r: r.effort, default=max(own, key=lambda r: r.recall))
    return [
        Bar("HNSW recall >= 0.95 by default", default.recall >= 0.95, f"{default.recall:.4f} (ef {default.effort})"),
        Bar("HNSW recall >= 0.99 at some ef_search", best.recall >= 0.99, f"{best.recall:.4f} at ef {best.effort}"),
    ]


def _filters(dataset: Dataset, found: Measurement) -> list[Bar]:
    bars = []
    for below in sorted({r.bucket_below for r in found.rows if r.bucket_below is not None}, reverse=True):
        rows = [r for r in found.rows if r.bucket_below == below]
        recall, short = min(r.recall or 0.0 for r in rows), sum(r.short for r in rows)
        answered = "+".join(sorted({r.answered_by for r in rows}))
        evidence = f"{recall:.4f}, {short} short replies, by {answered}, {len(dataset.allowed(below)):,} rows"
        promise = f"filtered to {below / 10:g} %: recall >= 0.95 with every hit that exists"
        bars.append(Bar(promise, recall >= 0.95 and short == 0, evidence))
    return bars


def _overhead(found: Measurement) -> list[Bar]:
    bars = []
    if found.server_time is not None:
        outside = found.server_time.outside_sql_ms
        evidence = f"{outside:.3f} ms of {found.server_time.handler_ms:.3f} ms in the handler"
        bars.append(Bar("server time outside the SQL statement <= 1 ms at p50", outside <= 1.0, evidence))
    if found.paired:
        service, driver, echo = (found.paired[engine].p50_ms for engine in ("retrieval", "asyncpg", "echo"))
        limit = 1.25 * (driver + echo)
        evidence = f"{service:.2f} ms against 1.25 x ({driver:.2f} + {echo:.2f}) = {limit:.2f} ms"
        bars.append(Bar("p50 through gRPC <= asyncpg p50 + echo p50 + 25 %", service <= limit, evidence))
    return bars


def _funnel(dataset: Dataset, found: Measurement, indexes: list[IndexStats]) -> list[Bar]:
    if found.funnel is None:
        return []
    funnel, full = found.funnel
    recall = funnel.recall or 0.0
    against = f"{funnel.p50_ms:.2f} against {full.p50_ms:.2f} ms at ef {full.effort}, recall {full.recall:.4f}"
    bars = [
        Bar("default stages: recall >= 0.97 against exact on the full dimension", recall >= 0.97, f"{recall:.4f}"),
        Bar("default stages: p50 <= full-dimension HNSW at equal recall", funnel.p50_ms <= full.p50_ms, against),
    ]
    graphs = {i.dimension: i for i in indexes if i.kind == collection_service_pb2.INDEX_KIND_HNSW}
    coarse = graphs.get(max(dataset.resolutions))  # the largest prefix, lest a smaller one flatter
    whole = graphs.get(dataset.dim)
    if coarse is None or whole is None:
        return bars
    size, build = coarse.size_bytes / whole.size_bytes, coarse.build_ms / max(whole.build_ms, 1)
    sizes = f"{size:.3f} ({coarse.size_bytes / 2**20:.1f} of {whole.size_bytes / 2**20:.1f} MiB)"
    times = f"{build:.3f} ({coarse.build_ms / 1e3:.1f} of {whole.build_ms / 1e3:.1f} s)"
    return [
        *bars,
        Bar(f"{coarse.dimension}-d index <= 1/4 the size of the {dataset.dim}-d one", size <= 0.25, sizes),
        Bar(f"{coarse.dimension}-d index builds in <= 1/3 of the time", build <= 1 / 3, times),
    ]
