"""A perfume shop's customers: what they did, what they may like, and what is kept of them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import grpc
import pytest

from retrieval.client import error_reason
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import maintenance_service_pb2 as maintenance_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.acceptance.attached_app import eventually
from tests.acceptance.fragrances_app import (
    FAMILIES,
    USERS,
    disliked,
    event,
    favourite,
    fragrance_id,
    owned,
    send_interactions,
    taste_of,
)
from tests.acceptance.fragrances_world import CONTENT, NOW, Shop, keyword, shop_of
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(scope="module")
async def shop(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with shop_of(database_url, tmp_path_factory.mktemp("customers")) as made:
        yield made


# Customers


async def test_every_kind_of_interaction_is_kept_with_its_context(shop: Shop) -> None:
    profile = await shop.app.client.user_profile(shop.name, str(USERS[0]))
    assert dict(profile.event_counts) == {
        "view": 4,
        "favorite": 4,
        "search": 4,
        "purchase_intent": 4,
        "rating": 8,
    }
    kept = await shop.app.fetch(
        "SELECT context FROM retrieval.events WHERE user_id = $1 AND event_type = 'search'", str(USERS[0])
    )
    assert [json.loads(r["context"]) for r in kept] == [{"page": "family", "query": "something warm"}] * 4


async def test_an_interaction_that_is_sent_again_counts_once(shop: Shop) -> None:
    assert await send_interactions(shop.app, shop.name) == 0


async def test_an_interaction_of_no_known_kind_is_refused_by_name(shop: Shop) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shop.app.client.record_events(shop.name, [event("somebody", "x", "sniffed", NOW)])
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_reason(caught.value)[1][0][0] == "events[0].type"


@pytest.mark.parametrize("user", USERS[:5])
async def test_candidates_are_of_the_family_a_customer_likes(shop: Shop, user: object) -> None:
    reply = await shop.candidates(user)
    assert len(reply.hits) == 20
    assert (await shop.families(reply.hits))[favourite(user)] >= 15


async def test_candidates_are_new_to_the_customer(shop: Shop) -> None:
    reply = await shop.candidates(USERS[1])
    shelf = {str(item) for _, item, _, _ in owned(USERS[1])}
    assert not {h.item_id for h in reply.hits} & shelf


async def test_a_low_rating_is_never_shown_again(shop: Shop) -> None:
    turned_down = {str(item) for _, item, rating, _ in owned(USERS[2]) if rating < 2.5}
    reply = await shop.app.client.candidates(
        shop.name,
        str(USERS[2]),
        include_seen=True,
        strategies=CONTENT,
        options=common_pb.SearchOptions(limit=300, filter=keyword("scent_family", disliked(USERS[2]))),
    )
    assert len(turned_down) == 2
    assert not {h.item_id for h in reply.hits} & turned_down
    profile = await shop.app.client.user_profile(shop.name, str(USERS[2]))
    assert (profile.positive_item_count, profile.negative_item_count) == (6, 2)


async def heaviest(shop: Shop, user: str) -> str:
    """Family of the interest that weighs most with a customer."""
    profile = await shop.app.client.user_profile(shop.name, user)
    (family,) = await shop.families([common_pb.Hit(item_id=profile.interests[0].medoid_item_id)])
    return family


async def test_what_a_customer_did_lately_counts_more_than_what_was_long_ago(shop: Shop) -> None:
    user, old = f"fickle-{uuid4().hex[:6]}", NOW - timedelta(days=150)
    past = [event(user, fragrance_id("citrus", n), "favorite", old) for n in range(20, 24)]
    late = [event(user, fragrance_id("woody", n), "favorite", NOW - timedelta(days=2)) for n in range(20, 22)]
    await shop.app.client.record_events(shop.name, past + late)
    assert await heaviest(shop, user) == "woody"


async def test_the_shop_says_how_much_an_interaction_counts(shop: Shop) -> None:
    user = f"buyer-{uuid4().hex[:6]}"
    await shop.app.client.record_events(
        shop.name,
        [event(user, fragrance_id("floral", n), "favorite", NOW) for n in range(30, 34)]
        + [event(user, fragrance_id("gourmand", 34), "purchase_intent", NOW)],
    )
    assert await heaviest(shop, user) == "floral"

    async def weigh(weight: float) -> None:
        await shop.app.client.collections.UpdateCollection(
            collections_pb.UpdateCollectionRequest(
                collection=shop.name,
                event_types=[collections_pb.EventTypeSetting(type="purchase_intent", weight=weight)],
            )
        )

    for weight, family in ((50, "gourmand"), (1.5, "floral")):
        await weigh(weight)
        async with asyncio.timeout(PATIENCE_S):
            while await heaviest(shop, user) != family:
                await asyncio.sleep(0.05)


async def test_the_shops_own_taste_vector_proposes(shop: Shop) -> None:
    user = USERS[7]
    taste = await taste_of(shop.app, user)
    await shop.app.client.set_user_vector(shop.name, str(user), taste)
    reply = await shop.app.client.candidates(
        shop.name,
        str(user),
        sources=[pb.CandidateSourceSetting(source="user_vector", quota=30)],
        options=common_pb.SearchOptions(limit=20),
    )
    by_vector = [h for h in reply.hits if "user_vector" in {c.source for c in h.contributions}]
    assert len(by_vector) >= 5
    assert (await shop.families(by_vector))[favourite(user)] == len(by_vector)
    shelf = {str(item) for _, item, _, _ in owned(user)}
    assert not {h.item_id for h in reply.hits} & shelf
    assert (await shop.app.client.user_profile(shop.name, str(user))).has_user_vector


async def test_a_profile_tells_what_stands_out_and_what_is_missing(shop: Shop) -> None:
    profile = await shop.app.client.user_profile(shop.name, str(USERS[3]))
    facets = [f.value for f in profile.facets if f.attribute == "scent_family"]
    assert facets == [favourite(USERS[3])]
    assert set(FAMILIES) - {favourite(USERS[3])} <= {g.value for g in profile.gaps if g.attribute == "scent_family"}


# Recommendations that are kept, and other kinds of them


async def test_recommendations_are_kept_until_the_customer_does_something(shop: Shop) -> None:
    user = USERS[4]
    first = await shop.candidates(user)
    again = await shop.candidates(user)
    assert again.info.cached
    assert [h.item_id for h in again.hits] == [h.item_id for h in first.hits]
    best = first.hits[0].item_id
    await shop.app.client.record_events(shop.name, [event(user, best, "view", datetime.now(UTC))])
    after = await shop.candidates(user)
    assert not after.info.cached
    assert best not in {h.item_id for h in after.hits}


async def test_trending_fragrances_are_those_that_customers_turn_to(shop: Shop) -> None:
    star = str(fragrance_id("aquatic", 50))
    crowd = [event(f"crowd-{n}", star, "purchase_intent", datetime.now(UTC)) for n in range(80)]
    await shop.app.client.record_events(shop.name, crowd)

    async def leads() -> bool:
        reply = await shop.app.client.retrieval.ListTrendingItems(
            pb.ListTrendingItemsRequest(collection=shop.name, page_size=5)
        )
        return bool(reply.hits) and reply.hits[0].item_id == star

    await eventually(leads)


async def test_an_adventurous_customer_sees_more_families(shop: Shop) -> None:
    near = await shop.families((await shop.candidates(USERS[0])).hits)
    far = await shop.families((await shop.candidates(USERS[0], diversity=common_pb.Diversity(mmr_lambda=0.0))).hits)
    assert far[favourite(USERS[0])] < near[favourite(USERS[0])]


# What is kept no longer, and who may see what


async def test_interactions_are_kept_for_a_year(shop: Shop) -> None:
    user, client = f"past-{uuid4().hex[:6]}", shop.app.client
    # A month that no other test knows: one that got an event lately stays.
    old, young = datetime(1975, 5, 5), NOW - timedelta(days=300)
    item = fragrance_id("citrus", 9)
    await client.record_events(shop.name, [event(user, item, "favorite", old), event(user, item, "view", young)])
    # As if it had been recorded when it happened: what is imported now stays as long after its import.
    await shop.app.run("UPDATE retrieval.events SET recorded_at = occurred_at WHERE user_id = $1", user)
    run = await client.maintenance.run("prune-events")
    assert run.outcome == maintenance_pb.MaintenanceRun.OUTCOME_SUCCEEDED
    assert run.affected >= 1
    assert dict((await client.user_profile(shop.name, user)).event_counts) == {"view": 1}


async def test_cleaning_up_comes_round_daily(shop: Shop) -> None:
    jobs = {job.name: job for job in await shop.app.client.maintenance.jobs()}
    for name in ("prune-events", "prune-embedding-jobs"):
        assert jobs[name].interval.ToTimedelta() == timedelta(days=1)
        assert jobs[name].HasField("next_run_at")


async def test_customers_do_not_show_in_each_others_profiles(shop: Shop) -> None:
    others = [await shop.app.client.user_profile(shop.name, str(user)) for user in USERS[5:7]]
    assert {p.medoid_item_id for p in others[0].interests}.isdisjoint(p.medoid_item_id for p in others[1].interests)
    nobody = await shop.app.client.user_profile(shop.name, "nobody")
    assert (len(nobody.interests), nobody.seen_item_count, len(nobody.facets)) == (0, 0, 0)


@pytest.mark.parametrize("table", ["events", "user_vectors", "user_profiles", "training_pairs"])
async def test_searches_cannot_read_what_is_known_of_customers(shop: Shop, database_url: str, table: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SET ROLE retrieval_reader")
        assert await connection.fetchval("SELECT count(*) FROM retrieval.items WHERE listed") > 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"SELECT * FROM retrieval.{table}")
    finally:
        await connection.close()


async def test_a_customer_who_leaves_is_forgotten(shop: Shop) -> None:
    user, client = str(USERS[9]), shop.app.client
    await client.set_user_vector(shop.name, user, await taste_of(shop.app, USERS[9]))
    request = feedback_pb.DeleteUserDataRequest(collection=shop.name, user_id=user)
    gone = await client.feedback.DeleteUserData(request)
    assert gone.event_count == 24
    assert gone.profile_count >= 1
    profile = await client.user_profile(shop.name, user)
    assert (len(profile.event_counts), len(profile.interests), profile.has_user_vector) == (0, 0, False)
