"""Searches of requests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from retrieval.application.candidates.engine import UserCandidates
from retrieval.application.candidates.strategies import MAX_QUOTA, QUOTAS, STRATEGIES, SourceSetting, Strategy
from retrieval.application.limits import MAX_BATCH_ITEMS, MAX_EXCLUDED, MAX_HISTORY, MAX_LIMIT, MAX_SEEDS
from retrieval.application.matryoshka import Matryoshka
from retrieval.application.rank_items import RankItems
from retrieval.application.similar_items import SeedStrategy, SimilarItems
from retrieval.domain.bandit import STRATEGY_NAME
from retrieval.domain.boosts import NO_BOOSTS
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.funnel import MAX_STAGES
from retrieval.domain.planning import MAX_EF_SEARCH
from retrieval.domain.search import NO_FILTER, Diversity, IndexScope, SearchOptions, SearchParams, Source, Stage, View
from retrieval.transport import enums
from retrieval.transport.caller import MAX_USER_ID_BYTES
from retrieval.transport.read_boosts import read_boosts
from retrieval.transport.read_events import read_history_entry
from retrieval.transport.read_filters import read_filter
from retrieval.transport.read_vectors import read_vector
from retrieval.transport.validate import (
    count,
    finite,
    identifier,
    identifiers,
    optional_within,
    require,
    text,
    version_number,
    within,
)

if TYPE_CHECKING:
    from retrieval.transport.caller import Caller
    from retrieval.v1 import common_pb2 as common_pb
    from retrieval.v1 import retrieval_service_pb2 as retrieval_pb

DEFAULT_LIMIT = 10
MAX_WEIGHT = 1000.0
MAX_NPROBE = 32_768
MAX_OWNER_CAP = 1000
MAX_TOKEN_BYTES = 256
MAX_NAME_BYTES = 256

_NO_DIVERSITY = Diversity()
_DEFAULT_PARAMS = SearchParams()


def read_collection_name(name: str) -> str:
    """The collection a request is about."""
    return text(name, "collection", MAX_NAME_BYTES, required=True)


def read_limit(value: int, field: str, default: int, most: int = MAX_LIMIT) -> int:
    """A number of hits; 0 stands for `default`."""
    return within(value, 1, most, field, "LIMIT_OUT_OF_RANGE") if value else default


def read_similar_items(message: retrieval_pb.SearchSimilarItemsRequest, caller: Caller) -> SimilarItems:
    """A request of SearchSimilarItems."""
    return SimilarItems(
        read_collection_name(message.collection),
        identifiers(message.item_ids, "item_ids", MAX_SEEDS, required=True),
        identifiers(message.negative_item_ids, "negative_item_ids", MAX_SEEDS),
        enums.read(enums.SEED_STRATEGY, message.strategy, "strategy", SeedStrategy.AVERAGE_VECTOR),
        read_options(message.options, caller),
    )


def read_user_candidates(message: retrieval_pb.SearchUserCandidatesRequest, caller: Caller) -> UserCandidates:
    """A request of SearchUserCandidates."""
    require(message.user_id or message.history, "user_id", "is required where there is no history")
    count(message.history, "history", MAX_HISTORY)
    now_us = time.time_ns() // 1000
    history = [read_history_entry(e, f"history[{number}]", now_us) for number, e in enumerate(message.history)]
    return UserCandidates(
        read_collection_name(message.collection),
        text(message.user_id, "user_id", MAX_USER_ID_BYTES),
        tuple(history) if history else None,
        message.include_seen,
        read_options(message.options, caller),
        tuple(_strategy(each, f"strategies[{number}]") for number, each in enumerate(message.strategies)),
        dict(message.context),
        _source_settings(message),
        read_vector(message.user_vector, "user_vector") if message.HasField("user_vector") else None,
        message.no_cache,
    )


def _strategy(message: retrieval_pb.CandidateStrategy, field: str) -> Strategy:
    name = text(message.name, f"{field}.name", MAX_NAME_BYTES, required=True)
    require(STRATEGY_NAME.fullmatch(name), f"{field}.name", "must be 1 to 63 of a-z, 0-9, '_' and '-', a letter first")
    weights = {}
    for source, weight in sorted(message.source_weights.items()):
        where = f"{field}.source_weights[{source[:64]!r}]"
        weights[_source(source, where)] = _weight(weight, where)
    where = f"{field}.source_weights"
    require(weights or name in STRATEGIES, where, f"are required: {name!r} is not built in", "UNKNOWN_STRATEGY")
    return Strategy(name, weights)


def _source_settings(message: retrieval_pb.SearchUserCandidatesRequest) -> dict[str, SourceSetting]:
    settings: dict[str, SourceSetting] = {}
    for number, each in enumerate(message.sources):
        field = f"sources[{number}]"
        source = _source(each.source, f"{field}.source")
        require(source not in settings, f"{field}.source", f"{source!r} is named twice")
        quota = within(each.quota, 0, MAX_QUOTA, f"{field}.quota") if each.HasField("quota") else None
        weight = _weight(each.weight, f"{field}.weight") if each.HasField("weight") else None
        settings[source] = SourceSetting(quota, weight)
    return settings


def _source(name: str, field: str) -> str:
    require(name, field, "is required")
    if name not in QUOTAS:
        raise InvalidArgumentError.of(field, f"{name[:64]!r} is none of {', '.join(QUOTAS)}", reason="UNKNOWN_SOURCE")
    return name


def _weight(value: float, field: str) -> float:
    require(0.0 <= value <= MAX_WEIGHT, field, f"must be between 0 and {MAX_WEIGHT:g}")
    return value


def read_matryoshka(message: retrieval_pb.SearchMatryoshkaRequest, caller: Caller) -> Matryoshka:
    """A request of SearchMatryoshka."""
    count(message.stages, "stages", MAX_STAGES)
    return Matryoshka(
        read_collection_name(message.collection),
        read_vector(message.vector, "vector"),
        tuple(Stage(stage.dimension, stage.candidate_count) for stage in message.stages),
        read_options(message.options, caller),
    )


def read_rank_items(message: retrieval_pb.RankItemsRequest, caller: Caller) -> RankItems:
    """A request of RankItems."""
    query = message.WhichOneof("query")
    require(query, "query", "is required: set one of vector, seed_item_id, user_id")
    return RankItems(
        read_collection_name(message.collection),
        identifiers(message.item_ids, "item_ids", MAX_BATCH_ITEMS, required=True),
        read_vector(message.vector, "vector") if query == "vector" else None,
        identifier(message.seed_item_id, "seed_item_id") if query == "seed_item_id" else "",
        text(message.user_id, "user_id", MAX_USER_ID_BYTES, required=True) if query == "user_id" else "",
        read_options(message.options, caller, default_limit=len(message.item_ids)),
    )


def read_options(
    message: common_pb.SearchOptions, caller: Caller, *, default_limit: int = DEFAULT_LIMIT
) -> SearchOptions:
    """Options of a search, at the path `options`."""
    threshold = message.score_threshold if message.HasField("score_threshold") else None
    return SearchOptions(
        limit=read_limit(message.limit, "options.limit", default_limit),
        score_threshold=None if threshold is None else finite(threshold, "options.score_threshold"),
        filter=read_filter(message.filter, "options.filter") if message.HasField("filter") else NO_FILTER,
        exclude_item_ids=identifiers(message.exclude_item_ids, "options.exclude_item_ids", MAX_EXCLUDED),
        viewer=caller.viewer(message.viewer, "options.viewer") if message.HasField("viewer") else None,
        diversity=_diversity(message.diversity) if message.HasField("diversity") else _NO_DIVERSITY,
        view=enums.read(enums.VIEW, message.view, "options.view", View.ID_SCORE),
        params=read_params(message.params, "options.params") if message.HasField("params") else _DEFAULT_PARAMS,
        min_consistency_token=text(message.min_consistency_token, "options.min_consistency_token", MAX_TOKEN_BYTES),
        embedding_version=version_number(message.embedding_version, "options.embedding_version"),
        boosts=read_boosts(message.boosts, "options.boosts") if message.HasField("boosts") else NO_BOOSTS,
    )


def read_params(message: common_pb.SearchParams, field: str) -> SearchParams:
    """How hard to search."""
    source = enums.read(enums.SOURCE, message.source, f"{field}.source", Source.AUTO)
    if message.exact:
        if source not in {Source.AUTO, Source.EXACT}:
            raise InvalidArgumentError.of(f"{field}.exact", f"contradicts the source {source.value}")
        source = Source.EXACT
    recall = message.target_recall
    require(0.0 <= recall <= 1.0, f"{field}.target_recall", "must be above 0 and at most 1")
    return SearchParams(
        source,
        enums.read(enums.INDEX_SCOPE, message.index, f"{field}.index", IndexScope.FULL),
        optional_within(message.ef_search, 1, MAX_EF_SEARCH, f"{field}.ef_search"),
        optional_within(message.nprobe, 1, MAX_NPROBE, f"{field}.nprobe"),
        recall or None,
    )


def _diversity(message: common_pb.Diversity) -> Diversity:
    mmr_lambda = message.mmr_lambda if message.HasField("mmr_lambda") else None
    if mmr_lambda is not None:
        require(0.0 <= mmr_lambda <= 1.0, "options.diversity.mmr_lambda", "must be between 0 and 1")
    cap = within(message.max_per_owner, 0, MAX_OWNER_CAP, "options.diversity.max_per_owner")
    dpp_theta = message.dpp_theta if message.HasField("dpp_theta") else None
    if dpp_theta is not None:
        require(mmr_lambda is None, "options.diversity.dpp_theta", "excludes mmr_lambda; set one of the two")
        require(0.0 <= dpp_theta < 1.0, "options.diversity.dpp_theta", "must be at least 0 and below 1")
    owner_decay = message.owner_decay if message.HasField("owner_decay") else None
    if owner_decay is not None:
        require(0.0 < owner_decay <= 1.0, "options.diversity.owner_decay", "must be above 0 and at most 1")
    return Diversity(mmr_lambda, cap, dpp_theta, owner_decay)
