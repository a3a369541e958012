"""The second wall: what a statement that forgot whom it may show to would still not show."""

from __future__ import annotations

import logging
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import numpy as np
import pytest

from retrieval.application.ports import BuildSpec, IndexKind
from retrieval.config import Settings
from retrieval.domain.model import Chunk, Item, ItemStatus, Viewer, Visibility
from retrieval.domain.relationships import MAX_DEPTH, Relationship, RelationshipKind, Walk
from retrieval.domain.search import IndexQuery, Predicate, SearchParams, Source, Stage
from retrieval.domain.visibility import can_see
from retrieval.postgres import index, indexes, items, predicate, relationships
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.migrate import Migrator, available
from retrieval.postgres.wall import raise_wall
from tests.relations import related_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

GUARDED = """
        SELECT c.relname, c.relrowsecurity, pg_get_expr(p.polqual, p.polrelid) AS condition,
            has_table_privilege('retrieval_reader', c.oid, 'SELECT') AS readable
        FROM pg_class AS c
        LEFT JOIN pg_policy AS p ON p.polrelid = c.oid AND p.polname = 'visible' AND p.polcmd = 'r'
        WHERE c.relnamespace = 'retrieval'::regnamespace AND c.relkind IN ('r', 'p') AND EXISTS (
            SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'audience'
        )
"""
"""Tables that hold who may see an item, with their policies."""
VIEWERS = {
    "anonymous": Viewer(),
    "owner": Viewer("ann"),
    "group": Viewer(group_ids=("red",)),
    "both": Viewer("ben", ("blue", 'odd", {group} \\')),
    "other": Viewer("eve", ("green",)),
}
"""One of each kind, and one whose group would break out of a text that is put together."""


def every_item() -> dict[str, Item]:
    """One of each owner, visibility, audience and status."""
    items = {}
    kinds = product(
        ("", "ann", "ben"), Visibility, ((), ("red",), ("blue", "green"), ('odd", {group} \\',)), ItemStatus
    )
    for number, (owner, visibility, audience, status) in enumerate(kinds):
        item_id = f"item-{number:03d}"
        angle = number / 100
        vector = np.array([np.cos(angle), np.sin(angle)], np.float16)
        items[item_id] = Item(item_id, (Chunk(0, vector),), owner, visibility, audience, status)
    return items


ITEMS = every_item()


@pytest.fixture(scope="module")
async def collection(postgres: Stores) -> Collection:
    """Every kind of item, each related to all others, and every index."""
    return await filled(postgres, f"wall-{uuid4().hex[:8]}")


async def filled(stores: Stores, name: str) -> Collection:
    edges = [Relationship("item-000", other, RelationshipKind.CITED) for other in ITEMS if other != "item-000"]
    made = await related_world(stores, name, list(ITEMS.values()), edges)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(indexes, "IVFFLAT_MIN_ROWS", 100)
        spec = BuildSpec(frozenset({IndexKind.HNSW, IndexKind.IVFFLAT}), lists=2)
        await stores.builder.build(made, made.active, spec)
        await stores.builder.wait_idle()
    return await stores.collections.get(name)


async def shown(stores: Stores, collection: Collection, viewer: Viewer) -> dict[str, set[str]]:
    """What each way to read items shows to a viewer."""
    asked, ids, version = Predicate(viewer=viewer), list(ITEMS), collection.active

    def query(source: Source) -> IndexQuery:
        params = SearchParams(source=source, ef_search=400, nprobe=2)
        vector = np.array([1, 0], np.float16)
        return IndexQuery(collection, version, vector, (Stage(2, len(ITEMS)),), asked, params)

    found = {
        source.value: set((await stores.index.search(query(source))).item_ids)
        for source in (Source.HNSW, Source.IVFFLAT, Source.EXACT)
    }
    found["rank"] = set((await stores.index.rank(query(Source.EXACT), ids)).item_ids)
    found["vectors"] = set(await stores.index.vectors(version, ids, viewer))
    found["admitted"] = set(await stores.index.admitted(collection, version, ids, asked))
    for full in (False, True):
        got = await stores.items.get(collection, version, ids, viewer, with_chunks=full)
        assert all(bool(item.chunks) is full for item in got.values())
        found[f"get {full}"] = set(got)
    listed = await stores.items.list_after(collection, version, "", len(ITEMS), asked, with_chunks=False)
    found["list"] = {item.item_id for item in listed}
    found["popular"] = {item_id for item_id, _ in await stores.items.popular(collection, asked, len(ITEMS))}
    walk = Walk("item-000", depth=MAX_DEPTH)
    found["walk"] = {r.item_id for r in await stores.relationships.walk(collection, walk, asked, None, len(ITEMS))}
    found["neighbours"] = {n for n, _ in await stores.relationships.neighbours(collection, ["item-000"], viewer, 1000)}
    # The item that the walk starts from is not among what it leads to.
    for name in ("walk", "neighbours"):
        found[name] |= {"item-000"}
    return found


@pytest.mark.parametrize("viewer", VIEWERS.values(), ids=VIEWERS.keys())
async def test_without_the_condition_the_policies_decide(
    postgres: Stores, collection: Collection, viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the viewer may see and nothing else, by policies and condition, and by policies alone."""
    expected = {i.item_id for i in ITEMS.values() if can_see(i, viewer)}
    found = await shown(postgres, collection, viewer)
    assert found == dict.fromkeys(found, expected)
    monkeypatch.setattr(predicate, "visible_rows", lambda _viewer, _parameters: "true")
    found = await shown(postgres, collection, viewer)
    assert found == dict.fromkeys(found, expected)


@pytest.mark.parametrize("viewer", VIEWERS.values(), ids=VIEWERS.keys())
async def test_a_statement_that_does_not_say_who_asks_shows_what_all_may_see(
    postgres: Stores, collection: Collection, viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is left over from the statement before, on the same connection."""
    await shown(postgres, collection, viewer)
    for module in (predicate, index, items, relationships):
        monkeypatch.setattr(module, "compile_visibility", lambda _viewer, _parameters: "true")
    found = await shown(postgres, collection, viewer)
    expected = {i.item_id for i in ITEMS.values() if can_see(i, Viewer())}
    assert found == dict.fromkeys(found, expected)


async def test_who_may_see_everything_does(postgres: Stores, collection: Collection) -> None:
    found = await shown(postgres, collection, Viewer(unrestricted=True))
    everything = set(ITEMS)
    assert found == dict.fromkeys(found, everything)


async def test_every_table_of_items_has_its_policy(collection: Collection, connection: asyncpg.Connection) -> None:
    """A partition that is named in a statement goes by its own policies, not by those of the table above."""
    rows = await connection.fetch(GUARDED)
    assert {r["relname"] for r in rows} >= {"items", "embeddings", f"embeddings_v{collection.active.version_id}"}
    assert {(r["relrowsecurity"], r["readable"]) for r in rows} == {(True, True)}
    assert len({r["condition"] for r in rows}) == 1


async def test_partitions_of_before_get_theirs_and_lose_them_again(empty_database: str) -> None:
    """Those that an earlier release made."""
    guarding = next(m for m in available() if m.name == "relate_and_guard_items")
    await Migrator(empty_database, available()[: guarding.number - 1]).up()
    connection = await asyncpg.connect(empty_database)
    await connection.execute("CREATE TABLE retrieval.old PARTITION OF retrieval.embeddings FOR VALUES IN (7)")
    migrator = Migrator(empty_database)
    for _ in range(2):
        await migrator.up()
        assert await raise_wall(connection)
        rows = await connection.fetch(GUARDED)
        assert {r["relname"] for r in rows} == {"items", "embeddings", "old"}
        assert {(r["relrowsecurity"], r["readable"]) for r in rows} == {(True, True)}
        assert len({r["condition"] for r in rows}) == 1
        await migrator.down(len(available()) - guarding.number + 1)
        rows = await connection.fetch(GUARDED)
        assert {(r["relrowsecurity"], r["readable"], r["condition"]) for r in rows} == {(False, False, None)}
    await connection.close()


async def test_the_role_can_read_what_searches_read_and_nothing_else(
    collection: Collection, connection: asyncpg.Connection
) -> None:
    rows = await connection.fetch(
        """
        SELECT c.relname FROM pg_class AS c
        WHERE c.relnamespace = 'retrieval'::regnamespace AND c.relkind IN ('r', 'p')
            AND c.relname NOT LIKE 'embeddings%' AND has_table_privilege('retrieval_reader', c.oid, 'SELECT')
        """
    )
    assert {r[0] for r in rows} == {"items", "item_counts", "relationships"}
    written = await connection.fetchval(
        "SELECT count(*) FROM information_schema.role_table_grants "
        "WHERE grantee = 'retrieval_reader' AND privilege_type <> 'SELECT'"
    )
    assert written == 0
    await connection.execute("SET ROLE retrieval_reader")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM retrieval.items")


@pytest.fixture
async def lowly(empty_database: str) -> AsyncIterator[str]:
    """URL of a database whose owner may not make roles."""
    name = f"lowly_{uuid4().hex[:8]}"
    parts = urlsplit(empty_database)
    admin = await asyncpg.connect(empty_database)
    await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'lowly'")
    await admin.execute("CREATE EXTENSION vector")
    await admin.execute(f"ALTER DATABASE {parts.path[1:]} OWNER TO {name}")
    host = parts.netloc.rpartition("@")[2]
    yield urlunsplit(parts._replace(netloc=f"{name}:lowly@{host}"))
    await admin.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER")
    await admin.execute(f"DROP OWNED BY {name} CASCADE")
    await admin.execute(f"REVOKE retrieval_reader FROM {name}")
    await admin.execute(f"DROP ROLE {name}")
    await admin.close()


async def test_without_the_role_the_service_goes_without_the_wall(
    lowly: str, empty_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It says what an administrator is to do, and has its wall once that is done, older tables included."""
    viewer = VIEWERS["both"]
    expected = {i.item_id for i in ITEMS.values() if can_see(i, viewer)}
    for walled in (False, True):
        caplog.clear()
        adapter = PostgresAdapter(Settings(database_url=lowly))
        with caplog.at_level(logging.WARNING):
            stores = await adapter.open(migrate=True, chores=False)
        database: Any = adapter._database
        assert database.walls(viewer) is walled
        warnings = [r.getMessage() for r in caplog.records if "row-level security" in r.getMessage()]
        assert len(warnings) == (0 if walled else 1)
        if not walled:
            assert "CREATE ROLE retrieval_reader NOLOGIN and GRANT retrieval_reader TO lowly_" in warnings[0]
            await filled(stores, "lowly")
        found = await shown(stores, await stores.collections.get("lowly"), viewer)
        assert found == dict.fromkeys(found, expected)
        await adapter.close()
        admin = await asyncpg.connect(empty_database)
        await admin.execute(f"GRANT retrieval_reader TO {urlsplit(lowly).username}")
        await admin.close()


async def test_raising_it_again_changes_nothing(empty_database: str) -> None:
    await Migrator(empty_database).up()
    connection = await asyncpg.connect(empty_database)
    for _ in range(2):
        assert await raise_wall(connection)
        assert await connection.fetchval("SELECT current_user") == await connection.fetchval("SELECT session_user")
    await connection.close()
