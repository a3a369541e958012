"""What every search takes: filters, viewers, exclusions, threshold, views, diversity, limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application.matryoshka import Matryoshka
from retrieval.domain.errors import InvalidArgumentError, NotFoundError
from retrieval.domain.filters import Exists, Filter, ItemIdIn, MatchAny, Range, TypedValue, matches
from retrieval.domain.model import AttributeType, Viewer
from retrieval.domain.search import Diversity, SearchOptions, SearchParams, Shortfall, View
from retrieval.domain.visibility import can_see
from tests.catalogue import DAY_US, FIRST_DAY_US, GROUPS

if TYPE_CHECKING:
    from tests.backends import Agreement, Backend
    from tests.catalogue import DataSet

EVERYTHING = Viewer(unrestricted=True)
THOROUGH = SearchParams(ef_search=400, nprobe=1000)
"""Where one candidate more or less changes every choice after it, the candidates have to be complete."""


def keyword(*values: str) -> tuple[TypedValue, ...]:
    return tuple(TypedValue(AttributeType.KEYWORD, v) for v in values)


def integer(value: int) -> TypedValue:
    return TypedValue(AttributeType.INT64, value)


def double(value: float) -> TypedValue:
    return TypedValue(AttributeType.DOUBLE, value)


def moment(value: int) -> TypedValue:
    return TypedValue(AttributeType.TIMESTAMP, value)


def boolean(*, value: bool) -> TypedValue:
    return TypedValue(AttributeType.BOOL, value)


FILTERS = {
    "keyword": Filter(must=(MatchAny("genre", keyword("jazz", "folk")),)),
    "keyword list": Filter(must=(MatchAny("labels", keyword("sale", "unheard-of")),)),
    "int64": Filter(must=(MatchAny("rank", tuple(integer(n) for n in range(40))),)),
    "int64 range": Filter(must=(Range("rank", gt=integer(100), lte=integer(300)),)),
    "double range": Filter(must=(Range("price", gte=double(12.5), lt=double(75.25)),)),
    "bool": Filter(must=(MatchAny("in_stock", (boolean(value=False),)),)),
    "timestamp range": Filter(must=(Range("released", lt=moment(FIRST_DAY_US + 400 * DAY_US)),)),
    "created": Filter(must=(Range("created_at", gt=moment(FIRST_DAY_US + 200 * DAY_US)),)),
    "exists": Filter(must=(Exists("price"),)),
    "list exists": Filter(must=(Exists("labels"),)),
    "rated": Filter(must=(Exists("rating_value"), Range("rating_value", gte=double(4.0)))),
    "rating count": Filter(must=(Range("rating_count", gte=integer(200)),)),
    "tags": Filter(must=(MatchAny("tags", keyword("loud")),), must_not=(MatchAny("tags", keyword("calm")),)),
    "owner": Filter(must=(MatchAny("owner_id", keyword("owner-3", "owner-4")),)),
    "item id": Filter(must=(MatchAny("item_id", keyword(*(f"item-{n:05d}" for n in range(0, 400, 2)))),)),
    "id set": Filter(must=(ItemIdIn(tuple(f"item-{n:05d}" for n in range(500))),)),
    "must not": Filter(must_not=(MatchAny("genre", keyword("jazz")), Exists("in_stock"))),
    "should": Filter(should=(MatchAny("genre", keyword("rock")), Range("rank", lt=integer(100)))),
    "nested": Filter(
        must=(Filter(should=(MatchAny("genre", keyword("rock")), MatchAny("tags", keyword("calm")))),),
        must_not=(Filter(must=(Exists("price"), MatchAny("in_stock", (boolean(value=True),)))),),
    ),
    "none": Filter(must=(MatchAny("genre", keyword("silence")),)),
}


@pytest.mark.parametrize("tree", FILTERS.values(), ids=FILTERS.keys())
async def test_filters(agreement: Agreement, catalogue: DataSet, tree: Filter) -> None:
    for query in agreement.queries(catalogue):
        result = await agreement.of(catalogue, Matryoshka(catalogue.name, query, options=SearchOptions(filter=tree)))
        assert bool(result.hits) == any(matches(tree, i) and can_see(i, Viewer()) for i in catalogue.items.values())


@pytest.mark.parametrize("below", [500, 100, 10, 1], ids=["50 %", "10 %", "1 %", "0.1 %"])
async def test_selectivities(agreement: Agreement, catalogue: DataSet, below: int) -> None:
    """As many hits as exist, however few they are, and the reason when they are fewer than asked for."""
    tree = Filter(must=(Range("rank", lt=integer(below)),))
    options = SearchOptions(filter=tree, viewer=EVERYTHING)
    admitted = [i for i in catalogue.items.values() if matches(tree, i)]
    assert len(admitted) == below * 3
    for query in agreement.queries(catalogue):
        result = await agreement.of(catalogue, Matryoshka(catalogue.name, query, options=options))
        assert len(result.hits) == min(10, len(admitted))
        assert result.report.shortfall is (None if len(admitted) >= 10 else Shortfall.FILTER_EXHAUSTED)


async def test_undeclared_attributes_are_refused(backend: Backend, catalogue: DataSet) -> None:
    tree = Filter(must=(Exists("genre"), MatchAny("colour", keyword("red"))))
    with pytest.raises(InvalidArgumentError) as caught:
        await backend.search(Matryoshka(catalogue.name, catalogue.queries[0], options=SearchOptions(filter=tree)))
    assert caught.value.reason == "UNDECLARED_ATTRIBUTE"
    assert [v.field for v in caught.value.violations] == ["options.filter.must[1].match.attribute"]


VIEWERS = {
    "nobody": None,
    "stranger": Viewer("stranger"),
    "owner": Viewer("owner-7"),
    "one group": Viewer(group_ids=(GROUPS[1],)),
    "owner in groups": Viewer("owner-12", (GROUPS[0], GROUPS[3], "elsewhere")),
    "everybody's groups": Viewer("owner-1", GROUPS),
    "unrestricted": EVERYTHING,
}


@pytest.mark.parametrize("viewer", VIEWERS.values(), ids=VIEWERS.keys())
async def test_viewers(agreement: Agreement, catalogue: DataSet, viewer: Viewer | None) -> None:
    for query in agreement.queries(catalogue):
        options = SearchOptions(viewer=viewer)
        result = await agreement.of(catalogue, Matryoshka(catalogue.name, query, options=options))
        assert len(result.hits) == 10
    # Among the owner's own and hidden items the rule decides most.
    tree = Filter(must=(MatchAny("owner_id", keyword("owner-7", "owner-12", "owner-1")),))
    options = SearchOptions(limit=300, viewer=viewer, filter=tree, params=THOROUGH)
    result = await agreement.of(catalogue, Matryoshka(catalogue.name, catalogue.queries[0], options=options))
    admitted = {i.item_id for i in catalogue.items.values() if matches(tree, i) and can_see(i, viewer or Viewer())}
    assert len(result.hits) >= 0.95 * len(admitted)


async def test_ten_thousand_exclusions(agreement: Agreement, catalogue: DataSet) -> None:
    ids = sorted(catalogue.items)
    kept = set(ids[::50])
    excluded = (*(i for i in ids if i not in kept), *(f"unknown-{n}" for n in range(10_000)))
    assert len(excluded) > 10_000
    for query in agreement.queries(catalogue):
        options = SearchOptions(exclude_item_ids=excluded, viewer=EVERYTHING)
        result = await agreement.of(catalogue, Matryoshka(catalogue.name, query, options=options))
        assert len(result.hits) == 10
        assert {h.item_id for h in result.hits} <= kept


async def test_threshold(agreement: Agreement, catalogue: DataSet) -> None:
    for query in agreement.queries(catalogue):
        free = await agreement.oracle.search(Matryoshka(catalogue.name, query))
        threshold = (free.hits[3].score + free.hits[4].score) / 2
        options = SearchOptions(score_threshold=threshold)
        result = await agreement.of(catalogue, Matryoshka(catalogue.name, query, options=options))
        assert all(h.score >= threshold for h in result.hits)
        assert len(result.hits) <= 4
        assert result.report.shortfall is Shortfall.THRESHOLD
    assert result.report.requested_count == 10


@pytest.mark.parametrize("view", View)
async def test_views(agreement: Agreement, catalogue: DataSet, view: View) -> None:
    options = SearchOptions(view=view)
    result = await agreement.of(catalogue, Matryoshka(catalogue.name, catalogue.queries[1], options=options))
    assert len(result.hits) == 10
    for hit in result.hits:
        if view is View.ID_SCORE:
            assert hit.item is None
            continue
        assert hit.item is not None
        stored = catalogue.items[hit.item_id]
        for field in (
            "item_id",
            "owner_id",
            "visibility",
            "audience",
            "status",
            "rating_value",
            "rating_count",
            "tags",
            "text",
            "attributes",
            "created_at",
        ):
            assert getattr(hit.item, field) == getattr(stored, field)
        assert hit.item.updated_at is not None
        if view is View.BASIC:
            assert hit.item.payload_json is None
            assert hit.item.chunks == ()
        else:
            assert json.loads(hit.item.payload_json or "") == json.loads(stored.payload_json or "")
            assert [c.chunk_index for c in hit.item.chunks] == [0]
            np.testing.assert_array_equal(hit.item.chunks[0].vector, stored.chunks[0].vector)


@pytest.mark.parametrize("mmr_lambda", [0.0, 0.3, 0.7, 1.0])
async def test_mmr(agreement: Agreement, catalogue: DataSet, mmr_lambda: float) -> None:
    for query in agreement.queries(catalogue):
        options = SearchOptions(diversity=Diversity(mmr_lambda), params=THOROUGH)
        result = await agreement.of(catalogue, Matryoshka(catalogue.name, query, options=options))
        assert len(result.hits) == 10
        plain = await agreement.oracle.search(Matryoshka(catalogue.name, query))
        same = [h.item_id for h in result.hits] == [h.item_id for h in plain.hits]
        if agreement.backend.exact:
            assert same == (mmr_lambda == 1.0)


@pytest.mark.parametrize("cap", [1, 2])
async def test_max_per_owner(agreement: Agreement, catalogue: DataSet, cap: int) -> None:
    for query in agreement.queries(catalogue):
        options = SearchOptions(limit=40, diversity=Diversity(max_per_owner=cap))
        result = await agreement.of(catalogue, Matryoshka(catalogue.name, query, options=options))
        owners = [catalogue.items[h.item_id].owner_id for h in result.hits]
        assert len(owners) == 40
        assert all(owners.count(o) <= cap for o in owners if o)


async def test_owner_cap_and_mmr_together(agreement: Agreement, chunked: DataSet) -> None:
    for query in agreement.queries(chunked):
        options = SearchOptions(diversity=Diversity(0.5, 1), params=THOROUGH)
        result = await agreement.of(chunked, Matryoshka(chunked.name, query, options=options))
        owners = [chunked.items[h.item_id].owner_id for h in result.hits]
        assert len(owners) == 10
        assert all(owners.count(o) == 1 for o in owners if o)


async def test_owner_cap_that_leaves_too_few_says_so(agreement: Agreement, catalogue: DataSet) -> None:
    tree = Filter(must=(MatchAny("owner_id", keyword("owner-3", "owner-4")),))
    options = SearchOptions(filter=tree, diversity=Diversity(max_per_owner=2))
    result = await agreement.of(catalogue, Matryoshka(catalogue.name, catalogue.queries[0], options=options))
    assert len(result.hits) == 4
    assert result.report.shortfall is Shortfall.OWNER_CAP


async def test_limits(agreement: Agreement, catalogue: DataSet) -> None:
    for limit in (1, 7, 20, 1000):
        options = SearchOptions(limit=limit, viewer=EVERYTHING)
        for query in catalogue.queries[:10]:
            result = await agreement.of(catalogue, Matryoshka(catalogue.name, query, options=options))
            assert len(result.hits) == limit
            assert result.report.requested_count == limit


async def test_more_than_there_is(agreement: Agreement, chunked: DataSet) -> None:
    """Every visible item once, and why it is not more."""
    options = SearchOptions(limit=1000, viewer=EVERYTHING)
    result = await agreement.of(chunked, Matryoshka(chunked.name, chunked.queries[0], options=options))
    assert len(result.hits) >= 0.95 * len(chunked.items)
    if agreement.backend.exact:
        assert len(result.hits) == len(chunked.items)
        assert result.report.shortfall is Shortfall.COLLECTION_TOO_SMALL


async def test_tokens(backend: Backend, catalogue: DataSet) -> None:
    token = await backend.stores.items.token()
    options = SearchOptions(min_consistency_token=token)
    assert (await backend.search(Matryoshka(catalogue.name, catalogue.queries[0], options=options))).hits
    for bad in ("nonsense", "ö", "bTE6MTJ4", "cjE6MTJ4", "cjE6LTE"):  # m1:12x, r1:12x, r1:-1
        with pytest.raises(InvalidArgumentError) as caught:
            await backend.search(
                Matryoshka(catalogue.name, catalogue.queries[0], options=SearchOptions(min_consistency_token=bad))
            )
        assert caught.value.reason == "BAD_CONSISTENCY_TOKEN"


async def test_an_unknown_version_is_refused(backend: Backend, catalogue: DataSet) -> None:
    with pytest.raises(NotFoundError) as caught:
        await backend.search(
            Matryoshka(catalogue.name, catalogue.queries[0], options=SearchOptions(embedding_version=9))
        )
    assert caught.value.reason == "EMBEDDING_VERSION_NOT_FOUND"
