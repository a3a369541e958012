"""The service follows the library's tables: what is in them, who may see it, and what changes."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest
from google.protobuf import json_format

from retrieval.postgres.backup import back_up
from retrieval.postgres.restore import restore
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import embedding_job_service_pb2 as jobs_pb
from retrieval.v1 import embedding_job_service_pb2_grpc as jobs_grpc
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.acceptance.videos.app import NOW, Video, key
from tests.acceptance.videos.world import ADD, ADMIN, NAME, OTHER_MODEL, PATHS, World, event, eventually, ids
from tests.postgres.conftest import scratch_database
from tests.server.process import server_process, stubs_for

if TYPE_CHECKING:
    from pathlib import Path


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


async def everywhere(world: World, about: Video, viewer: str = "") -> dict[str, set[str]]:
    """What each way to ask shows, of what is near a video."""
    of = {"limit": 100, "viewer": {"user_id": viewer}}
    made = {"list": {item.item_id for item in await world.listed(viewer={"user_id": viewer})}}
    for source in PATHS:
        made[f"similar {source}"] = set(ids(await world.similar(about, params={"source": source}, **of)))
        reply = await world.nearest(about.title, params={"source": source}, **of)
        made[f"nearest {source}"] = set(ids(reply))
    for mode in ("TEXT", "VECTOR", "HYBRID"):
        made[f"hybrid {mode}"] = set(ids(await world.hybrid(about.title, mode, options=of)))
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
    video = await world.add(title, approved=False)
    await world.refer(about, "related", video)
    await world.send_events([event(key("fan 0 of markets"), video.id, "like", NOW)])

    async def ways(*, that_show: bool) -> set[str]:
        found = await everywhere(world, about)
        return {way for way, shown in found.items() if (video.item_id in shown) is that_show}

    async def shown_everywhere() -> bool:
        return not await ways(that_show=False)

    async def shown_nowhere() -> bool:
        return not await ways(that_show=True)

    assert await ways(that_show=True) == set()
    await world.run("UPDATE videos SET moderation_status = 'approved' WHERE id = $1", video.id)
    assert await ways(that_show=True) == set(), "approved by one of the two columns alone"
    await world.run("UPDATE videos SET is_approved = true WHERE id = $1", video.id)
    await eventually(shown_everywhere)
    await world.run("UPDATE videos SET moderation_status = 'flagged' WHERE id = $1", video.id)
    await eventually(shown_nowhere)
    await world.run("DELETE FROM videos WHERE id = $1", video.id)


async def test_who_submitted_a_video_sees_it_before_it_is_approved(world: World) -> None:
    hidden = next(v for v in world.library.videos if v.status == "pending")
    owner = str(key(f"submitter {hidden.number % 6}"))
    found = {item.item_id: item.status for item in await world.listed(viewer={"user_id": owner})}
    assert found[hidden.item_id] == common_pb.ITEM_STATUS_PENDING
    other = {item.item_id for item in await world.listed(viewer={"user_id": str(key("newcomer"))})}
    assert hidden.item_id not in other


async def test_a_deleted_video_is_gone_with_its_references(world: World) -> None:
    video = await world.add("Decision trees for gardeners", approved=True)
    other = world.library.of("machine-learning")[1]
    await world.refer(other, "cited", video)
    assert video.item_id in ids(await world.related(other, "cited"))
    await eventually(lambda: world.shows(other, video))
    await world.run("DELETE FROM videos WHERE id = $1", video.id)
    assert video.item_id not in ids(await world.related(other, "cited"))
    await eventually(lambda: world.hides(other, video))
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
    old, new = [
        await world.listed({"match": {"attribute": "tags", "values": [{"keyword": word}]}})
        for word in ("animation", "animated")
    ]
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
    before, views = await embedding_rows(world), (await world.item(video)).payload["view_count"]
    await world.run(
        "UPDATE videos SET view_count = view_count + 1000, like_count = like_count + 1, metadata_refreshed_at = now()"
    )
    item = await world.item(video)
    assert item.payload["view_count"] == views + 1000
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
        found = next(v for v in stats.versions if v.embedding_version == version)
        return found.done == found.total and not (found.queued or found.leased or found.retrying)

    await eventually(embedded)
    asked = Counter(world.http.texts)
    assert set(asked) >= {f"{v.title}\n\n{v.description}" for v in world.library.videos}
    await world.run("UPDATE videos SET view_count = view_count + 1, metadata_refreshed_at = now()")
    video = world.library.of("markets")[9]
    await world.run("UPDATE videos SET description = 'Now about bond yields.' WHERE id = $1", video.id)
    await eventually(embedded)
    new = Counter(world.http.texts) - asked
    assert list(new) == [f"{video.title}\n\nNow about bond yields."]
    reply = await world.similar(world.library.of("astronomy")[0], embedding_version=version, limit=10)
    assert reply.info.embedding_version == version
    assert world.topics(ids(reply)) == {"astronomy": 10}
    await world.run("UPDATE videos SET description = $2 WHERE id = $1", video.id, video.description)


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


def quiet(what: str, done: int, total: int) -> None:
    """A report that nobody reads."""


async def test_a_backup_brings_the_collection_back(world: World, database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "videos.backup"
    await back_up(world.url, file, quiet)
    counts = json.loads((tmp_path / "videos.backup.manifest.json").read_text())["collections"][NAME]
    assert counts["items"] >= len(world.library.videos)
    assert counts["events"] > 0
    about = world.library.of("ethics")[2]
    wanted = ids(await world.similar(about, limit=10, params={"source": "SOURCE_EXACT"}))
    async with scratch_database(database_url) as url:
        await restore(url, file, 128, quiet)
        settings = {"RETRIEVAL_DATABASE_URL": url, "RETRIEVAL_CACHE_MEMORY_BUDGET_BYTES": "0"}
        async with server_process(**settings) as server, stubs_for(server.target) as stubs:
            request = pb.SearchSimilarItemsRequest(collection=NAME, item_ids=[about.item_id])
            request.options.limit = 10
            request.options.params.source = common_pb.SOURCE_EXACT
            assert ids(await stubs.retrieval.SearchSimilarItems(request)) == wanted
