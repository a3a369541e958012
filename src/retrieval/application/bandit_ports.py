"""What the bandit needs from the outside: its arms and its decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.bandit import Arm, Decision
    from retrieval.domain.model import Collection


@dataclass(frozen=True, slots=True)
class RewardReceipt:
    """What reporting a reward did: `applied` is False where the decision had been rewarded before."""

    applied: bool
    strategy: str


class BanditStore(Protocol):
    """Arms by collection, context and strategy, and the decisions that were made with them."""

    async def arms(self, collection: Collection, context_hash: str, strategies: Sequence[str]) -> list[Arm]:
        """The arms of a context as they were last written, in the order of `strategies`; the prior where none was."""
        ...

    async def log(self, collection: Collection, decision: Decision) -> None:
        """Store a decision, durably."""
        ...

    async def reward(
        self, collection: Collection, decision_id: str, reward: float, now_us: int, half_life_us: int
    ) -> RewardReceipt | None:
        """Claim the decision and teach its arm in one atomic step; None where there is no such decision.

        A decision is rewarded once, however often and by however many it is reported; later rewards change nothing.
        The arm moves as `Arm.rewarded` says.
        """
        ...

    async def prune(self, before_us: int) -> int:
        """Delete decisions made before that time, in all collections; returns how many. Arms keep what they learned."""
        ...

    async def erase_user(self, collection: Collection, user_id: str) -> int:
        """Delete a user's decisions; returns how many. Arms keep what they learned: it names nobody."""
        ...
