"""The bandit's regret grows less than linearly, and stays below that of simpler ways to choose."""

from __future__ import annotations

import numpy as np

from benchmarks.bandit import SCENARIOS, growth, simulate

ROUNDS = 4000
SEEDS = 3


def regret_of(policy: str, scenario: int = 0) -> np.ndarray:
    """(rounds,): the mean over the seeds."""
    return np.mean([simulate(SCENARIOS[scenario], policy, ROUNDS, seed) for seed in range(SEEDS)], axis=0)


def test_regret_grows_sublinearly_and_ends_below_the_others() -> None:
    thompson, greedy, chance = (regret_of(policy) for policy in ("Thompson", "epsilon-greedy", "uniform"))
    assert growth(thompson) < 0.7
    assert growth(chance) > 0.95, "chance never learns"
    assert thompson[-1] < greedy[-1] < chance[-1]


def test_decay_finds_what_became_better() -> None:
    assert regret_of("Thompson", 1)[-1] < regret_of("Thompson, no decay", 1)[-1]
