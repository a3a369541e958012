"""Collections, embedding versions and index reports of replies."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from retrieval.transport import enums
from retrieval.transport.write_items import write_time
from retrieval.v1 import collection_service_pb2 as pb

if TYPE_CHECKING:
    from retrieval.application.ports import IndexReport, VersionReport
    from retrieval.domain.model import Collection, EmbeddingVersion


def write_collection(collection: Collection) -> pb.Collection:
    """A collection with all its versions."""
    return pb.Collection(
        name=collection.name,
        metric=enums.METRIC_OUT[collection.metric],
        attributes=[
            pb.AttributeDefinition(name=name, type=enums.ATTRIBUTE_TYPE_OUT[kind])
            for name, kind in sorted(collection.attributes.items())
        ],
        visibility_mode=enums.VISIBILITY_MODE_OUT[collection.visibility_mode],
        popular_thresholds=pb.PopularThresholds(
            min_rating_value=collection.popular.min_rating_value, min_rating_count=collection.popular.min_rating_count
        ),
        rating_scale_max=collection.rating_scale_max,
        active_embedding_version=collection.active.version,
        embedding_versions=[write_version(version) for version in collection.versions],
        created_at=write_time(collection.created_at),
        event_types=[
            pb.EventTypeSetting(type=name, weight=kind.weight, half_life=timedelta(days=kind.half_life_days))
            for name, kind in sorted(collection.event_types.items())
        ],
        text_language=collection.text_language,
    )


def write_version(version: EmbeddingVersion) -> pb.EmbeddingVersion:
    """An embedding version."""
    return pb.EmbeddingVersion(
        version=version.version,
        model=version.model,
        dimension=version.dimension,
        resolutions=version.resolutions,
        state=enums.VERSION_STATE_OUT[version.state],
        created_at=write_time(version.created_at),
        activated_at=None if version.activated_at is None else write_time(version.activated_at),
        input_dimension=version.input_dimension,
        embeds_text=version.embeds_text,
        chunk_characters=version.chunk_characters,
    )


def write_stats(version: EmbeddingVersion, report: VersionReport) -> pb.GetIndexStatsResponse:
    """Size and indexes of a version."""
    return pb.GetIndexStatsResponse(
        embedding_version=version.version,
        row_count=report.row_count,
        table_bytes=report.table_bytes,
        indexes=[_write_index(index) for index in report.indexes],
        dead_row_count=report.dead_row_count,
    )


def _write_index(index: IndexReport) -> pb.IndexStats:
    return pb.IndexStats(
        name=index.name,
        kind=enums.INDEX_KIND_OUT[index.kind],
        dimension=index.dimension,
        state=enums.INDEX_STATE_OUT[index.state],
        progress=index.progress,
        size_bytes=index.size_bytes,
        generation=index.generation,
        phase=index.phase,
        error=index.error,
        m=index.m,
        ef_construction=index.ef_construction,
        lists=index.lists,
        build_ms=index.build_ms,
        lists_wanted=index.lists_wanted,
        built_row_count=index.built_rows,
    )
