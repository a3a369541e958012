"""Positions: what they reflect, how they are written down, and where they mean nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.config import Settings
from retrieval.domain.errors import InvalidArgumentError, UnavailableError
from retrieval.domain.model import Event
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.positions import SnapshotPosition
from retrieval.postgres.tokens import make_token
from tests.postgres.feed.follower import NOTHING, Follower, upsert

if TYPE_CHECKING:
    from retrieval.application.cache_ports import ChangeFeed
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection


async def test_the_log_says_where_it_cannot_tell(
    feed: ChangeFeed, collection: Collection, follower: Follower, stores: Stores, connection: asyncpg.Connection
) -> None:
    before = follower.position
    assert isinstance(before, SnapshotPosition)
    await upsert(stores, collection, "a")
    await follower.step()
    now = follower.position
    assert isinstance(now, SnapshotPosition)
    future = SnapshotPosition(now.xmin, now.xmax + 10, frozenset(), now.xmax + 10)
    # Transactions of other databases count, too: `xmin` may be beyond the log.
    first = min(before.xmin, before.logged)
    pruned = "UPDATE retrieval.service_state SET log_begins = $1"
    try:
        async with feed.snapshot() as look:
            assert await look.changes(future) is None
            assert await look.changes(before) is not None
        await connection.execute(pruned, first)
        async with feed.snapshot() as look:
            assert await look.changes(before) is not None
        await connection.execute(pruned, first + 1)
        async with feed.snapshot() as look:
            assert await look.changes(before) is None
            assert await look.changes(now) == NOTHING
    finally:
        await connection.execute(pruned, 0)


async def test_tokens_are_reflected_from_the_step_that_brings_them(
    stores: Stores, collection: Collection, follower: Follower
) -> None:
    async def recorded() -> str:
        return (await stores.events.record(collection, [Event("u", "a", "like", 1, "e")])).token

    async def deleted() -> str:
        return (await stores.items.delete(collection, ["item-00001"], "", b"")).token

    for make_one in (lambda: upsert(stores, collection, "a"), deleted, recorded, stores.items.token):
        token = await make_one()
        assert not follower.position.reflects(token)
        await follower.step()
        assert follower.position.reflects(token)
    with pytest.raises(InvalidArgumentError) as caught:
        follower.position.reflects("nonsense")
    assert caught.value.reason == "BAD_CONSISTENCY_TOKEN"


async def test_a_token_is_not_reflected_while_its_transaction_runs(
    stores: Stores, follower: Follower, connection: asyncpg.Connection
) -> None:
    """A transaction that began before others that were seen is still not in."""
    async with connection.transaction():
        own = make_token(str(await connection.fetchval("SELECT pg_current_xact_id()")))
        later = await stores.items.token()
        await follower.step()
        assert follower.position.reflects(later)
        assert not follower.position.reflects(own)
    await follower.step()
    assert follower.position.reflects(own)


async def test_the_identity_is_the_databases(url: str, feed: ChangeFeed, database_url: str) -> None:
    identity = await feed.identity()
    assert re.fullmatch(r"[A-Za-z0-9-]+", identity)
    for where, same in ((url, True), (database_url, False)):
        adapter = PostgresAdapter(Settings(database_url=where))
        with pytest.raises(UnavailableError):
            _ = adapter.changes
        await adapter.open(migrate=True)
        assert (await adapter.changes.identity() == identity) is same
        await adapter.close()


async def test_positions_read_back_as_far_as_the_log_goes(
    feed: ChangeFeed, stores: Stores, collection: Collection, follower: Follower, url: str
) -> None:
    other = await asyncpg.connect(url)
    async with other.transaction():
        running = await other.fetchval("SELECT pg_current_xact_id()")
        await upsert(stores, collection, "a")
        await follower.step()
        position = follower.position
        assert isinstance(position, SnapshotPosition)
        assert running in position.unfinished
        read = feed.position(str(position))
        assert str(read) == str(position)
        async with feed.snapshot() as look:
            assert await look.changes(read) == NOTHING
    await other.close()


async def test_an_id_that_is_given_out_twice_is_seen_twice(
    feed: ChangeFeed, stores: Stores, collection: Collection, follower: Follower, connection: asyncpg.Connection
) -> None:
    """A server that crashes gives the ids of transactions anew that left nothing behind: tokens', aborted ones."""
    await upsert(stores, collection, "a")
    token = await stores.items.token()
    await follower.step()
    assert follower.position.reflects(token)
    # As if the server had crashed now, and the next write had got the token's id.
    again = await connection.fetchval("SELECT (pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1)::text::xid8")
    await connection.execute(
        "INSERT INTO retrieval.change_log (transaction_id, collection_id, item_ids) VALUES ($1, $2, ARRAY['b'])",
        again,
        collection.collection_id,
    )
    async with feed.snapshot() as look:
        changes = await look.changes(follower.position)
    assert changes is not None
    assert changes.items == {collection.collection_id: {"b"}}


@given(st.integers(1, 2**64 - 1), st.lists(st.integers(0, 2**63), max_size=5))
def test_any_position_reads_back(xmin: int, offsets: list[int]) -> None:
    running = frozenset(min(xmin + o, 2**64 - 2) for o in offsets if xmin < 2**64 - 1)
    position = SnapshotPosition(xmin, max(running, default=xmin - 1) + 1, running, max(running, default=xmin - 1) + 1)
    assert SnapshotPosition.parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    ["", "x", "1:2", "1:2:3:4", "2:1:", "1:5:5", "3:5:2", "1:5:3,2", "1:5:2,2", "1:5:2,", "1:5: 2", "01:5:", "1:5:\n",
     "-1:5:", "\u0661:5:", "1:99999999999999999999:", "1:18446744073709551616:"],
)  # fmt: skip
def test_malformed_positions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a position"):
        SnapshotPosition.parse(text)


async def test_a_position_of_another_store_is_refused(feed: ChangeFeed) -> None:
    other: Any = object()
    async with feed.snapshot() as look:
        with pytest.raises(TypeError):
            await look.changes(other)
