"""Boosts and diversity order the same pool in the same way, whoever answers."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application import reranking
from retrieval.application.candidates.engine import UserCandidates
from retrieval.application.matryoshka import Matryoshka
from retrieval.application.rank_items import RankItems
from retrieval.application.reranking import POOL_PER_HIT
from retrieval.application.similar_items import SeedStrategy, SimilarItems
from retrieval.domain.boosts import Boosts, FreshnessBoost, PopularityBoost
from retrieval.domain.model import Event, Viewer
from retrieval.domain.rerank import RerankPool, rerank
from retrieval.domain.search import Diversity, IndexQuery, SearchOptions, SearchParams, Source, Stage
from retrieval.domain.vectors import to_half
from retrieval.domain.visibility import can_see
from tests.caches import caught_up

if TYPE_CHECKING:
    from tests.backends import Agreement, Backend
    from tests.catalogue import DataSet

LIMIT = 10
THOROUGH = SearchParams(ef_search=400, nprobe=1000)
"""Where one candidate more or less changes every choice after it, the candidates have to be complete."""
# The data set's items are some years old: with this half-life their ages tell them apart.
FRESHNESS = FreshnessBoost(100 * 86_400_000_000, 1e5)
POPULARITY = PopularityBoost(2.0)

STAGES = {
    "freshness": (Boosts(freshness=FRESHNESS), Diversity()),
    "popularity": (Boosts(popularity=POPULARITY), Diversity()),
    "both boosts": (Boosts(FRESHNESS, POPULARITY), Diversity()),
    "mmr": (Boosts(), Diversity(0.4)),
    "dpp": (Boosts(), Diversity(dpp_theta=0.3)),
    "owner decay": (Boosts(), Diversity(owner_decay=0.3)),
    "boosted, spread and capped": (Boosts(popularity=POPULARITY), Diversity(None, 1, 0.6, 0.5)),
}
TIMED = {
    "freshness": ["boosts"],
    "both boosts": ["boosts"],
    "mmr": ["diversity"],
    "dpp": ["diversity"],
    "owner decay": ["owner_decay"],
    "boosted, spread and capped": ["boosts", "diversity", "owner_decay", "owner_cap"],
}


def pool_of(data: DataSet, ids: list[str], scores: list[float]) -> RerankPool:
    """What an index should tell of those items, from what was written."""
    items = [data.items[i] for i in ids]
    return RerankPool(
        np.array(scores),
        [i.owner_id for i in items],
        np.array([i.created_at for i in items], dtype=np.int64),
        np.array([i.rating_count for i in items], dtype=np.int64),
        np.stack([i.chunks[0].vector for i in items]),
    )


@pytest.mark.parametrize("name", STAGES)
async def test_hits_are_in_the_order_of_the_pure_function(agreement: Agreement, catalogue: DataSet, name: str) -> None:
    boosts, diversity = STAGES[name]
    plain = SearchOptions(LIMIT * POOL_PER_HIT, params=THOROUGH)
    options = replace(plain, limit=LIMIT, boosts=boosts, diversity=diversity)
    changed = 0
    for query in agreement.queries(catalogue)[:12]:
        pool = (await agreement.backend.search(Matryoshka(catalogue.name, query, options=plain))).hits
        got = await agreement.backend.search(Matryoshka(catalogue.name, query, options=options))
        ids = [h.item_id for h in pool]
        scores = [h.score for h in pool]
        now_us = time.time_ns() // 1000
        expected = rerank(pool_of(catalogue, ids, scores), boosts, diversity, now_us, LIMIT)
        assert [h.item_id for h in got.hits] == [ids[i] for i in expected]
        # The score stays that of the metric.
        assert [h.score for h in got.hits] == [scores[i] for i in expected]
        changed += [h.item_id for h in got.hits] != ids[:LIMIT]
        stages = [stage for stage, _ in got.report.timings_s]
        assert stages == ["resolve", "search", *TIMED.get(name, ["boosts"])]
    assert changed > 0, "nothing was reordered: this proves nothing"


@pytest.mark.parametrize("name", STAGES)
async def test_every_backend_agrees(agreement: Agreement, chunked: DataSet, name: str) -> None:
    boosts, diversity = STAGES[name]
    options = SearchOptions(LIMIT, params=THOROUGH, boosts=boosts, diversity=diversity)
    for query in agreement.queries(chunked):
        result = await agreement.of(chunked, Matryoshka(chunked.name, query, options=options))
        assert len(result.hits) == LIMIT


async def test_neutral_settings_change_nothing(agreement: Agreement, catalogue: DataSet) -> None:
    options = SearchOptions(LIMIT, params=THOROUGH)
    neutral = replace(options, diversity=Diversity(1.0, 1000, None, 1.0))
    for query in agreement.queries(catalogue)[:6]:
        got = await agreement.of(catalogue, Matryoshka(catalogue.name, query, options=neutral))
        plain = await agreement.backend.search(Matryoshka(catalogue.name, query, options=options))
        if agreement.backend.exact:
            assert [h.item_id for h in got.hits] == [h.item_id for h in plain.hits]


def all_kinds(data: DataSet, options: SearchOptions) -> dict[str, SimilarItems | RankItems | UserCandidates]:
    ids = tuple(i.item_id for i in data.items.values() if can_see(i, Viewer()))
    now_us = time.time_ns() // 1000
    return {
        "average": SimilarItems(data.name, ids[:2], options=options),
        "best score": SimilarItems(data.name, ids[:3], strategy=SeedStrategy.BEST_SCORE, options=options),
        "user": UserCandidates(data.name, "", (Event("", ids[5], "like", now_us, "e"),), options=options),
        "rank": RankItems(data.name, ids[:100], data.queries[0], options=options),
    }


@pytest.mark.parametrize("kind", ["average", "best score", "user", "rank"])
@pytest.mark.parametrize("name", ["both boosts", "dpp", "boosted, spread and capped"])
async def test_every_kind_of_search_reranks(agreement: Agreement, catalogue: DataSet, kind: str, name: str) -> None:
    boosts, diversity = STAGES[name]
    options = SearchOptions(LIMIT, params=THOROUGH)
    plain = await agreement.oracle.search(all_kinds(catalogue, options)[kind])
    request = all_kinds(catalogue, replace(options, boosts=boosts, diversity=diversity))[kind]
    got = await agreement.of(catalogue, request, answers=Source.EXACT if kind == "rank" else None)
    assert [h.item_id for h in got.hits] != [h.item_id for h in plain.hits]
    assert len(got.hits) == LIMIT
    stages = [stage for stage, _ in got.report.timings_s]
    assert [s for s in stages if s in {"boosts", "diversity", "owner_decay", "owner_cap"}] == TIMED[name]


async def test_an_index_tells_the_facts_that_were_asked_for(backend: Backend, catalogue: DataSet) -> None:
    """Segment, delta and stages of a funnel alike."""
    if backend.answers is Source.FAISS:
        await caught_up(backend.stores, catalogue.name)
    collection = await backend.stores.collections.get(catalogue.name)
    for stages in ((Stage(64, 300),), (Stage(16, 600), Stage(32, 450), Stage(64, 300))):
        chosen = len(stages) > 1
        if chosen and backend.source is Source.IVFFLAT:
            continue  # it has no index on a prefix
        vector = to_half(catalogue.queries[0], 64, collection.metric, "vector")
        query = IndexQuery(collection, collection.active, vector, stages, params=backend.params, stages_chosen=chosen)
        bare = await backend.stores.index.search(query)
        assert bare.created_at is None
        assert bare.rating_counts is None
        told = await backend.stores.index.search(replace(query, with_facts=True))
        assert len(told.item_ids) == 300
        items = [catalogue.items[i] for i in told.item_ids]
        assert told.created_at is not None
        assert told.rating_counts is not None
        assert told.created_at.dtype == told.rating_counts.dtype == np.int64
        assert told.created_at.tolist() == [i.created_at for i in items]
        assert told.rating_counts.tolist() == [i.rating_count for i in items]


async def test_a_long_spread_leaves_the_event_loop(
    backend: Backend, catalogue: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def noted(*work: object) -> list[int]:
        threads.append(threading.get_ident())
        return rerank(*work)

    monkeypatch.setattr(reranking, "rerank", noted)
    for limit, aside in ((10, False), (300, True)):
        options = SearchOptions(limit, diversity=Diversity(dpp_theta=0.5), viewer=Viewer(unrestricted=True))
        for request in (
            Matryoshka(catalogue.name, catalogue.queries[0], options=options),
            UserCandidates(catalogue.name, "somebody", options=options),
        ):
            result = await backend.search(request)
            assert len(result.hits) == limit
            assert (threads[-1] != threading.get_ident()) is aside
