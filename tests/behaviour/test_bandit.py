"""Strategies are chosen, decisions are kept, each is rewarded once: in Postgres as in the reference."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest

from retrieval.application.bandit import choose_strategy, report_reward
from retrieval.domain.bandit import HALF_LIFE_US, Arm, Decision, context_hash, propensities
from retrieval.domain.errors import InvalidArgumentError, NotFoundError
from retrieval.domain.model import Collection, EmbeddingVersion

if TYPE_CHECKING:
    from retrieval.application.ports import Stores

NAMES = ("collaborative", "content", "hybrid", "trending")
NOW_US = 1_700_000_000_000_000


@pytest.fixture
async def shelf(stores: Stores, name: str) -> Collection:
    return await stores.collections.create(Collection(0, name), EmbeddingVersion(0, 0, "m", 4))


def decided(strategy: str = "content", user: str = "ann", at_us: int = NOW_US, context: str = "c1") -> Decision:
    return Decision(str(uuid4()), strategy, 0.25, context, user, at_us)


async def logged(stores: Stores, shelf: Collection, *decisions: Decision) -> list[str]:
    for decision in decisions:
        await stores.bandits.log(shelf, decision)
    return [d.decision_id for d in decisions]


async def test_an_arm_that_was_never_rewarded_is_the_prior(stores: Stores, shelf: Collection) -> None:
    assert await stores.bandits.arms(shelf, "", NAMES) == [Arm(n) for n in NAMES]


async def test_a_decision_is_rewarded_once(stores: Stores, shelf: Collection) -> None:
    first, other = await logged(stores, shelf, decided(), decided("hybrid"))
    for reward, applied in ((0.75, True), (0.75, False), (0.0, False)):
        receipt = await stores.bandits.reward(shelf, first, reward, NOW_US, HALF_LIFE_US)
        assert receipt is not None
        assert (receipt.applied, receipt.strategy) == (applied, "content")
    await stores.bandits.reward(shelf, other, 0.0, NOW_US + 5, HALF_LIFE_US)
    assert await stores.bandits.arms(shelf, "c1", ("hybrid", "trending", "content")) == [
        Arm("hybrid", 1.0, 2.0, NOW_US + 5),
        Arm("trending"),
        Arm("content", 1.75, 1.25, NOW_US),
    ]
    assert await stores.bandits.arms(shelf, "", ("content",)) == [Arm("content")], "contexts learn apart"


async def test_unknown_decisions(stores: Stores, shelf: Collection, name: str) -> None:
    (known,) = await logged(stores, shelf, decided())
    other = await stores.collections.create(Collection(0, f"{name}-b"), EmbeddingVersion(0, 0, "m", 4))
    for collection, decision_id in ((shelf, str(uuid4())), (other, known)):
        assert await stores.bandits.reward(collection, decision_id, 1.0, NOW_US, HALF_LIFE_US) is None
        with pytest.raises(NotFoundError) as caught:
            await report_reward(stores, collection, decision_id, 1.0)
        assert caught.value.reason == "DECISION_NOT_FOUND"
    assert (await report_reward(stores, shelf, known, 1.0)).applied


@pytest.mark.parametrize("gap_us", [0, 1, HALF_LIFE_US // 3, HALF_LIFE_US, 500 * HALF_LIFE_US, -HALF_LIFE_US])
async def test_evidence_fades_as_the_domain_says(stores: Stores, shelf: Collection, gap_us: int) -> None:
    ids = await logged(stores, shelf, *(decided() for _ in range(3)))
    expected = Arm("content", updated_at_us=NOW_US)
    for decision_id, (reward, at_us) in zip(ids, ((1.0, NOW_US), (0.3, NOW_US), (0.5, NOW_US + gap_us)), strict=True):
        await stores.bandits.reward(shelf, decision_id, reward, at_us, HALF_LIFE_US)
        expected = expected.rewarded(reward, at_us, HALF_LIFE_US)
    (got,) = await stores.bandits.arms(shelf, "c1", ("content",))
    assert (got.alpha, got.beta) == pytest.approx((expected.alpha, expected.beta), rel=1e-9)
    assert got.updated_at_us == expected.updated_at_us


async def test_old_decisions_are_pruned(stores: Stores, shelf: Collection) -> None:
    # Older than those of any other test.
    old, new = await logged(stores, shelf, decided(at_us=1000), decided(at_us=2000))
    assert await stores.bandits.prune(2000) == 1
    assert await stores.bandits.reward(shelf, old, 1.0, NOW_US, HALF_LIFE_US) is None
    assert await stores.bandits.reward(shelf, new, 1.0, NOW_US, HALF_LIFE_US) is not None
    assert await stores.bandits.prune(2001) == 1


async def test_a_users_decisions_are_erased(stores: Stores, shelf: Collection) -> None:
    rewarded, open_, others = await logged(stores, shelf, decided(), decided(), decided(user="bob"))
    await stores.bandits.reward(shelf, rewarded, 1.0, NOW_US, HALF_LIFE_US)
    assert await stores.bandits.erase_user(shelf, "ann") == 2
    assert await stores.bandits.erase_user(shelf, "ann") == 0
    assert await stores.bandits.reward(shelf, open_, 1.0, NOW_US, HALF_LIFE_US) is None
    assert await stores.bandits.reward(shelf, others, 1.0, NOW_US, HALF_LIFE_US) is not None
    assert (await stores.bandits.arms(shelf, "c1", ("content",)))[0].alpha == 3.0, "what was learned stays"


async def test_nothing_outlives_its_collection(stores: Stores, shelf: Collection) -> None:
    (known,) = await logged(stores, shelf, decided())
    await stores.collections.delete(shelf.name)
    with pytest.raises(NotFoundError) as caught:
        await stores.bandits.log(shelf, decided())
    assert caught.value.reason == "COLLECTION_NOT_FOUND"
    again = await stores.collections.create(Collection(0, shelf.name), EmbeddingVersion(0, 0, "m", 4))
    assert await stores.bandits.reward(again, known, 1.0, NOW_US, HALF_LIFE_US) is None


async def test_a_choice_is_stored_with_its_propensity(stores: Stores, shelf: Collection) -> None:
    context = {"device": "phone"}
    now_us = time.time_ns() // 1000
    for strategy, reward in (("content", 1.0), ("content", 1.0), ("hybrid", 0.0)):
        (decision_id,) = await logged(stores, shelf, decided(strategy, context=context_hash(context)))
        await stores.bandits.reward(shelf, decision_id, reward, now_us, HALF_LIFE_US)
    expected = propensities([Arm("content", 3.0, 1.0), Arm("hybrid", 1.0, 2.0)])
    rng = np.random.default_rng(3)
    picks = [await choose_strategy(stores, shelf, "ann", context, ("content", "hybrid"), rng) for _ in range(40)]
    for pick in picks:
        assert pick.propensity == pytest.approx(expected[("content", "hybrid").index(pick.strategy)], abs=1e-6)
        assert (pick.context_hash, pick.user_id) == (context_hash(context), "ann")
    assert {p.strategy for p in picks} == {"content", "hybrid"}
    receipt = await report_reward(stores, shelf, picks[0].decision_id, 1.0)
    assert (receipt.applied, receipt.strategy) == (True, picks[0].strategy)
    assert not (await report_reward(stores, shelf, picks[0].decision_id, 1.0)).applied


@pytest.mark.parametrize(
    ("strategies", "context", "field"),
    [
        (("alone",), {}, "strategies"),
        (tuple(f"s{n}" for n in range(17)), {}, "strategies"),
        (("a", "B"), {}, "strategies[1]"),
        (("a", "a" * 64), {}, "strategies[1]"),
        (("a", "b", "a"), {}, "strategies[2]"),
        (NAMES, {f"k{n}": "" for n in range(17)}, "context"),
        (NAMES, {"k": "ö" * 129}, "context"),
    ],
)
async def test_refusals(
    stores: Stores, shelf: Collection, strategies: tuple[str, ...], context: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await choose_strategy(stores, shelf, "ann", context, strategies)
    assert caught.value.violations[0].field == field
    assert await stores.bandits.erase_user(shelf, "ann") == 0, "nothing was stored"
