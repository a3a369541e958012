"""A network for voice notes: transcripts, chunks, clips and the feed. The tables are the network's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import grpc
import numpy as np
import pytest

from retrieval.client import error_reason
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.acceptance.attached_app import EVERYTHING, as_list, eventually
from tests.acceptance.audio_app import (
    BINDING,
    CHUNKS,
    COLLECTION,
    DIM,
    EACH,
    MODEL,
    SUBJECTS,
    TOPICS,
    USERS,
    add_audio,
    audio_id,
    event,
    owner,
    visibility,
)
from tests.acceptance.audio_world import (
    CONTENT,
    OWNER,
    Network,
    build,
    matches,
    network_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(scope="module")
async def network(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with network_of(database_url, tmp_path_factory.mktemp("audio")) as made:
        yield made


# Audio, transcripts, chunks and clips


async def test_every_audio_is_an_item(network: Network) -> None:
    rows = await network.app.fetch("SELECT id FROM {schema}.audio_items")
    assert await network.app.ids(network.name, EVERYTHING) == {str(r["id"]) for r in rows}
    item = await network.app.item(network.name, str(audio_id("jazz", 6)))
    assert (item.owner_id, list(item.tags)) == (str(owner("jazz", 6)), ["jazz", "long"])
    assert {name: item.attributes[name].keyword for name in ("kind", "lang", "mood")} == {
        "kind": "podcast_episode",
        "lang": "en",
        "mood": "lively",
    }
    assert item.attributes["duration_sec"].int64 == 1800
    assert list(item.attributes["keywords"].keywords.values) == ["jazz"]
    assert item.payload["preview_sentence"] == "Note 6 in a sentence"


async def test_an_audio_has_the_vectors_and_words_of_all_its_chunks(network: Network) -> None:
    chosen = audio_id("jazz", 6)
    rows = await network.app.fetch(
        "SELECT vector::real[] AS v, text_chunk FROM {schema}.embeddings WHERE audio_id = $1 ORDER BY chunk_index",
        chosen,
    )
    item = await network.app.item(network.name, str(chosen))
    assert [c.text for c in item.chunks] == [r["text_chunk"] for r in rows]
    assert [c.chunk_index for c in item.chunks] == list(range(CHUNKS))
    for chunk, row in zip(item.chunks, rows, strict=True):
        assert np.allclose(np.frombuffer(chunk.vector.float32_le, "<f4"), row["v"], atol=1e-3)


async def test_an_audio_is_found_once_by_its_best_chunk(network: Network) -> None:
    rows = await network.app.fetch(
        "SELECT text_chunk FROM {schema}.embeddings WHERE audio_id = $1 AND chunk_index = 4", audio_id("jazz", 6)
    )
    reply = await network.nearest(rows[0]["text_chunk"], limit=10, view=common_pb.VIEW_BASIC)
    best = reply.hits[0]
    assert (best.item_id, best.place.chunk_index, best.place.text) == (
        str(audio_id("jazz", 6)),
        4,
        rows[0]["text_chunk"],
    )
    assert len({h.item_id for h in reply.hits}) == len(reply.hits) == 10
    assert (await network.subjects(reply.hits)) == {"jazz": 10}


async def test_a_hit_says_which_clip_to_play(network: Network) -> None:
    rows = await network.app.fetch(
        "SELECT text_chunk FROM {schema}.embeddings WHERE audio_id = $1 AND chunk_index = 2", audio_id("jazz", 6)
    )
    reply = await network.nearest(rows[0]["text_chunk"], limit=1, view=common_pb.VIEW_BASIC)
    place = reply.hits[0].place.time_range
    assert (place.start.ToTimedelta().total_seconds(), place.end.ToTimedelta().total_seconds()) == (10.5, 24.25)


async def test_a_clip_that_is_cut_anew_moves_the_place(network: Network) -> None:
    chosen = audio_id("jazz", 4)
    await network.app.run("UPDATE {schema}.clips SET end_sec = 30 WHERE audio_id = $1", chosen)
    await network.app.settled(network.name)
    item = await network.app.item(network.name, str(chosen))
    assert item.chunks[2].time_range.end.ToTimedelta().total_seconds() == 30


async def test_a_transcript_is_found_by_any_form_of_its_words(network: Network) -> None:
    found = await network.words("telescopes", limit=100)
    assert found
    assert (await network.subjects(common_pb.Hit(item_id=i) for i in found)) == {"astronomy": len(found)}


async def test_a_phrase_of_a_transcript_is_shown_around_what_matched(network: Network) -> None:
    reply = await network.app.client.hybrid(
        network.name, '"part 2 of note 7"', mode=pb.HYBRID_MODE_TEXT, snippets=pb.SnippetOptions()
    )
    assert {h.item_id for h in reply.hits} <= {str(audio_id(subject, 7)) for subject in SUBJECTS}
    assert reply.hits
    assert "<b>" in reply.hits[0].snippet


async def test_words_and_meaning_search_together(network: Network) -> None:
    reply = await network.app.client.hybrid(
        network.name,
        "podcast about dumplings",
        query=TOPICS.vector("broth, garlic and the oven"),
        options=common_pb.SearchOptions(limit=10),
    )
    assert (await network.subjects(reply.hits)) == {"cooking": 10}
    assert {"text", "vector"} == {c.source for h in reply.hits for c in h.contributions}


async def test_a_transcript_in_another_language_is_searched_in_that_language(network: Network) -> None:
    item = str(uuid4())
    await network.add(item, USERS[5], "public", text="Wir haben auf den Bergen Häuser gebaut.")
    await network.app.run("UPDATE {schema}.transcripts SET lang = 'de' WHERE audio_id = $1", UUID(item))
    version = {"model": MODEL, "dimension": DIM}
    german = await network.app.create("audio-de", COLLECTION | {"text_language": "german"}, version)
    await network.app.attach(german, BINDING | {"relation": "{schema}.german_documents"})
    assert await network.words("Haus am Berg", german) == [item]
    assert await network.words("Haus am Berg") == []
    assert await network.app.ids(german) == {item}
    await network.app.run("DELETE FROM {schema}.audio_items WHERE id = $1", UUID(item))
    await network.app.settled(german)
    assert await network.app.ids(german) == set()


async def test_a_transcript_that_is_too_long_is_cut_and_listed(network: Network) -> None:
    item = str(uuid4())
    await network.add(item, USERS[5], "public", text="nebula " * 15_000)
    found = await network.app.settled(network.name)
    assert [(p.item_id, "cut" in p.problem) for p in found.problems] == [(item, True)]
    await network.app.run("DELETE FROM {schema}.audio_items WHERE id = $1", UUID(item))
    assert (await network.app.settled(network.name)).problem_count == 0


@pytest.mark.parametrize(
    ("attribute", "value"), [("kind", "podcast_episode"), ("mood", "calm"), ("keywords", "cycling"), ("tags", "daily")]
)
async def test_what_is_known_of_an_audio_narrows_a_search(network: Network, attribute: str, value: str) -> None:
    reply = await network.nearest("gravel climb", limit=6, filter=matches(attribute, value), view=common_pb.VIEW_BASIC)
    for hit in reply.hits:
        said = hit.item.attributes[attribute]
        values = hit.item.tags if attribute == "tags" else [said.keyword, *said.keywords.values]
        assert value in values
    assert (await network.subjects(reply.hits)) == {"cycling": 6}


async def test_short_audio_is_found_by_its_length(network: Network) -> None:
    at_most = common_pb.Range(attribute="duration_sec", lte=common_pb.AttributeValue(int64=120))
    only = common_pb.Filter(must=[common_pb.Condition(range=at_most)])
    reply = await network.nearest("gravel climb", limit=10, filter=only, view=common_pb.VIEW_BASIC)
    assert {h.item.attributes["duration_sec"].int64 for h in reply.hits} == {90}


# Replies, follows and the feed


async def test_replies_to_an_audio_are_listed_and_lead_back(network: Network) -> None:
    reply = str(uuid4())
    await network.add(reply, USERS[4], "public", text="That comet was not a comet.")
    await network.app.run(
        "UPDATE {schema}.audio_items SET parent_audio_id = $2 WHERE id = $1", UUID(reply), UUID(network.secret)
    )
    await network.app.settled(network.name)
    thread = items_pb.ListItemsRequest(collection=network.name, filter=matches("parent_audio_id", network.secret))
    assert [i.item_id for i in (await network.app.client.items.ListItems(thread)).items] == [reply]
    edge = common_pb.Relationship(
        item_id=network.secret, related_item_id=reply, kind=common_pb.RELATIONSHIP_KIND_RESPONSE
    )
    await network.app.client.items.UpsertRelationships(
        items_pb.UpsertRelationshipsRequest(collection=network.name, relationships=[edge])
    )
    back = pb.ListRelatedItemsRequest(
        collection=network.name, item_id=reply, direction=pb.RELATIONSHIP_DIRECTION_INCOMING
    )
    assert not (await network.app.client.retrieval.ListRelatedItems(back)).hits
    back.viewer.user_id = str(OWNER)
    hits = (await network.app.client.retrieval.ListRelatedItems(back)).hits
    assert [h.item_id for h in hits] == [network.secret]


EVENTS = ("impression", "preview_finished", "play", "complete", "save", "share", "quote", "follow_author")


async def test_every_feed_event_is_taken(network: Network) -> None:
    user = f"listener-{uuid4().hex[:6]}"
    events = [event(user, audio_id("cooking", n), kind) for n, kind in enumerate((*EVENTS, "like"))]
    events[1].context.update({"position": 3})
    reply = await network.app.client.record_events(network.name, events)
    assert reply.recorded_count == len(EVENTS) + 1
    profile = await network.app.client.user_profile(network.name, user)
    assert dict(profile.event_counts) == dict.fromkeys((*EVENTS, "like"), 1)
    assert profile.followed_owner_count == 1
    kept = await network.app.fetch(
        "SELECT context FROM retrieval.events WHERE user_id = $1 AND context IS NOT NULL", user
    )
    assert [json.loads(row["context"]) for row in kept] == [{"position": 3}]


async def test_what_listeners_pass_on_outweighs_what_they_keep(network: Network) -> None:
    """By the weights of this network: three shares are more than five saves."""
    passed, kept = str(audio_id("startups", 2)), str(audio_id("startups", 4))
    events = [event(f"a-{n}", passed, "share") for n in range(3)] + [event(f"b-{n}", kept, "save") for n in range(5)]
    await network.app.client.record_events(network.name, events)

    async def both() -> bool:
        return {passed, kept} <= set(await network.trending())

    await eventually(both)
    order = await network.trending()
    assert order.index(passed) < order.index(kept)


async def test_explore_shows_public_audio_of_a_subject(network: Network) -> None:
    hidden, shown = str(audio_id("cooking", 13)), str(audio_id("cooking", 12))
    assert (visibility(13)[0], visibility(12)[0]) == ("private", "public")
    events = [event(f"c-{n}", item, "complete") for n in range(6) for item in (hidden, shown)]
    await network.app.client.record_events(network.name, events)

    async def there() -> bool:
        return shown in await network.trending(filter=matches("tags", "cooking"))

    await eventually(there)
    found = await network.trending(filter=matches("tags", "cooking"))
    assert hidden not in found
    assert set(await network.subjects(common_pb.Hit(item_id=i) for i in found)) == {"cooking"}


async def test_candidates_are_public_unheard_and_to_the_listeners_taste(network: Network) -> None:
    user = f"cyclist-{uuid4().hex[:6]}"
    heard = [str(audio_id("cycling", n)) for n in (0, 2, 4, 6)]
    kinds = ("like", "save", "complete", "play")
    await network.app.client.record_events(
        network.name, [event(user, item, kind) for item, kind in zip(heard, kinds, strict=True)]
    )
    reply = await network.app.client.candidates(
        network.name, user, strategies=CONTENT, options=common_pb.SearchOptions(limit=12, view=common_pb.VIEW_BASIC)
    )
    assert len(reply.hits) == 12
    assert {h.item.visibility for h in reply.hits} == {common_pb.VISIBILITY_PUBLIC}
    assert not {h.item_id for h in reply.hits} & set(heard)
    assert (await network.subjects(reply.hits))["cycling"] >= 10


async def test_candidates_of_a_member_come_from_their_circles_too(network: Network) -> None:
    viewer = await network.viewer(USERS[3])
    assert len(viewer.group_ids) == 2
    await network.app.client.record_events(
        network.name, [event(USERS[3], audio_id("jazz", n), "like") for n in (0, 2, 4)]
    )
    options = common_pb.SearchOptions(limit=40, viewer=viewer, view=common_pb.VIEW_BASIC)
    reply = await network.app.client.candidates(network.name, str(USERS[3]), strategies=CONTENT, options=options)
    shared = [h.item for h in reply.hits if h.item.visibility == common_pb.VISIBILITY_GROUPS]
    foreign = [i for i in shared if i.owner_id != str(USERS[3])]
    assert foreign
    assert all(set(i.audience) & set(viewer.group_ids) for i in foreign)
    assert {h.item.owner_id for h in reply.hits if h.item.visibility == common_pb.VISIBILITY_PRIVATE} <= {str(USERS[3])}


async def test_who_is_followed_is_heard_and_first_where_the_network_wants_it(network: Network) -> None:
    user = USERS[8]
    await network.app.run("INSERT INTO {schema}.user_follows VALUES ($1, $2)", user, USERS[6])
    rows = await network.app.fetch("SELECT followee_id FROM {schema}.user_follows WHERE follower_id = $1", user)
    request = feedback_pb.UpdateOwnerEdgesRequest(collection=network.name, user_id=str(user))
    for row in rows:
        request.add.add(owner_id=str(row["followee_id"]), kind=feedback_pb.EDGE_KIND_FOLLOW)
    await network.app.client.feedback.UpdateOwnerEdges(request)
    by_followed = []
    for weight, limit in ((1, 20), (5, 5)):
        reply = await network.app.client.candidates(
            network.name,
            str(user),
            sources=[pb.CandidateSourceSetting(source="in_network", weight=weight)],
            options=common_pb.SearchOptions(limit=limit, view=common_pb.VIEW_BASIC),
        )
        by_followed.append([h.item for h in reply.hits if "in_network" in {c.source for c in h.contributions}])
    assert len(by_followed[0]) >= 5
    assert len(by_followed[1]) == 5
    assert {item.owner_id for found in by_followed for item in found} == {str(USERS[6])}
    assert {item.visibility for found in by_followed for item in found} == {common_pb.VISIBILITY_PUBLIC}


async def test_a_listener_who_leaves_is_forgotten(network: Network) -> None:
    user = f"leaver-{uuid4().hex[:6]}"
    await network.app.client.record_events(network.name, [event(user, network.seed, "follow_author")])
    request = feedback_pb.DeleteUserDataRequest(collection=network.name, user_id=user)
    gone = await network.app.client.feedback.DeleteUserData(request)
    assert (gone.event_count, gone.edge_count) == (1, 1)
    assert not (await network.app.client.user_profile(network.name, user)).event_counts


async def test_an_audio_that_is_deleted_is_gone_with_its_chunks(network: Network) -> None:
    item = str(uuid4())
    await network.add(item, USERS[5], "public", text="quartet at midnight")
    await network.app.settled(network.name)
    assert (await network.nearest("quartet at midnight", limit=1)).hits[0].item_id == item
    await network.app.run("DELETE FROM {schema}.audio_items WHERE id = $1", UUID(item))
    await network.app.settled(network.name)
    assert (await network.nearest("quartet at midnight", limit=1)).hits[0].item_id != item


# Lists, once there are enough vectors


async def plan_of_nearest(network: Network, index: str) -> str:
    """How Postgres finds the nearest rows of the index's table, were it not as small as it is."""
    (row,) = await network.app.fetch("SELECT tablename, indexdef FROM pg_indexes WHERE indexname = $1", index)
    assert "USING ivfflat" in row["indexdef"]
    async with network.app.connection.transaction():
        await network.app.run("SET LOCAL enable_seqscan = off")
        compared = f"subvector(embedding, 1, {DIM})::halfvec({DIM})"
        query = as_list(TOPICS.vector("saxophone in a quartet"))
        explain = f"EXPLAIN SELECT 1 FROM retrieval.{row['tablename']} ORDER BY {compared} <=> '{query}' LIMIT 10"
        return "\n".join(line[0] for line in await network.app.fetch(explain))


async def test_lists_are_built_once_there_are_a_thousand_vectors(network: Network) -> None:
    """The last test: it adds audio."""
    count = "SELECT count(*) AS vectors FROM {schema}.embeddings"
    assert (await network.app.fetch(count))[0]["vectors"] < 1000
    kind = collections_pb.INDEX_KIND_IVFFLAT
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await build(network, kind)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error_reason(caught.value)[0] == "TOO_FEW_ROWS"
    for subject in SUBJECTS:
        await add_audio(network.app, subject, range(EACH, EACH + 4))
    await network.app.settled(network.name)
    assert (await network.app.fetch(count))[0]["vectors"] >= 1000
    found = await build(network, kind)
    assert (found.dimension, found.lists, found.lists_wanted) == (DIM, 1, 1)
    assert found.built_row_count >= 1000
    assert found.name in await plan_of_nearest(network, found.name)
    params = common_pb.SearchParams(source=common_pb.SOURCE_IVFFLAT)
    reply = await network.nearest("saxophone in a quartet", limit=10, params=params)
    assert reply.info.source == common_pb.SOURCE_IVFFLAT
    assert (await network.subjects(reply.hits)) == {"jazz": 10}
    exact = await network.nearest("saxophone in a quartet", limit=10, params=common_pb.SearchParams(exact=True))
    assert [h.item_id for h in reply.hits] == [h.item_id for h in exact.hits]
