"""Candidates of real servers: two over one Postgres hear of each other's events and edges."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as pb
from tests.patience import PATIENCE_S
from tests.server.process import DIM, Stubs, create, server_process, stubs_for, upsert, vector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[tuple[Stubs, Stubs]]:
    """Two servers over the run's Postgres."""
    settings = {"RETRIEVAL_DATABASE_URL": database_url, "RETRIEVAL_CACHE_MEMORY_BUDGET_BYTES": "0"}
    async with (
        server_process("--migrate", **settings) as first,
        server_process(**settings) as second,
        stubs_for(first.target) as here,
        stubs_for(second.target) as there,
    ):
        yield here, there


def films(count: int) -> list[common_pb.Item]:
    rows = np.random.default_rng(1).standard_normal((count, DIM))
    return [
        common_pb.Item(
            item_id=f"film-{n:03d}", owner_id=f"studio-{n % 5}", chunks=[common_pb.Chunk(vector=vector(row))]
        )
        for n, row in enumerate(rows)
    ]


async def record(stubs: Stubs, name: str, kind: str, *item_ids: str) -> str:
    events = [feedback_pb.Event(user_id="ann", item_id=i, type=kind, event_id=f"{kind}-{i}") for i in item_ids]
    for event in events:
        event.occurred_at.FromMicroseconds(time.time_ns() // 1000 - 1_000_000)
    reply = await stubs.feedback.RecordEvents(feedback_pb.RecordEventsRequest(collection=name, events=events))
    return str(reply.consistency_token)


async def candidates(stubs: Stubs, name: str, token: str = "") -> pb.SearchUserCandidatesResponse:
    request = pb.SearchUserCandidatesRequest(collection=name, user_id="ann")
    request.options.limit = 20
    request.options.min_consistency_token = token
    return await stubs.retrieval.SearchUserCandidates(request)


def ids(reply: pb.SearchUserCandidatesResponse) -> list[str]:
    return [hit.item_id for hit in reply.hits]


async def until(
    stubs: Stubs, name: str, holds: Callable[[pb.SearchUserCandidatesResponse], bool]
) -> pb.SearchUserCandidatesResponse:
    """Ask, without a token, until it holds."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            reply = await candidates(stubs, name)
            if holds(reply):
                return reply
            await asyncio.sleep(0.01)


async def test_an_event_at_one_server_changes_the_candidates_of_another(two: tuple[Stubs, Stubs], name: str) -> None:
    here, there = two
    await create(here, name)
    await upsert(here, name, films(60))
    await record(here, name, "like", "film-001", "film-002")
    for _ in range(3):
        # Each has its answer, and gives it again.
        kept = await until(there, name, lambda reply: reply.info.cached)
        shown = kept.hits[0].item_id
        # At once for who shows what the write returned.
        token = await record(here, name, "view", shown)
        asked = await candidates(there, name, token)
        assert shown not in ids(asked)
        assert len(asked.hits) == 20
        assert not asked.info.cached
    for _ in range(3):
        kept = await until(there, name, lambda reply: reply.info.cached)
        shown = kept.hits[0].item_id
        await record(here, name, "view", shown)
        # Long before what is kept gets old: half a minute.
        await until(there, name, lambda reply, gone=shown: gone not in ids(reply))  # type: ignore[misc]


async def test_an_edge_at_one_server_and_an_item_gone(two: tuple[Stubs, Stubs], name: str) -> None:
    here, there = two
    await create(here, name)
    await upsert(here, name, films(60))
    await record(here, name, "like", "film-001")
    kept = await until(there, name, lambda reply: reply.info.cached)
    shown = kept.hits[0].item_id
    await record(here, name, "block_author", shown)
    owner = int(shown[-3:]) % 5
    reply = await until(there, name, lambda reply: shown not in ids(reply))
    assert not [i for i in ids(reply) if int(i[-3:]) % 5 == owner]
    kept = await until(there, name, lambda reply: reply.info.cached)
    gone = kept.hits[0].item_id
    await here.items.DeleteItems(items_pb.DeleteItemsRequest(collection=name, item_ids=[gone]))
    # There is no cache in front of Postgres: what was acknowledged is gone everywhere.
    assert gone not in ids(await candidates(there, name))
