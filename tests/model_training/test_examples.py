"""Examples see what was known at their moment, and nothing of what came later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retrieval.training import examples
from retrieval.training.examples import kinds_of, make_examples, trends
from retrieval.training.log import EngagementLog
from tests.models import DAY_US, START_US, two_communities

ITEMS = [f"i{n:02d}" for n in range(40)]


def same(ours: list[examples.Example], theirs: list[examples.Example]) -> bool:
    return len(ours) == len(theirs) and all(
        np.array_equal(a.features, b.features) and a.chosen == b.chosen and a.ranks == b.ranks
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_nothing_after_a_label_shows_in_the_examples_of_a_cut(cut: int) -> None:
    log = two_communities(ITEMS, users=60, each=10)
    kind = kinds_of(log)[cut]
    assert kind.name == f"as of cut {cut}"
    made = make_examples(log, kind, threads=1)
    assert len(made) > 20
    # Another future: whatever is neither before the cut, nor on the way to a user's label.
    keep = log.times <= kind.known.times.max()
    for label in kind.labels:
        keep[label.first : label.row + 1] = True
    assert (~keep).sum() > 20
    rng = np.random.default_rng(cut)
    items, weights = log.items.copy(), log.weights.copy()
    items[~keep] = rng.integers(0, 5, (~keep).sum())
    weights[~keep] = rng.random((~keep).sum()).astype(np.float32)
    other = replace(log, items=items, weights=weights)
    again = kinds_of(other)[cut]
    assert again.labels == kind.labels
    assert same(make_examples(other, again, threads=1), made)
    # What came before does show.
    items = log.items.copy()
    items[log.times <= kind.known.times.min() + 10 * DAY_US] = 0
    before = replace(log, items=items)
    assert not same(make_examples(before, kinds_of(before)[cut], threads=1), made)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_what_gets_stronger_after_the_labels_does_not_show_either(cut: int) -> None:
    """A view that becomes a purchase later is a view until then."""
    base = two_communities(ITEMS, users=60, each=10)
    weak = np.random.default_rng(cut).random(len(base)) < 0.3
    raw = [base.users, base.items, base.times, np.where(weak, 0.25, 1.0).astype(np.float32)]
    log = EngagementLog.of(ITEMS, *raw)
    kind = kinds_of(log)[cut]
    made = make_examples(log, kind, threads=1)
    later = int(log.times.max()) + 1
    repeated = weak & (base.times <= kind.known.times.max())
    again = [column[repeated] for column in raw]
    again[2], again[3] = np.full_like(again[2], later), np.full_like(again[3], 1.0)
    other = EngagementLog.of(ITEMS, *(np.concatenate(pair) for pair in zip(raw, again, strict=True)))
    assert len(other) == len(log)
    assert (other.weights != log.weights).sum() == repeated.sum() > 20
    assert kinds_of(other)[cut].labels == kind.labels
    assert same(make_examples(other, kinds_of(other)[cut], threads=1), made)


def test_the_label_that_is_left_out_shows_nowhere_but_as_the_label() -> None:
    log = two_communities(ITEMS, users=40, each=10)
    kind = kinds_of(log)[0]
    assert kind.name == "left out"
    assert len(kind.labels) == 40
    assert len(kind.known) == len(log) - 40
    made = make_examples(log, kind, threads=1)
    items = log.items.copy()
    rows = [label.row for label in kind.labels]
    items[rows] = (items[rows] + 20) % 40
    other = replace(log, items=items)
    again = make_examples(other, kinds_of(other)[0], threads=1)
    for ours, theirs in zip(made, again, strict=True):
        assert np.array_equal(ours.features, theirs.features)
        assert ours.chosen != theirs.chosen


def test_labels_are_choices_with_a_past() -> None:
    log = two_communities(ITEMS, users=30, each=10)
    weak = replace(log, chosen=np.arange(len(log)) % 3 == 0)
    for kind in kinds_of(weak):
        assert kind.labels
        for label in kind.labels:
            assert weak.chosen[label.row]
            assert label.first < label.row
            assert weak.users[label.first] == weak.users[label.row]
            assert label.first == 0 or weak.users[label.first - 1] != weak.users[label.row]
        if kind.name != "left out":
            assert all(weak.times[label.row] > kind.known.times.max() for label in kind.labels)


def test_the_chosen_row_is_the_label() -> None:
    log = two_communities(ITEMS, users=30, each=6)
    for kind in kinds_of(log):
        for label, example in zip(kind.labels, make_examples(log, kind, threads=1), strict=True):
            past = set(log.items[label.first : label.row].tolist())
            target = int(log.items[label.row])
            # All forty items are drawn but those of the past.
            left = [item for item in range(40) if item not in past]
            assert len(example.features) == len(left)
            assert left[example.chosen] == target
            assert set(example.ranks) >= {"popularity"}


def test_a_sample_is_bounded_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "EXAMPLES_A_KIND", 9)
    log = two_communities(ITEMS, users=30, each=6)
    kinds, again = kinds_of(log), kinds_of(log)
    assert [kind.labels for kind in kinds] == [kind.labels for kind in again]
    assert [len(kind.labels) for kind in kinds] == [9, 3, 3, 3]
    assert kinds_of(log.part(log.times < 0)) == []


def test_trends_fade() -> None:
    ages = np.array([0, 7 / 3, 6.9, 7.1, 40, 91])
    log = EngagementLog.of(
        list("abcdef"),
        np.zeros(6, np.int64),
        np.arange(6),
        (START_US - ages * DAY_US).astype(np.int64),
        np.ones(6, np.float32),
    )
    week, month, quarter = trends(log, START_US).values()
    assert week == pytest.approx([1, 0.5, 0.5 ** (6.9 * 3 / 7), 0, 0, 0], rel=1e-5)
    assert month[3:].tolist() == pytest.approx([0.5 ** (7.1 / 10), 0, 0])
    assert quarter[4:].tolist() == pytest.approx([0.5 ** (40 / 30), 0])
    # What is to come is no trend.
    assert trends(log, START_US - DAY_US)[7 * 86_400][0] == 0
