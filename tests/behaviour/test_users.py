"""What a user should see next, and lists that the caller already has."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest

from retrieval.application.candidates.engine import UserCandidates
from retrieval.application.candidates.strategies import QUOTAS, UNTRAINED, SourceSetting, Strategy
from retrieval.application.rank_items import RankItems
from retrieval.domain.blend import RRF_K
from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from retrieval.domain.filters import Filter, MatchAny, Range, TypedValue
from retrieval.domain.model import AttributeType, Event, Viewer
from retrieval.domain.owner_edges import EdgeKind, OwnerEdge
from retrieval.domain.search import Diversity, SearchOptions, Shortfall, Source, View
from retrieval.domain.visibility import can_see
from tests.catalogue import make
from tests.models import activate, blended, two_communities

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import Stores
    from retrieval.domain.search import SearchResult
    from tests.backends import Agreement, Backend
    from tests.catalogue import DataSet
    from tests.conftest import Loader

HOUR_US = 3_600_000_000
NOW_US = time.time_ns() // 1000
CONTENT = (Strategy("content"),)
PERSONAL = {"interests", "similar", "user_vector", "in_network", "co_engagement"}


def event(user: str, item: str, kind: str, hours_ago: int = 1, value: float | None = None) -> Event:
    return Event(user, item, kind, NOW_US - hours_ago * HOUR_US, f"{kind}-{item}", value)


def listed(data: DataSet) -> list[str]:
    return [i.item_id for i in data.items.values() if can_see(i, Viewer())]


async def record(data: DataSet, stores: tuple[Stores, ...], events: list[Event]) -> None:
    """In all stores; what trends is made anew, so that they agree about it."""
    for each in stores:
        collection = await each.collections.get(data.name)
        await each.events.record(collection, events)
        await each.engagement.refresh_trending(collection)


def check_contributions(result: SearchResult, weights: dict[str, float]) -> None:
    """Every hit's score is what its sources gave it, each by its rank and weight, and every source says what it did."""
    proposed = {report.name: report for report in result.report.sources}
    for hit in result.hits:
        assert hit.score == pytest.approx(sum(part.score for part in hit.contributions), rel=1e-12)
        for part in hit.contributions:
            assert part.score == pytest.approx(weights[part.source] / (RRF_K + part.rank))
            assert 1 <= part.rank <= proposed[part.source].returned <= proposed[part.source].quota
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)


def sources_of(result: SearchResult) -> set[str]:
    return {part.source for hit in result.hits for part in hit.contributions}


async def test_stored_history(agreement: Agreement, catalogue: DataSet, reference: Stores, postgres: Stores) -> None:
    ids = listed(catalogue)
    personal = 0
    for start in range(0, 120, 8):
        user, own = f"reader-{start}", ids[start : start + 8]
        kinds = ("like", "view", "click", "purchase", "impression", "share", "save", "dwell")
        events = [event(user, i, k, hours_ago=30 * n) for n, (i, k) in enumerate(zip(own, kinds, strict=True))]
        await record(catalogue, (reference, postgres), events)
        result = await agreement.of(catalogue, UserCandidates(catalogue.name, user), excluded=own)
        assert len(result.hits) == 10
        assert result.report.degraded_reason == ""
        assert (result.report.strategy, result.report.model_version, result.report.cached) == ("hybrid", "", False)
        found = {report.name: report.returned for report in result.report.sources}
        assert found["interests"] >= 50
        assert found["similar"] >= 50
        personal += bool(sources_of(result) & {"interests", "similar"})
        check_contributions(result, dict(UNTRAINED))
    assert personal >= 10


async def test_explicit_history(agreement: Agreement, catalogue: DataSet) -> None:
    ids = listed(catalogue)
    for start in range(0, 100, 5):
        own = ids[start : start + 5]
        history = tuple(event("", i, "like", hours_ago=n) for n, i in enumerate(own))
        result = await agreement.of(catalogue, UserCandidates(catalogue.name, "", history), excluded=own)
        assert len(result.hits) == 10
        check_contributions(result, dict(UNTRAINED))


async def test_seen_items_come_back_when_asked_for(agreement: Agreement, catalogue: DataSet) -> None:
    ids = listed(catalogue)
    for start in range(0, 50, 5):
        liked, disliked = ids[start], ids[start + 1]
        history = (event("", liked, "like"), event("", disliked, "not_interested"))
        request = UserCandidates(catalogue.name, "", history, include_seen=True, strategies=CONTENT)
        result = await agreement.of(catalogue, request, excluded=[disliked])
        # Nothing is nearer to it than it is itself.
        assert result.hits[0].item_id == liked


async def test_negative_events_exclude(agreement: Agreement, catalogue: DataSet) -> None:
    """Whatever else happened with the item, and even where seen items may come back."""
    ids = listed(catalogue)
    for start in range(0, 50, 5):
        liked = ids[start]
        plain = await agreement.oracle.search(UserCandidates(catalogue.name, "", (event("", liked, "like"),)))
        against = plain.hits[0].item_id
        for kind, value in (("not_interested", None), ("report", None), ("rating", 1.0)):
            views = tuple(event("", against, "view", hours_ago=n) for n in range(20))
            history = (event("", liked, "like"), *views, event("", against, kind, value=value))
            request = UserCandidates(catalogue.name, "", history, include_seen=True)
            await agreement.of(catalogue, request, excluded=[against])


@pytest.mark.parametrize("kind", ["block_author", "mute_author"])
async def test_owners_turned_down_are_excluded(agreement: Agreement, catalogue: DataSet, kind: str) -> None:
    ids = [i for i in listed(catalogue) if catalogue.items[i].owner_id]
    for start in range(0, 50, 5):
        liked = ids[start]
        plain = await agreement.oracle.search(UserCandidates(catalogue.name, "", (event("", liked, "like"),)))
        against = next(h.item_id for h in plain.hits if catalogue.items[h.item_id].owner_id)
        owner = catalogue.items[against].owner_id
        history = (event("", liked, "like"), event("", against, kind))
        result = await agreement.of(
            catalogue, UserCandidates(catalogue.name, "", history), excluded=items_of(catalogue, owner)
        )
        assert len(result.hits) == 10


def items_of(data: DataSet, owner: str) -> list[str]:
    return [i.item_id for i in data.items.values() if i.owner_id == owner]


async def test_edges_decide(agreement: Agreement, catalogue: DataSet, reference: Stores, postgres: Stores) -> None:
    """Whom a user follows proposes, newest first; whom a user blocks or mutes never does, followed or not."""
    user = f"edges-{uuid4().hex[:6]}"
    edges = [
        *(OwnerEdge(owner, EdgeKind.FOLLOW) for owner in ("owner-1", "owner-2", "owner-3")),
        OwnerEdge("owner-2", EdgeKind.BLOCK),
        OwnerEdge("owner-3", EdgeKind.MUTE),
    ]
    for stores in (reference, postgres):
        await stores.engagement.set_edges(await stores.collections.get(catalogue.name), user, edges, [])
    request = UserCandidates(catalogue.name, user, options=SearchOptions(limit=30))
    result = await agreement.of(
        catalogue,
        request,
        excluded=items_of(catalogue, "owner-2") + items_of(catalogue, "owner-3"),
        answers=Source.EXACT,
    )
    network = [h.item_id for h in result.hits if "in_network" in {part.source for part in h.contributions}]
    newest = sorted(
        (i for i in items_of(catalogue, "owner-1") if can_see(catalogue.items[i], Viewer())),
        key=lambda i: -(catalogue.items[i].created_at or 0),
    )
    assert len(network) > 5
    assert set(network) <= set(newest)
    assert result.report.degraded_reason == ""


async def test_a_vector_stands_for_the_user(agreement: Agreement, catalogue: DataSet) -> None:
    for query in agreement.queries(catalogue):
        request = UserCandidates(catalogue.name, "no history", strategies=CONTENT, user_vector=query)
        result = await agreement.of(catalogue, request)
        assert result.report.degraded_reason == ""
        nearest = await agreement.oracle.search(RankItems(catalogue.name, tuple(listed(catalogue)), query))
        if agreement.backend.exact:
            assert [h.item_id for h in result.hits] == [h.item_id for h in nearest.hits[:10]]
        assert sources_of(result) == {"user_vector"}
        few = replace(request, sources={"user_vector": SourceSetting(quota=3)})
        found = await agreement.backend.search(few)
        assert [(report.name, report.returned) for report in found.report.sources if report.returned] == [
            ("user_vector", 3)
        ]
    with pytest.raises(InvalidArgumentError) as wrong:
        await agreement.backend.search(UserCandidates(catalogue.name, "ann", user_vector=np.ones(3, np.float32)))
    assert wrong.value.violations[0].field == "user_vector"


async def test_sources_propose_within_their_quotas(agreement: Agreement, catalogue: DataSet) -> None:
    ids = listed(catalogue)
    history = tuple(event("", i, "like", hours_ago=n) for n, i in enumerate(ids[:5]))
    sources = {"interests": SourceSetting(quota=7), "similar": SourceSetting(0), "trending": SourceSetting(weight=0.0)}
    request = UserCandidates(catalogue.name, "", history, options=SearchOptions(limit=50), sources=sources)
    result = await agreement.of(catalogue, request, excluded=ids[:5])
    found = {report.name: (report.quota, report.returned) for report in result.report.sources}
    assert found["interests"] == (7, 7)
    assert not {"similar", "trending"} & found.keys()
    assert found["popular"] == (QUOTAS["popular"], QUOTAS["popular"])
    assert Counter(p.source for h in result.hits for p in h.contributions)["interests"] <= 7
    assert len(result.hits) == 50


async def test_own_weights(agreement: Agreement, catalogue: DataSet) -> None:
    history = (event("", listed(catalogue)[0], "like"),)
    weights = {"popular": 2.0, "similar": 1.0}
    request = UserCandidates(catalogue.name, "", history, strategies=(Strategy("mine", weights),))
    result = await agreement.of(catalogue, request)
    assert result.report.strategy == "mine"
    assert [report.name for report in result.report.sources] == ["similar", "popular"]
    check_contributions(result, weights)


async def test_filters_viewers_and_exclusions(agreement: Agreement, catalogue: DataSet) -> None:
    """What sources with lists of their own propose is filtered like what the index finds; and the page is full."""
    ids = listed(catalogue)
    tree = Filter(
        must=(MatchAny("genre", (TypedValue(AttributeType.KEYWORD, "jazz"),)),),
        must_not=(MatchAny("labels", (TypedValue(AttributeType.KEYWORD, "new"),)),),
    )
    for start in range(0, 40, 4):
        history = tuple(event("", i, "like", hours_ago=n) for n, i in enumerate(ids[start : start + 4]))
        options = SearchOptions(filter=tree, viewer=Viewer("owner-7", ("group-1",)), limit=40)
        first = await agreement.oracle.search(UserCandidates(catalogue.name, "", history, options=options))
        gone = tuple(h.item_id for h in first.hits[::2])
        options = SearchOptions(filter=tree, viewer=Viewer("owner-7", ("group-1",)), limit=40, exclude_item_ids=gone)
        result = await agreement.of(catalogue, UserCandidates(catalogue.name, "", history, options=options))
        assert len(result.hits) == 40


async def test_reranked_hits_keep_their_scores(agreement: Agreement, catalogue: DataSet) -> None:
    ids = listed(catalogue)
    history = tuple(event("", i, "like", hours_ago=n) for n, i in enumerate(ids[:5]))
    options = SearchOptions(limit=20, diversity=Diversity(0.5, 1), view=View.FULL)
    request = UserCandidates(catalogue.name, "", history, strategies=CONTENT, options=options)
    result = await agreement.backend.search(request)
    assert len(result.hits) == 20
    owners = [catalogue.items[h.item_id].owner_id for h in result.hits]
    assert max(count for owner, count in Counter(owners).items() if owner) == 1
    for hit in result.hits:
        assert hit.score == pytest.approx(sum(part.score for part in hit.contributions))
        assert hit.item is not None
        assert hit.item.chunks


async def test_chunks_are_one_item(agreement: Agreement, chunked: DataSet) -> None:
    ids = listed(chunked)
    for start in range(0, 60, 3):
        history = tuple(event("", i, "like", hours_ago=n) for n, i in enumerate(ids[start : start + 3]))
        request = UserCandidates(chunked.name, "", history, strategies=CONTENT)
        result = await agreement.of(chunked, request, excluded=ids[start : start + 3])
        assert len(result.hits) == 10


async def test_thresholds_cut_by_score(agreement: Agreement, catalogue: DataSet) -> None:
    history = (event("", listed(catalogue)[0], "like"),)
    plain = await agreement.of(catalogue, UserCandidates(catalogue.name, "", history, strategies=CONTENT))
    threshold = plain.hits[4].score
    options = SearchOptions(score_threshold=threshold)
    request = UserCandidates(catalogue.name, "", history, strategies=CONTENT, options=options)
    result = await agreement.backend.search(request)
    assert [h.item_id for h in result.hits] == [h.item_id for h in plain.hits if h.score >= threshold]
    assert result.report.shortfall is Shortfall.THRESHOLD


async def test_own_private_items_are_visible_to_their_owner(agreement: Agreement, catalogue: DataSet) -> None:
    """The user is the viewer unless the options name another."""
    owner = "owner-5"
    hidden = {i.item_id for i in catalogue.items.values() if i.owner_id == owner and not can_see(i, Viewer())}
    tree = Filter(must=(Range("rank", lt=TypedValue(AttributeType.INT64, 1000)),))
    history = (event(owner, next(iter(hidden)), "like"),)
    options = SearchOptions(limit=1000, filter=tree)
    own = await agreement.backend.search(UserCandidates(catalogue.name, owner, history, True, options))
    assert hidden & {h.item_id for h in own.hits}
    other = SearchOptions(limit=1000, filter=tree, viewer=Viewer("stranger"))
    foreign = await agreement.backend.search(UserCandidates(catalogue.name, owner, history, True, other))
    assert not hidden & {h.item_id for h in foreign.hits}


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        ((), "NO_HISTORY"),
        ((("item-00001", "impression"), ("item-00002", "not_interested")), "NO_POSITIVE_HISTORY"),
        ((("nowhere", "like"),), "NO_VECTORS"),
    ],
)
async def test_who_is_not_known_gets_what_everybody_likes(
    agreement: Agreement, catalogue: DataSet, history: tuple[tuple[str, str], ...], reason: str
) -> None:
    events = tuple(event("", item, kind) for item, kind in history)
    options = SearchOptions(limit=200)
    result = await agreement.of(
        catalogue,
        UserCandidates(catalogue.name, "", events, options=options),
        excluded=[item for item, _ in history],
        answers=Source.EXACT,
    )
    assert result.report.degraded_reason == reason
    assert len(result.hits) == 200
    assert not sources_of(result) & PERSONAL
    # The sources propose fewer than are asked for; the most rated of all the others make up for it.
    rest = [catalogue.items[h.item_id].rating_count for h in result.hits if not h.contributions]
    assert rest
    assert rest == sorted(rest, reverse=True)
    popular = {part.rank: h.item_id for h in result.hits for part in h.contributions if part.source == "popular"}
    counts = [catalogue.items[popular[rank]].rating_count for rank in sorted(popular)]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) > 50


async def test_stand_ins_run_out(agreement: Agreement, catalogue: DataSet) -> None:
    tree = Filter(must=(Range("rank", lt=TypedValue(AttributeType.INT64, 2)),))
    options = SearchOptions(limit=100, filter=tree)
    result = await agreement.of(catalogue, UserCandidates(catalogue.name, "new", options=options), answers=Source.EXACT)
    assert result.report.shortfall is Shortfall.FILTER_EXHAUSTED
    wanted = {i for i in listed(catalogue) if int(catalogue.items[i].attributes["rank"]) < 2}  # type: ignore[arg-type]
    assert {h.item_id for h in result.hits} == wanted


@pytest.fixture(scope="package")
async def trained(loader: Loader, reference: Stores, postgres: Stores) -> AsyncIterator[DataSet]:
    """A collection with a model of two communities: the items with even numbers, and those with odd ones."""
    data = await loader(make("trained", 1200, dimension=16, seed=29))
    ids = sorted(data.items, key=lambda i: (int(i[5:]) % 2, i))
    model = blended(two_communities(ids, users=300, each=20))
    for stores in (reference, postgres):
        await activate(stores, await stores.collections.get(data.name), model, "1")
    yield data
    for stores in (reference, postgres):
        await stores.collections.delete(data.name)


async def test_a_trained_model_proposes(agreement: Agreement, trained: DataSet) -> None:
    even = [i for i in listed(trained) if int(i[5:]) % 2 == 0]
    for start in range(0, 60, 6):
        history = tuple(event("", i, "like", hours_ago=n) for n, i in enumerate(even[start : start + 6]))
        request = UserCandidates(trained.name, "", history, strategies=(Strategy("collaborative"),))
        result = await agreement.of(trained, request, excluded=even[start : start + 6], answers=Source.EXACT)
        assert (result.report.model_version, result.report.degraded_reason) == ("1", "")
        proposed = [h for h in result.hits if any(part.source == "co_engagement" for part in h.contributions)]
        assert len(proposed) == 10
        # A user of one community is shown what that one likes.
        assert sum(int(h.item_id[5:]) % 2 == 0 for h in proposed) >= 8


async def test_unknown_strategies_are_refused(backend: Backend, catalogue: DataSet) -> None:
    with pytest.raises(InvalidArgumentError) as unknown:
        await backend.search(UserCandidates(catalogue.name, "ann", strategies=(Strategy("nobody-knows"),)))
    assert unknown.value.reason == "UNKNOWN_STRATEGY"


async def test_rank_by_vector(agreement: Agreement, catalogue: DataSet) -> None:
    ids = tuple(sorted(catalogue.items)[:200])
    for query in catalogue.queries[:5]:
        options = SearchOptions(limit=200)
        request = RankItems(catalogue.name, (*ids, "nowhere"), query, options=options)
        result = await agreement.of(catalogue, request, answers=Source.EXACT)
        hidden = [i for i in ids if not can_see(catalogue.items[i], Viewer())]
        assert result.report.missing_item_ids == (*hidden, "nowhere")
        assert len(result.hits) == 200 - len(hidden)


async def test_rank_by_seed_with_chunks_and_caps(agreement: Agreement, chunked: DataSet) -> None:
    ids = tuple(listed(chunked)[:100])
    options = SearchOptions(limit=20, diversity=Diversity(0.6, 2), score_threshold=-0.5)
    request = RankItems(chunked.name, ids, seed_item_id=ids[0], options=options)
    result = await agreement.of(chunked, request, answers=Source.EXACT)
    assert len(result.hits) == 20


async def test_rank_for_a_user(agreement: Agreement, catalogue: DataSet, reference: Stores, postgres: Stores) -> None:
    ids = tuple(listed(catalogue)[:50])
    await record(catalogue, (reference, postgres), [event("ranker", ids[0], "like")])
    result = await agreement.of(catalogue, RankItems(catalogue.name, ids, user_id="ranker"), answers=Source.EXACT)
    assert result.hits[0].item_id == ids[0]


async def test_rank_refusals(backend: Backend, catalogue: DataSet) -> None:
    with pytest.raises(NotFoundError) as missing:
        await backend.search(RankItems(catalogue.name, ("item-00001",), seed_item_id="nowhere"))
    assert missing.value.reason == "SEEDS_NOT_FOUND"
    with pytest.raises(FailedPreconditionError) as unknown:
        await backend.search(RankItems(catalogue.name, ("item-00001",), user_id="nobody"))
    assert unknown.value.reason == "NO_PROFILE"
