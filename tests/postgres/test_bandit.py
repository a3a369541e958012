"""Many replicas teach one arm at once, and nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from retrieval.config import Settings
from retrieval.domain.bandit import HALF_LIFE_US, Arm, Decision
from retrieval.domain.model import Collection, EmbeddingVersion
from retrieval.postgres import bandits
from retrieval.postgres.adapter import PostgresAdapter

if TYPE_CHECKING:
    import asyncpg

    from retrieval.application.ports import Stores

NOW_US = 1_700_000_000_000_000


@pytest.fixture
async def shelf(postgres: Stores, name: str) -> Collection:
    return await postgres.collections.create(Collection(0, name), EmbeddingVersion(0, 0, "m", 4))


async def logged(stores: Stores, shelf: Collection, count: int) -> list[str]:
    decisions = [Decision(str(uuid4()), "content", 0.5, "", "ann", NOW_US) for _ in range(count)]
    for decision in decisions:
        await stores.bandits.log(shelf, decision)
    return [d.decision_id for d in decisions]


async def test_concurrent_rewards_add_up_exactly(database_url: str, postgres: Stores, shelf: Collection) -> None:
    """Three replicas report 200 rewards, each replica all of them."""
    ids = await logged(postgres, shelf, 200)
    replicas = [PostgresAdapter(Settings(database_url=database_url)) for _ in range(3)]
    try:
        stores = [await replica.open(migrate=False) for replica in replicas]
        receipts = await asyncio.gather(
            *(
                each.bandits.reward(shelf, decision_id, 0.25 * (number % 5), NOW_US, HALF_LIFE_US)
                for number, decision_id in enumerate(ids)
                for each in stores
            )
        )
    finally:
        for replica in replicas:
            await replica.close()
    assert sum(r.applied for r in receipts if r is not None) == 200
    assert all(r is not None and r.strategy == "content" for r in receipts)
    # 40 times 0 + 0.25 + 0.5 + 0.75 + 1, which binary floats add without rounding.
    assert await postgres.bandits.arms(shelf, "", ("content",)) == [Arm("content", 101.0, 101.0, NOW_US)]


async def test_pruning_goes_in_parts(
    postgres: Stores, shelf: Collection, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await logged(postgres, shelf, 7)
    await connection.execute(
        "UPDATE retrieval.bandit_decisions SET decided_at = to_timestamp(1) WHERE collection_id = $1",
        shelf.collection_id,
    )
    monkeypatch.setattr(bandits, "PRUNED_AT_ONCE", 3)
    assert await postgres.bandits.prune(2_000_000) == 7


async def test_a_reward_is_kept_with_its_decision(
    postgres: Stores, shelf: Collection, connection: asyncpg.Connection
) -> None:
    (decision_id,) = await logged(postgres, shelf, 1)
    await postgres.bandits.reward(shelf, decision_id, 0.5, NOW_US + 1, HALF_LIFE_US)
    row = await connection.fetchrow("SELECT * FROM retrieval.bandit_decisions WHERE decision_id = $1", decision_id)
    assert (row["strategy"], row["propensity"], row["user_id"], row["reward"]) == ("content", 0.5, "ann", 0.5)
    assert row["rewarded_at"] > row["decided_at"]
