"""What is kept of users and of versions: who is told of changes, by which index it is read, and that it goes whole."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application.candidates.profile import ProfileRequest
from retrieval.application.erase_user import erase_user
from retrieval.application.service import Service
from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.config import Settings
from retrieval.domain.engagement import user_hash
from retrieval.domain.errors import NotFoundError
from retrieval.domain.model import Event
from retrieval.domain.projection import Projection
from retrieval.postgres.database import Database
from retrieval.postgres.profiles import PostgresProfiles
from retrieval.postgres.sql_files import queries
from retrieval.postgres.user_feed import PostgresUserFeed
from retrieval.postgres.wakeups import Listener
from tests.catalogue import load, make
from tests.postgres.feed.follower import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

HALF = np.array([1, 0, 0, 0], np.float16)


@pytest.fixture(scope="module")
async def database(database_url: str, postgres: Stores) -> AsyncIterator[Database]:
    """Another process."""
    database = Database(database_url, Settings())
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def collection(postgres: Stores, name: str) -> Collection:
    return await load(postgres, make(name, 10, dimension=4))


async def test_this_process_is_told_before_the_write_returns(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not have to hear of it from Postgres."""
    monkeypatch.setattr(Listener, "start", lambda _: None)
    feed = PostgresUserFeed(database, TaskSupervisor())
    profiles = PostgresProfiles(database, feed)
    heard: list[tuple[int | None, frozenset[int]]] = []
    feed.subscribe(lambda *change: heard.append(change))
    ours = collection.collection_id, frozenset({user_hash("ann")})
    await profiles.set_vector(collection, collection.active, "ann", HALF)
    assert heard == [ours]
    await profiles.set_vector(collection, collection.active, "ann", None)
    assert heard == [ours] * 2
    await profiles.erase_user(collection, "ann")
    assert heard == [ours] * 3


async def test_other_processes_hear_of_vectors(postgres: Stores, collection: Collection, database: Database) -> None:
    feed = PostgresUserFeed(database, TaskSupervisor())
    heard: asyncio.Queue[tuple[int | None, frozenset[int]]] = asyncio.Queue()
    feed.subscribe(lambda *change: heard.put_nowait(change))
    async with soon():
        assert await heard.get() == (None, frozenset()), "what was sent before was missed"
        for change in (
            postgres.profiles.set_vector(collection, collection.active, "ann", HALF),
            postgres.profiles.set_vector(collection, collection.active, "ann", None),
            postgres.profiles.erase_user(collection, "ann"),
        ):
            await change
            assert await heard.get() == (collection.collection_id, frozenset({user_hash("ann")}))
    await feed.stop()


async def test_a_vector_for_a_collection_that_is_gone(postgres: Stores, collection: Collection) -> None:
    await postgres.collections.delete(collection.name)
    with pytest.raises(NotFoundError) as raised:
        await postgres.profiles.set_vector(collection, collection.active, "ann", HALF)
    assert raised.value.reason == "COLLECTION_NOT_FOUND"


async def test_no_row_of_a_user_remains(
    postgres: Stores, collection: Collection, connection: asyncpg.Connection, name: str
) -> None:
    async def alive() -> bool:
        return True

    user = f"user-of-{name}"
    service = Service(postgres, alive)
    service.candidates.open()
    now_us = time.time_ns() // 1000
    await postgres.events.record(collection, [Event(user, "item-00001", "like", now_us, "e")])
    await service.profiles.set_vector(collection.name, user, 0, np.ones(4, np.float32))
    await service.profiles.read(ProfileRequest(collection.name, user))
    await service.candidates.close()
    tables = await connection.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'retrieval'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname = 'user_id'"
    )

    async def holding() -> set[str]:
        count = "SELECT count(*) FROM retrieval.{} WHERE user_id = $1"
        return {table for (table,) in tables if await connection.fetchval(count.format(table), user)}

    assert await holding() >= {"events", "user_profiles", "user_vectors"}
    await erase_user(postgres, collection.name, user)
    assert await holding() == set()


async def test_a_projection_goes_with_its_collection(
    postgres: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    weights = np.arange(24, dtype=np.float32).reshape(4, 6)
    data = make("next", 1, dimension=4)
    made = await postgres.collections.create_version(
        collection.name, replace(data.version(), model="next"), Projection(weights)
    )
    row = await connection.fetchrow("SELECT * FROM retrieval.projections WHERE version_id = $1", made.version_id)
    assert (row["input_dimension"], row["bias"]) == (6, None)
    assert np.frombuffer(row["weights"], "<f4").tolist() == weights.ravel().tolist()
    await postgres.collections.delete(collection.name)
    assert not await connection.fetch("SELECT FROM retrieval.projections WHERE version_id = $1", made.version_id)


async def test_statements_use_their_indexes(postgres: Stores, connection: asyncpg.Connection) -> None:
    await connection.execute("SET enable_seqscan = off")
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    profiles, collections = queries("profiles"), queries("collections")
    for sql, indexes, values in (
        (profiles["user_vector"], {"user_vectors_pkey"}, "1, 'a'"),
        (profiles["user_vector_set_at"], {"user_vectors_pkey"}, "1, 'a'"),
        (profiles["stored_interests"], {"user_profiles_pkey"}, "1, 'a'"),
        (
            profiles["save_interests"],
            {"user_profiles_pkey", "embedding_versions_pkey"},
            "1, 'a', '{0}', '{\"[1,0]\"}', '{1}', '{m}'",
        ),
        (collections["projection"], {"projections_pkey"}, "1"),
        (collections["get_collections"], {"collections_name_key", "projections_pkey"}, "'', 'a', 1"),
    ):
        await connection.execute(f"PREPARE asked AS {sql}")
        plan = "\n".join(r[0] for r in await connection.fetch(f"EXPLAIN EXECUTE asked({values})"))
        await connection.execute("DEALLOCATE asked")
        assert all(index in plan for index in indexes), plan
        assert "Seq Scan" not in plan, plan
