"""Tables of an application, followed as it writes them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import numpy as np
import pytest

from retrieval.application.attachment_ports import AttachmentState
from retrieval.config import Settings
from retrieval.domain.embedding_jobs import EmbeddedText
from retrieval.domain.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    RetrievalError,
)
from retrieval.domain.model import EVERYTHING, Chunk, Collection, EmbeddingVersion, ItemStatus, Visibility
from retrieval.domain.projection import Projection
from retrieval.domain.table_binding import TableBinding
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.attach.follow import POLL_S
from retrieval.postgres.attach.followers import put_followers
from retrieval.postgres.attach.plan import plan_attachment
from retrieval.postgres.attach.relations import read_relation
from tests.postgres.attach.conftest import BARE, DIM, near

if TYPE_CHECKING:
    from tests.postgres.attach.conftest import App

POST = "INSERT INTO {schema}.posts (title, state, embedding) VALUES ($1, 'ok', $2::text::vector)"


async def test_rows_become_items(app: App) -> None:
    await app.run("""
        INSERT INTO {schema}.posts (title, body, author, shown_to, circles, state, stars, votes, tags, platform, likes,
            extra, embedding, made_at)
        VALUES ('whole', 'body', 'a0000000-0000-0000-0000-000000000001', 'circles',
            '{c0000000-0000-0000-0000-000000000001}', 'ok', 4.5, 12, '{x,y}', 'web', 3,
            '{"k": [1]}', '[3,4,0]', '2024-05-06T07:08:09Z'),
            ('bare', NULL, NULL, 'everybody', '{}', 'ok', NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL)
    """)
    attached = await app.attach()
    assert (attached.state, attached.rows_done, attached.problem_count) == (AttachmentState.FOLLOWING, 2, 0)
    items = await app.items()
    whole, bare = items["whole"], items["bare"]
    assert whole.text == "whole\n\nbody"
    assert whole.owner_id == "a0000000-0000-0000-0000-000000000001"
    assert (whole.visibility, whole.audience) == (Visibility.GROUPS, ("c0000000-0000-0000-0000-000000000001",))
    assert (whole.status, whole.rating_value, whole.rating_count) == (ItemStatus.APPROVED, 4.5, 12)
    assert whole.tags == ("x", "y")
    assert whole.attributes == {"platform": "web", "likes": 3, "made": 1714979289000000}
    assert whole.created_at == 1714979289000000
    assert whole.payload_json is not None
    assert '"extra"' in whole.payload_json
    assert near(whole, 3, 4, 0)
    assert (bare.visibility, bare.owner_id, bare.tags, bare.chunks) == (Visibility.PUBLIC, "", (), ())
    assert bare.attributes == {"likes": 0}


async def test_changes_follow(app: App) -> None:
    await app.attach()
    rows = "SELECT 'post ' || n, '[1,0,0]' FROM generate_series(1, 50) AS n"
    await app.run(f"INSERT INTO {{schema}}.posts (title, embedding) {rows}")
    assert len(await app.items()) == 50
    await app.run("UPDATE {schema}.posts SET title = 'renamed', embedding = '[0,1,0]' WHERE title = 'post 7'")
    await app.run("DELETE FROM {schema}.posts WHERE title = 'post 8'")
    items = await app.items()
    assert len(items) == 49
    assert near(items["renamed"], 0, 1, 0)
    assert "post 8" not in items
    await app.run("TRUNCATE {schema}.posts")
    assert await app.items() == {}


async def test_a_key_that_changes_takes_its_item_along(app: App) -> None:
    await app.attach()
    await app.run(POST, "a", "[1,0,0]")
    before = (await app.items())["a"].item_id
    await app.run("UPDATE {schema}.posts SET id = gen_random_uuid()")
    items = await app.items()
    assert len(items) == 1
    assert items["a"].item_id != before


async def test_what_is_rolled_back_does_not_follow(app: App) -> None:
    await app.attach()
    transaction = app.connection.transaction()
    await transaction.start()
    await app.run(POST, "never", "[1,0,0]")
    await transaction.rollback()
    await app.run(POST, "committed", "[1,0,0]")
    assert set(await app.items()) == {"committed"}


async def test_only_bound_columns_matter(app: App) -> None:
    await app.attach(payload_columns=None)
    await app.run(POST, "a", "[1,0,0]")
    before = (await app.items())["a"].updated_at
    await app.run("""UPDATE {schema}.posts SET extra = '{"note": 1}'""")
    await app.run("UPDATE {schema}.posts SET title = title")
    assert await app.connection.fetchval("SELECT count(*) FROM retrieval.attached_changes") == 0
    assert (await app.items())["a"].updated_at == before


async def test_an_unchanged_vector_stays_where_it_is(app: App) -> None:
    """A row that is written anew is put into the graph of an HNSW index anew."""
    await app.attach()
    await app.run(POST, "a", "[1,2,3]")
    await app.settled()
    version = app.collection.active.version_id
    place = f"SELECT ctid::text FROM retrieval.embeddings_v{version}"
    before = await app.connection.fetchval(place)
    await app.run("UPDATE {schema}.posts SET title = 'b', body = 'more'")
    assert set(await app.items()) == {"b"}
    assert await app.connection.fetchval(place) == before
    await app.run("UPDATE {schema}.posts SET shown_to = 'me'")
    assert (await app.items())["b"].visibility is Visibility.PRIVATE
    hidden = f"SELECT visibility FROM retrieval.embeddings_v{version}"
    assert await app.connection.fetchval(hidden) == "private"


async def test_a_value_without_a_meaning_shows_nothing(app: App) -> None:
    await app.attach()
    await app.run("INSERT INTO {schema}.posts (title, shown_to, state) VALUES ('a', 'friends of friends', 'new')")
    item = (await app.items())["a"]
    assert (item.visibility, item.status) == (Visibility.PRIVATE, ItemStatus.PENDING)
    attached = await app.settled()
    assert [p.item_id for p in attached.problems] == [item.item_id]
    assert "visibility" in attached.problems[0].problem
    assert "status" in attached.problems[0].problem
    await app.run("UPDATE {schema}.posts SET shown_to = 'everybody', state = 'ok'")
    assert (await app.items())["a"].visibility is Visibility.PUBLIC
    assert (await app.settled()).problem_count == 0


@pytest.mark.parametrize(
    ("vector", "problem"),
    [("[1,2]", "of 2 components, the version takes 3"), ("[0,0,0]", "the zero vector"), ("[1,x]", "not a vector")],
)
async def test_bad_vectors_are_left_out(app: App, vector: str, problem: str) -> None:
    await app.run("ALTER TABLE {schema}.posts ALTER COLUMN embedding TYPE text")
    await app.attach()
    await app.run("INSERT INTO {schema}.posts (title, embedding) VALUES ('a', $1), ('b', '[0, 0, 2]')", vector)
    items = await app.items()
    assert items["a"].chunks == ()
    assert near(items["b"], 0, 0, 1)
    attached = await app.settled()
    assert [p.problem for p in attached.problems if p.problem.startswith("vectors")] == [f"vectors[0]: {problem}"]
    await app.run("UPDATE {schema}.posts SET embedding = '[1e0, 0, 0]', state = 'ok'")
    assert near((await app.items())["a"], 1, 0, 0)
    assert (await app.settled()).problem_count == 0


@pytest.mark.parametrize("kind", ["halfvec(3)", "text", "json", "jsonb", "real[]", "double precision[]", "numeric[]"])
async def test_kinds_of_vectors(app: App, kind: str) -> None:
    await app.run("ALTER TABLE {schema}.posts DROP COLUMN embedding")
    await app.run(f"ALTER TABLE {{schema}}.posts ADD COLUMN embedding {kind}")
    array = "{0,3,4}" if kind.endswith("[]") else "[0,3,4]"
    await app.run("INSERT INTO {schema}.posts (title, state, embedding) VALUES ('a', 'ok', '" + array + "')")
    assert (await app.attach()).problem_count == 0
    assert near((await app.items())["a"], 0, 3, 4)


async def test_vectors_of_a_model_are_projected(app: App) -> None:
    weights = np.array([[1, 0, 0], [0, 0, 2]], np.float32)
    version = await app.stores.collections.create_version(
        app.collection.name, EmbeddingVersion(0, 0, "projected", 2), Projection(weights)
    )
    collection = await app.stores.collections.get(app.collection.name)
    app.collection = collection
    await app.attach(vectors=[{"column": "embedding", "embedding_version": version.version}])
    await app.run(POST, "a", "[3,9,2]")
    await app.run(POST, "b", "[0,1,0]")
    await app.settled()
    item_id = (await app.items())["a"].item_id
    found = await app.stores.index.vectors(version, [item_id], EVERYTHING)
    assert np.allclose(found[item_id], [[0.6, 0.8]], atol=1e-3)
    assert "once projected" in (await app.settled()).problems[0].problem


async def test_chunks_of_another_table(app: App) -> None:
    await app.run("""
        CREATE TABLE {schema}.pieces (
            post_id uuid REFERENCES {schema}.posts (id) ON DELETE CASCADE, number integer, model text, vector vector(3),
            PRIMARY KEY (post_id, number)
        )
    """)
    pieces = {
        "column": "vector",
        "relation": f"{app.schema}.pieces",
        "key_column": "post_id",
        "chunk_index_column": "number",
        "model_column": "model",
    }
    await app.attach(vectors=[pieces])
    await app.run(POST, "a", None)
    add = "INSERT INTO {schema}.pieces SELECT id, $1, $2, $3::text::vector FROM {schema}.posts"
    await app.run(add, 0, "test", "[1,0,0]")
    await app.run(add, 4, "test", "[0,1,0]")
    await app.run(add, 5, "another", "[0,0,1]")
    item = (await app.items())["a"]
    assert [c.chunk_index for c in item.chunks] == [0, 4]
    assert "another model" in (await app.settled()).problems[0].problem
    collection = await app.stores.collections.get(app.collection.name)
    assert collection.active.max_chunks == 2
    await app.run("DELETE FROM {schema}.pieces WHERE number <> 4")
    assert [c.chunk_index for c in (await app.items())["a"].chunks] == [4]
    assert (await app.settled()).problem_count == 0
    await app.run("DELETE FROM {schema}.posts")
    assert await app.items() == {}


async def test_a_table_that_the_service_sees_only_part_of_is_refused(app: App, name: str) -> None:
    """Rows that policies hide from its role would be taken for deleted."""
    role = f"service_{name.replace('-', '_')}"
    await app.run(f"CREATE ROLE {role} NOLOGIN; GRANT USAGE ON SCHEMA {{schema}} TO {role}")
    try:
        for grant, why in (
            ("SELECT 1", "may not read it"),
            (f"GRANT SELECT ON {{schema}}.posts TO {role}", "sees only part of it"),
        ):
            await app.run(f"{grant}; ALTER TABLE {{schema}}.posts ENABLE ROW LEVEL SECURITY; SET ROLE {role}")
            with pytest.raises(FailedPreconditionError, match=why) as caught:
                await read_relation(app.connection, app.relation, "relation")
            assert caught.value.reason == "TABLE_NOT_ACCESSIBLE"
            await app.run("RESET ROLE")
        await app.run(f"ALTER ROLE {role} BYPASSRLS; SET ROLE {role}")
        assert (await read_relation(app.connection, app.relation, "relation")).name == app.relation
    finally:
        await app.run(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


async def test_embeddings_of_several_models_stand_side_by_side(app: App) -> None:
    """A table that keeps one of each model: those of the version's model count, whichever was written first."""
    await app.run(
        "CREATE TABLE {schema}.made (post_id uuid, model text, vector vector(3), PRIMARY KEY (post_id, model))"
    )
    by_model = {
        "column": "vector",
        "relation": f"{app.schema}.made",
        "key_column": "post_id",
        "model_column": "model",
    }
    await app.attach(vectors=[by_model])
    await app.run(POST, "a", None)
    add = "INSERT INTO {schema}.made SELECT id, $1, $2::text::vector FROM {schema}.posts"
    for model, vector in (("before", "[0,0,1]"), ("test", "[1,0,0]"), ("zeta", "[0,1,0]")):
        await app.run(add, model, vector)
    assert near((await app.items())["a"], 1, 0, 0)
    assert (await app.settled()).problem_count == 0
    await app.run("DELETE FROM {schema}.made WHERE model = 'test'")
    assert (await app.items())["a"].chunks == ()
    assert "another model" in (await app.settled()).problems[0].problem


async def test_places_of_chunks(app: App) -> None:
    await app.run("""
        CREATE TABLE {schema}.pieces (
            post_id uuid, number integer, vector vector(3), words text, from_s numeric, to_s numeric,
            PRIMARY KEY (post_id, number)
        )
    """)
    pieces = {"column": "vector", "relation": f"{app.schema}.pieces", "key_column": "post_id"}
    places = {"text_column": "words", "start_column": "from_s", "end_column": "to_s"}
    await app.attach(vectors=[pieces | {"chunk_index_column": "number"} | places])
    await app.run(POST, "a", None)
    add = "INSERT INTO {schema}.pieces SELECT id, $1, $2::text::vector, $3, $4, $5 FROM {schema}.posts"
    await app.run(add, 0, "[1,0,0]", "said at first", 0, 2.5)
    await app.run(add, 1, "[0,1,0]", "w " * 6000, 9, 3)
    first, second = (await app.items())["a"].chunks
    assert (first.text, first.time_range_ms, first.text_span) == ("said at first", (0, 2500), None)
    assert (len(second.text), second.time_range_ms) == (2500, None)
    await app.run("UPDATE {schema}.pieces SET words = 'corrected', to_s = 3 WHERE number = 0")
    first = (await app.items())["a"].chunks[0]
    assert (first.text, first.time_range_ms) == ("corrected", (0, 3000))
    collection = await app.stores.collections.get(app.collection.name)
    assert collection.active.has_places


async def test_texts_are_embedded_by_the_service(app: App) -> None:
    """What the application has is the beginning; from then on changed texts are queued, and nothing else is."""
    version = await app.stores.collections.create_version(
        app.collection.name, EmbeddingVersion(0, 0, "embedder", DIM, embeds_text=True)
    )
    app.collection = await app.stores.collections.get(app.collection.name)
    await app.run(POST, "given", "[1,0,0]")
    await app.attach(vectors=[{"column": "embedding", "embedding_version": version.version}])
    await app.run(POST, "missing", None)
    await app.run("INSERT INTO {schema}.posts (title) VALUES ('')")
    ids = {title: item.item_id for title, item in (await app.items()).items()}
    jobs = app.stores.embedding_jobs

    async def lease() -> list[str]:
        lease_id = uuid4()
        leased = await jobs.lease(app.collection, version, lease_id, 10, 60.0)
        done = [EmbeddedText(j.job_id, (Chunk(0, np.array([0, 0, 1], np.float16)),)) for j in leased]
        if done:
            await jobs.complete(app.collection, version, lease_id, done)
        return [j.text for j in leased]

    assert await lease() == ["missing"]
    await app.run("UPDATE {schema}.posts SET likes = 9, stars = 3")
    await app.run("UPDATE {schema}.posts SET embedding = '[0,1,0]'")
    await app.settled()
    assert await lease() == []
    await app.run("UPDATE {schema}.posts SET title = 'other' WHERE title = 'given'")
    await app.settled()
    found = await app.stores.index.vectors(version, [ids["given"]], EVERYTHING)
    assert np.allclose(found[ids["given"]], [[1, 0, 0]]), "a stale vector beats none"
    assert await lease() == ["other"]
    found = await app.stores.index.vectors(version, list(ids.values()), EVERYTHING)
    assert np.allclose(found[ids["given"]], [[0, 0, 1]])
    await app.run("UPDATE {schema}.posts SET title = '' WHERE title = 'other'")
    await app.settled()
    assert ids["given"] not in await app.stores.index.vectors(version, [ids["given"]], EVERYTHING)
    await app.run("UPDATE {schema}.posts SET title = 'again' WHERE title = ''")
    await app.run("DELETE FROM {schema}.posts")
    await app.settled()
    assert await lease() == []


async def test_a_view_over_several_tables(app: App) -> None:
    await app.run("""
        CREATE TABLE {schema}.labels (id integer PRIMARY KEY, name text);
        CREATE TABLE {schema}.post_labels (post_id uuid, label_id integer);
        CREATE VIEW {schema}.post_items AS
        SELECT p.id, p.title, p.embedding,
            ARRAY(SELECT l.name FROM {schema}.post_labels pl JOIN {schema}.labels l ON l.id = pl.label_id
                WHERE pl.post_id = p.id ORDER BY l.name) AS labels
        FROM {schema}.posts p;
        INSERT INTO {schema}.labels VALUES (1, 'one'), (2, 'two')
    """)
    bound = {
        **BARE,
        "relation": f"{app.schema}.post_items",
        "text_columns": ["title"],
        "tags_column": "labels",
        "vectors": [{"column": "embedding"}],
    }
    with pytest.raises(InvalidArgumentError, match="which is a view"):
        await app.attach(**bound)
    watched = [
        {"table": f"{app.schema}.posts", "key_column": "id"},
        {"table": f"{app.schema}.post_labels", "key_column": "post_id"},
    ]
    await app.attach(**bound, watched_tables=watched)
    await app.run(POST, "a", "[1,0,0]")
    assert (await app.items())["a"].tags == ()
    await app.run("INSERT INTO {schema}.post_labels SELECT id, n FROM {schema}.posts, generate_series(1, 2) AS n")
    assert (await app.items())["a"].tags == ("one", "two")
    await app.run("UPDATE {schema}.labels SET name = 'zwei' WHERE id = 2")  # not watched
    await app.stores.attachments.resync(app.collection, f"{app.schema}.post_items")
    assert (await app.items())["a"].tags == ("one", "zwei")


async def test_an_application_without_rights(app: App, database_url: str) -> None:
    """The trigger works with the rights of the service, and gives none to the application."""
    await app.attach()
    role = app.schema
    await app.run(f"CREATE ROLE {role}")
    try:
        await app.run(f"GRANT USAGE ON SCHEMA {{schema}} TO {role}; GRANT ALL ON {{schema}}.posts TO {role}")
        await app.run(f"SET ROLE {role}")
        await app.run(POST, "a", "[1,0,0]")
        await app.run("UPDATE {schema}.posts SET title = 'b'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.run("SELECT * FROM retrieval.attached_changes")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.run("SELECT retrieval.attach_table('x', '{}')")
        await app.run("RESET ROLE")
        assert set(await app.items()) == {"b"}
    finally:
        await app.run(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


async def test_writes_never_wait_for_the_service(app: App, database_url: str) -> None:
    await app.attach()
    await app.run(POST, "a", "[1,0,0]")
    await app.settled()
    service = await asyncpg.connect(database_url)
    try:
        async with service.transaction():
            # What a batch locks, for as long as it takes.
            await service.execute("SELECT FROM retrieval.attached_tables FOR UPDATE")
            await service.execute("DELETE FROM retrieval.attached_changes")
            await service.execute("SELECT FROM retrieval.items FOR UPDATE")
            await app.run("SET statement_timeout = '2s'")
            await app.run(POST, "b", "[1,0,0]")
            await app.run("UPDATE {schema}.posts SET body = 'x'")
            await app.run("RESET statement_timeout")
    finally:
        await service.close()
    assert set(await app.items()) == {"a", "b"}


async def test_writes_never_fail_with_the_service(app: App) -> None:
    await app.attach()
    await app.run(POST, "a", "[1,0,0]")
    await app.settled()
    await app.run("ALTER TABLE retrieval.attached_changes RENAME TO gone_changes")
    try:
        await app.run(POST, "b", "[1,0,0]")
        await app.run("UPDATE {schema}.posts SET body = 'x'")
    finally:
        await app.run("ALTER TABLE retrieval.gone_changes RENAME TO attached_changes")
    await app.stores.attachments.resync(app.collection, app.relation)
    assert set(await app.items()) == {"a", "b"}


async def test_a_column_that_is_gone(app: App) -> None:
    await app.attach()
    await app.run(POST, "a", "[1,0,0]")
    await app.settled()
    await app.run("ALTER TABLE {schema}.posts DROP COLUMN votes")
    await app.run(POST, "b", "[1,0,0]")
    await app.run("UPDATE {schema}.posts SET body = 'x'")
    for _ in range(200):
        attached = (await app.stores.attachments.attachments(app.collection))[0]
        if attached.state is AttachmentState.FAILED:
            break
        await asyncio.sleep(0.05)
    assert "'votes'" in attached.error
    await app.run("ALTER TABLE {schema}.posts ADD COLUMN votes integer DEFAULT 7")
    await app.run("DELETE FROM {schema}.posts WHERE title = 'a'")
    await app.run("UPDATE retrieval.attached_tables SET tried_at = now() - interval '1 hour'")
    for _ in range(200):
        items = await app.items()
        if set(items) == {"b"}:
            break
        await asyncio.sleep(0.05)
    assert items["b"].rating_count == 7


async def test_triggers_that_are_gone_are_put_back(app: App, adapter: PostgresAdapter) -> None:
    """As when a table is restored from a dump, or dropped and made anew."""
    await app.attach()
    await app.run(POST, "a", "[1,0,0]")
    await app.settled()
    await app.run("CREATE TABLE {schema}.copy (LIKE {schema}.posts INCLUDING ALL); DROP TABLE {schema}.posts")
    await app.run("ALTER TABLE {schema}.copy RENAME TO posts")
    await app.run(POST, "b", "[1,0,0]")
    assert adapter.follower is not None
    await adapter.follower.check_followers()
    assert set(await app.items()) == {"b"}
    await app.run(POST, "c", "[1,0,0]")
    assert set(await app.items()) == {"b", "c"}


async def test_resync_removes_what_is_gone(app: App) -> None:
    await app.attach()
    for title in "abc":
        await app.run(POST, title, "[1,0,0]")
    await app.settled()
    await app.run("ALTER TABLE {schema}.posts DISABLE TRIGGER USER")
    await app.run("DELETE FROM {schema}.posts WHERE title = 'b'")
    await app.run("UPDATE {schema}.posts SET embedding = '[0,1,0]' WHERE title = 'c'")
    await app.run("ALTER TABLE {schema}.posts ENABLE TRIGGER USER")
    assert set(await app.items()) == {"a", "b", "c"}
    await app.stores.attachments.resync(app.collection, app.relation)
    items = await app.items()
    assert set(items) == {"a", "c"}
    assert near(items["c"], 0, 1, 0)


@pytest.mark.parametrize("delete_items", [False, True])
async def test_detach(app: App, *, delete_items: bool) -> None:
    await app.attach()
    for title in "abc":
        await app.run(POST, title, "[1,0,0]")
    await app.settled()
    deleted = await app.stores.attachments.detach(app.collection, app.relation, delete_items=delete_items)
    assert deleted == (3 if delete_items else 0)
    assert await app.stores.attachments.attachments(app.collection) == []
    assert not await _followers(app)
    await app.run(POST, "d", "[1,0,0]")
    count = "SELECT count(*) FROM retrieval.items WHERE collection_id = $1"
    assert await app.connection.fetchval(count, app.collection.collection_id) == (0 if delete_items else 3)
    with pytest.raises(NotFoundError) as caught:
        await app.stores.attachments.detach(app.collection, app.relation, delete_items=False)
    assert caught.value.reason == "TABLE_NOT_ATTACHED"


async def test_triggers_go_with_the_collection(app: App) -> None:
    await app.attach()
    assert await _followers(app) == 4
    await app.stores.collections.delete(app.collection.name)
    assert await _followers(app) == 0
    await app.run(POST, "a", "[1,0,0]")
    await app.stores.collections.create(app.collection, app.collection.active)


async def _followers(app: App) -> int:
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = $1::text::regclass AND NOT tgisinternal"
    return int(await app.connection.fetchval(triggers, app.relation))


async def test_by_sql(app: App) -> None:
    await app.run(POST, "a", "[1,0,0]")
    binding = f'{{"relation": "{app.relation}", "text_columns": ["title"], "vectors": [{{"column": "embedding"}}]}}'
    attach = "SELECT retrieval.attach_table($1, $2::text::jsonb)"
    await app.run(attach, app.collection.name, binding)
    assert near((await app.items())["a"], 1, 0, 0)
    assert await app.connection.fetchval("SELECT retrieval.detach_table($1, $2)", app.collection.name, app.relation)
    assert not await _followers(app)
    await app.run(attach, app.collection.name, binding.replace("title", "heading"))
    attached = await app.settled()
    assert attached.state is AttachmentState.FAILED
    assert "'heading'" in attached.error
    with pytest.raises(asyncpg.NoDataFoundError):
        await app.run(attach, "nowhere", binding)


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"relation": "nowhere.posts"}, "UNKNOWN_RELATION", "relation"),
        ({"relation": "a b c"}, "UNKNOWN_RELATION", "relation"),
        ({"relation": "retrieval.items"}, "UNKNOWN_RELATION", "relation"),
        ({"key_column": "nr"}, "UNKNOWN_COLUMN", "key_column"),
        ({"key_column": "made_at"}, "COLUMN_TYPE", "key_column"),
        ({"key_column": "author"}, "KEY_NOT_UNIQUE", "key_column"),
        ({"text_columns": ["title", "x; DROP TABLE posts"]}, "UNKNOWN_COLUMN", "text_columns[1]"),
        ({"rating_value_column": "title"}, "COLUMN_TYPE", "rating_value_column"),
        ({"tags_column": "title"}, "COLUMN_TYPE", "tags_column"),
        ({"created_at_column": "title"}, "COLUMN_TYPE", "created_at_column"),
        ({"attributes": {"likes": "title"}}, "COLUMN_TYPE", "attributes.likes"),
        ({"attributes": {"colour": "title"}}, "UNDECLARED_ATTRIBUTE", "attributes.colour"),
        ({"vectors": [{"column": "likes"}]}, "COLUMN_TYPE", "vectors[0].column"),
        (
            {"vectors": [{"column": "embedding", "embedding_version": 9}]},
            "UNKNOWN_EMBEDDING_VERSION",
            "vectors[0].embedding_version",
        ),
        ({"vectors": [{"column": "embedding"}] * 2}, "TWO_COLUMNS_FOR_ONE_VERSION", "vectors[1].embedding_version"),
        ({"visibility": {"column": "state", "values": {"ok": "shown"}}}, "BAD_BINDING", "visibility.values.ok"),
        ({"watched_tables": [{"table": "x"}]}, "BAD_BINDING", "watched_tables[0].key_column"),
    ],
)
async def test_bindings_that_are_none(app: App, changes: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await app.attach(**changes)
    assert (caught.value.reason, caught.value.violations[0].field) == (reason, field)
    assert await app.stores.attachments.attachments(app.collection) == []
    assert not await _followers(app)


async def test_what_cannot_be_attached_now(app: App, database_url: str) -> None:
    await app.attach()
    with pytest.raises(AlreadyExistsError) as twice:
        await app.attach()
    assert twice.value.reason == "TABLE_ATTACHED"
    await app.stores.attachments.detach(app.collection, app.relation, delete_items=True)
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            await other.execute(f"INSERT INTO {app.relation} (title) VALUES ('held open')")
            with pytest.raises(FailedPreconditionError) as busy:
                await app.attach()
        assert busy.value.reason == "TABLE_BUSY"
    finally:
        await other.close()
    assert not await _followers(app)


async def test_tables_that_the_service_may_not_read(app: App) -> None:
    """Nor those of which row-level security would show it a part."""
    role = app.schema
    binding = TableBinding(app.relation, text_columns=("title",))
    await app.run(f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA {{schema}} TO {role}")
    try:

        async def attach() -> None:
            plan = await plan_attachment(app.connection, app.collection, binding)
            async with app.connection.transaction():
                await put_followers(app.connection, 0, plan.watches)

        async def refused(what: str) -> None:
            await app.run(f"SET ROLE {role}")
            with pytest.raises(FailedPreconditionError, match=what) as caught:
                await attach()
            assert caught.value.reason == "TABLE_NOT_ACCESSIBLE"
            await app.run("RESET ROLE")

        await refused("may not read it")
        await app.run(f"GRANT SELECT ON {{schema}}.posts TO {role}")
        await app.run(
            f"GRANT USAGE ON SCHEMA retrieval TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA retrieval TO {role}"
        )
        await refused("GRANT TRIGGER on it")
        await app.run("ALTER TABLE {schema}.posts ENABLE ROW LEVEL SECURITY")
        await refused("sees only part of it")
    finally:
        await app.run(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


async def test_keys_that_name_no_item(app: App) -> None:
    await app.run("CREATE TABLE {schema}.texts (id text PRIMARY KEY, title text)")
    await app.attach(**BARE | {"relation": f"{app.schema}.texts", "text_columns": ["title"]})
    add = "INSERT INTO {schema}.texts VALUES ($1, $2)"
    await app.run(add, "fine", "fine")
    await app.run(add, "", "empty")
    await app.run(add, "a\tb", "tab")
    await app.run(add, "x" * 300, "long")
    await app.run(add, "big", "w " * 60_000)
    items = await app.items()
    assert {i.item_id for i in items.values()} == {"fine", "big"}
    assert (await app.settled()).problem_count == 4
    await app.run("DELETE FROM {schema}.texts")
    assert await app.items() == {}
    assert (await app.settled()).problem_count == 0


async def test_two_rows_of_a_key(app: App) -> None:
    """A view may have them; and a watched table rows that belong to no item."""
    await app.run("""
        CREATE TABLE {schema}.notes (post_id uuid, note text);
        CREATE VIEW {schema}.noted AS
        SELECT p.id, coalesce(n.note, p.title) AS title FROM {schema}.posts p
        LEFT JOIN {schema}.notes n ON n.post_id = p.id
    """)
    watched = [
        {"table": f"{app.schema}.posts", "key_column": "id"},
        {"table": f"{app.schema}.notes", "key_column": "post_id"},
    ]
    await app.attach(**BARE | {"relation": f"{app.schema}.noted", "text_columns": ["title"]}, watched_tables=watched)
    await app.run(POST, "a", None)
    await app.run("INSERT INTO {schema}.notes SELECT id, 'note' FROM {schema}.posts, generate_series(1, 2)")
    await app.run("INSERT INTO {schema}.notes VALUES (NULL, 'of nothing')")
    assert set(await app.items()) == {"note"}
    assert (await app.settled()).problems[0].problem == "more than one row of this key"
    await app.run("DELETE FROM {schema}.notes")
    assert set(await app.items()) == {"a"}
    assert (await app.settled()).problem_count == 0


async def test_one_that_fails_keeps_no_other_waiting(app: App) -> None:
    await app.run("CREATE VIEW {schema}.broken AS SELECT id, title FROM {schema}.posts")
    watched = [{"table": f"{app.schema}.posts", "key_column": "id"}]
    await app.attach(**BARE | {"relation": f"{app.schema}.broken", "text_columns": ["title"]}, watched_tables=watched)
    await app.run("""
        DROP VIEW {schema}.broken;
        CREATE FUNCTION {schema}.fail() RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 FROM nowhere; END $$;
        CREATE VIEW {schema}.broken AS SELECT id, {schema}.fail() AS title FROM {schema}.posts
    """)
    other = await app.stores.collections.create(
        Collection(0, f"{app.collection.name}-2"), EmbeddingVersion(0, 1, "m", 3)
    )
    try:
        await app.run(POST, "a", None)
        await app.stores.attachments.attach(other, TableBinding(app.relation, text_columns=("title",)))
        for _ in range(200):
            app.follower.wake()
            first = (await app.stores.attachments.attachments(app.collection))[0]
            second = (await app.stores.attachments.attachments(other))[0]
            if first.state is AttachmentState.FAILED and second.state is AttachmentState.FOLLOWING:
                break
            await asyncio.sleep(0.02)
        assert "the server's log says why" in first.error
        rows = await app.connection.fetchval(
            "SELECT count(*) FROM retrieval.items WHERE collection_id = $1", other.collection_id
        )
        assert rows == 1
    finally:
        await app.stores.collections.delete(other.name)


async def test_a_row_that_cannot_be_read_holds_up_no_other(app: App) -> None:
    await app.run("CREATE VIEW {schema}.shares AS SELECT id, title, 100 / likes AS share FROM {schema}.posts")
    watched = [{"table": f"{app.schema}.posts", "key_column": "id"}]
    shares = {"relation": f"{app.schema}.shares", "text_columns": ["title"], "rating_count_column": "share"}
    await app.attach(**BARE | shares, watched_tables=watched)
    await app.run("INSERT INTO {schema}.posts (title, likes) SELECT n::text, n FROM generate_series(0, 20) AS n")
    items = await app.items()
    assert set(items) == {str(n) for n in range(1, 21)}
    assert (await app.settled()).problem_count == 1


async def test_one_process_at_a_time(app: App, database_url: str) -> None:
    """Of two that work on the same rows, the one that read first could write last."""
    await app.attach()
    await app.run(POST, "a", "[1,0,0]")
    await app.settled()
    another = await asyncpg.connect(database_url)
    try:
        async with another.transaction():
            await another.execute("SELECT FROM retrieval.attached_tables FOR UPDATE")
            await app.run(POST, "b", "[1,0,0]")
            await asyncio.sleep(3 * POLL_S)
            waiting = (await app.stores.attachments.attachments(app.collection))[0].waiting
        assert waiting == 1
    finally:
        await another.close()
    assert set(await app.items()) == {"a", "b"}


async def test_several_processes_take_turns(app: App, database_url: str) -> None:
    others = [PostgresAdapter(Settings(database_url=database_url)) for _ in range(2)]
    for other in others:
        await other.open(migrate=False)
    try:
        await app.attach()
        await app.run(POST, "a", "[1,0,0]")
        for number in range(60):
            await app.run("UPDATE {schema}.posts SET likes = $1", number)
            if number % 10 == 0:
                await asyncio.sleep(0.06)
        assert (await app.items())["a"].attributes["likes"] == 59
    finally:
        for other in others:
            await other.close()


async def test_nothing_to_attach_in_memory(reference: Any, name: str) -> None:
    collection = await reference.collections.create(Collection(0, name), EmbeddingVersion(0, 1, "test", 3))
    for call in (
        reference.attachments.attach(collection, TableBinding("public.posts")),
        reference.attachments.detach(collection, "public.posts", delete_items=False),
        reference.attachments.resync(collection, "public.posts"),
    ):
        with pytest.raises(RetrievalError) as caught:
            await call
        assert caught.value.reason in {"NO_DATABASE", "TABLE_NOT_ATTACHED"}
    assert await reference.attachments.attachments(collection) == []
