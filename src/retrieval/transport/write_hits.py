"""Hits and reports of searches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from retrieval.domain.search import NO_CHUNK
from retrieval.transport import enums
from retrieval.transport.write_items import write_item, write_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

    from retrieval.domain.model import AttributeType
    from retrieval.domain.search import Hit, SearchReport, SearchResult, Stage
    from retrieval.v1 import common_pb2 as common_pb

    class SearchReply(Protocol):
        """What the replies of all searches have."""

        @property
        def hits(self) -> RepeatedCompositeFieldContainer[common_pb.Hit]:
            """Best first."""
            ...

        @property
        def info(self) -> common_pb.ResponseInfo:
            """How the answer came about."""
            ...


def write_result(result: SearchResult, types: Mapping[str, AttributeType], token: str, into: SearchReply) -> None:
    """Fill a reply. `types`: attributes of the collection; `token`: the one the request came with."""
    write_hits(result.hits, types, into.hits)
    _write_report(result.report, len(result.hits), token, into.info)


def write_hits(
    hits: Iterable[Hit], types: Mapping[str, AttributeType], into: RepeatedCompositeFieldContainer[common_pb.Hit]
) -> None:
    """The hits, in order. `types`: attributes of the collection."""
    for hit in hits:
        message = into.add(item_id=hit.item_id, score=hit.score, distance=hit.distance)
        if hit.chunk_index != NO_CHUNK:
            message.chunk_index = hit.chunk_index
        for part in hit.contributions:
            message.contributions.add(source=part.source, rank=part.rank, score=part.score)
        if hit.snippet:
            message.snippet = hit.snippet
        if hit.item is not None:
            write_item(hit.item, types, message.item)
        if hit.place is not None:
            write_place(hit.place, message.place)


def write_stages(stages: tuple[Stage, ...], into: RepeatedCompositeFieldContainer[common_pb.Stage]) -> None:
    """The stages that ran."""
    for stage in stages:
        into.add(dimension=stage.dimension, candidate_count=stage.candidate_count)


def _write_report(report: SearchReport, returned: int, token: str, into: common_pb.ResponseInfo) -> None:
    into.source = enums.SOURCE_OUT[report.source]
    into.embedding_version = report.embedding_version
    into.index_generation = report.index_generation
    into.effort = report.effort
    into.requested_count = report.requested_count
    into.returned_count = returned
    if report.shortfall is not None:
        into.shortfall_reason = enums.SHORTFALL_OUT[report.shortfall]
    into.degraded_reason = report.degraded_reason
    into.degraded = bool(report.degraded_reason)
    into.missing_item_ids.extend(report.missing_item_ids)
    # Reading the present token would cost a round trip; what the caller presented is what the answer surely reflects.
    into.consistency_token = token
    into.decision_id = report.decision_id
    into.strategy = report.strategy
    into.propensity = report.propensity
    into.cached = report.cached
    into.model_version = report.model_version
    for source in report.sources:
        took_ns = int(source.seconds * 1e9)
        timing = into.sources.add(source=source.name, quota=source.quota, returned_count=source.returned)
        timing.duration.FromNanoseconds(took_ns)
    for stage, seconds in report.timings_s:
        into.timings.add(stage=stage).duration.FromNanoseconds(int(seconds * 1e9))
