"""A shop keeps its strategies, events and relationships: chosen by reward, sent from a queue, followed by kind."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import pytest

from retrieval.client.reasons import error_reason
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from tests.acceptance.matryoshka_app import KINDS, STRATEGIES, event_of, fragrance
from tests.acceptance.matryoshka_world import SHOP, World, world_of_fragrances
from tests.acceptance.serving import ids, options, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

CEDAR, ROSE, LEMON, SUEDE = (fragrance(family, 0) for family in ("woody", "floral", "citrus", "leather"))


@pytest.fixture(scope="module")
async def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world_of_fragrances(database_url, tmp_path_factory.mktemp("strategies"), indexes=False) as made:
        yield made


async def reward(world: World, decision_id: str, value: float) -> feedback_pb.ReportRewardResponse:
    request = feedback_pb.ReportRewardRequest(collection=SHOP, decision_id=decision_id, reward=value)
    return await world.client.feedback.ReportReward(request)


async def choices(world: World, user: UUID, context: dict[str, str], best: str, rounds: int) -> list[str]:
    """Strategies as the service chose them, where the best one is rewarded and the others are not."""
    chosen = []
    for _ in range(rounds):
        info = (await world.candidates(user, *STRATEGIES, limit=3, context=context)).info
        await reward(world, info.decision_id, float(info.strategy == best))
        chosen.append(info.strategy)
    return chosen


async def test_the_four_strategies_begin_alike(world: World) -> None:
    """Beta(1, 1) each, as the application's table begins."""
    seen = Counter()
    for _ in range(60):
        info = (await world.candidates(await world.shop.person(), *STRATEGIES, context={"hash": "begin"})).info
        assert info.propensity == pytest.approx(0.25, abs=0.001)
        seen[info.strategy] += 1
    assert set(seen) == set(STRATEGIES)


async def test_the_strategy_that_is_rewarded_is_chosen_more_and_more(world: World) -> None:
    user = await world.shop.person()
    chosen = await choices(world, user, {"time_of_day": "evening"}, "content_based", 60)
    assert chosen[-20:].count("content_based") >= 14


async def test_each_context_learns_for_itself(world: World) -> None:
    user = await world.shop.person()
    await choices(world, user, {"season": "winter"}, "trending_algorithm", 40)
    info = (await world.candidates(user, *STRATEGIES, context={"season": "summer"})).info
    assert info.propensity == pytest.approx(0.25, abs=0.001)
    chosen = await choices(world, user, {"season": "summer"}, "collaborative_filtering", 60)
    assert chosen[-20:].count("collaborative_filtering") >= 14


async def test_a_decision_is_rewarded_once(world: World) -> None:
    info = (await world.candidates(await world.shop.person(), *STRATEGIES, context={"hash": "once"})).info
    first, second = await reward(world, info.decision_id, 1.0), await reward(world, info.decision_id, 1.0)
    assert (first.applied, first.strategy, second.applied) == (True, info.strategy, False)
    arms = await world.shop.connection.fetch(
        "SELECT a.strategy, a.alpha, a.beta FROM retrieval.bandit_arms a"
        " JOIN retrieval.bandit_decisions d USING (collection_id, context_hash) WHERE d.decision_id = $1::uuid",
        info.decision_id,
    )
    assert {row["strategy"]: (round(row["alpha"], 3), round(row["beta"], 3)) for row in arms} == {
        info.strategy: (2.0, 1.0)
    }


async def test_a_reward_is_a_share(world: World) -> None:
    info = (await world.candidates(await world.shop.person(), *STRATEGIES)).info
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await reward(world, info.decision_id, 2.0)
    assert error_reason(caught.value)[0] == "REWARD_OUT_OF_RANGE"
    assert (await reward(world, info.decision_id, 0.5)).applied


async def test_a_strategy_asks_its_own_sources_alone(world: World) -> None:
    user = await world.shop.person()
    await world.shop.happened(user, "purchase", fragrance("citrus", 1), fragrance("citrus", 2))
    await world.process_events()
    for name, weights in STRATEGIES.items():
        info = (await world.candidates(user, name)).info
        assert info.strategy == name
        assert {source.source for source in info.sources if source.quota} <= set(weights) | {"popular"}


async def test_content_based_candidates_are_of_the_buyers_taste(world: World) -> None:
    user = await world.shop.person()
    bought = [fragrance("gourmand", n) for n in range(4)]
    await world.shop.happened(user, "purchase", *bought)
    await world.process_events()
    found = ids((await world.candidates(user, "content_based")).hits)
    assert [world.shop.family_of[i] for i in found].count("gourmand") >= 18
    assert not set(map(str, bought)) & set(found)


async def test_an_interaction_counts_in_the_next_answer(world: World) -> None:
    user = await world.shop.person()
    await world.shop.happened(user, "purchase", *(fragrance("amber", n) for n in range(5)))
    await world.process_events()
    before = ids((await world.candidates(user, "content_based")).hits)
    assert "spicy" not in {world.shop.family_of[i] for i in before}
    await world.shop.happened(user, "purchase", *(fragrance("spicy", n) for n in range(5)))
    await world.process_events()
    after = [world.shop.family_of[i] for i in ids((await world.candidates(user, "content_based")).hits)]
    assert after.count("spicy") >= 5


async def test_a_good_rating_attracts_and_a_bad_one_repels(world: World) -> None:
    user = await world.shop.person()
    await world.shop.happened(user, "rating", ROSE, context='{"rating": 5}')
    await world.shop.happened(user, "rating", CEDAR, context='{"rating": 1}')
    await world.process_events()
    profile = await world.client.user_profile(SHOP, str(user))
    assert (profile.positive_item_count, profile.negative_item_count) == (1, 1)
    found = ids((await world.candidates(user, "content_based", limit=200, include_seen=True)).hits)
    assert str(CEDAR) not in found


async def test_the_context_of_an_interaction_is_kept(world: World) -> None:
    user = await world.shop.person()
    await world.shop.happened(user, "click", ROSE, context='{"page": "search", "filters": ["floral"]}')
    await world.process_events()
    kept = await world.shop.connection.fetchval("SELECT context FROM retrieval.events WHERE user_id = $1", str(user))
    assert json.loads(kept) == {"page": "search", "filters": ["floral"]}


async def test_the_queue_is_emptied_and_an_interruption_counts_nothing_twice(world: World) -> None:
    user = await world.shop.person()
    await world.shop.happened(user, "view", ROSE, CEDAR, LEMON)
    assert (await world.send_events()).recorded_count == 3
    # The sender died before it marked them: they are still in the queue, and are sent again.
    assert len(await world.shop.unprocessed()) == 3
    rows = await world.shop.unprocessed()
    reply = await world.send_events()
    assert (reply.recorded_count, reply.duplicate_count) == (0, 3)
    await world.shop.mark_processed(rows)
    assert not await world.shop.unprocessed()
    assert dict((await world.client.user_profile(SHOP, str(user))).event_counts) == {"view": 3}


async def test_a_search_that_presents_the_token_reflects_the_queue(world: World) -> None:
    user = await world.shop.person()
    await world.candidates(user, "trending_algorithm", limit=5)
    shown = ids((await world.candidates(user, "trending_algorithm", limit=5)).hits)
    event = feedback_pb.Event(user_id=str(user), item_id=shown[0], type="view")
    event.occurred_at.GetCurrentTime()
    token = (await world.client.record_events(SHOP, [event])).consistency_token
    reply = await world.client.candidates(SHOP, str(user), options=options(5, min_consistency_token=token))
    assert shown[0] not in ids(reply.hits)


async def test_trending_is_what_many_buy_now(world: World) -> None:
    hot = fragrance("fresh", 7)
    for _ in range(25):
        await world.shop.happened(await world.shop.person(), "purchase", hot)
    await world.process_events()
    user = await world.shop.person()

    async def trends() -> bool:
        reply = await world.candidates(user, "trending_algorithm", limit=3, no_cache=True)
        return ids(reply.hits)[:1] == [str(hot)]

    assert await until(trends)


async def related(world: World, item_id: UUID, **settings: object) -> dict[str, float]:
    request = retrieval_pb.ListRelatedItemsRequest(collection=SHOP, item_id=str(item_id), **settings)
    reply = await world.client.retrieval.ListRelatedItems(request)
    return {hit.item_id: round(hit.score, 6) for hit in reply.hits}


@pytest.fixture(scope="module")
async def relationships(world: World) -> None:
    """The application's table, sent."""
    rows = [
        (CEDAR, fragrance("woody", 1), "similar", 0.9, 0.9),
        (CEDAR, fragrance("amber", 1), "complement", 0.8, 0.5),
        (CEDAR, fragrance("woody", 2), "substitute", 1.0, 0.95),
        (CEDAR, fragrance("leather", 1), "complement", 0.7, 0.1),
        (fragrance("amber", 1), fragrance("gourmand", 1), "complement", 0.5, 1.0),
    ]
    for row in rows:
        await world.shop.relate(*row)
    request = items_pb.UpsertRelationshipsRequest(collection=SHOP, relationships=await world.shop.relationships())
    assert (await world.client.items.UpsertRelationships(request)).upserted_count == 5


@pytest.mark.usefixtures("relationships")
async def test_related_fragrances_come_strongest_first(world: World) -> None:
    found = await related(world, CEDAR)
    assert list(found.items()) == [
        (str(fragrance("woody", 2)), 0.95),
        (str(fragrance("woody", 1)), 0.81),
        (str(fragrance("amber", 1)), 0.4),
        (str(fragrance("leather", 1)), 0.07),
    ]


@pytest.mark.usefixtures("relationships")
@pytest.mark.parametrize(
    ("kind", "wanted"), [("similar", {"woody"}), ("complement", {"amber", "leather"}), ("substitute", {"woody"})]
)
async def test_related_fragrances_of_one_kind(world: World, kind: str, wanted: set[str]) -> None:
    assert {world.shop.family_of[i] for i in await related(world, CEDAR, kinds=[KINDS[kind]])} == wanted


@pytest.mark.usefixtures("relationships")
async def test_relationships_that_are_not_sure_are_left_out(world: World) -> None:
    assert str(fragrance("leather", 1)) not in await related(world, CEDAR, min_confidence=0.5)
    assert len(await related(world, CEDAR, min_confidence=0.5)) == 3


@pytest.mark.usefixtures("relationships")
async def test_a_substitute_holds_one_way_and_the_others_both(world: World) -> None:
    assert str(CEDAR) not in await related(world, fragrance("woody", 2))
    assert str(CEDAR) in await related(world, fragrance("woody", 1))


@pytest.mark.usefixtures("relationships")
async def test_relationships_are_followed_in_a_chain(world: World) -> None:
    assert (await related(world, CEDAR, depth=2))[str(fragrance("gourmand", 1))] == 0.2


@pytest.mark.usefixtures("relationships")
async def test_what_goes_with_a_purchase_is_proposed(world: World) -> None:
    user = await world.shop.person()
    await world.shop.happened(user, "purchase", CEDAR)
    await world.process_events()

    async def proposed() -> bool:
        reply = await world.candidates(user, "hybrid_recommendations", limit=50, no_cache=True)
        found = {hit.item_id for hit in reply.hits if "related" in {c.source for c in hit.contributions}}
        return {str(fragrance("amber", 1)), str(fragrance("woody", 1)), str(fragrance("woody", 2))} <= found

    # Whether a collection has relationships at all is looked up every few seconds.
    assert await until(proposed)


@pytest.mark.usefixtures("relationships")
async def test_related_fragrances_may_be_raised_in_a_search(world: World) -> None:
    boosts = common_pb.Boosts(related_to=common_pb.RelatedBoost(item_ids=[str(CEDAR)], weight=10.0))
    plain = await world.client.similar(SHOP, [str(fragrance("amber", 0))], options=options(50))
    raised = await world.client.similar(SHOP, [str(fragrance("amber", 0))], options=options(50, boosts=boosts))
    assert ids(raised.hits)[0] == str(fragrance("amber", 1)) != ids(plain.hits)[0]


@pytest.mark.usefixtures("relationships")
async def test_a_fragrance_that_is_taken_off_the_shelf_takes_its_relationships_along(world: World) -> None:
    gone = fragrance("leather", 2)
    await world.shop.relate(SUEDE, gone, "similar", 1.0, 1.0)
    request = items_pb.UpsertRelationshipsRequest(collection=SHOP, relationships=await world.shop.relationships())
    await world.client.items.UpsertRelationships(request)
    assert str(gone) in await related(world, SUEDE)
    await world.shop.connection.execute("DELETE FROM fragrances WHERE id = $1", gone)
    await world.service.in_step(SHOP)
    assert not await related(world, SUEDE)


async def test_a_weight_above_one_is_refused_with_its_path(world: World) -> None:
    bad = common_pb.Relationship(item_id=str(CEDAR), related_item_id=str(ROSE), kind=KINDS["similar"], weight=1.5)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.client.items.UpsertRelationships(
            items_pb.UpsertRelationshipsRequest(collection=SHOP, relationships=[bad])
        )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_reason(caught.value)[1][0][0] == "relationships[0].weight"


async def test_an_interaction_of_a_type_that_is_none_is_refused(world: World) -> None:
    user = await world.shop.person()
    await world.shop.happened(user, "hover", ROSE)
    rows = await world.shop.unprocessed()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.client.record_events(SHOP, [event_of(row) for row in rows])
    assert error_reason(caught.value)[1][0][0] == "events[0].type"
    await world.shop.mark_processed(rows)
