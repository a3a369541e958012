"""Nothing private gets out of a network for voice notes, on any path."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import grpc
import pytest

from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.acceptance.attached_app import ADMIN, EVERYTHING, eventually
from tests.acceptance.audio_app import (
    CIRCLES,
    FEW,
    SUBJECTS,
    TOPICS,
    USERS,
    audio_id,
    owner,
    visibility,
)
from tests.acceptance.audio_world import (
    CONTENT,
    MEMBER,
    OWNER,
    PERIHELION,
    STRANGER,
    Network,
    build,
    matches,
    network_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable


@pytest.fixture(scope="module")
async def network(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with network_of(database_url, tmp_path_factory.mktemp("privacy"), FEW) as made:
        yield made


async def by_similar(network: Network, viewer: common_pb.Viewer | None) -> Iterable[common_pb.Hit]:
    request = pb.SearchSimilarItemsRequest(collection=network.name, item_ids=[network.seed])
    request.options.CopyFrom(common_pb.SearchOptions(limit=20, viewer=viewer))
    return (await network.app.client.retrieval.SearchSimilarItems(request, metadata=ADMIN)).hits


def by_vector(source: common_pb.Source) -> Search:
    async def search(network: Network, viewer: common_pb.Viewer | None) -> Iterable[common_pb.Hit]:
        params = common_pb.SearchParams(source=source)
        return (await network.nearest(PERIHELION, limit=20, viewer=viewer, params=params)).hits

    return search


def by_words(mode: pb.HybridMode) -> Search:
    async def search(network: Network, viewer: common_pb.Viewer | None) -> Iterable[common_pb.Hit]:
        reply = await network.app.client.hybrid(
            network.name,
            "perihelion",
            mode=mode,
            query=None if mode == pb.HYBRID_MODE_TEXT else TOPICS.vector(PERIHELION),
            options=common_pb.SearchOptions(limit=20, viewer=viewer),
        )
        return reply.hits

    return search


async def by_candidates(network: Network, viewer: common_pb.Viewer | None) -> Iterable[common_pb.Hit]:
    reply = await network.app.client.candidates(
        network.name,
        history=[pb.HistoryEntry(item_id=network.seed)],
        strategies=CONTENT,
        options=common_pb.SearchOptions(limit=50, viewer=viewer),
    )
    return reply.hits


async def by_ranking(network: Network, viewer: common_pb.Viewer | None) -> Iterable[common_pb.Hit]:
    request = pb.RankItemsRequest(collection=network.name, item_ids=sorted(network.near), seed_item_id=network.seed)
    request.options.CopyFrom(common_pb.SearchOptions(viewer=viewer))
    return (await network.app.client.retrieval.RankItems(request, metadata=ADMIN)).hits


async def by_batch(network: Network, viewer: common_pb.Viewer | None) -> Iterable[common_pb.Hit]:
    search = pb.SearchMatryoshkaRequest(
        collection=network.name,
        vector=common_pb.Vector(float32_le=TOPICS.vector(PERIHELION).tobytes()),
        options=common_pb.SearchOptions(limit=20, viewer=viewer),
    )
    reply = await network.app.client.batch([pb.BatchSearchEntry(matryoshka=search)])
    return reply.results[0].hits


async def by_replies(network: Network, viewer: common_pb.Viewer | None) -> Iterable[common_pb.Hit]:
    request = pb.ListRelatedItemsRequest(collection=network.name, item_id=network.seed, viewer=viewer)
    return (await network.app.client.retrieval.ListRelatedItems(request, metadata=ADMIN)).hits


async def by_trend(network: Network, viewer: common_pb.Viewer | None) -> Iterable[common_pb.Hit]:
    return [common_pb.Hit(item_id=i) for i in await network.trending(viewer=viewer)]


async def by_list(network: Network, viewer: common_pb.Viewer | None) -> Iterable[common_pb.Hit]:
    return [common_pb.Hit(item_id=i) for i in await network.app.ids(network.name, viewer)]


async def by_id(network: Network, viewer: common_pb.Viewer | None) -> Iterable[common_pb.Hit]:
    request = items_pb.BatchGetItemsRequest(collection=network.name, item_ids=sorted(network.near), viewer=viewer)
    reply = await network.app.client.items.BatchGetItems(request, metadata=ADMIN)
    assert {i.item_id for i in reply.items} | set(reply.missing_item_ids) == network.near
    return [common_pb.Hit(item_id=item.item_id) for item in reply.items]


if TYPE_CHECKING:
    Search = Callable[[Network, common_pb.Viewer | None], Awaitable[Iterable[common_pb.Hit]]]

PATHS: dict[str, Search] = {
    "similar": by_similar,
    "vector": by_vector(common_pb.SOURCE_AUTO),
    "vector, exactly": by_vector(common_pb.SOURCE_EXACT),
    "vector, by index": by_vector(common_pb.SOURCE_HNSW),
    "vector, by the cache": by_vector(common_pb.SOURCE_FAISS),
    "hybrid": by_words(pb.HYBRID_MODE_HYBRID),
    "text": by_words(pb.HYBRID_MODE_TEXT),
    "candidates": by_candidates,
    "ranking": by_ranking,
    "batch": by_batch,
    "related": by_replies,
    "trending": by_trend,
    "list": by_list,
    "get": by_id,
}


@pytest.fixture(scope="module")
async def indexed(network: Network) -> Network:
    """The same, with an HNSW index, and all of it in the cache."""
    await build(network, collections_pb.INDEX_KIND_HNSW)
    client = network.app.client.collections
    await client.PrewarmCache(collections_pb.PrewarmCacheRequest(collection=network.name))

    async def resident() -> bool:
        stats = await client.GetIndexStats(collections_pb.GetIndexStatsRequest(collection=network.name))
        return stats.cache.state == collections_pb.CACHE_STATE_RESIDENT

    await eventually(resident)
    return network


async def seen(network: Network, path: str, viewer: common_pb.Viewer | None) -> set[str]:
    return {h.item_id for h in await PATHS[path](network, viewer)} & network.near


@pytest.mark.parametrize("path", PATHS)
async def test_the_owner_finds_their_own_whatever_its_visibility(indexed: Network, path: str) -> None:
    viewer = common_pb.Viewer(user_id=str(OWNER))
    assert await seen(indexed, path, viewer) == indexed.near


@pytest.mark.parametrize("path", PATHS)
async def test_who_does_not_say_who_they_are_finds_public_audio_alone(indexed: Network, path: str) -> None:
    assert await seen(indexed, path, None) == {indexed.shown}


@pytest.mark.parametrize("path", PATHS)
async def test_a_stranger_finds_public_audio_alone(indexed: Network, path: str) -> None:
    viewer = await indexed.viewer(STRANGER)
    assert viewer.group_ids == [str(CIRCLES[2])]
    assert await seen(indexed, path, viewer) == {indexed.shown}


@pytest.mark.parametrize("path", PATHS)
async def test_a_member_finds_what_is_shared_with_their_circle(indexed: Network, path: str) -> None:
    assert await seen(indexed, path, await indexed.viewer(MEMBER)) == {indexed.shown, indexed.shared}


async def test_who_is_banned_in_secret_notices_nothing_and_nobody_else_sees_them(network: Network) -> None:
    """A view tells of the ban. Its table has no key of an item, so that the network asks for another reading."""
    mine = str(audio_id("jazz", 2))
    banned = (
        "INSERT INTO {schema}.users (id, shadowbanned) VALUES ($1, $2) "
        "ON CONFLICT (id) DO UPDATE SET shadowbanned = excluded.shadowbanned"
    )
    others = common_pb.Viewer(user_id=str(STRANGER))
    for ban in (True, False):
        await network.app.run(banned, owner("jazz", 2), ban)
        await network.app.tables.resync(network.name, f"{network.app.schema}.audio_documents")
        await network.app.settled(network.name)
        assert (mine in await network.app.ids(network.name, others)) is not ban
        assert mine in await network.app.ids(network.name, common_pb.Viewer(user_id=str(owner("jazz", 2))))


async def test_seeing_everything_takes_the_admin_token(network: Network) -> None:
    request = items_pb.ListItemsRequest(collection=network.name, viewer=EVERYTHING)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await network.app.client.items.ListItems(request)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_new_audio_is_private(network: Network) -> None:
    item = str(uuid4())
    insert = "INSERT INTO {schema}.audio_items (id, owner_id, kind) VALUES ($1, $2, 'micro')"
    await network.app.run(insert, UUID(item), OWNER)
    await network.app.settled(network.name)
    assert item not in await network.app.ids(network.name)
    assert item in await network.app.ids(network.name, common_pb.Viewer(user_id=str(OWNER)))
    await network.app.run("DELETE FROM {schema}.audio_items WHERE id = $1", UUID(item))


async def test_a_visibility_that_nobody_knows_shows_nothing(network: Network) -> None:
    item = str(uuid4())
    await network.add(item, OWNER, "friends")
    found = await network.app.settled(network.name)
    assert item not in await network.app.ids(network.name, await network.viewer(MEMBER))
    assert found.problems[0].item_id == item
    await network.app.run("DELETE FROM {schema}.audio_items WHERE id = $1", UUID(item))
    await network.app.settled(network.name)


async def test_what_is_made_private_is_gone_on_every_path_until_it_is_shown_again(indexed: Network) -> None:
    change = "UPDATE {schema}.audio_items SET visibility = $2 WHERE id = $1"
    for shown, wanted in (("private", set()), ("public", {indexed.shown})):
        await indexed.app.run(change, UUID(indexed.shown), shown)
        await indexed.app.settled(indexed.name)
        assert {path: await seen(indexed, path, None) for path in PATHS} == dict.fromkeys(PATHS, wanted)


async def test_a_circle_has_a_feed_of_its_own(network: Network) -> None:
    member = await network.viewer(MEMBER)
    request = items_pb.ListItemsRequest(
        collection=network.name, viewer=member, filter=matches("circles", str(CIRCLES[0])), page_size=1000
    )
    found = {item.item_id for item in (await network.app.client.items.ListItems(request)).items}
    wanted = {str(audio_id(subject, n)) for subject in SUBJECTS for n in range(FEW) if CIRCLES[0] in visibility(n)[1]}
    assert found == wanted | {network.shared}
    request.viewer.CopyFrom(await network.viewer(STRANGER))
    own = {item.owner_id for item in (await network.app.client.items.ListItems(request)).items}
    assert own == {str(STRANGER)} & own


async def test_a_member_who_leaves_sees_no_more(network: Network) -> None:
    leave = "DELETE FROM {schema}.circle_members WHERE circle_id = $1 AND user_id = $2"
    await network.app.run(leave, CIRCLES[0], USERS[1])
    assert await seen(network, "get", await network.viewer(USERS[1])) == {network.shown}
