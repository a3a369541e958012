"""Weights of events as documented, and the order of what trends."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.domain.engagement import (
    DAY_US,
    EVENT_TYPES,
    HOUR_US,
    EventType,
    event_weight,
    fresh_weight,
    read_history,
    user_hash,
)
from retrieval.domain.model import Event
from retrieval.domain.trending import LEAST_ENGAGEMENT, WINDOWS_S, trending_scores

NOW_US = 1_900_000_000_000_000
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "events.md"


def test_the_document_has_the_weights() -> None:
    found = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("`"):
            weight = float(cells[1].split()[0].replace("\u2212", "-"))
            for name in re.findall(r"`(\w+)`", cells[0]):
                against = cells[3] == "yes" or cells[3].split(" ")[0] == name.partition("_")[0]
                found[name] = EventType(weight, float(cells[2]), against_owner=against)
    assert found == EVENT_TYPES


@pytest.mark.parametrize(
    ("kind", "value", "dwell_ms", "weight"),
    [
        ("like", None, None, 1.0),
        ("rating", 5.0, None, 1.5),
        ("rating", 2.5, None, 0.0),
        ("rating", 0.0, None, -1.5),
        ("rating", None, None, 1.5),
        ("dwell", None, None, 0.3),
        ("dwell", None, 0, 0.0),
        ("dwell", None, 30_000, 0.3),
        ("dwell", None, 5_000, 0.3 * math.log(6) / math.log(31)),
        ("dwell", None, 10**9, 0.6),
        ("view", 3.0, 9, 0.1),
    ],
)
def test_fresh_weights(kind: str, value: float | None, dwell_ms: int | None, weight: float) -> None:
    event = Event("u", "i", kind, NOW_US, "e", value, dwell_ms)
    assert fresh_weight(event, 5.0) == pytest.approx(weight)
    assert event_weight(event, NOW_US, 5.0) == pytest.approx(weight)
    later = NOW_US + int(2 * EVENT_TYPES[kind].half_life_days * DAY_US)
    assert event_weight(event, later, 5.0) == pytest.approx(weight / 4)


def test_weights_of_a_collection_decide() -> None:
    own = {**EVENT_TYPES, "like": EventType(-1.0, 1.0), "block_author": EventType(2.0, 10.0)}
    history = [Event("u", "a", "like", NOW_US, "e"), Event("u", "b", "block_author", NOW_US - 10 * DAY_US, "e")]
    read = read_history(history, 5.0, NOW_US, own)
    assert (read.repelling, read.attracting) == (frozenset({"a"}), {"b": pytest.approx(1.0)})
    assert not read.repelling_owner_items


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(-3000, 3), st.floats(0, 100, allow_subnormal=False)), max_size=20
    ),
    window_s=st.sampled_from(WINDOWS_S),
)
def test_what_trends(rows: list[tuple[str, int, float]], window_s: int) -> None:
    hours = [(i, NOW_US - NOW_US % HOUR_US + hour * HOUR_US, e) for i, hour, e in rows]
    found = trending_scores(hours, NOW_US, window_s)
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
    # An hour that overlaps with the window counts, and one that is to come does not.
    inside = {
        i
        for i, hour, e in hours
        if e > LEAST_ENGAGEMENT and hour <= NOW_US and hour + HOUR_US > NOW_US - window_s * 1_000_000
    }
    assert {i for i, _ in found} == inside
    totals = {item: sum(e for i, _, e in hours if i == item) for item, _ in found}
    assert all(0 < score <= totals[item] * (1 + 1e-9) for item, score in found)


def test_hashes_have_four_bytes() -> None:
    assert user_hash("123456789") == 0xCBF43926  # the check value of CRC-32 (ITU-T V.42)
    assert 0 <= user_hash("\u00fc" * 100) < 2**32
