"""What the cache holds, and what was measured of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from retrieval.transport import enums
from retrieval.transport.write_items import write_time
from retrieval.v1 import collection_service_pb2 as pb

if TYPE_CHECKING:
    from retrieval.application.cache_ports import CacheReport, CalibratedPlan
    from retrieval.application.recall import MeasuredRecall


def write_cache(report: CacheReport) -> pb.CacheStats:
    """A version in the cache."""
    return pb.CacheStats(
        state=enums.CACHE_STATE_OUT[report.state],
        generation=report.generation,
        row_count=report.rows,
        delta_rows=report.delta_rows,
        dead_rows=report.dead_rows,
        size_bytes=report.size_bytes,
        build_ms=report.build_ms,
        built_at=write_time(report.built_at) if report.built_at else None,
        staleness=_duration(report.staleness_s),
        max_staleness=_duration(report.max_staleness_s),
        plans=[_write_plan(plan) for plan in report.plans],
    )


def write_measured(measured: MeasuredRecall) -> pb.MeasuredRecall:
    """A remembered measurement of recall."""
    return pb.MeasuredRecall(
        source=enums.SOURCE_OUT[measured.recall.source],
        recall=measured.recall.mean,
        target_recall=measured.target_recall,
        sample_size=measured.recall.sample_size,
        measured_at=write_time(measured.measured_at),
    )


def _write_plan(plan: CalibratedPlan) -> pb.CalibratedPlan:
    return pb.CalibratedPlan(
        target_recall=plan.target_recall,
        dimension=plan.dimension,
        ef_search=plan.ef_search,
        shortlist=plan.shortlist,
        recall=plan.recall,
        microseconds=plan.microseconds,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
