"""Which index answers a search, and how hard it works: pure decisions from counts and estimates."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING

from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.search import IndexScope, Source

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from retrieval.domain.search import SearchParams

MAX_EF_SEARCH = 1000
"""pgvector's upper bound of `hnsw.ef_search` (pgvector README, "Query Options")."""

GRAPH_STEP_COST = 4.0
"""Cost of one row reached through the graph, in units of one row of a filtered exact scan; measured, see
docs/architecture.md."""

PROBED_PER_HIT = 4
"""Admitted rows that the probed IVFFlat lists should hold for each row wanted."""

MIN_PROBES = 12
"""Where lists are few, the border between them cuts through any neighbourhood, and a probe costs little."""

SMALL_COLLECTION_ROWS = 1000
"""Below this an exact scan is as fast as any index and has recall 1."""

EF_BY_RECALL = ((0.90, 60), (0.95, 100), (0.99, 400), (0.999, 1000))
"""ef_search that reached each recall@10 on the 100,000 x 512 benchmark set; see benchmarks/README.md."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The chosen source and its effort (`ef_search` or `nprobe`; 0 for exact)."""

    source: Source
    effort: int


def choose(
    params: SearchParams,
    *,
    ready: AbstractSet[Source],
    rows: int,
    selectivity: float,
    count: int,
    lists: int,
    default_ef_search: int,
    refined: bool = False,
) -> Plan:
    """Pick source and effort.

    `ready`: indexes that can answer this query; `rows`: rows of the version; `selectivity`: estimated share of them
    that the predicate admits, in (0, 1]; `count`: rows wanted; `lists`: of the IVFFlat index; `refined`: later stages
    compare the rows again, so that the candidate count alone says how hard to look.

    AUTO compares the work of both ways. An exact scan looks at rows x selectivity rows. A graph search that wants
    `count` of them passes about count / selectivity, each GRAPH_STEP_COST times as dear.

    Raises: FailedPreconditionError (INDEX_NOT_READY, SOURCE_UNAVAILABLE) when a source is asked for by name and is not
    there.
    """
    source = params.source
    if source is Source.AUTO:
        admitted = rows * selectivity
        graph_work = GRAPH_STEP_COST * count / selectivity
        prefer_exact = rows <= SMALL_COLLECTION_ROWS or admitted <= graph_work or count >= MAX_EF_SEARCH
        if params.scope is IndexScope.POPULAR and Source.HNSW in ready:
            source = Source.HNSW
        elif prefer_exact or not ready:
            source = Source.EXACT
        else:
            source = Source.HNSW if Source.HNSW in ready else Source.IVFFLAT
    elif source is Source.FAISS:
        raise FailedPreconditionError("this server has no FAISS cache; use SOURCE_AUTO", reason="SOURCE_UNAVAILABLE")
    elif source is not Source.EXACT and source not in ready:
        where = " over popular items" if params.scope is IndexScope.POPULAR else ""
        raise FailedPreconditionError(
            f"no {source.value} index{where} is ready for this search: call BuildIndex, watch GetIndexStats, "
            "or ask for SOURCE_AUTO",
            reason="INDEX_NOT_READY",
        )
    base = count if refined else default_ef_search
    return Plan(source, _effort(source, params, rows * selectivity, selectivity, count, lists, base))


def _effort(
    source: Source, params: SearchParams, admitted: float, selectivity: float, count: int, lists: int, base: int
) -> int:
    if source is Source.HNSW:
        # A scan with ef below the number of rows wanted would be cut off at ef; under a filter the first batch should
        # hold the wanted rows already, half as many again for those that the estimate misses.
        floor = count if selectivity >= 1.0 else ceil(1.5 * count / selectivity)
        wanted = params.ef_search
        if wanted is None:
            if params.target_recall is not None:
                base = next((ef for recall, ef in EF_BY_RECALL if params.target_recall <= recall), MAX_EF_SEARCH)
            wanted = max(base, floor)
        return min(max(wanted, count), MAX_EF_SEARCH)
    if source is Source.IVFFLAT:
        if params.nprobe is not None:
            return min(params.nprobe, max(lists, 1))
        # pgvector README, "IVFFlat": start with sqrt(lists) probes; rarer matches need more lists. A long page needs
        # lists that hold several times its rows: the nearest ones lie across the borders of lists.
        enough = ceil(PROBED_PER_HIT * count * lists / max(admitted, 1.0))
        return min(max(ceil(sqrt(lists) / sqrt(selectivity)), enough, MIN_PROBES), max(lists, 1))
    return 0
