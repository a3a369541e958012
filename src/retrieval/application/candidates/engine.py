"""Searches candidates: state of the user, sources, fusion, admission, rerank."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.application.bandit import check_context, choose_strategy
from retrieval.application.candidates.catalogue import Catalogues
from retrieval.application.candidates.results import KeptResult, KeptResults
from retrieval.application.candidates.sources import Banned, Sources
from retrieval.application.candidates.strategies import (
    CO_ENGAGEMENT,
    DEFAULT_STRATEGY,
    IN_NETWORK,
    INTERESTS,
    QUOTAS,
    SIMILAR,
    USER_VECTOR,
    SourceSetting,
    Strategy,
    weights_of,
)
from retrieval.application.candidates.user_state import UserStates
from retrieval.application.limits import MAX_EXCLUDED
from retrieval.application.reranking import POOL_PER_HIT, first_vectors, pool_per_hit, reranked
from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.domain.blend import RRF_K, fuse
from retrieval.domain.filters import check_filter
from retrieval.domain.model import Viewer
from retrieval.domain.rerank import RerankPool
from retrieval.domain.search import (
    NO_CHUNK,
    Contribution,
    Hit,
    Predicate,
    SearchOptions,
    SearchReport,
    SearchResult,
    Shortfall,
    Source,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from retrieval.application.candidate_ports import ItemFacts
    from retrieval.application.candidates.catalogue import Catalogue
    from retrieval.application.candidates.sources import Proposals
    from retrieval.application.candidates.user_state import UserState
    from retrieval.application.ports import Stores
    from retrieval.application.search import Scope, SearchPipeline
    from retrieval.domain.model import Event

ADMITTED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class UserCandidates:
    """A checked request; `history` None means the stored events of `user_id`.

    `strategies`: none for the default, one to use, or several to choose from by the bandit in `context`. `sources`:
    changes to single sources. `user_vector`: (n,) float32 in place of the one that is set for the user.
    """

    collection: str
    user_id: str
    history: tuple[Event, ...] | None = None
    include_seen: bool = False
    options: SearchOptions = field(default_factory=SearchOptions)
    strategies: tuple[Strategy, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, SourceSetting] = field(default_factory=dict)
    user_vector: NDArray[np.float32] | None = None
    no_cache: bool = False


@dataclass(slots=True)
class _Question:
    """One search under way. `key`: see `_key`."""

    scope: Scope
    state: UserState
    weights: Mapping[str, float]
    predicate: Predicate
    banned: Banned
    key: Any
    report: SearchReport


class CandidateEngine:
    """Searches user candidates, and keeps what it learned of users and collections while it is open."""

    def __init__(self, stores: Stores, pipeline: SearchPipeline, tasks: TaskSupervisor | None = None) -> None:
        tasks = tasks or TaskSupervisor()
        self._stores = stores
        self._pipeline = pipeline
        self.states = UserStates(stores, tasks)
        self._catalogues = Catalogues(stores, tasks)
        self._results = KeptResults()

    def open(self) -> None:
        """Follow changes of users, and keep states and results from now on."""
        self.states.follow()

    async def close(self) -> None:
        """Keep nothing any more."""
        await self.states.close()
        await self._catalogues.close()
        self._results.clear()

    async def search(self, request: UserCandidates) -> SearchResult:
        """Unseen candidates, best first; flagged degraded where nothing is known of what the user likes.

        What the user turned down, or whose owner the user blocked or muted, is never returned, seen or not.
        """
        options = request.options
        if options.viewer is None and request.user_id:
            options = replace(options, viewer=Viewer(request.user_id))
        scope = await self._pipeline.scope(request.collection, options)
        check_filter(options.filter, scope.collection, "options.filter")
        check_context(request.context)
        catalogue = await self._catalogues.of(scope.collection)
        for strategy in request.strategies:
            weights_of(strategy)
        vector = None
        if request.user_vector is not None:
            vector = await self._pipeline.query(scope, request.user_vector, "user_vector")
        state = await self._state(scope, request)
        scope.watch.lap("profile")
        report = SearchReport(Source.EXACT, scope.version.version, options.limit)
        strategy = await self._strategy(scope, request, report)
        report.model_version = catalogue.model_version
        key = _key(request, scope, state, strategy)
        known = None if key is None or options.min_consistency_token else await self._known(scope, catalogue, key)
        if known is not None:
            return await self._again(scope, known, report)
        weights = {**weights_of(strategy, catalogue.evidence)}
        quotas = {name: QUOTAS[name] for name in weights}
        for name, setting in request.sources.items():
            weights[name] = setting.weight if setting.weight is not None else weights.get(name, 1.0)
            quotas[name] = setting.quota if setting.quota is not None else quotas.get(name, QUOTAS[name])
        seen = frozenset[str]() if request.include_seen else state.seen
        banned = Banned(state.engagement.repelling, frozenset(options.exclude_item_ids), seen)
        predicate = Predicate(options.filter, scope.viewer, (), tuple(sorted(state.turned_down_owners)))
        sources = Sources(
            self._stores, self.states, scope, state, catalogue, predicate, banned, vector, not request.include_seen
        )
        proposals = await sources.propose({name: quota for name, quota in quotas.items() if weights.get(name, 0) > 0})
        scope.watch.lap("sources")
        question = _Question(scope, state, weights, predicate, banned, key, report)
        return await self._answer(question, proposals)

    async def _state(self, scope: Scope, request: UserCandidates) -> UserState:
        if request.history is not None:
            return await self.states.of_history(scope.collection, request.history)
        fresh = bool(scope.options.min_consistency_token)
        return await self.states.of(scope.collection, request.user_id, fresh=fresh)

    async def _strategy(self, scope: Scope, request: UserCandidates, report: SearchReport) -> Strategy:
        if not request.strategies:
            report.strategy = DEFAULT_STRATEGY
            return Strategy(DEFAULT_STRATEGY)
        if len(request.strategies) == 1:
            report.strategy = request.strategies[0].name
            return request.strategies[0]
        named = {strategy.name: strategy for strategy in request.strategies}
        decision = await choose_strategy(
            self._stores, scope.collection, request.user_id, request.context, [s.name for s in request.strategies]
        )
        report.decision_id, report.strategy = decision.decision_id, decision.strategy
        report.propensity = decision.propensity
        scope.watch.lap("strategy")
        return named[decision.strategy]

    async def _known(self, scope: Scope, catalogue: Catalogue, key: Any) -> tuple[Sequence[Hit], SearchReport] | None:
        """A result for the same question, while its hits may be shown and nothing has moved on."""
        kept = self._results.get(key)
        if kept is None:
            return None
        if kept.generation == self._generation(scope) and kept.model_version == catalogue.model_version:
            item_ids = [hit.item_id for hit in kept.hits]
            admitted = await self._stores.index.admitted(scope.collection, scope.version, item_ids, kept.predicate)
            if len(admitted) == len(item_ids):
                return kept.hits, kept.report
        self._results.drop(key)
        return None

    def _generation(self, scope: Scope) -> int:
        return 0 if self._stores.cache is None else self._stores.cache.generation(scope.version)

    async def _again(
        self, scope: Scope, known: tuple[Sequence[Hit], SearchReport], fresh: SearchReport
    ) -> SearchResult:
        """The hits as they were, with the items as they are."""
        kept, report = known
        hits = [replace(hit) for hit in kept]
        scope.watch.lap("cached")
        await self._pipeline.hydrate(scope, hits)
        return SearchResult(
            hits,
            replace(
                report,
                timings_s=scope.watch.laps(),
                cached=True,
                decision_id=fresh.decision_id,
                propensity=fresh.propensity,
            ),
        )

    async def _answer(self, question: _Question, proposals: Proposals) -> SearchResult:
        """From proposals to hits: fuse, admit, rerank, hydrate."""
        scope, report = question.scope, question.report
        options = scope.options
        scores = fuse(proposals.lists, question.weights)
        ordered = list(scores)
        if options.score_threshold is not None:
            ordered = [item_id for item_id in ordered if scores[item_id] >= options.score_threshold]
        scope.watch.lap("blend")
        pool, item_ids = await self._picked(question, ordered, scores)
        ranks = {name: {i: rank for rank, i in enumerate(found, start=1)} for name, found in proposals.lists.items()}
        hits = [
            Hit(
                item_id,
                scores.get(item_id, 0.0),
                0.0,
                proposals.chunks.get(item_id, NO_CHUNK),
                _contributions(item_id, ranks, question.weights),
            )
            for item_id in item_ids[: options.limit]
        ]
        if proposals.answer is not None:
            report.source = proposals.answer.source
            report.index_generation = proposals.answer.generation
            report.effort = proposals.answer.effort
            report.degraded_reason = proposals.answer.degraded_reason
        report.sources = proposals.reports
        report.degraded_reason = report.degraded_reason or _missing(question.state, proposals)
        if len(hits) < options.limit:
            report.shortfall = (
                Shortfall.THRESHOLD
                if options.score_threshold is not None
                else Shortfall.OWNER_CAP
                if len(pool) > len(hits) and options.diversity.max_per_owner
                else Shortfall.FILTER_EXHAUSTED
            )
        await self._pipeline.hydrate(scope, hits)
        report.timings_s = scope.watch.laps()
        if question.key is not None:
            self._keep(question, hits)
        return SearchResult(hits, report)

    async def _picked(
        self, question: _Question, ordered: list[str], scores: Mapping[str, float]
    ) -> tuple[dict[str, ItemFacts], list[str]]:
        """What may be shown, and what is picked of it, in order; a cap an owner may need a larger pool than usual."""
        scope, options = question.scope, question.scope.options
        reorders = not options.boosts.empty or options.diversity.by_vector or options.diversity.by_owner
        wanted = options.limit * pool_per_hit(options)
        while True:
            pool = await self._admitted(scope, ordered, question.predicate, wanted)
            if len(pool) < options.limit and options.score_threshold is None:
                await self._fill(question, pool)
            scope.watch.lap("admit")
            item_ids = await self._reordered(scope, pool, scores) if reorders else list(pool)
            if len(item_ids) >= options.limit or len(pool) < wanted:
                return pool, item_ids
            wanted *= POOL_PER_HIT

    def _keep(self, question: _Question, hits: list[Hit]) -> None:
        bare = [replace(hit, item=None, place=None) for hit in hits]
        generation, report = self._generation(question.scope), question.report
        kept = KeptResult(time.monotonic(), generation, report.model_version, bare, report, question.predicate)
        self._results.put(question.key, kept)

    async def _admitted(
        self, scope: Scope, ordered: list[str], predicate: Predicate, wanted: int
    ) -> dict[str, ItemFacts]:
        """The first `wanted` of `ordered` that may be shown, in that order."""
        pool: dict[str, ItemFacts] = {}
        start = 0
        while start < len(ordered) and len(pool) < wanted:
            size = max(ADMITTED_AT_ONCE, wanted - len(pool))
            part = ordered[start : start + size]
            start += size
            found = await self._stores.index.admitted(
                scope.collection, scope.version, part, predicate, scope.options.min_consistency_token
            )
            for item_id in part:
                facts = found.get(item_id)
                if facts is not None:
                    pool[item_id] = facts
                    if len(pool) == wanted:
                        break
        return pool

    async def _fill(self, question: _Question, pool: dict[str, ItemFacts]) -> None:
        """Where filters leave the sources short: the most rated items that satisfy them."""
        limit, banned = question.scope.options.limit, question.banned
        narrowed = replace(question.predicate, excluded_item_ids=banned.first(MAX_EXCLUDED))
        count = limit + len(pool) + max(0, len(banned) - MAX_EXCLUDED)
        collection = question.scope.collection
        rows = await self._stores.items.popular(collection, narrowed, min(count, 10 * MAX_EXCLUDED))
        more = [item_id for item_id, _ in rows if item_id not in pool and item_id not in banned]
        pool |= await self._admitted(question.scope, more, question.predicate, limit - len(pool))

    async def _reordered(self, scope: Scope, pool: Mapping[str, ItemFacts], scores: Mapping[str, float]) -> list[str]:
        options = scope.options
        item_ids = list(pool)
        vectors = None
        if options.diversity.by_vector:
            found = await first_vectors(self._stores, scope, item_ids)
            vectors = np.zeros((len(item_ids), scope.version.dimension), np.float16)
            for row, item_id in enumerate(item_ids):
                if item_id in found:
                    vectors[row] = found[item_id]
        rows = RerankPool(
            np.array([scores.get(item_id, 0.0) for item_id in item_ids]),
            [pool[item_id].owner_id for item_id in item_ids],
            np.array([pool[item_id].created_at for item_id in item_ids], np.int64),
            np.array([pool[item_id].rating_count for item_id in item_ids], np.int64),
            vectors,
        )
        return [item_ids[row] for row in await reranked(self._stores, scope, item_ids, rows)]


def _missing(state: UserState, proposals: Proposals) -> str:
    """Why the answer is nobody's in particular; empty where a source knew the user, whatever it had left to propose."""
    if state.missing:
        return "" if {USER_VECTOR, IN_NETWORK} & proposals.informed else state.missing
    personal = {CO_ENGAGEMENT, INTERESTS, SIMILAR, USER_VECTOR}
    asked = personal & {report.name for report in proposals.reports}
    return "NO_VECTORS" if asked and not personal & proposals.informed else ""


def _contributions(
    item_id: str, ranks: Mapping[str, Mapping[str, int]], weights: Mapping[str, float]
) -> tuple[Contribution, ...]:
    """What each source that proposed the item adds to its score, see `blend.fuse`."""
    return tuple(
        Contribution(name, of[item_id], weights[name] / (RRF_K + of[item_id]))
        for name, of in ranks.items()
        if item_id in of
    )


def _key(request: UserCandidates, scope: Scope, state: UserState, strategy: Strategy) -> Any:
    """What tells requests of one user apart; None where the result is not kept."""
    if request.history is not None or request.no_cache or request.user_vector is not None:
        return None
    sources = tuple(sorted(request.sources.items()))
    own = strategy.name, tuple(sorted(strategy.weights.items()))
    options = replace(scope.options, min_consistency_token="")
    return state.number, scope.version.version_id, request.include_seen, own, sources, options
