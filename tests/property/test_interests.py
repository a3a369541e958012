"""Interests, shares of labels, and what stands out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.domain.engagement import DAY_US, EVENT_TYPES, read_history
from retrieval.domain.interests import MAX_INTERESTS, Interest, facets, interests, labels, shares
from retrieval.domain.model import AttributeType, Event, Item

NOW_US = 1_900_000_000_000_000
LABELS = st.tuples(st.sampled_from(["tags", "genre"]), st.sampled_from("abcde"))
SHARES = st.dictionaries(LABELS, st.floats(0, 1, exclude_min=True, allow_subnormal=False), max_size=10)


@st.composite
def engaged(draw: st.DrawFn) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Items, some of them alike or zero, with vectors (n, 3) and positive weights (n,)."""
    count = draw(st.integers(1, 60))
    rows = draw(st.lists(st.tuples(*[st.integers(-8, 8)] * 3), min_size=count, max_size=count))
    weights = draw(st.lists(st.floats(2.0**-9, 50, width=32), min_size=count, max_size=count))
    return [f"i{n}" for n in range(count)], np.array(rows, np.float32), np.array(weights, np.float32)


@given(engaged())
def test_interests_share_out_all_items(items: tuple[list[str], np.ndarray, np.ndarray]) -> None:
    ids, rows, weights = items
    found = interests(ids, rows, weights)
    weight_of = dict(zip(ids, weights.tolist(), strict=True))
    assert 1 <= len(found) <= MAX_INTERESTS
    assert sorted(i for interest in found for i in interest.item_ids) == sorted(ids)
    assert sum(interest.weight for interest in found) == pytest.approx(1)
    assert [i.weight for i in found] == sorted((i.weight for i in found), reverse=True)
    for interest in found:
        assert interest.medoid in interest.item_ids
        assert 0 < interest.weight <= 1 + 1e-6
        assert interest.weight == pytest.approx(sum(weight_of[i] for i in interest.item_ids) / weights.sum(), rel=1e-4)
        own = [weight_of[i] for i in interest.item_ids]
        assert own == sorted(own, reverse=True)
        members = [ids.index(i) for i in interest.item_ids]
        mean = np.average(rows[members], axis=0, weights=weights[members])
        assert interest.vector == pytest.approx(mean, abs=1e-4)


def plain(found: tuple[Interest, ...]) -> list[tuple[float, str, tuple[str, ...], list[float]]]:
    return [(i.weight, i.medoid, i.item_ids, i.vector.tolist()) for i in found]


@given(engaged())
def test_the_same_items_give_the_same_interests(items: tuple[list[str], np.ndarray, np.ndarray]) -> None:
    ids, rows, weights = items
    assert plain(interests(ids, rows, weights)) == plain(interests(list(ids), rows.copy(), weights.copy()))


@given(seed=st.integers(0, 2**32 - 1), tastes=st.integers(1, 5))
def test_tastes_that_are_far_apart_are_interests_in_any_order(seed: int, tastes: int) -> None:
    rng = np.random.default_rng(seed)
    count = 8 * tastes
    taste = np.arange(count) % tastes
    rows = (np.eye(8)[taste] + 0.05 * rng.standard_normal((count, 8))).astype(np.float32)
    weights = rng.permutation(np.linspace(1, 2, count)).astype(np.float32)
    ids = [f"i{n}" for n in range(count)]
    first = interests(ids, rows, weights)
    assert sorted(sorted({taste[ids.index(i)] for i in interest.item_ids}) for interest in first) == [
        [n] for n in range(tastes)
    ]
    order = rng.permutation(count)
    again = interests([ids[n] for n in order], rows[order], weights[order])
    assert {(i.medoid, i.item_ids) for i in first} == {(i.medoid, i.item_ids) for i in again}


@given(seed=st.integers(0, 2**32 - 1), later_days=st.integers(0, 3000))
def test_the_same_history_gives_the_same_weights_whenever_it_is_read(seed: int, later_days: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = sorted(EVENT_TYPES)
    history = [
        Event("u", f"i{rng.integers(6)}", kinds[rng.integers(len(kinds))], NOW_US - int(rng.integers(DAY_US)), f"{n}")
        for n in range(20)
    ]
    now = read_history(history, 5.0, NOW_US)
    assert read_history(history, 5.0, NOW_US + later_days * DAY_US) == now
    assert list(now.attracting) == sorted(now.attracting, key=lambda i: (-now.attracting[i], i))


@given(st.lists(st.tuples(st.floats(0.001, 100), st.sets(LABELS, max_size=5)), max_size=20))
def test_shares_lie_between_nothing_and_all(weighted: list[tuple[float, set[tuple[str, str]]]]) -> None:
    found = shares(weighted)
    assert found.keys() == {label for _, those in weighted for label in those}
    total = sum(weight for weight, _ in weighted)
    for label, share in found.items():
        assert 0 < share <= 1
        assert share == pytest.approx(sum(w for w, those in weighted if label in those) / total)
        if all(label in those for _, those in weighted):
            assert share == 1


@given(of_user=SHARES, of_catalogue=SHARES)
def test_facets_stand_out_and_gaps_are_missing(
    of_user: dict[tuple[str, str], float], of_catalogue: dict[tuple[str, str], float]
) -> None:
    taste, gaps = facets(of_user, of_catalogue)
    for facet in taste + gaps:
        label = facet.attribute, facet.value
        assert (facet.user_share, facet.catalogue_share) == (of_user.get(label, 0), of_catalogue.get(label, 0))
        assert 0 <= facet.user_share <= 1
        assert 0 <= facet.catalogue_share <= 1
    assert {(f.attribute, f.value) for f in taste} == {k for k, s in of_user.items() if s > of_catalogue.get(k, 0)}
    apart = [f.user_share - f.catalogue_share for f in taste]
    assert apart == sorted(apart, reverse=True)
    assert {(f.attribute, f.value) for f in gaps} == (of_catalogue.keys() - of_user.keys() if of_user else set())
    assert [f.catalogue_share for f in gaps] == sorted((f.catalogue_share for f in gaps), reverse=True)


def test_labels_are_those_of_keywords_and_tags() -> None:
    declared = {"genre": AttributeType.KEYWORD, "labels": AttributeType.KEYWORD_LIST, "rank": AttributeType.INT64}
    item = Item(
        "i", tags=("x", "x"), attributes={"genre": "jazz", "labels": ("new", "new", "rare"), "rank": 3, "other": "no"}
    )
    expected = {("tags", "x"), ("genre", "jazz"), ("labels", "new"), ("labels", "rare")}
    assert labels(item, declared) == expected
    assert labels(replace(item, tags=(), attributes={}), declared) == set()
