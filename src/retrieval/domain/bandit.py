"""Thompson sampling over named strategies: which one to try, how likely that was, and what a reward teaches.

Each strategy in each context is an arm with a Beta posterior over its mean reward. An arm is drawn from every
posterior and the largest draw wins (Thompson, "On the likelihood that one unknown probability exceeds another",
Biometrika 25, 1933; Chapelle and Li, "An empirical evaluation of Thompson sampling", NIPS 2011). Its regret grows
logarithmically (Agrawal and Goyal, "Analysis of Thompson sampling for the multi-armed bandit problem", COLT 2012).
Evidence fades, so that a strategy that became better is found (Raj and Kalyani, "Taming non-stationary bandits: a
Bayesian approach", 2017): by age here, not by rounds as there, since many replicas share the arms.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from math import asinh, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.decay import halved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MIN_STRATEGIES, MAX_STRATEGIES = 2, 16
STRATEGY_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
HALF_LIFE_US = 30 * 86_400_000_000
"""Evidence counts half after 30 days: about as long as tastes and catalogues stay what they are."""
PRIOR = 1.0
"""Alpha and beta of the uniform prior Beta(1, 1)."""

_HASH_DIGITS = 16
_REACH = 40.0
"""Scales to either side of a mode that are integrated: outside, less than exp(-40) of the mass is left."""
_NODES = 161
_LEAN = np.sinh(np.linspace(-asinh(_REACH), asinh(_REACH), _NODES))


@dataclass(frozen=True, slots=True)
class Arm:
    """Posterior Beta(`alpha`, `beta`) of a strategy's mean reward, as of `updated_at_us`, in one context."""

    strategy: str
    alpha: float = PRIOR
    beta: float = PRIOR
    updated_at_us: int = 0

    def decayed(self, now_us: int, half_life_us: int) -> Arm:
        """The arm at `now_us`: its evidence, alpha - 1 and beta - 1, times 2^(-age / half-life)."""
        age_us = max(0, now_us - self.updated_at_us)
        kept = halved(age_us, half_life_us)
        return Arm(
            self.strategy,
            PRIOR + (self.alpha - PRIOR) * kept,
            PRIOR + (self.beta - PRIOR) * kept,
            max(self.updated_at_us, now_us),
        )

    def rewarded(self, reward: float, now_us: int, half_life_us: int) -> Arm:
        """The arm after a reward in [0, 1]: alpha grows by it, beta by what it lacks to 1.

        A reward between the two counts as that part of a success and the rest of a failure; its mean is what is
        learned, as with Bernoulli draws of it (Agrawal and Goyal, section 1).
        """
        now = self.decayed(now_us, half_life_us)
        return Arm(self.strategy, now.alpha + reward, now.beta + (1.0 - reward), now.updated_at_us)


@dataclass(frozen=True, slots=True)
class Decision:
    """A strategy chosen for a user; `propensity` is the probability with which it was."""

    decision_id: str
    strategy: str
    propensity: float
    context_hash: str = ""
    user_id: str = ""
    decided_at_us: int = 0


def choose(arms: Sequence[Arm], rng: np.random.Generator) -> int:
    """Index of the arm with the largest draw from its posterior."""
    return int(np.argmax(rng.beta([a.alpha for a in arms], [a.beta for a in arms])))


def propensities(arms: Sequence[Arm]) -> NDArray[np.float64]:
    """Probability of each arm to be chosen by `choose`, (n,) float64 with sum 1; deterministic.

    p_i is the integral of f_i(y) times the product over j != i of F_j(y), where f and F are density and distribution
    of the arms' log odds y = log(x / (1 - x)). There a Beta(a, b) is proportional to s(y)^a s(-y)^b with s the
    logistic function: smooth and log-concave for any a, b > 0, with its mode at log(a / b) and a scale of
    sqrt(1/a + 1/b), while the density in x may be infinite at an end. The grid joins nodes around every mode, dense at
    the mode and reaching 40 scales to either side, and each cell is integrated by Simpson's rule. The error is below
    1e-6 for a + b up to a million, as the tests show against the closed form for two arms and against sampling.
    """
    alpha = np.array([a.alpha for a in arms])[:, np.newaxis]
    beta = np.array([a.beta for a in arms])[:, np.newaxis]
    nodes = np.unique([log(a.alpha / a.beta) + sqrt(1.0 / a.alpha + 1.0 / a.beta) * _LEAN for a in arms])
    middles = (nodes[:-1] + nodes[1:]) / 2.0
    width = np.diff(nodes)
    mode = np.log(alpha / beta)
    highest = _log_density(mode, alpha, beta)
    at_nodes = np.exp(_log_density(nodes, alpha, beta) - highest)
    at_middles = np.exp(_log_density(middles, alpha, beta) - highest)
    left, right = at_nodes[:, :-1], at_nodes[:, 1:]
    masses = width / 6.0 * (left + 4.0 * at_middles + right)
    total = masses.sum(axis=1, keepdims=True)
    below = np.concatenate([np.zeros((len(arms), 1)), np.cumsum(masses, axis=1)], axis=1)
    # The integral over the first half of a cell, of the parabola that Simpson's rule puts through its three points.
    half = below[:, :-1] + width / 24.0 * (5.0 * left + 8.0 * at_middles - right)
    below, half = below / total, np.clip(half / total, 0.0, 1.0)
    found = np.empty(len(arms))
    for arm in range(len(arms)):
        others = [j for j in range(len(arms)) if j != arm]
        at_ends = np.prod(below[others], axis=0)
        in_between = np.prod(half[others], axis=0)
        cells = left[arm] * at_ends[:-1] + 4.0 * at_middles[arm] * in_between + right[arm] * at_ends[1:]
        found[arm] = float((width * cells).sum()) / 6.0 / float(total[arm, 0])
    return np.asarray(found / found.sum())


def context_hash(context: Mapping[str, str]) -> str:
    """A short name for a context that depends on nothing but its pairs: 16 hex digits of SHA-256; empty for none."""
    if not context:
        return ""
    text = json.dumps(sorted(context.items()), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]


def _log_density(y: NDArray[np.float64], alpha: NDArray[np.float64], beta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the density of the log odds, but for a constant: (arms, len(y)) float64."""
    return np.asarray(-alpha * np.logaddexp(0.0, -y) - beta * np.logaddexp(0.0, y))
