"""What viewers of the library are shown: what videos refer to, what they like, what trends."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import grpc
import pytest
from google.protobuf import json_format

from retrieval.client.reasons import error_reason
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.acceptance.videos.app import NOW, key
from tests.acceptance.videos.world import ADMIN, KINDS, NAME, World, event, eventually, ids


async def test_each_kind_of_reference_is_listed(world: World) -> None:
    source, *targets = world.library.of("roman-history")[:7]
    for kind, target in zip(KINDS, targets, strict=True):
        await world.refer(source, kind, target, note=f"{kind}, said at the start")
    for kind, target in zip(KINDS, targets, strict=True):
        reply = await world.related(source, kind)
        assert ids(reply) == [target.item_id], kind
        assert list(reply.paths[0].kinds) == [KINDS[kind]]
        assert list(reply.paths[0].notes) == [f"{kind}, said at the start"]
    every = await world.related(source, view="VIEW_BASIC")
    contradicting = targets[list(KINDS).index("contradicts")]
    assert set(ids(every)) == {t.item_id for t in targets} - {contradicting.item_id}
    assert all(hit.item.text for hit in every.hits)


async def test_a_reference_that_is_sent_twice_is_there_once(world: World) -> None:
    first, second = world.library.of("markets")[:2]
    await world.refer(first, "sequel", second)
    assert await world.send_references() == await world.send_references()
    assert ids(await world.related(first, "sequel")) == [second.item_id]
    assert ids(await world.related(second, "sequel")) == []
    assert ids(await world.related(second, "sequel", direction="RELATIONSHIP_DIRECTION_INCOMING")) == [first.item_id]


async def test_a_reference_to_itself_is_refused(world: World) -> None:
    video = world.library.videos[0]
    request = items_pb.UpsertRelationshipsRequest(collection=NAME)
    request.relationships.add(item_id=video.item_id, related_item_id=video.item_id, kind=KINDS["cited"])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stubs.items.UpsertRelationships(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_reason(caught.value)[1][0][0] == "relationships[0].related_item_id"


async def test_prerequisites_are_followed_five_steps_and_no_further(world: World) -> None:
    chain = world.library.of("number-theory")[10:18]
    for video, before in pairwise(chain):
        await world.refer(video, "prerequisite", before)
    reply = await world.related(chain[0], "prerequisite", depth=5)
    assert {hit.item_id: path.depth for hit, path in zip(reply.hits, reply.paths, strict=True)} == {
        video.item_id: depth for depth, video in enumerate(chain[1:6], 1)
    }


async def test_prerequisites_in_a_circle_end(world: World) -> None:
    one, two, three = world.library.of("ethics")[20:23]
    for video, before in ((one, two), (two, three), (three, one), (two, one)):
        await world.refer(video, "prerequisite", before)
    reply = await world.related(one, "prerequisite", depth=5)
    assert ids(reply) == [two.item_id, three.item_id]


async def test_a_chain_does_not_lead_through_a_video_that_is_not_approved(world: World) -> None:
    first, last = world.library.of("machine-learning")[30:32]
    hidden = next(v for v in world.library.videos if not v.listed and v.topic.slug == "machine-learning")
    await world.refer(first, "prerequisite", hidden)
    await world.refer(hidden, "prerequisite", last)
    assert ids(await world.related(first, "prerequisite", depth=5)) == []
    everything = {"unrestricted": True}
    request = json_format.ParseDict(
        {"collection": NAME, "item_id": first.item_id, "depth": 5, "viewer": everything}, pb.ListRelatedItemsRequest()
    )
    reply = await world.stubs.retrieval.ListRelatedItems(request, metadata=ADMIN)
    assert ids(reply) == [hidden.item_id, last.item_id]


async def test_a_learning_path_limits_a_search_and_a_private_one_is_not_known(world: World) -> None:
    steps = world.library.of("number-theory")[20:26]
    for slug, public in (("numbers-from-scratch", True), ("my-drafts", False)):
        path = await world.app.fetchval(
            "INSERT INTO collections (title, slug, created_by, is_public) VALUES ($1, $1, $2, $3) RETURNING id",
            slug,
            key("submitter 1"),
            public,
        )
        await world.app.executemany(
            "INSERT INTO collection_videos VALUES ($1, $2, $3)", [(path, v.id, n) for n, v in enumerate(steps)]
        )
    await world.in_step()
    for slug, wanted in (("numbers-from-scratch", {v.item_id for v in steps}), ("my-drafts", set())):
        condition = {"match": {"attribute": "learning_paths", "values": [{"keyword": slug}]}}
        reply = await world.hybrid("divisibility", "VECTOR", options={"filter": {"must": [condition]}})
        assert set(ids(reply)) == wanted, slug


async def test_what_comes_next_is_ordered_for_a_path_of_the_applications(world: World) -> None:
    steps = world.library.of("markets")[20:26]
    request = pb.RankItemsRequest(collection=NAME, seed_item_id=world.library.of("markets")[0].item_id)
    request.item_ids.extend(v.item_id for v in steps)
    reply = await world.stubs.retrieval.RankItems(request)
    assert set(ids(reply)) == {v.item_id for v in steps}
    assert [hit.score for hit in reply.hits] == sorted((hit.score for hit in reply.hits), reverse=True)


async def seen_by(world: World, user: str) -> set[str]:
    rows = await world.app.fetch("SELECT video_id FROM user_video_activity WHERE user_id = $1", key(user))
    return {str(r["video_id"]) for r in rows}


@pytest.mark.parametrize("topic", ["astronomy", "markets", "ethics"])
async def test_candidates_are_to_the_viewers_taste_and_none_was_seen(world: World, topic: str) -> None:
    user = f"fan 1 of {topic}"
    seen = await seen_by(world, user)
    content = await world.candidates(user, strategies=[{"name": "content"}], options={"limit": 20})
    assert world.topics(ids(content))[topic] >= 15
    for strategy in ("content", "hybrid", "trending", "collaborative"):
        reply = await world.candidates(user, strategies=[{"name": strategy}], options={"limit": 200})
        assert len(reply.hits) == 200
        assert len(seen) == 10
        assert not seen & set(ids(reply)), strategy


async def test_what_was_seen_may_be_asked_for_again(world: World) -> None:
    user = "fan 1 of astronomy"
    reply = await world.candidates(user, include_seen=True, options={"limit": 300})
    assert await seen_by(world, user) <= set(ids(reply))


async def test_a_bookmark_says_more_than_a_like_and_that_more_than_a_view(world: World) -> None:
    markets, ethics, romans = (world.library.of(t)[30:36] for t in ("markets", "ethics", "roman-history"))
    for video in markets:
        await world.watch("saver", video, bookmarked=True)
    for video in ethics:
        await world.watch("saver", video, liked=True)
    for video in romans:
        await world.watch("saver", video)
    token = await world.send_activity("saver")
    profile = await world.profile("saver", token)
    shares = {f.value: f.user_share for f in profile.facets}
    # A facet is there where its share is above that in the catalogue.
    assert shares["markets"] > shares["ethics"] > shares.get("roman-history", 0.0)
    assert dict(profile.event_counts) == {"view": 18, "save": 6, "like": 6}
    reply = await world.candidates("saver", strategies=[{"name": "content"}], options={"limit": 60})
    liked = world.topics(ids(reply))
    assert liked["markets"] > 0
    assert liked["markets"] >= liked["roman-history"]


async def test_progress_and_the_end_of_a_video_are_events(world: World) -> None:
    video = world.library.of("astronomy")[39]
    seconds = await world.app.fetchval("SELECT duration_seconds FROM videos WHERE id = $1", video.id)
    await world.watch("submitter 3", video, progress=seconds)
    profile = await world.profile("submitter 3", await world.send_activity("submitter 3"))
    assert dict(profile.event_counts) == {"view": 1, "dwell": 1, "complete": 1}
    again = await world.profile("submitter 3", await world.send_activity("submitter 3"))
    assert again.event_counts == profile.event_counts


async def test_a_viewer_of_whom_nothing_is_known_gets_what_others_watch(world: World) -> None:
    reply = await world.candidates("newcomer", options={"limit": 10})
    assert (len(reply.hits), reply.info.degraded) == (10, True)
    watched = {str(r["video_id"]) for r in await world.app.fetch("SELECT video_id FROM user_video_activity")}
    assert len(watched & set(ids(reply))) >= 5


async def test_a_viewer_who_leaves_is_forgotten(world: World) -> None:
    video = world.library.of("markets")[3]
    await world.watch("submitter 5", video, liked=True)
    await world.send_activity("submitter 5")
    request = feedback_pb.DeleteUserDataRequest(collection=NAME, user_id=str(key("submitter 5")))
    assert (await world.stubs.feedback.DeleteUserData(request)).event_count == 2
    assert not (await world.profile("submitter 5")).event_counts


async def test_trending_counts_the_views_and_comments_of_a_week(world: World) -> None:
    viewed, discussed, both, old = world.library.of("machine-learning")[36:40]
    said = [
        *((viewed, "view", 30, 0), (discussed, "reply", 60, 0), (both, "view", 20, 0), (both, "reply", 15, 0)),
        (old, "view", 100, 9),
    ]
    await world.send_events(
        [
            event(key(f"visitor {n}"), video.id, kind, NOW - dt.timedelta(days=days, seconds=n))
            for video, kind, count, days in said
            for n in range(count)
        ]
    )
    wanted = [v.item_id for v in (viewed, both, discussed)]  # 30 * 0.7 > 20 * 0.7 + 15 * 0.3 > 60 * 0.3

    async def settled() -> bool:
        found = await world.trending()
        return [i for i in found if i in wanted] == wanted and set(wanted) <= set(found[:5])

    await eventually(settled)
    assert old.item_id not in await world.trending()
    assert old.item_id in await world.trending(30)
