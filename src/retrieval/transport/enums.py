"""The enums of the contract beside those of the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from retrieval.application.attachment_ports import AttachmentState
from retrieval.application.cache_ports import CacheState
from retrieval.application.ports import IndexKind, IndexState
from retrieval.application.similar_items import SeedStrategy
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.hybrid import Fusion, HybridMode
from retrieval.domain.model import AttributeType, ItemStatus, Metric, VersionState, Visibility, VisibilityMode
from retrieval.domain.owner_edges import EdgeKind
from retrieval.domain.relationships import Direction, RelationshipKind
from retrieval.domain.search import IndexScope, Shortfall, Source, View
from retrieval.domain.text_query import TextMatch
from retrieval.v1 import collection_service_pb2 as collection_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from retrieval.v1 import table_binding_pb2 as binding_pb
from retrieval.v1 import training_service_pb2 as training_pb

if TYPE_CHECKING:
    from collections.abc import Mapping

E = TypeVar("E")
N = TypeVar("N", bound=int)

METRIC = {
    common_pb.METRIC_COSINE: Metric.COSINE,
    common_pb.METRIC_INNER_PRODUCT: Metric.INNER_PRODUCT,
    common_pb.METRIC_L2: Metric.L2,
}
ATTRIBUTE_TYPE = {
    common_pb.ATTRIBUTE_TYPE_KEYWORD: AttributeType.KEYWORD,
    common_pb.ATTRIBUTE_TYPE_KEYWORD_LIST: AttributeType.KEYWORD_LIST,
    common_pb.ATTRIBUTE_TYPE_INT64: AttributeType.INT64,
    common_pb.ATTRIBUTE_TYPE_DOUBLE: AttributeType.DOUBLE,
    common_pb.ATTRIBUTE_TYPE_BOOL: AttributeType.BOOL,
    common_pb.ATTRIBUTE_TYPE_TIMESTAMP: AttributeType.TIMESTAMP,
}
VISIBILITY = {
    common_pb.VISIBILITY_PUBLIC: Visibility.PUBLIC,
    common_pb.VISIBILITY_GROUPS: Visibility.GROUPS,
    common_pb.VISIBILITY_PRIVATE: Visibility.PRIVATE,
}
ITEM_STATUS = {
    common_pb.ITEM_STATUS_APPROVED: ItemStatus.APPROVED,
    common_pb.ITEM_STATUS_PENDING: ItemStatus.PENDING,
    common_pb.ITEM_STATUS_REJECTED: ItemStatus.REJECTED,
    common_pb.ITEM_STATUS_FLAGGED: ItemStatus.FLAGGED,
}
SOURCE = {
    common_pb.SOURCE_AUTO: Source.AUTO,
    common_pb.SOURCE_FAISS: Source.FAISS,
    common_pb.SOURCE_HNSW: Source.HNSW,
    common_pb.SOURCE_IVFFLAT: Source.IVFFLAT,
    common_pb.SOURCE_EXACT: Source.EXACT,
}
INDEX_SCOPE = {common_pb.INDEX_SCOPE_FULL: IndexScope.FULL, common_pb.INDEX_SCOPE_POPULAR: IndexScope.POPULAR}
VIEW = {common_pb.VIEW_ID_SCORE: View.ID_SCORE, common_pb.VIEW_BASIC: View.BASIC, common_pb.VIEW_FULL: View.FULL}
SHORTFALL = {
    common_pb.SHORTFALL_REASON_FILTER_EXHAUSTED: Shortfall.FILTER_EXHAUSTED,
    common_pb.SHORTFALL_REASON_SCAN_LIMIT: Shortfall.SCAN_LIMIT,
    common_pb.SHORTFALL_REASON_DEADLINE: Shortfall.DEADLINE,
    common_pb.SHORTFALL_REASON_COLLECTION_TOO_SMALL: Shortfall.COLLECTION_TOO_SMALL,
    common_pb.SHORTFALL_REASON_THRESHOLD: Shortfall.THRESHOLD,
    common_pb.SHORTFALL_REASON_OWNER_CAP: Shortfall.OWNER_CAP,
    common_pb.SHORTFALL_REASON_CANDIDATES_EXHAUSTED: Shortfall.CANDIDATES_EXHAUSTED,
}
SEED_STRATEGY = {
    retrieval_pb.SEED_STRATEGY_AVERAGE_VECTOR: SeedStrategy.AVERAGE_VECTOR,
    retrieval_pb.SEED_STRATEGY_BEST_SCORE: SeedStrategy.BEST_SCORE,
}
HYBRID_MODE = {
    retrieval_pb.HYBRID_MODE_HYBRID: HybridMode.HYBRID,
    retrieval_pb.HYBRID_MODE_TEXT: HybridMode.TEXT,
    retrieval_pb.HYBRID_MODE_VECTOR: HybridMode.VECTOR,
}
HYBRID_FUSION = {
    retrieval_pb.HYBRID_FUSION_SCORES: Fusion.SCORES,
    retrieval_pb.HYBRID_FUSION_RECIPROCAL_RANKS: Fusion.RECIPROCAL_RANKS,
}
TEXT_MATCH = {retrieval_pb.TEXT_MATCH_ANY: TextMatch.ANY, retrieval_pb.TEXT_MATCH_ALL: TextMatch.ALL}
EDGE_KIND = {
    feedback_pb.EDGE_KIND_FOLLOW: EdgeKind.FOLLOW,
    feedback_pb.EDGE_KIND_BLOCK: EdgeKind.BLOCK,
    feedback_pb.EDGE_KIND_MUTE: EdgeKind.MUTE,
}
RELATIONSHIP_KIND = {
    common_pb.RELATIONSHIP_KIND_SIMILAR: RelationshipKind.SIMILAR,
    common_pb.RELATIONSHIP_KIND_COMPLEMENT: RelationshipKind.COMPLEMENT,
    common_pb.RELATIONSHIP_KIND_SUBSTITUTE: RelationshipKind.SUBSTITUTE,
    common_pb.RELATIONSHIP_KIND_RELATED: RelationshipKind.RELATED,
    common_pb.RELATIONSHIP_KIND_PREREQUISITE: RelationshipKind.PREREQUISITE,
    common_pb.RELATIONSHIP_KIND_SEQUEL: RelationshipKind.SEQUEL,
    common_pb.RELATIONSHIP_KIND_RESPONSE: RelationshipKind.RESPONSE,
    common_pb.RELATIONSHIP_KIND_CITED: RelationshipKind.CITED,
    common_pb.RELATIONSHIP_KIND_CONTRADICTS: RelationshipKind.CONTRADICTS,
}
RELATIONSHIP_DIRECTION = {
    retrieval_pb.RELATIONSHIP_DIRECTION_OUTGOING: Direction.OUTGOING,
    retrieval_pb.RELATIONSHIP_DIRECTION_INCOMING: Direction.INCOMING,
    retrieval_pb.RELATIONSHIP_DIRECTION_BOTH: Direction.BOTH,
}
VISIBILITY_MODE = {
    collection_pb.VISIBILITY_MODE_PUBLIC_BY_DEFAULT: VisibilityMode.PUBLIC_BY_DEFAULT,
    collection_pb.VISIBILITY_MODE_PRIVATE_BY_DEFAULT: VisibilityMode.PRIVATE_BY_DEFAULT,
}
VERSION_STATE = {
    collection_pb.EMBEDDING_VERSION_STATE_BUILDING: VersionState.BUILDING,
    collection_pb.EMBEDDING_VERSION_STATE_ACTIVE: VersionState.ACTIVE,
    collection_pb.EMBEDDING_VERSION_STATE_RETIRED: VersionState.RETIRED,
}
INDEX_KIND = {
    collection_pb.INDEX_KIND_HNSW: IndexKind.HNSW,
    collection_pb.INDEX_KIND_IVFFLAT: IndexKind.IVFFLAT,
    collection_pb.INDEX_KIND_POPULAR_HNSW: IndexKind.POPULAR_HNSW,
    collection_pb.INDEX_KIND_ATTRIBUTE: IndexKind.ATTRIBUTE,
}
INDEX_STATE = {
    collection_pb.INDEX_STATE_QUEUED: IndexState.QUEUED,
    collection_pb.INDEX_STATE_BUILDING: IndexState.BUILDING,
    collection_pb.INDEX_STATE_READY: IndexState.READY,
    collection_pb.INDEX_STATE_FAILED: IndexState.FAILED,
}
ATTACHMENT_STATE = {
    binding_pb.ATTACHMENT_STATE_REQUESTED: AttachmentState.REQUESTED,
    binding_pb.ATTACHMENT_STATE_BACKFILLING: AttachmentState.BACKFILLING,
    binding_pb.ATTACHMENT_STATE_FOLLOWING: AttachmentState.FOLLOWING,
    binding_pb.ATTACHMENT_STATE_FAILED: AttachmentState.FAILED,
}
PAIR_LABEL = {training_pb.PAIR_LABEL_POSITIVE: True, training_pb.PAIR_LABEL_NEGATIVE: False}
CACHE_STATE = {
    collection_pb.CACHE_STATE_ABSENT: CacheState.ABSENT,
    collection_pb.CACHE_STATE_BUILDING: CacheState.BUILDING,
    collection_pb.CACHE_STATE_COARSE: CacheState.COARSE,
    collection_pb.CACHE_STATE_RESIDENT: CacheState.RESIDENT,
}


def read(table: Mapping[N, E], number: N, field: str, default: E | None = None) -> E:
    """The domain's member for an enum number of the contract; `default` (None: refused) stands for 0."""
    if number == 0 and default is not None:
        return default
    found = table.get(number)
    if found is None:
        problem = f"has the value {number}, which this server does not know" if number else "is required"
        raise InvalidArgumentError.of(field, problem, reason="UNKNOWN_ENUM_VALUE" if number else None)
    return found


def _inverse(table: Mapping[N, E]) -> dict[E, N]:
    return {member: number for number, member in table.items()}


METRIC_OUT = _inverse(METRIC)
ATTRIBUTE_TYPE_OUT = _inverse(ATTRIBUTE_TYPE)
VISIBILITY_OUT = _inverse(VISIBILITY)
ITEM_STATUS_OUT = _inverse(ITEM_STATUS)
SOURCE_OUT = {**_inverse(SOURCE), Source.TEXT: common_pb.SOURCE_TEXT}
RELATIONSHIP_KIND_OUT = _inverse(RELATIONSHIP_KIND)
SHORTFALL_OUT = _inverse(SHORTFALL)
VISIBILITY_MODE_OUT = _inverse(VISIBILITY_MODE)
VERSION_STATE_OUT = _inverse(VERSION_STATE)
INDEX_KIND_OUT = _inverse(INDEX_KIND)
INDEX_STATE_OUT = _inverse(INDEX_STATE)
CACHE_STATE_OUT = _inverse(CACHE_STATE)
ATTACHMENT_STATE_OUT = _inverse(ATTACHMENT_STATE)
