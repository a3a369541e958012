"""The SQL of a predicate means what the domain says: both list the same items, whatever the filter and the viewer."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.filters import MAX_CONDITIONS, Filter, ItemIdIn, check_filter, matches
from retrieval.domain.model import Collection, EmbeddingVersion, Item, Viewer
from retrieval.domain.search import Predicate
from retrieval.domain.visibility import can_see
from tests.catalogue import ATTRIBUTES
from tests.property.strategies import FILTERS, IDS, USERS, VIEWERS, random_item

if TYPE_CHECKING:
    from retrieval.application.ports import Stores

EVERYTHING = Viewer(unrestricted=True)


@pytest.fixture(scope="module")
def shelf() -> dict[str, Item]:
    chooser = Random(5)
    return {i: random_item(i, chooser) for i in IDS}


@pytest.fixture(scope="module")
async def collection(shelf: dict[str, Item], postgres: Stores) -> Collection:
    made = Collection(0, f"predicates-{uuid4().hex[:8]}", attributes=ATTRIBUTES)
    created = await postgres.collections.create(made, EmbeddingVersion(0, 0, "m", 4))
    await postgres.items.upsert(created, created.active, list(shelf.values()), "", b"")
    return created


async def listed(stores: Stores, collection: Collection, predicate: Predicate) -> set[str]:
    found = await stores.items.list_after(collection, collection.active, "", 1000, predicate, with_chunks=False)
    ids = [i.item_id for i in found]
    assert ids == sorted(set(ids))
    return set(ids)


@settings(max_examples=300)
@given(tree=FILTERS)
async def test_filters(postgres: Stores, collection: Collection, shelf: dict[str, Item], tree: Filter) -> None:
    check_filter(tree, collection)
    found = await listed(postgres, collection, Predicate(tree, EVERYTHING))
    assert found == {i.item_id for i in shelf.values() if matches(tree, i)}


@settings(max_examples=100)
@given(viewer=VIEWERS)
async def test_viewers(postgres: Stores, collection: Collection, shelf: dict[str, Item], viewer: Viewer) -> None:
    seen = {i.item_id for i in shelf.values() if can_see(i, viewer)}
    assert await listed(postgres, collection, Predicate(viewer=viewer)) == seen
    got = await postgres.items.get(collection, collection.active, list(IDS), viewer, with_chunks=False)
    assert set(got) == seen


@given(
    tree=FILTERS,
    viewer=VIEWERS,
    items=st.lists(st.sampled_from(IDS), max_size=50),
    owners=st.lists(st.sampled_from(USERS), max_size=2),
)
async def test_everything_together(
    postgres: Stores,
    collection: Collection,
    shelf: dict[str, Item],
    tree: Filter,
    viewer: Viewer,
    items: list[str],
    owners: list[str],
) -> None:
    predicate = Predicate(tree, viewer, tuple(items), tuple(owners))
    assert await listed(postgres, collection, predicate) == {
        i.item_id
        for i in shelf.values()
        if matches(tree, i) and can_see(i, viewer) and i.item_id not in items and i.owner_id not in owners
    }


@given(viewer=VIEWERS, chooser=st.randoms(use_true_random=False))
def test_hidden_means_hidden(viewer: Viewer, chooser: Random) -> None:
    """What no rule allows is not seen: only owner, group or publication open an item."""
    item = random_item("x", chooser)
    if can_see(item, viewer) and not viewer.unrestricted:
        own = viewer.user_id != "" and viewer.user_id == item.owner_id
        shared = item.visibility.value == "groups" and set(item.audience) & set(viewer.group_ids)
        assert own or (item.status.value == "approved" and (item.visibility.value == "public" or shared))


@given(size=st.integers(1, 2 * MAX_CONDITIONS))
def test_filters_have_a_size(size: int) -> None:
    tree = Filter(must=tuple(ItemIdIn(("a",)) for _ in range(size)))
    collection = Collection(1, "c")
    if size <= MAX_CONDITIONS:
        check_filter(tree, collection)
    else:
        with pytest.raises(InvalidArgumentError, match=r"filter\.must\[64\]"):
            check_filter(tree, collection)
