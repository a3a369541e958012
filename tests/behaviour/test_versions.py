"""Embedding versions: beside each other, swapped at once, never compared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from retrieval.application.ports import BuildSpec, IndexKind
from retrieval.application.similar_items import SimilarItems
from retrieval.domain.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from retrieval.domain.filters import Filter, MatchAny, TypedValue
from retrieval.domain.model import AttributeType, Item, PopularThresholds, VersionState, Viewer
from retrieval.domain.search import SearchOptions, Source
from tests.backends import exact_backend
from tests.catalogue import load, make

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from tests.backends import Backend

EVERYTHING = Viewer(unrestricted=True)


async def test_a_version_is_filled_activated_and_rolled_back(backend: Backend, name: str) -> None:
    old = make(name, 1100, dimension=8)
    new = make(name, 1100, dimension=16, seed=23)
    stores = backend.stores
    collection = await load(stores, old)
    second = await stores.collections.create_version(old.name, replace(new.version("second"), dimension=16))
    assert (second.version, second.state, second.dimension) == (2, VersionState.BUILDING, 16)
    with pytest.raises(FailedPreconditionError) as empty:
        await stores.collections.activate_version(old.name, 2)
    assert empty.value.reason == "VERSION_EMPTY"

    collection = await stores.collections.get(old.name)
    written = list(new.items.values())
    await stores.items.upsert(collection, second, written[:1000], "", b"")
    await stores.items.upsert(collection, second, written[1000:], "", b"")
    kinds = frozenset({IndexKind.HNSW, IndexKind.IVFFLAT})
    for version in collection.versions:
        await stores.builder.build(collection, version, BuildSpec(kinds))
    await stores.builder.wait_idle()

    seed = SimilarItems(old.name, ("item-00003",), options=SearchOptions(viewer=EVERYTHING))
    first = await backend.search(seed)
    assert first.report.embedding_version == 1
    # Only the active version is in the cache.
    elsewhere = exact_backend(stores) if backend.source is Source.FAISS else backend
    ahead = await elsewhere.search(replace(seed, options=replace(seed.options, embedding_version=2)))
    assert ahead.report.embedding_version == 2
    assert [h.item_id for h in ahead.hits] != [h.item_id for h in first.hits]

    collection = await stores.collections.activate_version(old.name, 2)
    assert [v.state for v in collection.versions] == [VersionState.RETIRED, VersionState.ACTIVE]
    after = await backend.search(seed)
    assert after.report.embedding_version == 2
    assert [h.item_id for h in after.hits] == [h.item_id for h in ahead.hits]

    collection = await stores.collections.rollback_version(old.name)
    assert collection.active.version == 1
    back = await backend.search(seed)
    assert [h.item_id for h in back.hits] == [h.item_id for h in first.hits]
    # Undone once more: the version that was active before the rollback.
    assert (await stores.collections.rollback_version(old.name)).active.version == 2


async def test_attributes_written_with_one_version_filter_in_all(stores: Stores, name: str) -> None:
    data = make(name, 20, dimension=4)
    collection = await load(stores, data)
    await stores.collections.create_version(data.name, data.version("second"))
    collection = await stores.collections.get(data.name)
    second = collection.versions[1]
    items = list(data.items.values())
    await stores.items.upsert(collection, second, items, "", b"")
    changed = replace(items[4], attributes={"genre": "polka"}, owner_id="someone", status=items[0].status)
    await stores.items.upsert(collection, second, [changed], "", b"")
    oracle = exact_backend(stores)
    polka = Filter(must=(MatchAny("genre", (TypedValue(AttributeType.KEYWORD, "polka"),)),))
    for version in (1, 2):
        options = SearchOptions(filter=polka, viewer=EVERYTHING, embedding_version=version)
        result = await oracle.search(SimilarItems(data.name, ("item-00001",), options=options))
        assert [h.item_id for h in result.hits] == [changed.item_id]


async def test_deleting_an_item_deletes_it_in_every_version(stores: Stores, name: str) -> None:
    data = make(name, 6, dimension=4)
    collection = await load(stores, data)
    second = await stores.collections.create_version(data.name, data.version("second"))
    collection = await stores.collections.get(data.name)
    await stores.items.upsert(collection, second, list(data.items.values()), "", b"")
    assert (await stores.items.delete(collection, ["item-00002", "nowhere"], "", b"")).count == 1
    for version in collection.versions:
        assert "item-00002" not in await stores.index.vectors(version, sorted(data.items), EVERYTHING)
        assert "item-00001" in await stores.index.vectors(version, sorted(data.items), EVERYTHING)


async def test_refusals(stores: Stores, name: str) -> None:
    data = make(name, 3, dimension=4)
    await load(stores, data)
    with pytest.raises(AlreadyExistsError) as taken:
        await stores.collections.create(data.collection(), data.version())
    assert taken.value.reason == "COLLECTION_EXISTS"
    with pytest.raises(FailedPreconditionError) as first:
        await stores.collections.rollback_version(data.name)
    assert first.value.reason == "NO_PREVIOUS_VERSION"
    with pytest.raises(NotFoundError) as unknown:
        await stores.collections.activate_version(data.name, 5)
    assert unknown.value.reason == "EMBEDDING_VERSION_NOT_FOUND"
    await stores.collections.delete(data.name)
    for again in (stores.collections.get, stores.collections.delete, stores.collections.rollback_version):
        with pytest.raises(NotFoundError) as gone:
            await again(data.name)
        assert gone.value.reason == "COLLECTION_NOT_FOUND"


async def test_collections_are_listed_and_changed(stores: Stores, name: str) -> None:
    names = [f"{name}-{suffix}" for suffix in ("A", "a", "b", "é")]
    for each in reversed(names):
        data = make(each, 1, dimension=4)
        await stores.collections.create(replace(data.collection(), name=each), data.version())
    listed = [c.name for c in await stores.collections.list_after(f"{name}-", 3)]
    assert listed == names[:3]
    assert [c.name for c in await stores.collections.list_after(names[2], 1)] == names[3:]
    changed = await stores.collections.update(
        names[0], {"colour": AttributeType.KEYWORD}, PopularThresholds(3.5, 7), 10.0
    )
    assert changed.attributes["colour"] is AttributeType.KEYWORD
    assert changed.attributes["genre"] is AttributeType.KEYWORD
    assert (changed.popular, changed.rating_scale_max) == (PopularThresholds(3.5, 7), 10.0)
    kept = await stores.collections.update(names[0], {}, None, None)
    assert kept == changed == await stores.collections.get(names[0])


async def test_an_item_without_a_vector_is_stored_but_not_found(stores: Stores, name: str) -> None:
    data = make(name, 5, dimension=4)
    collection = await load(stores, data)
    await stores.items.upsert(collection, collection.active, [Item("bare", text="no vector")], "", b"")
    assert "bare" in await stores.items.get(collection, collection.active, ["bare"], Viewer(), with_chunks=True)
    options = SearchOptions(limit=100, viewer=EVERYTHING)
    result = await exact_backend(stores).search(SimilarItems(data.name, ("item-00001",), options=options))
    assert len(result.hits) == 4
    with pytest.raises(NotFoundError):
        await exact_backend(stores).search(SimilarItems(data.name, ("bare",)))
