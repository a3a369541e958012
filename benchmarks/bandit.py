"""Regret of the service's bandit beside epsilon-greedy and chance: `python -m benchmarks.bandit`.

The arms, their draws and their decay are the service's own (`retrieval.domain.bandit`); only the users are simulated.
Rewards are clicks that come in late, and each context has a best strategy of its own.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.bandit import HALF_LIFE_US, Arm, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Policy = Callable[[Sequence[Arm], np.random.Generator], int]

STRATEGIES = ("collaborative", "content", "hybrid", "trending")
CLICK_RATES = {"home": (0.20, 0.30, 0.25, 0.10), "search": (0.10, 0.15, 0.20, 0.35)}
"""Mean reward of each strategy, by context."""
SHIFT = 2
"""In the drift scenario the rates move by so many strategies, halfway through."""
MEAN_DELAY_ROUNDS = 100
EPSILON = 0.1
DAY_US = 86_400_000_000
NEVER_US = 10**9 * HALF_LIFE_US
FITTED_FROM = 0.05
"""The exponent of growth is fitted on the rounds after this share of them: the first ones are all exploration."""
COLOURS = {"Thompson": "#0072b2", "Thompson, no decay": "#56b4e9", "epsilon-greedy": "#e69f00", "uniform": "#000000"}


@dataclass(frozen=True)
class Scenario:
    """`days` is the time all rounds take together: the half-life of evidence is in days."""

    name: str
    days: float
    drifts: bool
    policies: tuple[str, ...]


SCENARIOS = (
    Scenario("stationary", 10, False, ("Thompson", "epsilon-greedy", "uniform")),
    Scenario("drift", 120, True, ("Thompson", "Thompson, no decay", "epsilon-greedy", "uniform")),
)


@dataclass(frozen=True)
class Outcome:
    """Regret of a policy over all seeds: cumulative, at `rounds`, with quartiles; `exponent` of regret ~ rounds^e."""

    scenario: str
    policy: str
    exponent: float
    rounds: list[int]
    lower: list[float]
    median: list[float]
    upper: list[float]


def epsilon_greedy(arms: Sequence[Arm], rng: np.random.Generator) -> int:
    """The best mean so far, or with probability EPSILON any arm (Sutton and Barto, 2018, section 2.2)."""
    if rng.random() < EPSILON:
        return int(rng.integers(len(arms)))
    return int(np.argmax([a.alpha / (a.alpha + a.beta) for a in arms]))


def uniform(arms: Sequence[Arm], rng: np.random.Generator) -> int:
    """Any arm."""
    return int(rng.integers(len(arms)))


POLICIES: dict[str, Policy] = {
    "Thompson": choose,
    "Thompson, no decay": choose,
    "epsilon-greedy": epsilon_greedy,
    "uniform": uniform,
}


def simulate(scenario: Scenario, policy: str, rounds: int, seed: int) -> NDArray[np.float64]:
    """Cumulative regret after each round, (rounds,): what the best strategy would have been expected to earn more."""
    rng = np.random.default_rng(seed)
    select = POLICIES[policy]
    half_life_us = NEVER_US if policy.endswith("no decay") else HALF_LIFE_US
    round_us = int(scenario.days * DAY_US / rounds)
    contexts = list(CLICK_RATES)
    arms = {context: [Arm(name) for name in STRATEGIES] for context in contexts}
    waiting: list[tuple[int, str, int, float]] = []
    regret = np.empty(rounds)
    before = {context: np.array(rates) for context, rates in CLICK_RATES.items()}
    after = {context: np.roll(rates, SHIFT if scenario.drifts else 0) for context, rates in before.items()}
    for number in range(rounds):
        now_us = number * round_us
        while waiting and waiting[0][0] <= number:
            _, context, arm, reward = heappop(waiting)
            arms[context][arm] = arms[context][arm].rewarded(reward, now_us, half_life_us)
        context = contexts[int(rng.integers(len(contexts)))]
        rates = (before if number < rounds // 2 else after)[context]
        chosen = select([arm.decayed(now_us, half_life_us) for arm in arms[context]], rng)
        regret[number] = rates.max() - rates[chosen]
        due = number + 1 + int(rng.exponential(MEAN_DELAY_ROUNDS))
        heappush(waiting, (due, context, chosen, float(rng.random() < rates[chosen])))
    return np.cumsum(regret)


def growth(regret: NDArray[np.float64]) -> float:
    """Exponent e of regret ~ rounds^e: the slope of the least-squares line through the logarithms of both."""
    first = int(len(regret) * FITTED_FROM)
    at = np.unique(np.geomspace(first + 1, len(regret), 200).astype(int))
    return float(np.polyfit(np.log(at), np.log(regret[at - 1]), 1)[0])


def outcomes(scenario: Scenario, rounds: int, seeds: int) -> list[Outcome]:
    """What each policy of the scenario comes to."""
    shown = np.unique(np.concatenate([np.geomspace(10, rounds, 60), np.linspace(1, rounds, 60)]).astype(int))
    made = []
    for policy in scenario.policies:
        curves = np.stack([simulate(scenario, policy, rounds, seed) for seed in range(seeds)])
        quartiles = np.quantile(curves[:, shown - 1], [0.25, 0.5, 0.75], axis=0).round(3)
        exponent = round(growth(np.median(curves, axis=0)), 3)
        made.append(Outcome(scenario.name, policy, exponent, shown.tolist(), *quartiles.tolist()))
    return made


def plot(path: Path, found: Sequence[Outcome], seeds: int) -> None:
    """Regret by round for each scenario, and the stationary one again with both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import StrMethodFormatter

    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.8), layout="constrained")
        panels = (
            (axes[0], "stationary", "Fixed click rates"),
            (axes[1], "stationary", "The same, log-log: slope = growth"),
            (axes[2], "drift", "The best strategy changes halfway"),
        )
        for axis, scenario, title in panels:
            logarithmic = axis is axes[1]
            for outcome in (o for o in found if o.scenario == scenario):
                colour = COLOURS[outcome.policy]
                label = f"{outcome.policy} (rounds$^{{{outcome.exponent:.2f}}}$)" if logarithmic else outcome.policy
                axis.plot(outcome.rounds, outcome.median, color=colour, linewidth=2, label=label)
                axis.fill_between(outcome.rounds, outcome.lower, outcome.upper, color=colour, alpha=0.2, linewidth=0)
            if logarithmic:
                axis.set_xscale("log")
                axis.set_yscale("log")
                axis.set_xlim(left=10)
                axis.set_ylim(bottom=1)
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axis.grid(visible=True, alpha=0.25, linewidth=0.6)
            axis.set_title(title)
            axis.set_xlabel("rounds")
            axis.set_ylabel("cumulative regret (clicks)")
            axis.legend(frameon=False, fontsize=9, loc="upper left")
        figure.suptitle(
            f"4 strategies, 2 contexts, rewards delayed by {MEAN_DELAY_ROUNDS} rounds on average; "
            f"median and quartiles of {seeds} seeds",
            fontweight="bold",
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def main() -> None:
    """Simulates, prints a line a policy and writes bandit.json and bandit.png."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bandit",
        description="Regret of the bandit.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=20_000, help="choices a run")
    parser.add_argument("--seeds", type=int, default=20, help="runs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()
    found = [o for scenario in SCENARIOS for o in outcomes(scenario, options.rounds, options.seeds)]
    for outcome in found:
        spread = f"{outcome.lower[-1]:.0f} to {outcome.upper[-1]:.0f}"
        print(
            f"{outcome.scenario:<11} {outcome.policy:<19} regret {outcome.median[-1]:7.0f} ({spread}), "
            f"grows as rounds^{outcome.exponent:.2f}"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    about = {"rounds": options.rounds, "seeds": options.seeds, "mean_delay_rounds": MEAN_DELAY_ROUNDS}
    text = json.dumps(about | {"outcomes": [asdict(o) for o in found]}, indent=1)
    (options.out / "bandit.json").write_text(text + "\n", encoding="utf-8")
    plot(options.out / "bandit.png", found, options.seeds)


if __name__ == "__main__":
    main()
