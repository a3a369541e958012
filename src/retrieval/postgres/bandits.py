"""Arms and decisions of the bandit in Postgres; implements `BanditStore`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from retrieval.application.bandit_ports import RewardReceipt
from retrieval.domain.bandit import Arm
from retrieval.domain.decay import MAX_HALF_LIVES
from retrieval.postgres.sql_files import queries
from retrieval.postgres.times import to_micros, to_moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.bandit import Decision
    from retrieval.domain.model import Collection
    from retrieval.postgres.database import Database

PRUNED_AT_ONCE = 10_000
"""Decisions a statement deletes: some ten milliseconds."""


class PostgresBandits:
    """Reads and teaches arms, logs and forgets decisions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def arms(self, collection: Collection, context_hash: str, strategies: Sequence[str]) -> list[Arm]:
        """See `BanditStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                queries("bandit")["arms"], collection.collection_id, context_hash, list(strategies)
            )
        found = {r["strategy"]: Arm(r["strategy"], r["alpha"], r["beta"], to_micros(r["updated_at"])) for r in rows}
        return [found.get(name) or Arm(name) for name in strategies]

    async def log(self, collection: Collection, decision: Decision) -> None:
        """See `BanditStore`."""
        async with self._database.connection() as connection:
            await connection.execute(
                queries("bandit")["log_decision"],
                decision.decision_id,
                collection.collection_id,
                decision.context_hash,
                decision.strategy,
                decision.propensity,
                decision.user_id,
                to_moment(decision.decided_at_us),
            )

    async def reward(
        self, collection: Collection, decision_id: str, reward: float, now_us: int, half_life_us: int
    ) -> RewardReceipt | None:
        """See `BanditStore`."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                queries("bandit")["apply_reward"],
                collection.collection_id,
                decision_id,
                reward,
                to_moment(now_us),
                timedelta(microseconds=half_life_us).total_seconds(),
                MAX_HALF_LIVES,
            )
        return None if row is None else RewardReceipt(row["applied"], row["strategy"])

    async def prune(self, before_us: int) -> int:
        """See `BanditStore`."""
        pruned = 0
        while True:
            async with self._database.connection() as connection:
                status = await connection.execute(queries("bandit")["prune"], to_moment(before_us), PRUNED_AT_ONCE)
            count = int(status.rpartition(" ")[2])
            pruned += count
            if count < PRUNED_AT_ONCE:
                return pruned

    async def erase_user(self, collection: Collection, user_id: str) -> int:
        """See `BanditStore`."""
        async with self._database.connection() as connection:
            status = await connection.execute(queries("bandit")["erase_user"], collection.collection_id, user_id)
        return int(status.rpartition(" ")[2])
