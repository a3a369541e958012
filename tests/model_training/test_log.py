"""The engagement log: one row a user and item, in order, and what of it counts as chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.domain.model import Collection, Event
from retrieval.training.log import EngagementLog
from retrieval.training.run import read_log
from tests.models import START_US
from tests.training import HOUR_US, shelf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import Stores


def log_of(*rows: tuple[int, int, int, float]) -> EngagementLog:
    """From (user, item, time, weight)."""
    users, items, times = (np.array([row[n] for row in rows], np.int64) for n in range(3))
    return EngagementLog.of(list("abcdef"), users, items, times, np.array([row[3] for row in rows], np.float32))


def rows_of(log: EngagementLog) -> list[tuple[int, int, int]]:
    return list(zip(log.users.tolist(), log.items.tolist(), log.times.tolist(), strict=True))


def test_rows_are_by_user_then_time() -> None:
    log = log_of((1, 0, 30, 1.0), (0, 2, 20, 1.0), (1, 1, 10, 1.0), (0, 3, 5, 1.0), (0, 1, 20, 1.0))
    assert rows_of(log) == [(0, 3, 5), (0, 1, 20), (0, 2, 20), (1, 1, 10), (1, 0, 30)]
    assert log.bounds().tolist() == [0, 3, 5]


def test_a_repeat_is_the_first_time_with_the_strongest_weight() -> None:
    log = log_of((0, 1, 30, 4.0), (0, 1, 10, 1.0), (0, 1, 20, 2.0), (1, 1, 5, 4.0), (0, 2, 15, 4.0))
    assert rows_of(log) == [(0, 1, 10), (0, 2, 15), (1, 1, 5)]
    assert log.unit == 4.0
    assert log.weights.tolist() == [1.0, 1.0, 1.0]


def test_a_repeat_weighs_more_only_from_then_on() -> None:
    log = log_of((0, 1, 10, 0.5), (0, 1, 20, 2.0), (0, 1, 30, 1.0), (0, 2, 15, 2.0), (1, 1, 5, 2.0), (1, 1, 40, 2.0))
    assert log.first_weights.tolist() == [0.25, 1.0, 1.0]
    assert log.risen_at.tolist() == [20, 15, 5]
    assert [log.as_of(moment).weights.tolist() for moment in (4, 10, 19, 20, 99)] == [
        [],
        [0.25, 1.0],
        [0.25, 1.0, 1.0],
        [1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0],
    ]
    assert rows_of(log.as_of(12)) == [(0, 1, 10), (1, 1, 5)]


def test_weights_are_shares_of_the_median_and_weak_ones_are_not_chosen() -> None:
    log = log_of(*((0, item, item, weight) for item, weight in enumerate((0.4, 0.5, 1.0, 1.5, 9.0))))
    assert log.unit == 1.0
    assert log.weights.tolist() == pytest.approx([0.4, 0.5, 1.0, 1.0, 1.0])
    assert log.chosen.tolist() == [False, True, True, True, True]


def test_parts_and_emptiness() -> None:
    log = log_of((0, 0, 1, 1.0), (0, 1, 2, 0.1), (2, 0, 3, 1.0))
    part = log.part(log.times <= 2)
    assert rows_of(part) == [(0, 0, 1), (0, 1, 2)]
    assert (part.item_ids, part.unit, part.bounds().tolist()) == (log.item_ids, log.unit, [0, 2])
    # A user in between without a row.
    assert log.bounds().tolist() == [0, 2, 2, 3]
    empty = log.part(log.times > 9)
    assert (len(empty), empty.bounds().tolist(), len(log_of())) == (0, [0], 0)


async def test_events_become_a_log(stores: Stores, name: str) -> None:
    """What says nothing is left out, and so is what a user turned down, whatever else happened with it."""
    films = await shelf(stores, name, [])
    events = [
        *(("ann", "a", "view", 1.0), ("ann", "a", "like", 2.0), ("ann", "b", "purchase", 3.0)),
        *(("ann", "c", "like", 1.0), ("ann", "c", "not_interested", 9.0), ("ann", "d", "impression", 1.0)),
        *(("bob", "c", "like", 2.0), ("bob", "low", "rating", 3.0), ("bob", "high", "rating", 4.0)),
    ]
    value = {"low": 1.0, "high": 5.0}
    made = [
        Event(user, item, kind, START_US + round(hour * HOUR_US), f"{kind}-{item}", value.get(item))
        for user, item, kind, hour in events
    ]
    await stores.events.record(films, made)
    counted: list[int] = []
    log = await read_log(films, stores.archive.engagements(films), counted.append)
    assert counted[-1] == len(events)
    named = [(user, log.item_ids[item], (at - START_US) // HOUR_US) for user, item, at in rows_of(log)]
    assert named == [(0, "a", 1), (0, "b", 3), (1, "c", 2), (1, "high", 4)]
    # Strengths 1 (a like beats a view), 2, 1 and 1.5: the median is 1.25.
    assert log.weights.tolist() == pytest.approx([0.8, 1.0, 0.8, 1.0])


async def test_the_most_engaged_items_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(read_log.__globals__, "MAX_ITEMS", 2)

    async def batches() -> AsyncIterator[list[Event]]:
        for user, items in (("u1", "ab"), ("u2", "cb"), ("u3", "bc"), ("u4", "d")):
            yield [Event(user, item, "like", START_US + n, f"{user}{item}") for n, item in enumerate(items)]

    log = await read_log(Collection(1, "c"), batches(), lambda _: None)
    assert log.item_ids == ["b", "c"]
    assert [(u, log.item_ids[i]) for u, i, _ in rows_of(log)] == [(0, "b"), (1, "c"), (1, "b"), (2, "b"), (2, "c")]
