"""Choosing a strategy by Thompson sampling, and learning from the rewards that come in later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from retrieval.domain.bandit import (
    HALF_LIFE_US,
    MAX_STRATEGIES,
    MIN_STRATEGIES,
    STRATEGY_NAME,
    Decision,
    choose,
    context_hash,
    propensities,
)
from retrieval.domain.errors import InvalidArgumentError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retrieval.application.bandit_ports import RewardReceipt
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

MAX_CONTEXT_PAIRS = 16
MAX_CONTEXT_BYTES = 256


async def choose_strategy(
    stores: Stores,
    collection: Collection,
    user_id: str,
    context: Mapping[str, str],
    strategies: Sequence[str],
    rng: np.random.Generator | None = None,
) -> Decision:
    """One of `strategies`, chosen for the user in the context; the decision is stored before it is returned.

    `rng`: where the draws come from; by default a new generator, seeded by the operating system.

    Raises: InvalidArgumentError (INVALID_REQUEST) with the path `strategies` or `context`.
    """
    _check_strategies(strategies)
    check_context(context)
    hashed = context_hash(context)
    stored = await stores.bandits.arms(collection, hashed, strategies)
    now_us = time.time_ns() // 1000
    arms = [arm.decayed(now_us, HALF_LIFE_US) for arm in stored]
    chosen = choose(arms, rng or np.random.default_rng())
    decision = Decision(
        str(uuid4()), strategies[chosen], float(propensities(arms)[chosen]), hashed, user_id, decided_at_us=now_us
    )
    await stores.bandits.log(collection, decision)
    return decision


async def report_reward(stores: Stores, collection: Collection, decision_id: str, reward: float) -> RewardReceipt:
    """Reward a decision, once: a later report changes nothing and says so. `reward`: in [0, 1].

    Raises: NotFoundError (DECISION_NOT_FOUND).
    """
    receipt = await stores.bandits.reward(collection, decision_id, reward, time.time_ns() // 1000, HALF_LIFE_US)
    if receipt is None:
        raise NotFoundError(
            f"decision {decision_id!r} does not exist in collection {collection.name!r}, or is so old that it was "
            "removed; pass the decision_id of the reply that was acted on",
            reason="DECISION_NOT_FOUND",
        )
    return receipt


def _check_strategies(strategies: Sequence[str]) -> None:
    if not MIN_STRATEGIES <= len(strategies) <= MAX_STRATEGIES:
        raise InvalidArgumentError.of(
            "strategies", f"has {len(strategies)} names, must have {MIN_STRATEGIES} to {MAX_STRATEGIES}"
        )
    for number, name in enumerate(strategies):
        if STRATEGY_NAME.fullmatch(name) is None:
            raise InvalidArgumentError.of(
                f"strategies[{number}]",
                "must be 1 to 63 characters: lower-case letters, digits, '_' and '-', a letter first",
            )
        if name in strategies[:number]:
            raise InvalidArgumentError.of(f"strategies[{number}]", f"{name!r} is named twice")


def check_context(context: Mapping[str, str]) -> None:
    """Raises: InvalidArgumentError (INVALID_REQUEST) with the path `context`."""
    if len(context) > MAX_CONTEXT_PAIRS:
        raise InvalidArgumentError.of("context", f"has {len(context)} pairs, at most {MAX_CONTEXT_PAIRS}")
    for name, value in context.items():
        if max(len(name.encode()), len(value.encode())) > MAX_CONTEXT_BYTES:
            raise InvalidArgumentError.of("context", f"has a name or value longer than {MAX_CONTEXT_BYTES} bytes")
