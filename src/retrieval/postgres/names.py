"""Names of the tables and indexes of an embedding version, and the expressions that select an index."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from retrieval.domain.model import Metric

if TYPE_CHECKING:
    from retrieval.domain.model import EmbeddingVersion

OPERATORS = {Metric.COSINE: "<=>", Metric.INNER_PRODUCT: "<#>", Metric.L2: "<->"}
OPERATOR_CLASSES = {
    Metric.COSINE: "halfvec_cosine_ops",
    Metric.INNER_PRODUCT: "halfvec_ip_ops",
    Metric.L2: "halfvec_l2_ops",
}


def distance_expression(metric: Metric, order: str, vector: str, dimension: int) -> str:
    """Distance of what `order` says to a vector; 1 by cosine where either is zero, as everywhere in the service.

    pgvector's `<=>` is NaN there. An index answers for the bare operator alone: ORDER BY of an index scan needs that.
    """
    bare = f"{order} {OPERATORS[metric]} {vector}::halfvec({dimension})"
    return f"coalesce(nullif({bare}, 'NaN'), 1)" if metric is Metric.COSINE else bare


def partition(version_id: int) -> str:
    """Leaf table of a version; searches name it, so that planning looks at one table."""
    return f"embeddings_v{version_id}"


def hnsw_index(version_id: int, dimension: int) -> str:
    """HNSW index on the first `dimension` components."""
    return f"embeddings_v{version_id}_hnsw_{dimension}"


def popular_index(version_id: int) -> str:
    """HNSW index over the popular items."""
    return f"embeddings_v{version_id}_popular"


def ivfflat_index(version_id: int) -> str:
    """IVFFlat index on the full dimension."""
    return f"embeddings_v{version_id}_ivfflat"


def attribute_index(version_id: int, attribute: str) -> str:
    """Index on a declared attribute or a built-in column; Postgres cuts names at 63 bytes, so long ones are hashed."""
    name = f"embeddings_v{version_id}_a_{attribute}"
    return name if len(name) <= 63 else f"{name[:54]}_{zlib.crc32(attribute.encode()):08x}"


def order_expression(version: EmbeddingVersion, dimension: int, *, ivfflat: bool = False) -> str:
    """What is compared, and with that which index answers.

    The full dimension has two spellings: the plain cast is the HNSW index's, subvector() the IVFFlat index's; an
    index answers only for the expression it was built on, so a search can choose between the two.
    """
    if dimension == version.dimension and not ivfflat:
        return f"embedding::halfvec({dimension})"
    return f"subvector(embedding, 1, {dimension})::halfvec({dimension})"
