"""A library of videos is served end to end: its tables stay its own, the service follows them."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import grpc
import pytest
from google.protobuf import json_format

from retrieval.client.reasons import error_reason
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import embedding_job_service_pb2 as jobs_pb
from retrieval.v1 import embedding_job_service_pb2_grpc as jobs_grpc
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.acceptance.videos_app import (
    MODEL,
    NOW,
    Video,
    key,
    text_vector,
    vector_literal,
)
from tests.acceptance.videos_world import (
    ADMIN,
    KINDS,
    NAME,
    OTHER_MODEL,
    PATHS,
    World,
    event,
    eventually,
    ids,
    open_world,
)
from tests.postgres.conftest import scratch_database
from tests.server.process import server_process, stubs_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HALF_A_YEAR = NOW - dt.timedelta(days=180)
ADD = """
INSERT INTO videos (platform, platform_id, url, title, description, duration_seconds, published_at, submitted_by)
VALUES ('youtube', $1, 'https://videos.example/' || $1, $2, $3, 600, now(), $4) RETURNING id
"""
EMBED = """
INSERT INTO video_embeddings (video_id, embedding, model, source) VALUES ($1, $2::text::vector, $3, 'combined')
ON CONFLICT (video_id) DO UPDATE SET embedding = excluded.embedding, model = excluded.model
"""


@pytest.fixture(scope="module")
async def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with open_world(database_url, tmp_path_factory.mktemp("videos")) as made:
        yield made


def topics(world: World, item_ids: list[str]) -> Counter[str]:
    known = world.library.by_id()
    return Counter(known[i].topic.slug for i in item_ids if i in known)


async def add(world: World, title: str, *, approved: bool) -> Added:
    """A new video of the application's, with an embedding."""
    video_id = await world.app.fetchval(ADD, uuid4().hex, title, "Added later.", key("submitter 0"))
    await world.app.execute(EMBED, video_id, vector_literal(text_vector(title)), MODEL)
    if approved:
        await world.app.execute(
            "UPDATE videos SET moderation_status = 'approved', is_approved = true WHERE id = $1", video_id
        )
    await world.in_step()
    return Added(video_id, title)


@dataclass(frozen=True, slots=True)
class Added:
    """A video that is not one of the library's own."""

    id: UUID
    title: str

    @property
    def item_id(self) -> str:
        return str(self.id)


# The tables


async def test_every_row_is_an_item_and_none_has_a_problem(world: World) -> None:
    found = await world.in_step()
    assert (found.rows_done, found.problem_count) == (len(world.library.videos), 0)
    everything = await world.stubs.items.ListItems(
        json_format.ParseDict(
            {"collection": NAME, "page_size": 1000, "viewer": {"unrestricted": True}}, items_pb.ListItemsRequest()
        ),
        metadata=ADMIN,
    )
    assert {v.item_id for v in world.library.videos} <= {i.item_id for i in everything.items}


async def test_an_item_shows_what_the_row_says(world: World) -> None:
    video = world.library.videos[7]
    row = await world.app.fetchrow("SELECT * FROM videos WHERE id = $1", video.id)
    item = await world.item(video)
    assert item.text == f"{video.title}\n\n{video.description}"
    assert item.owner_id == str(row["submitted_by"])
    assert item.attributes["channel"].keyword == row["channel_name"]
    assert item.attributes["duration_seconds"].int64 == row["duration_seconds"]
    assert item.attributes["embedding_source"].keyword == "transcript"
    assert json_format.MessageToDict(item.payload)["view_count"] == row["view_count"]
    assert item.created_at.ToDatetime(dt.UTC) == row["created_at"]


# Filters


FILTERS = {
    "category": (
        {"match": {"attribute": "categories", "values": [{"keyword": "astronomy"}]}},
        "category_id = (SELECT id FROM categories WHERE slug = 'astronomy')",
    ),
    "a category stands for those below it": (
        {"match": {"attribute": "categories", "values": [{"keyword": "science"}]}},
        "category_id IN (SELECT c.id FROM categories c JOIN categories p ON p.id = c.parent_id WHERE p.slug = 'science')",
    ),
    "tag": (
        {"match": {"attribute": "tags", "values": [{"keyword": "beginner"}]}},
        "id IN (SELECT video_id FROM video_tags JOIN tags t ON t.id = tag_id WHERE t.slug = 'beginner')",
    ),
    "duration": (
        {"range": {"attribute": "duration_seconds", "gte": {"int64": "600"}, "lt": {"int64": "1200"}}},
        "duration_seconds >= 600 AND duration_seconds < 1200",
    ),
    "date": (
        {"range": {"attribute": "published_at", "gte": {"timestamp": HALF_A_YEAR.isoformat()}}},
        f"published_at >= '{HALF_A_YEAR.isoformat()}'",
    ),
    "featured": ({"match": {"attribute": "is_featured", "values": [{"bool": True}]}}, "is_featured"),
    "platform": ({"match": {"attribute": "platform", "values": [{"keyword": "vimeo"}]}}, "platform = 'vimeo'"),
    "channel": (
        {"match": {"attribute": "channel", "values": [{"keyword": "Chalk Dust"}]}},
        "channel_name = 'Chalk Dust'",
    ),
    "submitter": (
        {"match": {"attribute": "owner_id", "values": [{"keyword": str(key("submitter 2"))}]}},
        f"submitted_by = '{key('submitter 2')}'",
    ),
    "embedding source": (
        {"match": {"attribute": "embedding_source", "values": [{"keyword": "transcript"}]}},
        "id IN (SELECT video_id FROM video_embeddings WHERE source = 'transcript')",
    ),
}


@pytest.mark.parametrize(("condition", "where"), FILTERS.values(), ids=FILTERS.keys())
async def test_a_filter_holds_as_in_sql(world: World, condition: dict[str, Any], where: str) -> None:
    rows = await world.app.fetch(
        f"SELECT id::text FROM videos WHERE moderation_status = 'approved' AND is_approved AND ({where})"
    )
    wanted = {r["id"] for r in rows}
    assert 0 < len(wanted) < 240
    assert {item.item_id for item in await world.listed(condition)} == wanted
    for source in PATHS:
        reply = await world.nearest("dark matter", limit=10, filter={"must": [condition]}, params={"source": source})
        assert len(reply.hits) == min(10, len(wanted)), source
        assert set(ids(reply)) <= wanted, source


async def test_filters_combine(world: World) -> None:
    category, duration = FILTERS["a category stands for those below it"][0], FILTERS["duration"][0]
    both = {item.item_id for item in await world.listed(category)}
    both &= {item.item_id for item in await world.listed(duration)}
    reply = await world.hybrid("stars", options={"limit": 50, "filter": {"must": [category, duration]}})
    assert both
    assert set(ids(reply)) == both


# Words


async def test_words_find_their_other_forms_in_title_and_description(world: World) -> None:
    galaxies = {v.item_id for v in world.library.of("astronomy") if "galaxies" in v.description + v.title.lower()}
    reply = await world.hybrid("a galaxy", "TEXT", options={"limit": 50})
    assert set(ids(reply)) == galaxies
    mistakes = await world.hybrid("mistaken comment", "TEXT", options={"limit": 100})
    assert set(ids(mistakes)) == {v.item_id for v in world.library.videos if v.listed and "mistakes" in v.title}


async def test_quotes_minus_and_or_work_as_people_know_them(world: World) -> None:
    phrase = await world.hybrid('"neutron stars"', "TEXT", options={"limit": 50})
    assert {v.item_id for v in world.library.of("astronomy") if "neutron stars" in v.description} == set(ids(phrase))
    without = await world.hybrid("stars -neutron", "TEXT", options={"limit": 50})
    texts = [world.library.by_id()[i].description for i in ids(without)]
    assert texts
    assert all("exploding stars" in text for text in texts)
    either = await world.hybrid("pompeii OR comets", "TEXT", options={"limit": 50})
    assert topics(world, ids(either)) == {"roman-history": 5, "astronomy": 5}


async def test_all_words_may_be_asked_for(world: World) -> None:
    reply = await world.hybrid("gladiators lecture audience", "TEXT", match="TEXT_MATCH_ALL", options={"limit": 50})
    (only,) = ids(reply)
    assert world.library.by_id()[only].title == "What gladiators can teach us"


async def test_an_edited_title_is_found_by_its_new_words_and_no_more_by_the_old(world: World) -> None:
    video = await add(world, "Pasteurisation in the kitchen", approved=True)
    assert ids(await world.hybrid("pasteurisation", "TEXT")) == [video.item_id]
    await world.run("UPDATE videos SET title = 'Fermentation in the kitchen' WHERE id = $1", video.id)
    assert ids(await world.hybrid("pasteurisation", "TEXT")) == []
    assert ids(await world.hybrid("fermentation", "TEXT")) == [video.item_id]
    await world.run("DELETE FROM videos WHERE id = $1", video.id)


async def test_snippets_show_what_matched(world: World) -> None:
    reply = await world.hybrid("aqueducts", "TEXT", snippets={"start_marker": "[", "end_marker": "]"})
    assert all("[aqueducts]" in hit.snippet.lower() for hit in reply.hits)
    assert len(reply.hits) == 5


# Meaning


async def test_a_question_finds_by_meaning_what_has_none_of_its_words(world: World) -> None:
    assert ids(await world.hybrid("stargazing", "TEXT")) == []
    found = await world.hybrid("stargazing", "VECTOR", options={"limit": 20})
    assert topics(world, ids(found)) == {"astronomy": 20}


async def test_words_and_meaning_are_fused(world: World) -> None:
    reply = await world.hybrid('stargazing "black holes"', options={"limit": 5})
    assert {c.source for hit in reply.hits for c in hit.contributions} == {"text", "vector"}
    assert all("black holes" in world.library.by_id()[i].description for i in ids(reply))
    loose = await world.hybrid("the night sky and inflation", options={"limit": 40})
    assert set(topics(world, ids(loose))) >= {"astronomy", "markets"}


async def nearest_by_sql(world: World, video: Video, count: int) -> list[str]:
    """What the application's own statement finds: every listed video by its nearest passage."""
    rows = await world.app.fetch(
        """
        SELECT p.video_id::text AS id FROM video_passages AS p INNER JOIN videos AS v ON v.id = p.video_id
        WHERE v.id <> $1 AND v.moderation_status = 'approved' AND v.is_approved AND p.model = $3
        GROUP BY p.video_id
        ORDER BY min(p.embedding <=> (SELECT embedding FROM video_embeddings WHERE video_id = $1)) LIMIT $2
        """,
        video.id,
        count,
        MODEL,
    )
    return [r["id"] for r in rows]


@pytest.mark.parametrize("source", PATHS)
async def test_similar_videos_are_the_nearest_and_never_the_video_itself(world: World, source: str) -> None:
    found = wanted = 0
    for video in (topic[3] for topic in map(world.library.of, ("astronomy", "markets", "ethics", "roman-history"))):
        truth = await nearest_by_sql(world, video, 10)
        reply = await world.similar(video, limit=10, params={"source": source})
        assert video.item_id not in ids(reply)
        assert topics(world, ids(reply))[video.topic.slug] >= 9
        found += len(set(truth) & set(ids(reply)))
        wanted += 10
    assert found >= (wanted - 1 if source == "SOURCE_EXACT" else 0.9 * wanted)


async def test_a_video_embedded_by_another_model_is_not_compared(world: World) -> None:
    video = await add(world, "Comets for the patient", approved=True)
    near = world.library.of("astronomy")[4]
    await eventually(lambda: _shows(world, near, video))
    await world.run(EMBED, video.id, vector_literal(text_vector(video.title)), OTHER_MODEL)
    assert (await world.in_step()).problem_count == 1
    await eventually(lambda: _hides(world, near, video))
    assert video.item_id in ids(await world.hybrid("patient", "TEXT"))
    await world.run(EMBED, video.id, vector_literal(text_vector(video.title)), MODEL)
    assert (await world.in_step()).problem_count == 0
    await eventually(lambda: _shows(world, near, video))
    await world.run("DELETE FROM videos WHERE id = $1", video.id)


async def _shows(world: World, near: Video, video: Video) -> bool:
    return video.item_id in ids(await world.similar(near, limit=10))


async def _hides(world: World, near: Video, video: Video) -> bool:
    return not await _shows(world, near, video)


# Moderation


async def everywhere(world: World, about: Video, viewer: str = "") -> dict[str, set[str]]:
    """What each way to ask shows, of what is near a video."""
    of = {"limit": 100, "viewer": {"user_id": viewer}}
    subject = about.title.split(maxsplit=1)[0]
    made = {"list": {item.item_id for item in await world.listed(viewer={"user_id": viewer})}}
    for source in PATHS:
        made[f"similar {source}"] = set(ids(await world.similar(about, params={"source": source}, **of)))
        reply = await world.nearest(about.title, params={"source": source}, **of)
        made[f"nearest {source}"] = set(ids(reply))
    for mode in ("TEXT", "VECTOR", "HYBRID"):
        made[f"hybrid {mode}"] = set(ids(await world.hybrid(subject, mode, options=of)))
    user = {"user_id": viewer} if viewer else {}
    history = [{"item_id": about.item_id}]
    made["candidates"] = set(ids(await world.candidates("newcomer", history=history, options=of)))
    made["related"] = set(ids(await world.related(about, viewer=user)))
    request = pb.RankItemsRequest(collection=NAME, seed_item_id=about.item_id)
    request.item_ids.extend(made["list"] | {v.item_id for v in world.library.videos})
    request.options.viewer.user_id = viewer
    made["rank"] = set(ids(await world.stubs.retrieval.RankItems(request)))
    trending = json_format.ParseDict(
        {"collection": NAME, "page_size": 1000, "viewer": user}, pb.ListTrendingItemsRequest()
    )
    made["trending"] = set(ids(await world.stubs.retrieval.ListTrendingItems(trending)))
    return made


async def test_what_is_not_approved_is_shown_nowhere(world: World) -> None:
    about = world.library.of("number-theory")[0]
    hidden = [v for v in world.library.videos if not v.listed and v.topic.slug == "number-theory"]
    assert len(hidden) == 4
    await world.refer(about, "related", *hidden, world.library.of("number-theory")[1])
    await world.send_events([event(key("fan 0 of markets"), v.id, "like", NOW) for v in hidden])
    for way, found in (await everywhere(world, about)).items():
        assert found, way
        assert not found & {v.item_id for v in hidden}, way


async def test_a_new_video_is_pending_until_it_is_approved_and_gone_once_it_is_rejected(world: World) -> None:
    about = world.library.of("number-theory")[0]
    title = about.title
    video = await add(world, title, approved=False)
    await world.refer(about, "related", video)
    token = await world.send_events([event(key("fan 0 of markets"), video.id, "like", NOW)])
    assert token

    async def ways() -> set[str]:
        return {way for way, found in (await everywhere(world, about)).items() if video.item_id in found}

    assert await ways() == set()
    await world.run("UPDATE videos SET moderation_status = 'approved' WHERE id = $1", video.id)
    assert await ways() == set(), "approved by one of the two columns alone"
    await world.run("UPDATE videos SET is_approved = true WHERE id = $1", video.id)
    every = set(await everywhere(world, about))
    await eventually(lambda: _same(ways, every - {"rank"}))
    await world.run("UPDATE videos SET moderation_status = 'flagged' WHERE id = $1", video.id)
    await eventually(lambda: _same(ways, set()))
    await world.run("DELETE FROM videos WHERE id = $1", video.id)


async def _same(ways: Any, wanted: set[str]) -> bool:
    return bool(await ways() >= wanted if wanted else not await ways())


async def test_who_submitted_a_video_sees_it_before_it_is_approved(world: World) -> None:
    hidden = next(v for v in world.library.videos if v.status == "pending")
    owner = str(key(f"submitter {hidden.number % 6}"))
    found = {item.item_id: item.status for item in await world.listed(viewer={"user_id": owner})}
    assert found[hidden.item_id] == common_pb.ITEM_STATUS_PENDING
    other = {item.item_id for item in await world.listed(viewer={"user_id": str(key("newcomer"))})}
    assert hidden.item_id not in other


# Rows that change


async def test_a_deleted_video_is_gone_with_its_references(world: World) -> None:
    video = await add(world, "Decision trees for gardeners", approved=True)
    other = world.library.of("machine-learning")[1]
    await world.refer(other, "cited", video)
    assert video.item_id in ids(await world.related(other, "cited"))
    await eventually(lambda: _shows(world, other, video))
    await world.run("DELETE FROM videos WHERE id = $1", video.id)
    assert video.item_id not in ids(await world.related(other, "cited"))
    await eventually(lambda: _hides(world, other, video))
    assert ids(await world.hybrid("gardeners", "TEXT")) == []


async def test_tags_and_categories_follow_their_tables(world: World) -> None:
    video = world.library.of("ethics")[5]
    await world.app.execute("INSERT INTO tags (name, slug) VALUES ('thought experiment', 'thought-experiment')")
    await world.run("INSERT INTO video_tags SELECT $1, id FROM tags WHERE slug = 'thought-experiment'", video.id)
    condition = {"match": {"attribute": "tags", "values": [{"keyword": "thought experiment"}]}}
    assert [item.item_id for item in await world.listed(condition)] == [video.item_id]
    await world.run(
        "UPDATE videos SET category_id = (SELECT id FROM categories WHERE slug = 'history') WHERE id = $1", video.id
    )
    assert (await world.item(video)).attributes["categories"].keywords.values == ["history"]
    await world.run(
        "UPDATE videos SET category_id = (SELECT id FROM categories WHERE slug = 'ethics') WHERE id = $1", video.id
    )
    assert set((await world.item(video)).attributes["categories"].keywords.values) == {"ethics", "philosophy"}


async def test_a_renamed_tag_is_taken_over_by_a_resync(world: World) -> None:
    await world.run("UPDATE tags SET name = 'animated' WHERE slug = 'animation'")
    request = collections_pb.ResyncTableRequest(collection=NAME, relation="library.video_items")
    await world.stubs.collections.ResyncTable(request, metadata=ADMIN)
    await world.in_step()
    old, new = (
        await world.listed({"match": {"attribute": "tags", "values": [{"keyword": word}]}})
        for word in ("animation", "animated")
    )
    assert (len(old), len(new) > 50) == (0, True)


async def embedding_rows(world: World, version: int = 1) -> dict[tuple[str, int], str]:
    """Where each embedding is stored: a row that is written again is somewhere else."""
    rows = await world.app.fetch(
        """
        SELECT item_id, chunk_index, ctid::text || ' ' || xmin::text AS place FROM retrieval.embeddings
        WHERE version_id = (SELECT version_id FROM retrieval.embedding_versions AS v
            INNER JOIN retrieval.collections AS c USING (collection_id) WHERE c.name = $1 AND v.version = $2)
        """,
        NAME,
        version,
    )
    return {(r["item_id"], r["chunk_index"]): r["place"] for r in rows}


async def test_fresh_view_counts_write_no_vector(world: World) -> None:
    video = world.library.videos[11]
    before = await embedding_rows(world)
    await world.run(
        "UPDATE videos SET view_count = view_count + 1000, like_count = like_count + 1, metadata_refreshed_at = now()"
    )
    item = await world.item(video)
    assert item.payload["view_count"] == (11 * 7919) % 100_000 + 1000
    assert await embedding_rows(world) == before
    await world.run("UPDATE videos SET is_featured = NOT is_featured WHERE id = $1", video.id)
    changed = await embedding_rows(world)
    assert {at for at in before if changed[at] != before[at]} == {(video.item_id, 0)}, "a filter's value is beside it"


async def test_another_model_is_filled_beside_and_embeds_only_texts_that_change(world: World) -> None:
    made = await world.stubs.collections.CreateEmbeddingVersion(
        collections_pb.CreateEmbeddingVersionRequest(
            collection=NAME,
            embedding_version=collections_pb.EmbeddingVersion(model=OTHER_MODEL, dimension=1536, embeds_text=True),
        )
    )
    version = made.embedding_version.version
    stub = jobs_grpc.EmbeddingJobServiceStub(world.stubs.channel)

    async def embedded() -> bool:
        stats = await stub.GetEmbeddingJobStats(jobs_pb.GetEmbeddingJobStatsRequest(collection=NAME))
        found = next(v for v in stats.versions if v.version == version)
        return found.done == found.total and not (found.queued or found.leased or found.retrying)

    await eventually(embedded)
    asked = Counter(world.http.texts)
    assert len(asked) >= len(world.library.videos)
    await world.run("UPDATE videos SET view_count = view_count + 1, metadata_refreshed_at = now()")
    video = world.library.of("markets")[9]
    await world.run("UPDATE videos SET description = 'Now about bond yields.' WHERE id = $1", video.id)
    await eventually(embedded)
    new = Counter(world.http.texts) - asked
    assert list(new) == [f"{video.title}\n\nNow about bond yields."]
    reply = await world.similar(world.library.of("astronomy")[0], embedding_version=version, limit=10)
    assert reply.info.embedding_version == version
    assert topics(world, ids(reply)) == {"astronomy": 10}
    await world.run("UPDATE videos SET description = $2 WHERE id = $1", video.id, video.description)


# References


async def test_each_kind_of_reference_is_listed(world: World) -> None:
    source, *targets = world.library.of("roman-history")[:7]
    for kind, target in zip(KINDS, targets, strict=True):
        await world.refer(source, kind, target)
    for kind, target in zip(KINDS, targets, strict=True):
        reply = await world.related(source, kind)
        assert ids(reply) == [target.item_id], kind
        assert list(reply.paths[0].kinds) == [KINDS[kind]]
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


# Moments


async def write_context(world: World, video: Video, content: str, start: int, end: int | None, kind: str) -> Any:
    context_id = uuid4()
    await world.app.execute(
        "INSERT INTO video_contexts VALUES ($1, $2, $3, $4, $5, $6)", context_id, video.id, kind, content, start, end
    )
    await world.app.execute(
        "INSERT INTO context_embeddings VALUES ($1, $2, $3::text::vector, $4)",
        context_id,
        video.id,
        vector_literal(text_vector(content)),
        MODEL,
    )
    await world.in_step()
    return context_id


async def test_a_search_lands_at_the_moment_where_it_is_said(world: World) -> None:
    video = world.library.of("roman-history")[12]
    await write_context(world, video, "Then the talk turns to unemployment", 95, 140, "timeline")
    quote = await write_context(world, video, "Inflation was known to them, too", 300, None, "quote")

    async def hit(text: str) -> Any:
        reply = await world.nearest(
            text, limit=1, view="VIEW_BASIC", filter={"must": [{"item_ids": {"values": [video.item_id]}}]}
        )
        return reply.hits[0]

    async def lands(text: str, content: str) -> Any:
        found = await hit(text)
        return found if found.place.text == content else None

    found = await eventually(lambda: lands("unemployment", "Then the talk turns to unemployment"))
    assert (found.place.time_range.start.seconds, found.place.time_range.end.seconds) == (95, 140)
    found = await eventually(lambda: lands("inflation", "Inflation was known to them, too"))
    assert (found.place.time_range.start.seconds, found.place.time_range.end.seconds) == (300, 330)
    whole = await hit(video.title)
    assert (whole.place.chunk_index, whole.place.HasField("time_range")) == (0, False)
    await world.run("UPDATE video_contexts SET is_approved = false WHERE id = $1", quote)
    await eventually(lambda: lands("inflation", ""))
    await world.run("DELETE FROM video_contexts WHERE video_id = $1", video.id)


# Collections of videos


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


# Viewers


async def seen_by(world: World, user: str) -> set[str]:
    rows = await world.app.fetch("SELECT video_id FROM user_video_activity WHERE user_id = $1", key(user))
    return {str(r["video_id"]) for r in rows}


@pytest.mark.parametrize("topic", ["astronomy", "markets", "ethics"])
async def test_candidates_are_to_the_viewers_taste_and_none_was_seen(world: World, topic: str) -> None:
    user = f"fan 1 of {topic}"
    seen = await seen_by(world, user)
    content = await world.candidates(user, strategies=[{"name": "content"}], options={"limit": 20})
    assert topics(world, ids(content))[topic] >= 15
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
    known = world.library.by_id()
    weights = {known[i.medoid_item_id].topic.slug: i.weight for i in profile.interests}
    assert sorted(weights, key=weights.__getitem__) == ["roman-history", "ethics", "markets"]
    assert dict(profile.event_counts) == {"view": 18, "save": 6, "like": 6}
    reply = await world.candidates("saver", strategies=[{"name": "content"}], options={"limit": 60})
    liked = topics(world, ids(reply))
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


# Trends


async def trending(world: World, days: int = 7) -> list[str]:
    body = {"collection": NAME, "page_size": 1000, "window": f"{days * 86400}s"}
    request = json_format.ParseDict(body, pb.ListTrendingItemsRequest())
    return ids(await world.stubs.retrieval.ListTrendingItems(request))


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
        found = await trending(world)
        return [i for i in found if i in wanted] == wanted and set(wanted) <= set(found[:5])

    await eventually(settled)
    assert old.item_id not in await trending(world)
    assert old.item_id in await trending(world, 30)


# Walls, and what is kept


async def test_policies_of_the_application_and_those_of_the_service_hold(world: World) -> None:
    role = f"viewer_{uuid4().hex[:8]}"
    owner = key("submitter 4")
    await world.app.execute(f"""
        CREATE ROLE {role} NOLOGIN;
        GRANT USAGE ON SCHEMA library TO {role};
        GRANT SELECT, INSERT ON videos TO {role};
        ALTER TABLE videos ENABLE ROW LEVEL SECURITY;
        CREATE POLICY readable ON videos FOR SELECT USING (
            moderation_status = 'approved' OR submitted_by::text = current_setting('library.user', true)
        );
        CREATE POLICY submitting ON videos FOR INSERT TO {role}
            WITH CHECK (submitted_by::text = current_setting('library.user', true));
    """)
    try:
        async with world.app.transaction():
            await world.app.execute(f"SET LOCAL ROLE {role}")
            await world.app.execute("SELECT set_config('library.user', $1, true)", str(owner))
            made = await world.app.fetchval(ADD, uuid4().hex, "Glassblowing at dawn", "Submitted by a viewer.", owner)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with world.app.transaction():
                    await world.app.fetchval(ADD, uuid4().hex, "Not mine", "", key("submitter 1"))
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with world.app.transaction():
                    await world.app.fetch("SELECT * FROM retrieval.items")
        await world.in_step()
        mine = {item.item_id for item in await world.listed(viewer={"user_id": str(owner)})}
        assert str(made) in mine
        assert str(made) not in {item.item_id for item in await world.listed()}
        # The service's own wall, without any condition of a statement.
        async with world.app.transaction():
            await world.app.execute("SET LOCAL ROLE retrieval_reader")
            rows = await world.app.fetch("SELECT DISTINCT status FROM retrieval.items")
        assert [r["status"] for r in rows] == ["approved"]
    finally:
        await world.app.execute(f"""
            DROP POLICY submitting ON videos;
            DROP POLICY readable ON videos;
            ALTER TABLE videos DISABLE ROW LEVEL SECURITY;
            DROP OWNED BY {role};
            DROP ROLE {role};
        """)


async def command(url: str, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "retrieval.cli.main",
        *arguments,
        env=os.environ | {"RETRIEVAL_DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_a_backup_brings_the_collection_back(world: World, database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "videos.backup"
    await command(world.url, "backup", str(file))
    counts = json.loads((tmp_path / "videos.backup.manifest.json").read_text())["collections"][NAME]
    assert counts["items"] >= len(world.library.videos)
    assert counts["events"] > 0
    about = world.library.of("ethics")[2]
    wanted = ids(await world.similar(about, limit=10, params={"source": "SOURCE_EXACT"}))
    async with scratch_database(database_url) as url:
        await command(url, "restore", str(file))
        settings = {"RETRIEVAL_DATABASE_URL": url, "RETRIEVAL_CACHE_MEMORY_BUDGET_BYTES": "0"}
        async with server_process(**settings) as server, stubs_for(server.target) as stubs:
            request = pb.SearchSimilarItemsRequest(collection=NAME, item_ids=[about.item_id])
            request.options.limit = 10
            request.options.params.source = common_pb.SOURCE_EXACT
            assert ids(await stubs.retrieval.SearchSimilarItems(request)) == wanted
