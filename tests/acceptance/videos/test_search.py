"""What a search in the library of videos finds: by filters, words, meaning, and at which moment."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import uuid4

import pytest

from tests.acceptance.videos.app import MODEL, NOW, Video, key, text_vector, vector_literal
from tests.acceptance.videos.world import OTHER_MODEL, PATHS, World, eventually, ids

HALF_A_YEAR = NOW - dt.timedelta(days=180)


FILTERS = {
    "category": (
        {"match": {"attribute": "categories", "values": [{"keyword": "astronomy"}]}},
        "category_id = (SELECT id FROM categories WHERE slug = 'astronomy')",
    ),
    "a category stands for those below it": (
        {"match": {"attribute": "categories", "values": [{"keyword": "science"}]}},
        "category_id IN (SELECT c.id FROM categories c, categories p WHERE p.slug = 'science' AND p.id = c.parent_id)",
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
    assert world.topics(ids(either)) == {"roman-history": 5, "astronomy": 5}


async def test_all_words_may_be_asked_for(world: World) -> None:
    reply = await world.hybrid("gladiators lecture audience", "TEXT", match="TEXT_MATCH_ALL", options={"limit": 50})
    (only,) = ids(reply)
    assert world.library.by_id()[only].title == "What gladiators can teach us"


async def test_an_edited_title_is_found_by_its_new_words_and_no_more_by_the_old(world: World) -> None:
    video = await world.add("Pasteurisation in the kitchen", approved=True)
    assert ids(await world.hybrid("pasteurisation", "TEXT")) == [video.item_id]
    await world.run("UPDATE videos SET title = 'Fermentation in the kitchen' WHERE id = $1", video.id)
    assert ids(await world.hybrid("pasteurisation", "TEXT")) == []
    assert ids(await world.hybrid("fermentation", "TEXT")) == [video.item_id]
    await world.run("DELETE FROM videos WHERE id = $1", video.id)


async def test_snippets_show_what_matched(world: World) -> None:
    reply = await world.hybrid("aqueducts", "TEXT", snippets={"start_marker": "[", "end_marker": "]"})
    assert all("[aqueducts]" in hit.snippet.lower() for hit in reply.hits)
    assert len(reply.hits) == 5


async def test_a_question_finds_by_meaning_what_has_none_of_its_words(world: World) -> None:
    assert ids(await world.hybrid("stargazing", "TEXT")) == []
    found = await world.hybrid("stargazing", "VECTOR", options={"limit": 20})
    assert world.topics(ids(found)) == {"astronomy": 20}


async def test_words_and_meaning_are_fused(world: World) -> None:
    reply = await world.hybrid('stargazing "black holes"', options={"limit": 5})
    assert {c.source for hit in reply.hits for c in hit.contributions} == {"text", "vector"}
    assert all("black holes" in world.library.by_id()[i].description for i in ids(reply))
    loose = await world.hybrid("the night sky and inflation", options={"limit": 40})
    assert set(world.topics(ids(loose))) >= {"astronomy", "markets"}


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
        assert world.topics(ids(reply))[video.topic.slug] >= 9
        found += len(set(truth) & set(ids(reply)))
        wanted += 10
    assert found >= (wanted - 1 if source == "SOURCE_EXACT" else 0.9 * wanted)


async def test_a_video_embedded_by_another_model_is_not_compared(world: World) -> None:
    video = await world.add("Comets for the patient", approved=True)
    near = world.library.of("astronomy")[4]
    await eventually(lambda: world.shows(near, video))
    await world.embed(video, OTHER_MODEL)
    assert (await world.in_step()).problem_count == 1
    await eventually(lambda: world.hides(near, video))
    assert video.item_id in ids(await world.hybrid("patient", "TEXT"))
    await world.embed(video, MODEL)
    assert (await world.in_step()).problem_count == 0
    await eventually(lambda: world.shows(near, video))
    await world.run("DELETE FROM videos WHERE id = $1", video.id)


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
    await eventually(lambda: lands("inflation", "Then the talk turns to unemployment"))
    await world.run("DELETE FROM video_contexts WHERE video_id = $1", video.id)
