"""Random items, filters, viewers and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from retrieval.domain.engagement import EVENT_TYPES
from retrieval.domain.filters import Condition, Exists, Filter, ItemIdIn, MatchAny, Range, TypedValue
from retrieval.domain.model import (
    BUILTIN_ATTRIBUTES,
    AttributeType,
    Event,
    Item,
    ItemStatus,
    Viewer,
    Visibility,
)
from tests.catalogue import ATTRIBUTES

if TYPE_CHECKING:
    from random import Random

# Few values each, so that filters hit; the odd ones are those that SQL, JSON or text search could take amiss.
WORDS = ("a", "b", "A", "", "null", "true", "0", "it's", '"quoted"', "ü", "{}", "%", "a\\b", "x" * 40)
NUMBERS = (-(2**63), -1, 0, 1, 2, 3, 2**53 + 1, 2**63 - 1)
DOUBLES = (-1e300, -1.5, -0.0, 0.1, 0.5, 1.0, 3.25, 1e-300, 1e300)
MOMENTS = (0, 1, 1_600_000_000_000_000, 1_600_000_000_000_001, 4_000_000_000_000_000)
GROUPS = ("g1", "g2", "g'3", "")
USERS = ("u1", "u2", "ü", "")
IDS = tuple(f"i{n}" for n in range(200))

TYPES = {**ATTRIBUTES, **BUILTIN_ATTRIBUTES}
RANGES = sorted(
    n for n, t in TYPES.items() if t in (AttributeType.INT64, AttributeType.DOUBLE, AttributeType.TIMESTAMP)
)


_PLAIN = {
    AttributeType.KEYWORD: WORDS,
    AttributeType.INT64: NUMBERS,
    AttributeType.DOUBLE: DOUBLES,
    AttributeType.BOOL: (True, False),
    AttributeType.TIMESTAMP: MOMENTS,
}


def random_item(item_id: str, chooser: Random) -> Item:
    """An item of the same few values, so that filters and viewers hit."""

    def some(values: tuple[str, ...], most: int) -> tuple[str, ...]:
        return tuple(chooser.sample(values, chooser.randint(0, most)))

    attributes = {}
    for name, kind in ATTRIBUTES.items():
        if chooser.random() < 0.8:
            attributes[name] = some(WORDS, 3) if kind is AttributeType.KEYWORD_LIST else chooser.choice(_PLAIN[kind])
    return Item(
        item_id,
        owner_id=chooser.choice(USERS),
        visibility=chooser.choice(list(Visibility)),
        audience=some(GROUPS, 2),
        status=chooser.choice([*ItemStatus, ItemStatus.APPROVED, ItemStatus.APPROVED]),
        rating_value=chooser.choice((None, *DOUBLES)),
        rating_count=chooser.choice(NUMBERS),
        tags=some(WORDS, 3),
        attributes=attributes,
        created_at=chooser.choice(MOMENTS),
    )


def _values(name: str) -> st.SearchStrategy[TypedValue]:
    kind = TYPES[name]
    if kind is AttributeType.KEYWORD_LIST:
        kind = AttributeType.KEYWORD
    extra = {"owner_id": USERS, "item_id": IDS[:20], "status": tuple(s.value for s in ItemStatus)}.get(name)
    return st.sampled_from(extra or _PLAIN[kind]).map(lambda v: TypedValue(kind, v))


@st.composite
def _matches(draw: st.DrawFn) -> MatchAny:
    name = draw(st.sampled_from(sorted(TYPES)))
    return MatchAny(name, tuple(draw(st.lists(_values(name), max_size=3))))


@st.composite
def _ranges(draw: st.DrawFn) -> Range:
    name = draw(st.sampled_from(RANGES))
    bounds = draw(st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), _values(name), min_size=1, max_size=2))
    return Range(name, **bounds)


_LEAVES: st.SearchStrategy[Condition] = st.one_of(
    _matches(),
    _ranges(),
    st.sampled_from(sorted(TYPES)).map(Exists),
    st.lists(st.sampled_from((*IDS[:40], "nowhere")), max_size=20).map(lambda i: ItemIdIn(tuple(i))),
)


def _trees(conditions: st.SearchStrategy[Condition]) -> st.SearchStrategy[Filter]:
    clause = st.lists(conditions, max_size=2).map(tuple)
    return st.builds(Filter, must=clause, should=clause, must_not=clause)


FILTERS = _trees(st.recursive(_LEAVES, _trees, max_leaves=8))

VIEWERS = st.builds(
    Viewer,
    user_id=st.sampled_from(USERS),
    group_ids=st.lists(st.sampled_from(GROUPS), max_size=3).map(tuple),
    unrestricted=st.sampled_from([False, False, False, True]),
)

EVENTS = st.builds(
    Event,
    user_id=st.just("u"),
    item_id=st.sampled_from([f"i{n}" for n in range(8)]),
    event_type=st.sampled_from(sorted(EVENT_TYPES)),
    occurred_at=st.integers(0, 2_000_000_000_000_000),
    event_id=st.text("abc", min_size=1, max_size=3),
    value=st.none() | st.floats(0, 5),
)
