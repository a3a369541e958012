"""A social feed keeps its tables: its posts are searched, and its readers get candidates."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import numpy as np
import pytest

from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from tests.acceptance.serving import components, ids, nearest, options, overlap, strategy, until
from tests.acceptance.social_posts_app import TOPICS, as_json, author, embed, post, reader, sentence, tower
from tests.acceptance.social_posts_world import EXACT, POSTS, World, world_of_posts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

BAKER = reader("baking", 0)


@pytest.fixture(scope="module")
async def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world_of_posts(database_url, tmp_path_factory.mktemp("social")) as made:
        yield made


def unit(vector: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(vector / np.linalg.norm(vector))


async def similar(world: World, post_id: UUID, limit: int = 10) -> list[str]:
    reply = await world.client.similar(POSTS, [str(post_id)], options=options(limit, params=EXACT))
    return ids(reply.hits)


async def test_rows_of_posts_are_items(world: World) -> None:
    row = await world.feed.connection.fetchrow("SELECT * FROM posts WHERE id = $1", post("chess", 2, 3))
    item = await world.service.item(POSTS, post("chess", 2, 3))
    assert item is not None
    assert (item.text, item.owner_id) == (row["content"], str(author("chess", 2)))
    assert item.created_at.ToDatetime(row["created_at"].tzinfo) == row["created_at"]
    assert (await world.service.in_step(POSTS)).problem_count == 0


async def test_posts_are_compared_by_the_json_arrays_in_their_text_columns(world: World) -> None:
    query = embed(sentence("astronomy", Random(3)))
    reply = await world.client.nearest(POSTS, query, options=options(20, params=EXACT))
    rows = {hit.item_id: world.feed.vectors[hit.item_id] for hit in reply.hits if hit.item_id in world.feed.vectors}
    assert len(rows) > 10
    assert list(rows) == nearest(query, rows, len(rows))
    assert overlap(list(rows), nearest(query, world.feed.vectors, len(rows))) >= 0.9


async def test_similar_posts_are_about_the_same(world: World) -> None:
    found = await similar(world, post("gardening", 1, 1))
    assert world.feed.topics(found).count("gardening") >= 9
    assert str(post("gardening", 1, 1)) not in found


async def test_the_projection_makes_what_the_application_computed_itself(world: World) -> None:
    rows = await world.feed.connection.fetch("SELECT id, embedding_256 FROM posts WHERE embedding_256 IS NOT NULL")
    for row in rows[::20]:
        theirs = np.array(json.loads(row["embedding_256"]))
        ours = components(await world.service.item(POSTS, row["id"], version=2))
        assert ours.shape == (256,)
        assert ours @ theirs / np.linalg.norm(theirs) > 0.9999


async def test_a_search_in_the_learned_version_takes_the_vector_of_either_length(world: World) -> None:
    matrix, bias = tower()
    query = embed(sentence("cycling", Random(5)))
    given = options(10, params=EXACT, embedding_version=2)
    by_384 = await world.client.nearest(POSTS, query, options=given)
    by_256 = await world.client.nearest(POSTS, matrix @ query + bias, options=given)
    assert ids(by_384.hits) == ids(by_256.hits)
    assert world.feed.topics(ids(by_384.hits)).count("cycling") >= 9


async def test_a_post_without_an_embedding_is_found_once_the_worker_has_embedded_it(world: World) -> None:
    written = await world.feed.write("chess", author("chess", 0))
    await world.service.in_step(POSTS)
    item = await world.service.item(POSTS, written)
    assert item is not None
    assert not item.chunks
    assert await world.outstanding() == 2, "for the 384 components, and for the 256"
    await world.settled()
    assert world.feed.topics(await similar(world, written)).count("chess") >= 9
    # The application's own column stays empty, and a like does not take the service's vector away.
    await world.feed.connection.execute("UPDATE posts SET like_count = like_count + 1 WHERE id = $1", written)
    await world.service.in_step(POSTS)
    item = await world.service.item(POSTS, written)
    assert item is not None
    assert (item.rating_count, len(item.chunks)) == (1, 1)
    assert await world.outstanding() == 0


async def test_an_edited_post_is_embedded_anew(world: World) -> None:
    written = await world.feed.write("chess", author("chess", 1))
    await world.settled()
    text = sentence("baking", Random(9))
    await world.feed.connection.execute("UPDATE posts SET content = $2 WHERE id = $1", written, text)
    await world.settled()
    assert components(await world.service.item(POSTS, written)) @ unit(embed(text)) > 0.999
    assert world.feed.topics(await similar(world, written)).count("baking") >= 9


async def test_an_embedding_that_the_application_computes_later_is_taken(world: World) -> None:
    written = await world.feed.write("cycling", author("cycling", 1))
    await world.service.in_step(POSTS)
    theirs = embed("a vector of the application's own")
    await world.feed.connection.execute(
        "UPDATE posts SET embedding_384 = $2, computed_at = now() WHERE id = $1", written, as_json(theirs)
    )
    await world.service.in_step(POSTS)
    assert components(await world.service.item(POSTS, written)) @ unit(theirs) > 0.999
    await world.settled()


async def test_a_broken_embedding_is_reported_and_made_anew(world: World) -> None:
    written = await world.feed.write("baking", author("baking", 1), embedding_384="[0.1, 0.2, ...]")
    table = await world.service.in_step(POSTS)
    assert {(p.item_id, p.problem) for p in table.problems} == {
        (str(written), "vectors[0]: not a vector"),
        (str(written), "vectors[1]: not a vector"),
    }
    assert not len(components(await world.service.item(POSTS, written)))
    await world.settled()
    assert world.feed.topics(await similar(world, written)).count("baking") >= 9
    await world.feed.connection.execute("UPDATE posts SET embedding_384 = NULL WHERE id = $1", written)
    assert (await world.service.in_step(POSTS)).problem_count == 0


async def test_a_deleted_post_is_gone(world: World) -> None:
    written = await world.feed.write("baking", author("baking", 1))
    await world.settled()
    await world.feed.connection.execute("DELETE FROM posts WHERE id = $1", written)
    await world.service.in_step(POSTS)
    assert await world.service.item(POSTS, written) is None


async def test_the_learned_version_takes_over_when_it_is_complete_and_goes_back(world: World) -> None:
    collections = world.client.collections
    activate = collections_pb.ActivateEmbeddingVersionRequest(collection=POSTS, version=2)
    await world.feed.write("baking", author("baking", 2))
    await world.service.in_step(POSTS)
    with pytest.raises(Exception, match="embed") as refused:
        await collections.ActivateEmbeddingVersion(activate)
    assert "FAILED_PRECONDITION" in str(refused.value)
    await world.settled()
    await collections.ActivateEmbeddingVersion(activate)
    try:
        reply = await world.client.similar(POSTS, [str(post("chess", 0, 0))])
        assert reply.info.embedding_version == 2
        assert world.feed.topics(ids(reply.hits)).count("chess") >= 9
    finally:
        await collections.RollbackEmbeddingVersion(collections_pb.RollbackEmbeddingVersionRequest(collection=POSTS))
    assert (await world.client.similar(POSTS, [str(post("chess", 0, 0))])).info.embedding_version == 1


async def test_candidates_are_of_the_readers_taste_and_none_was_seen(world: World) -> None:
    seen = {e.item_id for e in await world.feed.all_events() if e.user_id == str(BAKER)}
    reply = await world.candidates(BAKER, strategies=[strategy("content")])
    assert len(reply.hits) == 20
    assert world.feed.topics(ids(reply.hits)).count("baking") >= 18
    assert not seen & set(ids(reply.hits))


async def test_what_is_shown_is_not_shown_again(world: World) -> None:
    user = await world.feed.person()
    shown: set[str] = set()
    for _ in range(4):
        page = ids((await world.candidates(user)).hits)
        assert len(page) == 20
        assert not shown & set(page)
        shown.update(page)
        await world.act(user, "view", *map(UUID, page))


async def test_in_network_posts_are_those_of_followed_authors_newest_first(world: World) -> None:
    user = await world.feed.person()
    followed = [author("chess", 3), author("cycling", 3)]
    await world.feed.connection.executemany("INSERT INTO follows VALUES ($1, $2)", [(user, f) for f in followed])
    rows = await world.feed.connection.fetch("SELECT following_id FROM follows WHERE follower_id = $1", user)
    await world.edges(user, feedback_pb.EDGE_KIND_FOLLOW, *(row["following_id"] for row in rows))
    reply = await world.candidates(user, strategies=[strategy("following", in_network=1.0)], limit=16)
    theirs = await world.feed.connection.fetch("SELECT id FROM posts WHERE user_id = ANY($1)", followed)
    network = [hit for hit in reply.hits if "in_network" in {c.source for c in hit.contributions}]
    assert set(ids(network)) == {str(row["id"]) for row in theirs}
    times = [hit.item.created_at.ToDatetime() for hit in network]
    assert times == sorted(times, reverse=True)
    # A follow that ends, ends that.
    await world.edges(user, feedback_pb.EDGE_KIND_FOLLOW, *followed, remove=True)
    reply = await world.candidates(user, strategies=[strategy("following", in_network=1.0)], limit=16)
    assert not [hit for hit in reply.hits if "in_network" in {c.source for c in hit.contributions}]


async def test_a_feed_mixes_in_network_and_out_of_network(world: World) -> None:
    user = await world.feed.person()
    await world.edges(user, feedback_pb.EDGE_KIND_FOLLOW, author("chess", 1))
    await world.act(user, "like", *(post("astronomy", n, 2) for n in range(3)))
    reply = await world.candidates(user, limit=30)
    owners = [hit.item.owner_id for hit in reply.hits]
    assert str(author("chess", 1)) in owners[:10]
    out_of_network = [hit for hit in reply.hits if hit.item.owner_id != str(author("chess", 1))]
    assert "astronomy" in world.feed.topics(ids(out_of_network))
    assert {"in_network", "interests"} <= {source.source for source in reply.info.sources}


@pytest.mark.parametrize("kind", ["block_author", "mute_author"])
async def test_an_author_who_was_turned_away_is_never_shown_again(world: World, kind: str) -> None:
    user = await world.feed.person()
    await world.act(user, "like", *(post("baking", n, 0) for n in range(4)))
    enemy = author("baking", 2)
    before = await world.candidates(user, 200)
    assert str(enemy) in {hit.item.owner_id for hit in before.hits}
    await world.act(user, kind, post("baking", 2, 1))
    after = await world.candidates(user, 200, include_seen=True)
    assert len(after.hits) > 100
    assert str(enemy) not in {hit.item.owner_id for hit in after.hits}


async def test_a_block_in_the_settings_counts_too_and_can_be_lifted(world: World) -> None:
    user = await world.feed.person()
    await world.edges(user, feedback_pb.EDGE_KIND_BLOCK, author("chess", 0))
    assert str(author("chess", 0)) not in {h.item.owner_id for h in (await world.candidates(user, 300)).hits}
    await world.edges(user, feedback_pb.EDGE_KIND_BLOCK, author("chess", 0), remove=True)
    assert str(author("chess", 0)) in {h.item.owner_id for h in (await world.candidates(user, 300)).hits}


@pytest.mark.parametrize("kind", ["not_interested", "report"])
async def test_a_post_that_was_turned_down_stays_away_whatever_else_happened_with_it(world: World, kind: str) -> None:
    user = await world.feed.person()
    turned_down = post("gardening", 0, 0)
    await world.act(user, "repost", turned_down, post("gardening", 1, 0))
    await world.act(user, kind, turned_down, days_ago=200)
    found = ids((await world.candidates(user, 300, include_seen=True)).hits)
    assert str(turned_down) not in found
    assert str(post("gardening", 1, 0)) in found


async def test_a_feed_without_replies_is_a_filter(world: World) -> None:
    parent = post("chess", 0, 5)
    reply_post = await world.feed.write(
        "chess", author("chess", 2), parent_id=parent, content="Nf3 is better, see above"
    )
    await world.settled()
    has_parent = common_pb.Condition(exists=common_pb.Exists(attribute="parent_id"))
    user = await world.feed.person()
    plain = await world.candidates(user, 300)
    assert str(reply_post) in ids(plain.hits)
    only_posts = options(300, filter=common_pb.Filter(must_not=[has_parent]))
    assert str(reply_post) not in ids((await world.candidates(user, options=only_posts)).hits)
    of_thread = common_pb.MatchAny(attribute="parent_id", values=[common_pb.AttributeValue(keyword=str(parent))])
    thread = options(10, filter=common_pb.Filter(must=[common_pb.Condition(match=of_thread)]))
    assert ids((await world.candidates(user, options=thread)).hits) == [str(reply_post)]


async def test_a_user_vector_of_the_application_proposes_what_is_near_it(world: World) -> None:
    matrix, bias = tower()
    user = await world.feed.person()
    taste = matrix @ np.mean([world.feed.vectors[str(post("cycling", n, 0))] for n in range(5)], axis=0) + bias
    await world.feed.connection.execute(
        "UPDATE profiles SET user_embedding_256 = $2, embedding_updated_at = now() WHERE id = $1", user, as_json(taste)
    )
    text = await world.feed.connection.fetchval("SELECT user_embedding_256 FROM profiles WHERE id = $1", user)
    await world.client.set_user_vector(POSTS, str(user), np.array(json.loads(text)), embedding_version=2)
    given = options(20, embedding_version=2)
    reply = await world.candidates(user, options=given, strategies=[strategy("tower", user_vector=1.0)])
    assert world.feed.topics(ids(reply.hits)).count("cycling") >= 18
    profile = await world.client.user_profile(POSTS, str(user), embedding_version=2)
    assert profile.has_user_vector
    await world.client.set_user_vector(POSTS, str(user), None, embedding_version=2)
    assert not (await world.client.user_profile(POSTS, str(user), embedding_version=2)).has_user_vector


async def test_somebody_new_gets_what_most_people_like(world: World) -> None:
    best = [post("baking", 4, 1), post("chess", 4, 1), post("cycling", 4, 1)]
    await world.feed.connection.execute("UPDATE posts SET like_count = 900 WHERE id = ANY($1)", best)
    await world.service.in_step(POSTS)
    user = await world.feed.person()

    async def popular() -> bool:
        reply = await world.candidates(user, 3, strategies=[strategy("popular", popular=1.0)], no_cache=True)
        return reply.info.degraded and set(ids(reply.hits)) == set(map(str, best))

    assert await until(popular)


async def test_words_find_posts_that_have_no_embedding_yet(world: World) -> None:
    written = await world.feed.write("chess", author("chess", 0), content="An unheard-of word: flibbertigibbet")
    await world.service.in_step(POSTS)
    reply = await world.client.hybrid(POSTS, "flibbertigibbet", mode=retrieval_pb.HYBRID_MODE_TEXT)
    assert ids(reply.hits) == [str(written)]
    await world.settled()


async def test_the_application_keeps_its_own_tables(world: World) -> None:
    """A post that breaks a rule of the application is refused by it; the service's triggers change nothing of that."""
    with pytest.raises(asyncpg.NotNullViolationError):
        await world.feed.connection.execute("INSERT INTO posts (id, user_id) VALUES ($1, $2)", UUID(int=1), BAKER)
    assert set(TOPICS) == set(world.feed.topics(world.feed.vectors))
