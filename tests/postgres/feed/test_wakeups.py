"""Followers are woken, and nobody waits for a notification that cannot come."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.config import Settings
from retrieval.domain.errors import UnavailableError
from retrieval.domain.model import AttributeType
from retrieval.postgres import wakeups
from retrieval.postgres.changes import PostgresChanges
from retrieval.postgres.database import Database
from tests.postgres.feed.follower import soon, upsert

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import asyncpg

    from retrieval.application.cache_ports import ChangeFeed
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection


@pytest.fixture
async def listening(feed: ChangeFeed, collection: Collection) -> ChangeFeed:
    """A feed that listens, and has told of everything written so far, that of the other fixtures included."""
    async with soon():
        while await woken(feed, 0.2):
            pass
    return feed


async def woken(feed: ChangeFeed, timeout_s: float) -> bool:
    started = time.monotonic()
    await feed.wait(timeout_s)
    return time.monotonic() - started < timeout_s


async def test_writes_wake_everybody_who_waits(listening: ChangeFeed, stores: Stores, collection: Collection) -> None:
    waits = [asyncio.create_task(listening.wait(60)) for _ in range(3)]
    await asyncio.sleep(0)
    await upsert(stores, collection, "a")
    async with soon():
        await asyncio.gather(*waits)
    assert not await woken(listening, 0.1), "one wake-up, not a storm"


async def test_a_wakeup_that_nobody_waited_for_is_kept(
    listening: ChangeFeed, stores: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    heard = asyncio.Event()
    await connection.add_listener("retrieval_changes", lambda *_: heard.set())
    cancelled = asyncio.create_task(listening.wait(60))
    await asyncio.sleep(0)
    cancelled.cancel()
    await stores.collections.update(collection.name, {"mood": AttributeType.KEYWORD}, None, None)
    async with soon():
        await heard.wait()
        await listening.wait(60)


async def test_a_lost_listener_is_replaced_and_wakes_at_once(
    listening: ChangeFeed, stores: Stores, collection: Collection, connection: asyncpg.Connection
) -> None:
    waiting = asyncio.create_task(listening.wait(60))
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name = 'retrieval-changes' AND datname = current_database()"
    )
    async with soon():
        await waiting
        waiting = asyncio.create_task(listening.wait(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        await upsert(stores, collection, "a")
        await waiting


async def test_a_listener_that_fell_silent_is_replaced(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the network drops an idle connection and tells nobody."""
    monkeypatch.setattr(wakeups, "PULSE_S", 0.1)
    database = Database(url, Settings())
    connect, opened = database.dedicated, []

    @asynccontextmanager
    async def dedicated(application_name: str) -> AsyncIterator[Any]:
        async with connect(application_name) as connection:
            opened.append(connection)
            yield connection

    monkeypatch.setattr(database, "dedicated", dedicated)
    feed = PostgresChanges(database, TaskSupervisor())
    async with soon():
        await feed.wait(60)
        opened[0]._transport.pause_reading()
        await feed.wait(60)
    assert len(opened) == 2
    await feed.stop()


async def test_waiting_without_a_database_is_waiting(tmp_path: Path) -> None:
    feed = PostgresChanges(Database(f"postgresql:///postgres?host={tmp_path}", Settings()), TaskSupervisor())
    assert not await woken(feed, 0.3)
    with pytest.raises(UnavailableError):
        async with feed.snapshot():
            pass
    await feed.stop()
