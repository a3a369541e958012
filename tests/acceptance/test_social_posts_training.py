"""A social feed keeps its events: what they count, what a model learns from them, and how long they stay."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import asyncpg
import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration

from retrieval.client.reasons import error_reason
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import maintenance_service_pb2 as maintenance_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from retrieval.v1 import training_service_pb2 as training_pb
from retrieval.v1 import training_service_pb2_grpc as training_grpc
from tests.acceptance.serving import ADMIN, components, ids, until
from tests.acceptance.social_posts_app import NOW, TYPES, author, post
from tests.acceptance.social_posts_world import POSTS, World, world_of_posts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

NEGATIVE = {"not_interested", "block_author", "mute_author", "report"}
WEIGHTS = {"like": 1.0, "reply": 1.2, "repost": 1.5, "share": 1.5, "profile_click": 0.4, "click": 0.3, "view": 0.1}


@pytest.fixture(scope="module")
async def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world_of_posts(database_url, tmp_path_factory.mktemp("training")) as made:
        yield made


@pytest.fixture
def training(world: World) -> training_grpc.TrainingServiceStub:
    return training_grpc.TrainingServiceStub(world.client.channel)


CHESS = [post("chess", n, 1) for n in range(5)]
BAKING = [post("baking", n, 1) for n in range(5)]
"""Enough of each for an interest of its own: there is one for five items."""


async def shares(world: World, user: UUID) -> dict[str, float]:
    """The user's interests: their shares by topic."""
    profile = await world.client.user_profile(POSTS, str(user))
    return {world.feed.topic_of[i.medoid_item_id]: i.weight for i in profile.interests}


@pytest.mark.parametrize("kind", TYPES)
async def test_each_of_the_twelve_types_attracts_or_repels(world: World, kind: str) -> None:
    user = await world.feed.person()
    await world.act(user, kind, post("chess", 1, 1))
    profile = await world.client.user_profile(POSTS, str(user))
    assert dict(profile.event_counts) == {kind: 1}
    wanted = (0, 1) if kind in NEGATIVE else (1, 0)
    assert (profile.positive_item_count, profile.negative_item_count) == wanted


@pytest.mark.parametrize(
    ("kind", "beside"), [*((kind, "like") for kind in WEIGHTS if kind != "view"), ("view", "click")]
)
async def test_types_weigh_differently(world: World, kind: str, beside: str) -> None:
    user = await world.feed.person()
    await world.act(user, kind, *CHESS)
    await world.act(user, beside, *BAKING)
    found = await shares(world, user)
    assert found["chess"] == pytest.approx(WEIGHTS[kind] / (WEIGHTS[kind] + WEIGHTS[beside]), rel=0.01)


@pytest.mark.parametrize(
    ("kind", "half_life_days"),
    [("like", 60), ("reply", 60), ("repost", 60), ("share", 60), ("click", 14), ("view", 14)],
)
async def test_an_old_event_counts_less_by_its_half_life(world: World, kind: str, half_life_days: int) -> None:
    user = await world.feed.person()
    await world.act(user, kind, *CHESS, days_ago=half_life_days)
    await world.act(user, kind, *BAKING, days_ago=0)
    assert (await shares(world, user))["chess"] == pytest.approx(1 / 3, rel=0.01)


async def test_who_stayed_longer_is_more_interested(world: World) -> None:
    user = await world.feed.person()
    await world.act(user, "dwell", *CHESS, dwell_time_ms=60_000)
    await world.act(user, "dwell", *BAKING, dwell_time_ms=2_000)
    found = await shares(world, user)
    assert found["chess"] > 2 * found["baking"]


async def test_the_application_may_weigh_types_itself(world: World) -> None:
    user = await world.feed.person()
    await world.act(user, "reply", *CHESS)
    await world.act(user, "like", *BAKING)

    async def weigh(weight: float) -> None:
        setting = collections_pb.EventTypeSetting(type="reply", weight=weight)
        request = collections_pb.UpdateCollectionRequest(collection=POSTS, event_types=[setting])
        await world.client.collections.UpdateCollection(request)

    await weigh(9.0)
    try:
        assert (await shares(world, user))["chess"] == pytest.approx(0.9, rel=0.01)
    finally:
        await weigh(1.2)


async def test_what_was_served_is_kept_with_the_event(world: World) -> None:
    user = await world.feed.person()
    served = {"position_in_feed": 3, "predicted_score": 0.75, "feed_algorithm": "phase-1", "device_type": "mobile"}
    await world.act(user, "dwell", post("chess", 1, 1), dwell_time_ms=4200, **served)
    row = await world.feed.connection.fetchrow(
        'SELECT "position", predicted_score, algorithm, device, dwell_ms FROM retrieval.events WHERE user_id = $1',
        str(user),
    )
    assert tuple(row.values()) == (3, 0.75, "phase-1", "mobile", 4200)


async def test_the_whole_table_may_be_replayed(world: World) -> None:
    events = await world.feed.all_events()
    assert len(events) > 100
    reply = await world.record(events)
    assert (reply.recorded_count, reply.duplicate_count) == (0, len(events))


async def test_one_event_of_a_user_post_and_type(world: World) -> None:
    user = await world.feed.person()
    event = await world.feed.engage(user, post("chess", 1, 1), "like")
    with pytest.raises(asyncpg.UniqueViolationError):
        await world.feed.engage(user, post("chess", 1, 1), "like")
    assert (await world.record([event])).recorded_count == 1
    assert (await world.record([event])).duplicate_count == 1
    assert dict((await world.client.user_profile(POSTS, str(user))).event_counts) == {"like": 1}


async def test_an_unknown_type_is_refused_and_nothing_of_its_batch_is_stored(world: World) -> None:
    user = await world.feed.person()
    good = await world.feed.engage(user, post("chess", 1, 1), "like")
    bad = feedback_pb.Event()
    bad.CopyFrom(good)
    bad.type = "superlike"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.record([good, bad])
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_reason(caught.value)[1][0][0] == "events[1].type"
    assert not (await world.client.user_profile(POSTS, str(user))).event_counts


async def test_views_and_reposts_are_counted_once_a_user(world: World) -> None:
    seen = post("astronomy", 4, 6)
    events = []
    for _ in range(3):
        user = await world.feed.person()
        await world.feed.connection.execute("INSERT INTO post_views VALUES ($1, $2)", seen, user)
        events += [await world.feed.engage(user, seen, "view"), await world.feed.engage(user, seen, "repost")]
    await world.feed.connection.execute("INSERT INTO reposts VALUES ($1, $2)", seen, user)
    await world.record(events)
    await world.record(events)

    async def counted() -> bool:
        item = await world.service.item(POSTS, seen)
        assert item is not None
        assert item.view_count <= 3
        assert item.repost_count <= 3
        return (item.view_count, item.repost_count) == (3, 3)

    assert await until(counted)
    # The application's own counters, which its triggers keep, come as attributes.
    await world.service.in_step(POSTS)
    item = await world.service.item(POSTS, seen)
    assert item is not None
    assert (item.attributes["views"].int64, item.attributes["reposts"].int64) == (3, 1)
    await world.feed.connection.execute("DELETE FROM reposts WHERE post_id = $1", seen)
    await world.service.in_step(POSTS)
    item = await world.service.item(POSTS, seen)
    assert item is not None
    assert item.attributes["reposts"].int64 == 0


async def test_posts_trend_that_many_engage_with_now(world: World) -> None:
    hot = post("astronomy", 3, 3)
    await world.record(
        [await world.feed.engage(await world.feed.person(), hot, "share", days_ago=0.01) for _ in range(40)]
    )

    async def trends() -> bool:
        request = retrieval_pb.ListTrendingItemsRequest(collection=POSTS, window=Duration(seconds=86_400))
        reply = await world.client.retrieval.ListTrendingItems(request)
        return ids(reply.hits)[:1] == [str(hot)]

    assert await until(trends)


async def test_a_user_who_leaves_is_forgotten(world: World) -> None:
    user = await world.feed.person()
    await world.act(user, "like", post("chess", 1, 1), post("chess", 1, 2))
    await world.act(user, "block_author", post("baking", 1, 1))
    await world.feed.connection.execute("DELETE FROM profiles WHERE id = $1", user)
    request = feedback_pb.DeleteUserDataRequest(collection=POSTS, user_id=str(user))
    reply = await world.client.feedback.DeleteUserData(request)
    assert (reply.event_count, reply.edge_count) == (3, 1)
    profile = await world.client.user_profile(POSTS, str(user))
    assert (profile.seen_item_count, profile.blocked_owner_count) == (0, 0)


async def generate(
    world: World, training: training_grpc.TrainingServiceStub, model: str, *users: UUID
) -> training_pb.GenerateTrainingPairsResponse:
    """Pairs of the last thirty days, five negatives a positive."""
    request = training_pb.GenerateTrainingPairsRequest(
        collection=POSTS, model_version=model, negatives_per_positive=5, user_ids=map(str, users)
    )
    request.window_start.FromDatetime(NOW - timedelta(days=30))
    request.window_end.FromDatetime(NOW + timedelta(hours=1))
    return await training.GenerateTrainingPairs(request, timeout=60)


async def pairs_of(training: training_grpc.TrainingServiceStub, model: str) -> list[training_pb.TrainingPair]:
    request = training_pb.StreamTrainingPairsRequest(collection=POSTS, model_version=model)
    return [pair async for reply in training.StreamTrainingPairs(request, metadata=ADMIN) for pair in reply.pairs]


async def test_pairs_are_what_was_liked_and_what_was_seen_and_passed_over(
    world: World, training: training_grpc.TrainingServiceStub
) -> None:
    user = await world.feed.person()
    liked, seen, away = (
        post("chess", 0, 0),
        [post("baking", n, m) for n in range(4) for m in range(2)],
        post("cycling", 0, 0),
    )
    await world.act(user, "view", liked, *seen, days_ago=2)
    await world.act(user, "reply", liked, days_ago=1, dwell_time_ms=7000)
    await world.act(user, "not_interested", away, days_ago=1)
    await world.act(user, "like", post("gardening", 0, 0), days_ago=31)
    reply = await generate(world, training, "labels", user)
    assert (reply.positive_count, reply.negative_count) == (1, 5)
    pairs = await pairs_of(training, "labels")
    (positive,) = [p for p in pairs if p.label]
    assert (positive.item_id, positive.engagement_type, positive.dwell_ms) == (str(liked), "reply", 7000)
    negatives = {p.item_id: p.engagement_type for p in pairs if not p.label}
    assert negatives.pop(str(away)) == "not_interested"
    assert set(negatives) <= set(map(str, seen))
    assert set(negatives.values()) == {"view"}


async def test_a_pair_knows_the_history_as_it_was_before(
    world: World, training: training_grpc.TrainingServiceStub
) -> None:
    user = await world.feed.person()
    first, second, third = post("chess", 0, 1), post("chess", 1, 1), post("chess", 2, 1)
    for days_ago, post_id in ((3, first), (2, second), (1, third)):
        await world.act(user, "like", post_id, days_ago=days_ago)
    await generate(world, training, "history", user)
    by_item = {p.item_id: p for p in await pairs_of(training, "history")}
    assert [h.item_id for h in by_item[str(second)].history] == [str(first)]
    assert [h.item_id for h in by_item[str(third)].history] == [str(second), str(first)]
    assert by_item[str(second)].interaction_at.ToDatetime(UTC) == NOW - timedelta(days=2)


async def test_a_pair_keeps_the_post_as_it_was(world: World, training: training_grpc.TrainingServiceStub) -> None:
    user = await world.feed.person()
    written = await world.feed.write("chess", author("chess", 0), created_at=NOW - timedelta(days=5))
    await world.settled()
    before = await world.service.item(POSTS, written)
    assert before is not None
    await world.act(await world.feed.person(), "like", written, days_ago=2)
    await world.act(user, "like", written, days_ago=1)
    await generate(world, training, "snapshots", user)
    await world.feed.connection.execute("UPDATE posts SET content = 'Edited since then.' WHERE id = $1", written)
    await world.settled()
    (pair,) = await pairs_of(training, "snapshots")
    assert pair.item.text == before.text
    assert np.frombuffer(pair.embedding_float32_le, "<f4") == pytest.approx(components(before), abs=1e-6)
    assert (pair.embedding_version, len(pair.embedding_float32_le)) == (1, 4 * 384)
    assert pair.item.counts.positive_count == 1, "of others, before the interaction"
    assert pair.item.created_at.ToDatetime(UTC) == NOW - timedelta(days=5)
    assert pair.model_version == "snapshots"


async def test_pairs_made_twice_are_stored_once(world: World, training: training_grpc.TrainingServiceStub) -> None:
    user = await world.feed.person()
    await world.act(user, "like", post("chess", 0, 1), days_ago=1)
    await world.act(user, "view", post("chess", 0, 2), days_ago=1)
    await generate(world, training, "twice", user)
    await generate(world, training, "twice", user)
    assert len(await pairs_of(training, "twice")) == 2
    await generate(world, training, "another", user)
    assert len(await pairs_of(training, "another")) == 2


async def test_pairs_are_for_the_trainer_alone(world: World, training: training_grpc.TrainingServiceStub) -> None:
    request = training_pb.StreamTrainingPairsRequest(collection=POSTS, model_version="labels")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await training.StreamTrainingPairs(request).read()
    assert error_reason(caught.value)[0] == "ADMIN_TOKEN_REQUIRED"


async def register(training: training_grpc.TrainingServiceStub, version: str, *runs: str) -> training_pb.ModelVersion:
    model = training_pb.ModelVersion(
        model_type="two_tower",
        version=version,
        metrics={"num_training_samples": 1200, "validation_loss": 0.31, "accuracy": 0.84},
        artifact_uri="s3://models/two-tower",
        training_run_ids=runs,
    )
    model.parameters.update({"training_start_at": "2026-01-01T00:00:00Z", "training_end_at": "2026-01-01T02:00:00Z"})
    request = training_pb.RegisterModelVersionRequest(collection=POSTS, model_version=model)
    return (await training.RegisterModelVersion(request)).model_version


async def test_one_model_version_of_a_type_is_active(world: World, training: training_grpc.TrainingServiceStub) -> None:
    for version in ("v1", "v2"):
        assert not (await register(training, version)).active
        activate = training_pb.ActivateModelVersionRequest(collection=POSTS, model_type="two_tower", version=version)
        await training.ActivateModelVersion(activate)
    listed = await training.ListModelVersions(
        training_pb.ListModelVersionsRequest(collection=POSTS, model_type="two_tower")
    )
    assert [m.version for m in listed.model_versions if m.active] == ["v2"]
    assert listed.model_versions[0].metrics["validation_loss"] == 0.31
    assert listed.model_versions[0].parameters["training_end_at"] == "2026-01-01T02:00:00Z"
    back = await training.RollbackModelVersion(
        training_pb.RollbackModelVersionRequest(collection=POSTS, model_type="two_tower")
    )
    assert (back.model_version.version, back.model_version.artifact_uri) == ("v1", "s3://models/two-tower")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await register(training, "v1")
    assert error_reason(caught.value)[0] == "MODEL_VERSION_EXISTS"


async def run_job(world: World, name: str) -> maintenance_pb.MaintenanceRun:
    return await world.client.maintenance.run(name)


async def test_events_are_kept_for_ninety_days(world: World) -> None:
    user = await world.feed.person()
    old, young = NOW - timedelta(days=150), NOW - timedelta(days=80)
    await world.act(user, "like", post("chess", 0, 1), created_at=old)
    await world.act(user, "like", post("chess", 0, 2), created_at=young)
    # What was recorded lately stays, however long ago it happened: these two were recorded when they happened.
    await world.feed.connection.execute(
        "UPDATE retrieval.events SET recorded_at = occurred_at WHERE user_id = $1", str(user)
    )
    run = await run_job(world, "prune-events")
    assert run.outcome == maintenance_pb.MaintenanceRun.OUTCOME_SUCCEEDED, run.error
    kept = await world.feed.connection.fetch("SELECT item_id FROM retrieval.events WHERE user_id = $1", str(user))
    assert [row["item_id"] for row in kept] == [str(post("chess", 0, 2))]


async def test_pairs_that_a_model_was_trained_on_go_after_thirty_days(
    world: World, training: training_grpc.TrainingServiceStub
) -> None:
    user = await world.feed.person()
    await world.act(user, "like", post("chess", 0, 1), days_ago=1)
    trained, young, unused = [
        (await generate(world, training, model, user)).run_id for model in ("trained", "young", "unused")
    ]
    await register(training, "pruned", trained, young)
    await world.feed.connection.execute(
        "UPDATE retrieval.training_pairs SET created_at = now() - interval '31 days' WHERE run_id = ANY($1)",
        [trained, unused],
    )
    await run_job(world, "prune-pairs")
    left = {model: len(await pairs_of(training, model)) for model in ("trained", "young", "unused")}
    assert left == {"trained": 0, "young": 1, "unused": 1}
