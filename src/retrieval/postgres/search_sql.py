"""Puts search statements together from the pieces in sql/queries/search.sql."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from retrieval.domain.search import IndexScope, Source
from retrieval.postgres.names import OPERATORS, distance_expression, order_expression, partition
from retrieval.postgres.predicate import Parameters, compile_predicate
from retrieval.postgres.sql_files import fill, queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection, EmbeddingVersion, Metric
    from retrieval.domain.search import IndexQuery, Predicate, Stage
    from retrieval.postgres.search_connections import Profile

MAX_SCAN_TUPLES = 40_000
"""An iterative scan gives up after this many rows; beyond, an exact scan of the admitted rows is cheaper."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with its parameters."""

    sql: str
    values: list[Any]


def index_profile(source: Source, effort: int) -> Profile:
    """Session settings of a search through a vector index.

    Other access paths are ruled out, so that the plan cannot change with the statistics; a generic plan saves planning.
    Scans are iterative since visibility alone can hide rows; the statement sorts what a relaxed order returns.
    """
    common = (
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("enable_sort", "off"),
        ("max_parallel_workers_per_gather", "0"),
        ("plan_cache_mode", "force_generic_plan"),
    )
    if source is Source.HNSW:
        return (
            *common,
            ("hnsw.ef_search", str(effort)),
            ("hnsw.iterative_scan", "relaxed_order"),
            ("hnsw.max_scan_tuples", str(MAX_SCAN_TUPLES)),
            ("hnsw.scan_mem_multiplier", "4"),
        )
    return (
        *common,
        ("ivfflat.probes", str(effort)),
        ("ivfflat.iterative_scan", "relaxed_order"),
        ("ivfflat.max_probes", "32768"),
    )


EXACT_PROFILE: Profile = (
    ("enable_seqscan", "on"),
    ("enable_bitmapscan", "on"),
    ("enable_sort", "on"),
    ("max_parallel_workers_per_gather", "2"),
    ("plan_cache_mode", "force_custom_plan"),
)
"""Session settings of everything else: the planner sees the values and chooses."""


def popular_condition(collection: Collection) -> str:
    """The predicate of the popular index, in literals: the planner matches it by its text."""
    popular = collection.popular
    return f"rating_value >= {popular.min_rating_value!r} AND rating_count >= {popular.min_rating_count}"


def where(query: IndexQuery, parameters: Parameters) -> str:
    """Condition of the query's rows."""
    return condition(query.predicate, query.collection, query.params.scope, parameters)


def condition(predicate: Predicate, collection: Collection, scope: IndexScope, parameters: Parameters) -> str:
    """Predicate and scope as SQL."""
    compiled = compile_predicate(predicate, collection, parameters)
    return f"{compiled} AND {popular_condition(collection)}" if scope is IndexScope.POPULAR else compiled


def _columns(*, owners: bool, vectors: bool, facts: bool) -> str:
    wanted = (", owner_id", owners), (", embedding", vectors), (", created_at, rating_count", facts)
    return "".join(columns for columns, asked in wanted if asked)


def index_statement(query: IndexQuery, source: Source, rows: int = 0, *, walled: bool = False) -> Statement:
    """The funnel: coarse stage by index, later stages on its rows, one round trip.

    `rows`: items have several; look at so many for the `query.count` items, and as many more in the stages before.
    """
    parameters = Parameters(walled=walled)
    predicate = where(query, parameters)
    sql = _funnel_sql(
        query.version,
        query.collection.metric,
        source,
        tuple(stage.dimension for stage in query.stages),
        query.with_owners,
        query.with_vectors,
        query.with_facts,
        predicate,
        len(parameters.values),
        grouped=rows > 0,
    )
    for stage in query.stages:
        count = stage.candidate_count * rows // query.count if rows else stage.candidate_count
        parameters.values += (query.vector[: stage.dimension], count)
    if rows:
        parameters.add(query.count)
    return Statement(sql, parameters.values)


@lru_cache(maxsize=256)  # of some 20 kB each, where a filter has all conditions that it may have
def _funnel_sql(
    version: EmbeddingVersion,
    metric: Metric,
    source: Source,
    dimensions: tuple[int, ...],
    with_owners: bool,
    with_vectors: bool,
    with_facts: bool,
    predicate: str,
    predicate_values: int,
    *,
    grouped: bool,
) -> str:
    """The text of a funnel; each stage takes two parameters, its vector and its count, after the predicate's.

    `grouped`: a parameter more, the number of items.
    """
    pieces = queries("search")
    last = len(dimensions) - 1
    asked = _columns(owners=with_owners, vectors=with_vectors, facts=with_facts)
    # Where items are compared again, only their ids are of use.
    carried = "" if grouped else asked
    sql = ""
    for number, dimension in enumerate(dimensions):
        full_ivfflat = source is Source.IVFFLAT and dimension == version.dimension and number == 0
        order = order_expression(version, dimension, ivfflat=full_ivfflat)
        vector = f"${predicate_values + 2 * number + 1}"
        distance = distance_expression(metric, order, vector, dimension)
        columns = carried
        if number < last and "embedding" not in carried:
            columns += ", embedding"
        if number == last:
            columns += f", {distance} AS distance"
        sql = fill(
            fill(pieces["coarse" if number == 0 else "refine"], columns=columns),
            before=sql,
            order=order,
            distance=distance,
            previous=number - 1,
            predicate=predicate,
            operator=OPERATORS[metric],
            vector=vector,
            count=f"${predicate_values + 2 * number + 2}::bigint",
            dim=dimension,
            partition=partition(version.version_id),
        )
    sql = fill(pieces["funnel"], stages=sql, columns=carried)
    if not grouped:
        return sql
    return fill(
        pieces["best_of_index"],
        nearest=sql,
        columns=asked,
        distance=distance_expression(
            metric,
            order_expression(version, dimensions[last]),
            f"${predicate_values + 2 * last + 1}",
            dimensions[last],
        ),
        count=f"${predicate_values + 2 * last + 3}::bigint",
        partition=partition(version.version_id),
        version_id=version.version_id,
    )


def exact_statement(query: IndexQuery, rows: int = 0, *, walled: bool = False) -> Statement:
    """Every admitted row, compared on the last stage's dimension; `rows`: as in `index_statement`."""
    parameters = Parameters(walled=walled)
    stage = query.stages[-1]
    columns = _columns(owners=query.with_owners, vectors=query.with_vectors, facts=query.with_facts)
    sql = fill(
        queries("search")["exact"],
        predicate=where(query, parameters),
        columns=columns,
        count=f"{parameters.add(rows or query.count)}::bigint",
        **_comparison(query, stage, parameters),
    )
    if rows:
        count = f"{parameters.add(query.count)}::bigint"
        sql = fill(queries("search")["best_of_exact"], nearest=sql, columns=columns, count=count)
    return Statement(sql, parameters.values)


def rank_statement(query: IndexQuery, item_ids: Sequence[str], *, walled: bool = False) -> Statement:
    """Best chunk of each of `item_ids`."""
    parameters = Parameters(walled=walled)
    stage = query.stages[-1]
    sql = fill(
        queries("search")["rank"],
        predicate=where(query, parameters),
        columns=_columns(owners=query.with_owners, vectors=query.with_vectors, facts=query.with_facts),
        item_ids=parameters.add(list(item_ids)),
        version_id=query.version.version_id,
        **_comparison(query, stage, parameters),
    )
    return Statement(sql, parameters.values)


def _comparison(query: IndexQuery, stage: Stage, parameters: Parameters) -> dict[str, object]:
    vector = parameters.add(query.vector[: stage.dimension])
    order = order_expression(query.version, stage.dimension)
    return {
        "distance": distance_expression(query.collection.metric, order, vector, stage.dimension),
        "partition": partition(query.version.version_id),
    }


def selectivity_statement(
    predicate: Predicate, collection: Collection, version: EmbeddingVersion, scope: IndexScope, percent: float
) -> Statement:
    """Share of admitted rows in a sample of pages."""
    parameters = Parameters()
    sql = fill(
        queries("search")["selectivity"],
        predicate=condition(predicate, collection, scope, parameters),
        partition=partition(version.version_id),
        percent=f"{percent:.6f}",
    )
    return Statement(sql, parameters.values)
