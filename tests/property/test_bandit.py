"""The bandit's arithmetic: propensities are those of the draws, evidence fades, contexts have names."""

from __future__ import annotations

from math import exp, lgamma, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.domain.bandit import HALF_LIFE_US, STRATEGY_NAME, Arm, choose, context_hash, propensities

EVIDENCE = st.floats(0.0, 20.0) | st.floats(0.0, 5e5)
ARMS = st.lists(st.builds(lambda a, b: Arm("s", 1.0 + a, 1.0 + b), EVIDENCE, EVIDENCE), min_size=2, max_size=16)


def log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def exceeds(first: tuple[int, float], other: tuple[float, float]) -> float:
    """P(Beta(first) > Beta(other)) for a whole first alpha, by summation (Miller, "Formulas for Bayesian A/B testing").

    P = sum over i < a of B(a' + i, b + b') / ((b + i) B(1 + i, b) B(a', b'))
    """
    (a, b), (c, d) = first, other
    return sum(exp(log_beta(c + i, b + d) - log(b + i) - log_beta(1 + i, b) - log_beta(c, d)) for i in range(a))


@given(arms=ARMS)
def test_propensities_are_probabilities(arms: list[Arm]) -> None:
    found = propensities(arms)
    assert found.shape == (len(arms),)
    assert found.dtype == np.float64
    assert (found >= 0.0).all()
    assert (found <= 1.0).all()
    assert found.sum() == pytest.approx(1.0, abs=1e-12)


@given(arms=ARMS, data=st.data())
def test_propensities_follow_their_arms(arms: list[Arm], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(arms))))
    np.testing.assert_allclose(propensities([arms[i] for i in order]), propensities(arms)[order], atol=1e-9)


@given(alpha=EVIDENCE, beta=EVIDENCE, count=st.integers(2, 16))
def test_equal_arms_are_equally_likely(alpha: float, beta: float, count: int) -> None:
    found = propensities([Arm("s", 1.0 + alpha, 1.0 + beta)] * count)
    np.testing.assert_allclose(found, 1.0 / count, atol=1e-7)


@given(
    first=st.tuples(st.integers(1, 300), st.floats(1.0, 1e6)), other=st.tuples(st.floats(1.0, 1e6), st.floats(1.0, 1e6))
)
def test_two_arms_are_as_the_closed_form_says(first: tuple[int, float], other: tuple[float, float]) -> None:
    found = propensities([Arm("a", *first), Arm("b", *other)])
    assert found[0] == pytest.approx(exceeds(first, other), abs=1e-6)


PEAKED = (
    ((1.0, 1.0), (1.0, 1.0), (1.0, 1.0)),
    ((500_000.0, 500_000.0), (500_400.0, 499_600.0), (499_800.0, 500_200.0)),
    ((1_000_000.0, 1.0), (999_999.0, 1.5), (30.0, 1.01)),
    ((1.0, 1_000_000.0), (1.2, 999_999.0), (1.0, 40_000.0), (2.0, 3.0)),
    ((300_000.0, 700_000.0), (3.0, 7.0), (1.0, 1.0), (30.0, 70.0), (3000.0, 7000.0)),
    tuple((10.0 + n, 30.0 - n) for n in range(16)),
)


@pytest.mark.parametrize("shapes", PEAKED)
def test_propensities_are_the_shares_of_many_draws(shapes: tuple[tuple[float, float], ...]) -> None:
    arms = [Arm("s", *shape) for shape in shapes]
    rng = np.random.default_rng(5)
    draws, rounds = 200_000, 5
    wins = np.zeros(len(arms))
    for _ in range(rounds):
        best = np.argmax([rng.beta(a.alpha, a.beta, draws) for a in arms], axis=0)
        wins += np.bincount(best, minlength=len(arms))
    # Five standard errors of a share of a million draws.
    np.testing.assert_allclose(propensities(arms), wins / (draws * rounds), atol=5 * 0.5 / 1000)


def test_choices_come_with_their_propensities() -> None:
    arms = [Arm("a", 4.0, 8.0), Arm("b", 5.0, 7.0), Arm("c", 2.0, 2.0)]
    rng = np.random.default_rng(9)
    shares = np.bincount([choose(arms, rng) for _ in range(20_000)], minlength=3) / 20_000
    np.testing.assert_allclose(shares, propensities(arms), atol=0.02)


@given(evidence=st.tuples(EVIDENCE, EVIDENCE), age_us=st.integers(0, 10 * HALF_LIFE_US), more_us=st.integers(0, 10**14))
def test_evidence_fades_toward_the_prior(evidence: tuple[float, float], age_us: int, more_us: int) -> None:
    arm = Arm("s", 1.0 + evidence[0], 1.0 + evidence[1], 1_000)
    later = arm.decayed(1_000 + age_us, HALF_LIFE_US)
    assert 1.0 <= later.alpha <= arm.alpha
    assert 1.0 <= later.beta <= arm.beta
    # Step by step or at once comes to the same.
    twice = later.decayed(1_000 + age_us + more_us, HALF_LIFE_US)
    at_once = arm.decayed(1_000 + age_us + more_us, HALF_LIFE_US)
    assert (twice.alpha, twice.beta) == pytest.approx((at_once.alpha, at_once.beta))
    assert arm.decayed(0, HALF_LIFE_US) == arm, "a clock that is behind takes nothing away"


def test_a_half_life_halves() -> None:
    arm = Arm("s", 9.0, 5.0, 0)
    half = arm.decayed(HALF_LIFE_US, HALF_LIFE_US)
    assert (half.alpha, half.beta, half.updated_at_us) == (5.0, 3.0, HALF_LIFE_US)
    assert arm.decayed(10**6 * HALF_LIFE_US, HALF_LIFE_US).alpha == pytest.approx(1.0)


def test_rewards_add_up() -> None:
    arm = Arm("s")
    for reward in (1.0, 0.0, 0.25):
        arm = arm.rewarded(reward, 7, HALF_LIFE_US)
    assert (arm.alpha, arm.beta, arm.updated_at_us) == (2.25, 2.75, 7)


@given(pairs=st.dictionaries(st.text(), st.text(), min_size=1, max_size=5), data=st.data())
def test_a_context_is_named_by_its_pairs_alone(pairs: dict[str, str], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(pairs.items()))))
    assert context_hash(shuffled) == context_hash(pairs)
    assert len(context_hash(pairs)) == 16
    assert context_hash({**pairs, next(iter(pairs)): "other" + next(iter(pairs.values()))}) != context_hash(pairs)


def test_names_of_contexts_stay_what_they_are() -> None:
    """They are keys of stored rows."""
    assert context_hash({}) == ""
    assert context_hash({"device": "phone", "hour": "8"}) == "ebcbd9810e22398c"
    assert context_hash({"a": "b,c"}) != context_hash({"a,b": "c"})


@pytest.mark.parametrize(
    ("name", "good"),
    [("trending", True), ("a" * 63, True), ("a" * 64, False), ("", False), ("Hot", False), ("a b", False)],
)
def test_strategy_names(name: str, good: bool) -> None:
    assert (STRATEGY_NAME.fullmatch(name) is not None) is good
