"""Arms and decisions of the bandit in memory; implements `BanditStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.bandit_ports import RewardReceipt
from retrieval.domain.bandit import Arm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.bandit import Decision
    from retrieval.domain.model import Collection
    from retrieval.reference.memory import Memory


class ReferenceBandits:
    """Reads and teaches arms, logs and forgets decisions."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def arms(self, collection: Collection, context_hash: str, strategies: Sequence[str]) -> list[Arm]:
        """See `BanditStore`."""
        arms = self._memory.held(collection).arms
        return [arms.get((context_hash, name)) or Arm(name) for name in strategies]

    async def log(self, collection: Collection, decision: Decision) -> None:
        """See `BanditStore`."""
        self._memory.held(collection).decisions[decision.decision_id] = decision

    async def reward(
        self, collection: Collection, decision_id: str, reward: float, now_us: int, half_life_us: int
    ) -> RewardReceipt | None:
        """See `BanditStore`."""
        held = self._memory.held(collection)
        decision = held.decisions.get(decision_id)
        if decision is None:
            return None
        applied = decision_id not in held.rewarded
        if applied:
            held.rewarded.add(decision_id)
            key = decision.context_hash, decision.strategy
            arm = held.arms.get(key) or Arm(decision.strategy, updated_at_us=now_us)
            held.arms[key] = arm.rewarded(reward, now_us, half_life_us)
        return RewardReceipt(applied, decision.strategy)

    async def prune(self, before_us: int) -> int:
        """See `BanditStore`."""
        return sum(
            self._drop(name, [d for d in held.decisions.values() if d.decided_at_us < before_us])
            for name, held in self._memory.collections.items()
        )

    async def erase_user(self, collection: Collection, user_id: str) -> int:
        """See `BanditStore`."""
        decisions = self._memory.held(collection).decisions.values()
        return self._drop(collection.name, [d for d in decisions if d.user_id == user_id])

    def _drop(self, name: str, decisions: Sequence[Decision]) -> int:
        held = self._memory.named(name)
        for decision in decisions:
            del held.decisions[decision.decision_id]
            held.rewarded.discard(decision.decision_id)
        return len(decisions)
