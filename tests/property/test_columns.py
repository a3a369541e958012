"""The columns of the cache admit exactly the rows that the domain admits: growing, viewed earlier, and mapped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.domain.filters import Exists, Filter, MatchAny, Range, TypedValue
from retrieval.domain.model import AttributeType, Collection, Item, ItemStatus, PopularThresholds, Viewer
from retrieval.domain.search import NO_FILTER, IndexScope, Predicate
from retrieval.faiss_cache import item_ids as item_ids_module
from retrieval.faiss_cache.columns import Columns, GrowingColumns
from retrieval.faiss_cache.item_ids import GrowingItemIds, ItemIds, MappedItemIds, item_id_arrays
from retrieval.faiss_cache.strings import StringTable, string_arrays
from retrieval.reference.admission import admitted
from tests.catalogue import ATTRIBUTES
from tests.property.strategies import FILTERS, IDS, TYPES, USERS, VIEWERS, random_item

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLLECTION = Collection(1, "c", attributes=ATTRIBUTES, popular=PopularThresholds(0.5, 2))
EVERYTHING = Viewer(unrestricted=True)
PREDICATES = st.builds(
    Predicate,
    FILTERS,
    VIEWERS,
    st.lists(st.sampled_from((*IDS, "nowhere")), max_size=30).map(tuple),
    st.lists(st.sampled_from((*USERS, "nobody")), max_size=2).map(tuple),
)
SCOPES = st.sampled_from(IndexScope)


def shelf(seed: int, count: int) -> tuple[list[Item], list[int]]:
    """Rows, chunk by chunk: items in disorder, some with several rows that are not neighbours."""
    chooser = Random(seed)
    items = {i: random_item(i, chooser) for i in IDS}
    rows = chooser.choices(IDS, k=count)
    return [items[i] for i in rows], [rows[:n].count(i) for n, i in enumerate(rows)]


@dataclass(frozen=True, slots=True)
class Forms:
    """The same rows in every form."""

    items: Sequence[Item] = field(repr=False)
    chunk_indexes: Sequence[int] = field(repr=False)
    forms: tuple[Columns, ...] = field(repr=False)


def forms(folder: Path, rows: tuple[list[Item], list[int]], later: tuple[list[Item], list[int]] | None = None) -> Forms:
    """Appended in pieces, one view taken before other rows follow; and saved in another order than appended."""
    items, chunk_indexes = rows
    growing = GrowingColumns(ATTRIBUTES)
    for piece in (slice(len(items) // 3), slice(len(items) // 3, len(items) // 2), slice(len(items) // 2, None)):
        growing.append(items[piece], chunk_indexes[piece])
    path = folder / f"columns-{len(list(folder.iterdir()))}"
    appended = np.random.default_rng(5).permutation(len(items))
    shuffled = GrowingColumns(ATTRIBUTES)
    shuffled.append([items[n] for n in appended], [chunk_indexes[n] for n in appended])
    shuffled.save(path, np.argsort(appended))
    earlier = growing.view()
    growing.append(*(later or shelf(99, 3000)))
    continued = GrowingColumns(ATTRIBUTES)
    continued.append(items, chunk_indexes)
    return Forms(items, chunk_indexes, (continued.view(), earlier, Columns.open(path)))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="retrieval-test-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def several(folder: Path) -> list[Forms]:
    return [forms(folder, shelf(seed, count)) for seed, count in enumerate((0, 1, 2, 7, 60, 400))]


def check(rows: Forms, predicate: Predicate, scope: IndexScope = IndexScope.FULL) -> None:
    """Every form against the definition, row by row."""
    allowed = {id(i) for i in admitted(rows.items, predicate, COLLECTION, scope)}
    wanted = [id(i) in allowed for i in rows.items]
    for columns in rows.forms:
        mask = columns.admitted(predicate, scope, COLLECTION)
        assert wanted == ([True] * columns.rows if mask is None else mask.tolist())


@settings(max_examples=300)
@given(number=st.integers(0, 5), predicate=PREDICATES, scope=SCOPES)
def test_predicates(several: list[Forms], number: int, predicate: Predicate, scope: IndexScope) -> None:
    check(several[number], predicate, scope)


@settings(max_examples=200)
@given(tree=FILTERS)
def test_filters(several: list[Forms], tree: Filter) -> None:
    check(several[-1], Predicate(tree, EVERYTHING))


@given(viewer=VIEWERS, number=st.integers(0, 5))
def test_viewers(several: list[Forms], viewer: Viewer, number: int) -> None:
    check(several[number], Predicate(viewer=viewer))


NUMBERS = st.one_of(
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 0, 1, 2]),
    st.floats(allow_nan=False),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, float(2**53), float(2**63), float("inf"), float("-inf")]),
    st.just("1"),
).map(lambda v: TypedValue(AttributeType.DOUBLE, v))


@settings(max_examples=200)
@given(
    name=st.sampled_from(sorted(TYPES)),
    values=st.lists(NUMBERS, max_size=12).map(tuple),
    bounds=st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), NUMBERS, max_size=2),
)
def test_numbers_of_any_type_compare_as_in_python(
    several: list[Forms], name: str, values: tuple[TypedValue, ...], bounds: dict[str, TypedValue]
) -> None:
    check(several[-1], Predicate(Filter(must=(MatchAny(name, values),)), EVERYTHING))
    check(several[-1], Predicate(Filter(must=(Range(name, **bounds),)), EVERYTHING))


def unlike(rows: tuple[list[Item], list[int]], start: int) -> tuple[list[Item], list[int]]:
    """The same rows with keywords of their own, more of them than a byte can number."""
    items = [
        replace(i, owner_id=f"o{n}", tags=(f"t{n}", f"t{n % 3}"), attributes={**i.attributes, "genre": f"ö{n}"})
        for n, i in enumerate(rows[0], start)
    ]
    return items, rows[1]


@pytest.fixture(scope="module")
def wide(folder: Path) -> Forms:
    return forms(folder, unlike(shelf(6, 400), 0), later=unlike(shelf(7, 400), 400))


@given(numbers=st.lists(st.integers(0, 800), max_size=60), excluded=st.lists(st.integers(0, 800), max_size=60))
def test_many_keywords(wide: Forms, numbers: list[int], excluded: list[int]) -> None:
    keywords = tuple(TypedValue(AttributeType.KEYWORD, f"{letter}{n}") for n in numbers for letter in "öt")
    tree = Filter(should=(MatchAny("genre", keywords), MatchAny("tags", keywords)))
    check(wide, Predicate(tree, EVERYTHING))
    check(wide, Predicate(viewer=EVERYTHING, excluded_owner_ids=tuple(f"o{n}" for n in excluded)))


@given(items=st.lists(st.sampled_from((*IDS, "nowhere")), max_size=80), owners=st.sets(st.sampled_from(USERS)))
def test_exclusions(several: list[Forms], items: list[str], owners: set[str]) -> None:
    check(several[-1], Predicate(NO_FILTER, EVERYTHING, tuple(items), tuple(owners)))


LIMITS = (-(2**63), -(2**53) - 1, -2, -1, 0, 1, 2, 2**53, 2**53 + 1, 2**63 - 1)
BOUNDS = (*LIMITS, *map(float, LIMITS), -(2**70), 2**70, -1.5, 0.5, 1e300, float("inf"), float("-inf"), True)


def test_bounds_of_any_type_are_exact(folder: Path) -> None:
    prices = [1.5, -1.5, -0.0, *map(float, LIMITS)]
    items = [Item(f"i{n}", attributes={"rank": value}) for n, value in enumerate(LIMITS)]
    items += [Item(f"d{n}", attributes={"price": value}) for n, value in enumerate(prices)]
    rows = forms(folder, (items, [0] * len(items)))
    for name in ("rank", "price"):
        for value in BOUNDS:
            typed = TypedValue(AttributeType.DOUBLE, value)
            check(rows, Predicate(Filter(must=(MatchAny(name, (typed,)),))))
            for bound in ("gt", "gte", "lt", "lte"):
                check(rows, Predicate(Filter(must=(Range(name, **{bound: typed}),))))


def test_a_view_is_read_while_rows_are_appended() -> None:
    items, chunk_indexes = shelf(3, 200)
    growing = GrowingColumns(ATTRIBUTES)
    growing.append(items, chunk_indexes)
    view = growing.view()
    more = shelf(4, 300)
    predicate = Predicate(Filter(must=(Exists("genre"),)), Viewer("u1", ("g1",)), IDS[:50], ("u2",))
    before = view.admitted(predicate, IndexScope.FULL, COLLECTION)
    assert before is not None
    with ThreadPoolExecutor(1) as other:
        appended = other.submit(lambda: [growing.append(*more) for _ in range(20)])
        while not appended.done():
            again = view.admitted(predicate, IndexScope.FULL, COLLECTION)
            assert again is not None
            assert again.tolist() == before.tolist()
        appended.result()
    assert growing.rows == 200 + 20 * 300
    assert view.rows == 200


def test_nothing_restricts_nothing() -> None:
    growing = GrowingColumns({})
    growing.append([Item("a", owner_id="u"), Item("b")], [0, 0])
    elsewhere = Predicate(excluded_item_ids=("c",), excluded_owner_ids=("v",))
    for predicate in (Predicate(), Predicate(viewer=Viewer("u", ("g",))), Predicate(viewer=EVERYTHING), elsewhere):
        assert growing.view().admitted(predicate, IndexScope.FULL, COLLECTION) is None
    growing.append([replace(Item("c"), status=ItemStatus.PENDING)], [0])
    assert growing.view().admitted(Predicate(viewer=EVERYTHING), IndexScope.FULL, COLLECTION) is None
    mask = growing.view().admitted(Predicate(), IndexScope.FULL, COLLECTION)
    assert mask is not None
    assert mask.tolist() == [True, True, False]


def test_an_attribute_declared_later_is_missing() -> None:
    growing = GrowingColumns({})
    growing.append([Item("a", attributes={"genre": "jazz"})], [0])
    genre = TypedValue(AttributeType.KEYWORD, "jazz")
    for condition in (MatchAny("genre", (genre,)), Exists("genre"), Range("rank")):
        mask = growing.view().admitted(Predicate(Filter(must=(condition,))), IndexScope.FULL, COLLECTION)
        assert mask is not None
        assert mask.tolist() == [False]


def test_rows_read_back(several: list[Forms]) -> None:
    for rows in several:
        for columns in rows.forms:
            everything = np.arange(columns.rows)
            assert columns.rows == len(rows.items)
            assert columns.item_ids.ids_at(everything) == [i.item_id for i in rows.items]
            assert columns.owners_at(everything) == [i.owner_id for i in rows.items]
            assert columns.chunk_indexes.tolist() == list(rows.chunk_indexes)
            assert columns.nbytes > 0 or not columns.rows


TEXTS = st.text(max_size=8)


@given(ids=st.lists(TEXTS, max_size=60), wanted=st.lists(TEXTS, max_size=10), short=st.booleans())
def test_item_ids(ids: list[str], wanted: list[str], short: bool) -> None:
    wanted = wanted + ids[::2]
    with pytest.MonkeyPatch.context() as patch:
        if short:
            hashed = item_ids_module.hashes_of
            patch.setattr(item_ids_module, "hashes_of", lambda given: hashed(given) & np.uint64(1))
        growing = GrowingItemIds()
        growing.extend(ids)
        held: list[ItemIds] = [growing.view(), MappedItemIds(item_id_arrays(ids))]
        growing.extend([*wanted, *ids])
        for form in held:
            assert len(form) == len(ids)
            assert sorted(form.rows_of(wanted).tolist()) == [n for n, i in enumerate(ids) if i in wanted]
            rows = np.arange(len(ids))[::-1]
            assert form.ids_at(rows) == ids[::-1]


@given(values=st.sets(TEXTS, max_size=40), wanted=st.lists(TEXTS, max_size=10))
def test_string_tables(values: set[str], wanted: list[str]) -> None:
    ordered = sorted(values)
    table = StringTable(string_arrays(ordered))
    assert [table.at(n) for n in range(len(table))] == ordered
    for value in [*wanted, *ordered]:
        assert table.find(value) == (ordered.index(value) if value in values else -1)
