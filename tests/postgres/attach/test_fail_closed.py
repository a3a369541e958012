"""What cannot be read is shown to nobody, and no value vanishes without a word."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from retrieval.application.attachment_ports import AttachmentState
from retrieval.domain.model import ANONYMOUS, EVERYTHING, Item, Viewer
from retrieval.domain.search import Predicate
from retrieval.postgres.attach import follow
from tests.patience import PATIENCE_S
from tests.postgres.attach.conftest import BARE

if TYPE_CHECKING:
    from tests.postgres.attach.conftest import App

AUTHOR = "a0000000-0000-0000-0000-000000000001"
CIRCLE = "c0000000-0000-0000-0000-000000000001"
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""0001-01-01 and 9999-12-31 23:59:59.999999."""


async def attach_view(app: App, columns: str = "100 / likes AS share", **more: Any) -> None:
    """A view with a value that cannot be computed where likes is 0."""
    await app.run(f"""
        CREATE VIEW {{schema}}.shares AS
        SELECT id, title, author, shown_to, circles, state, embedding, {columns} FROM {{schema}}.posts
    """)
    binding = {
        "relation": f"{app.schema}.shares",
        "text_columns": ["title"],
        "attributes": {"likes": "share"},
        "owner_column": "author",
        "visibility": {"column": "shown_to", "values": {"everybody": "public", "circles": "groups", "me": "private"}},
        "audience_column": "circles",
        "status": {"column": "state", "values": {"ok": "approved", "no": "rejected"}},
        "vectors": [{"column": "embedding"}],
        "watched_tables": [{"table": f"{app.schema}.posts", "key_column": "id"}],
    }
    await app.attach(**BARE | binding | more)


async def post(app: App, title: str, likes: int = 1, shown_to: str = "everybody") -> str:
    row = await app.connection.fetchrow(
        f"INSERT INTO {app.schema}.posts (title, author, shown_to, circles, state, likes, embedding)"
        f" VALUES ($1, '{AUTHOR}', $2, '{{{CIRCLE}}}', 'ok', $3, '[1,0,0]') RETURNING id::text",
        title,
        shown_to,
        likes,
    )
    await app.settled()
    return str(row["id"])


async def seen(app: App, viewer: Viewer = ANONYMOUS) -> dict[str, Item]:
    """All items that the viewer may see."""
    collection = await app.stores.collections.get(app.collection.name)
    items = await app.stores.items.list_after(
        collection, collection.active, "", 100, Predicate(viewer=viewer), with_chunks=True
    )
    return {item.item_id: item for item in items}


VIEWERS = (ANONYMOUS, Viewer(AUTHOR), Viewer("somebody", (CIRCLE,)))


@pytest.mark.parametrize(
    "taken_back",
    [
        "shown_to = 'me'",
        "state = 'no'",
        "shown_to = 'circles', circles = '{}'",
        "author = gen_random_uuid(), shown_to = 'me'",
        "title = 'removed'",
    ],
)
async def test_a_row_that_cannot_be_read_is_shown_to_nobody(app: App, taken_back: str) -> None:
    await attach_view(app)
    item_id, other = await post(app, "my private phone number"), await post(app, "another")
    await app.run(f"UPDATE {{schema}}.posts SET likes = 0, {taken_back} WHERE id = '{item_id}'")
    attached = await app.settled()
    assert [(p.item_id, "cannot be read" in p.problem) for p in attached.problems] == [(item_id, True)]
    for viewer in VIEWERS:
        assert set(await seen(app, viewer)) == {other}
    version = (await app.stores.collections.get(app.collection.name)).active.version_id
    shown = await app.connection.fetch(f"SELECT item_id FROM retrieval.embeddings_v{version} WHERE listed")
    assert [r["item_id"] for r in shown] == [other]
    hidden = (await seen(app, EVERYTHING))[item_id]
    assert (hidden.text, hidden.owner_id, hidden.audience) == ("", "", ()), "nothing of what it said is kept"
    # Once it can be read it is as its row says.
    await app.run("UPDATE {schema}.posts SET likes = 5, title = 'back', shown_to = 'everybody', state = 'ok'")
    assert (await app.settled()).problem_count == 0
    assert {item.text for item in (await seen(app)).values()} == {"back"}
    assert all(item.chunks for item in (await seen(app)).values())


async def test_it_is_tried_again_without_a_change_of_its_row(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a view reads from a table that is not watched tells nobody when it can be read again."""
    await app.run("CREATE TABLE {schema}.divisors (n integer); INSERT INTO {schema}.divisors VALUES (0)")
    await attach_view(app, "(SELECT likes / n FROM {schema}.divisors) AS share")
    item_id = await post(app, "a")
    assert await seen(app) == {}
    monkeypatch.setattr(follow, "RETRY_S", 0.2)
    await app.run("UPDATE {schema}.divisors SET n = 1")
    async with asyncio.timeout(PATIENCE_S):
        while not await seen(app):
            app.follower.wake()
            await asyncio.sleep(0.05)
    assert set(await seen(app)) == {item_id}
    assert (await app.settled()).problem_count == 0


async def test_a_row_that_raises_hides_itself_alone(app: App) -> None:
    await app.run("""
        CREATE FUNCTION {schema}.checked(n integer) RETURNS integer LANGUAGE plpgsql AS
        $$ BEGIN IF n = 0 THEN RAISE 'no'; END IF; RETURN n; END $$
    """)
    await attach_view(app, "{schema}.checked(likes) AS share")
    first, second = await post(app, "a"), await post(app, "b")
    await app.run(f"UPDATE {{schema}}.posts SET likes = 0, shown_to = 'me' WHERE id = '{first}'")
    assert (await app.settled()).state is AttachmentState.FOLLOWING
    assert set(await seen(app)) == {second}


async def test_relationships_outlive_it(app: App) -> None:
    await attach_view(app)
    first, second = await post(app, "a"), await post(app, "b")
    count = "SELECT count(*) FROM retrieval.relationships WHERE item_id = $1"
    await app.connection.execute(
        "INSERT INTO retrieval.relationships (collection_id, item_id, related_item_id, kind, weight, confidence)"
        " VALUES ($1, $2, $3, 1, 1, 1)",
        app.collection.collection_id,
        first,
        second,
    )
    await app.run(f"UPDATE {{schema}}.posts SET likes = 0 WHERE id = '{first}'")
    await app.settled()
    assert await app.connection.fetchval(count, first) == 1


async def test_an_attachment_that_failed_hides_what_changes(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that is gone: the watched table still tells which rows changed."""
    await attach_view(app)
    first, second = await post(app, "a"), await post(app, "b")
    await app.run("DROP VIEW {schema}.shares")
    await app.run(f"UPDATE {{schema}}.posts SET shown_to = 'me' WHERE id = '{first}'")
    assert (await app.settled()).state is AttachmentState.FAILED
    assert set(await seen(app)) == {second}
    # And what changes later, while it is failed.
    await app.run(f"UPDATE {{schema}}.posts SET title = 'c' WHERE id = '{second}'")
    async with asyncio.timeout(PATIENCE_S):
        while await seen(app):
            app.follower.wake()
            await asyncio.sleep(0.05)
    await app.run("""
        CREATE VIEW {schema}.shares AS
        SELECT id, title, author, shown_to, circles, state, embedding, 1 AS share FROM {schema}.posts
    """)
    monkeypatch.setattr(follow, "RETRY_S", 0.2)
    async with asyncio.timeout(PATIENCE_S):
        while set(await seen(app)) != {second}:
            app.follower.wake()
            await asyncio.sleep(0.05)
    assert set(await seen(app, Viewer(AUTHOR))) == {first, second}
    assert (await app.settled()).problem_count == 0


async def test_a_column_that_got_another_name_hides_all(app: App) -> None:
    """Its trigger can only tell that something changed."""
    await app.attach()
    first = await post(app, "a")
    await post(app, "b")
    await app.run("ALTER TABLE {schema}.posts RENAME COLUMN shown_to TO visible_to")
    assert len(await seen(app)) == 2, "nothing changed yet"
    await app.run(f"UPDATE {{schema}}.posts SET visible_to = 'me' WHERE id = '{first}'")
    assert (await app.settled()).state is AttachmentState.FAILED
    for viewer in VIEWERS:
        assert await seen(app, viewer) == {}


@pytest.mark.parametrize(
    ("kind", "value", "expected", "problem"),
    [
        ("timestamptz", "infinity", LAST_US, ""),
        ("timestamptz", "-infinity", FIRST_US, ""),
        ("timestamptz", "9999-12-31 23:59:59Z", 253_402_300_799_000_000, ""),
        ("timestamptz", "9999-12-31 23:59:59.999999Z", LAST_US, ""),
        ("timestamptz", "0001-01-01 00:00Z", FIRST_US, ""),
        ("timestamptz", "0001-01-01 00:00Z BC", None, "years 1 and 9999"),
        ("timestamptz", "20000-01-01", None, "years 1 and 9999"),
        ("timestamp", "infinity", LAST_US, ""),
        ("timestamp", "20000-01-01", None, "years 1 and 9999"),
        ("date", "infinity", LAST_US, ""),
        ("date", "-infinity", FIRST_US, ""),
        ("date", "5000000-01-01", None, "years 1 and 9999"),
        ("date", "9999-12-31", 253_402_214_400_000_000, ""),
    ],
)
async def test_moments_at_the_ends_of_time(app: App, kind: str, value: str, expected: int | None, problem: str) -> None:
    await app.run(f"CREATE TABLE {{schema}}.offers (id text PRIMARY KEY, expires {kind})")
    await app.run(f"INSERT INTO {{schema}}.offers VALUES ('a', '{value}')")
    for number, binding in enumerate(({"attributes": {"made": "expires"}}, {"created_at_column": "expires"})):
        if number:
            await app.stores.attachments.detach(app.collection, f"{app.schema}.offers", delete_items=True)
        attached = await app.attach(**BARE | {"relation": f"{app.schema}.offers"} | binding)
        item = (await seen(app, EVERYTHING))["a"]
        if number == 0:
            assert item.attributes.get("made") == expected
        elif expected is not None:
            assert item.created_at == expected
        assert [problem in p.problem for p in attached.problems] == [True] * bool(problem)


@pytest.mark.parametrize(
    ("column", "value", "binding", "field"),
    [
        ("integer", "-7", {"rating_count_column": "v"}, "rating_count_column: negative"),
        ("jsonb", '{"a": 1}', {"tags_column": "v"}, "tags_column: no list"),
        ("json", '"one"', {"audience_column": "v"}, "audience_column: no list"),
        ("numeric", "1e400", {"rating_value_column": "v"}, "rating_value_column: not finite"),
        ("numeric", "NaN", {"rating_value_column": "v"}, "rating_value_column: not finite"),
        ("float8", "infinity", {"rating_value_column": "v"}, "rating_value_column: not finite"),
        ("float4[]", "{NaN,1,2}", {"vectors": [{"column": "v"}]}, "vectors[0]: not a vector"),
        ("float8[]", "{1e300,1,2}", {"vectors": [{"column": "v"}]}, "vectors[0]: not a vector"),
    ],
)
async def test_a_value_that_is_left_out_is_listed(
    app: App, column: str, value: str, binding: dict[str, Any], field: str
) -> None:
    await app.run(f"CREATE TABLE {{schema}}.offers (id text PRIMARY KEY, v {column})")
    await app.run(f"INSERT INTO {{schema}}.offers VALUES ('a', '{value}')")
    attached = await app.attach(**BARE | {"relation": f"{app.schema}.offers"} | binding)
    assert set(await seen(app, EVERYTHING)) == {"a"}, "the rest of the row is there"
    assert [(p.item_id, p.problem.startswith(field)) for p in attached.problems] == [("a", True)]


async def test_a_number_too_small_for_a_double_is_zero(app: App) -> None:
    await app.run("CREATE TABLE {schema}.offers (id text PRIMARY KEY, v numeric)")
    await app.run("INSERT INTO {schema}.offers VALUES ('a', '1e-400'), ('b', '0'), ('c', '-1.5')")
    attached = await app.attach(**BARE | {"relation": f"{app.schema}.offers", "rating_value_column": "v"})
    assert attached.problem_count == 0
    assert {i: item.rating_value for i, item in (await seen(app, EVERYTHING)).items()} == {"a": 0, "b": 0, "c": -1.5}
