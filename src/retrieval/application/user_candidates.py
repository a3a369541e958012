"""What a user should see next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.user_profile import profile_of
from retrieval.domain.filters import check_filter
from retrieval.domain.model import Viewer
from retrieval.domain.search import (
    Contribution,
    Hit,
    SearchOptions,
    SearchReport,
    SearchResult,
    Shortfall,
    Source,
)

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.application.search import Scope, SearchPipeline
    from retrieval.domain.model import Event
    from retrieval.domain.search import Predicate


@dataclass(frozen=True, slots=True)
class UserCandidates:
    """A checked request; `history` None means the stored events of `user_id`."""

    collection: str
    user_id: str
    history: tuple[Event, ...] | None = None
    include_seen: bool = False
    options: SearchOptions = field(default_factory=SearchOptions)


async def search_user_candidates(stores: Stores, pipeline: SearchPipeline, request: UserCandidates) -> SearchResult:
    """Nearest unseen items to the user's profile; the most rated ones, flagged degraded, where there is no profile.

    What the user turned down, or whose owner the user blocked or muted, is never returned, seen or not.
    """
    options = request.options
    if options.viewer is None and request.user_id:
        options = replace(options, viewer=Viewer(request.user_id))
    scope = await pipeline.scope(request.collection, options)
    check_filter(options.filter, scope.collection, "options.filter")
    profile = await profile_of(stores, scope, request.user_id, request.history)
    scope.watch.lap("profile")
    excluded = profile.engagement.repelling if request.include_seen else (*profile.seen, *profile.engagement.repelling)
    predicate = pipeline.predicate(scope, tuple(excluded), profile.repelling_owners)
    if profile.vector is None:
        return await _popular(stores, pipeline, scope, predicate, profile.reason)
    result = await pipeline.run(scope, profile.vector.astype(np.float16), predicate)
    for rank, hit in enumerate(result.hits, start=1):
        hit.contributions = (Contribution("profile", rank, hit.score),)
    return result


async def _popular(
    stores: Stores, pipeline: SearchPipeline, scope: Scope, predicate: Predicate, reason: str
) -> SearchResult:
    """The most rated items. Their score is the number of ratings; there is no vector, hence no distance."""
    limit = scope.options.limit
    rows = await stores.items.popular(scope.collection, predicate, limit)
    scope.watch.lap("search")
    hits = [
        Hit(item_id, float(count), 0.0, contributions=(Contribution("popular", rank, float(count)),))
        for rank, (item_id, count) in enumerate(rows, start=1)
    ]
    report = SearchReport(Source.EXACT, scope.version.version, limit, degraded_reason=reason)
    if len(hits) < limit:
        report.shortfall = Shortfall.FILTER_EXHAUSTED
    await pipeline.hydrate(scope, hits)
    report.timings_s = scope.watch.laps()
    return SearchResult(hits, report)
