"""No path ever returns an item that the viewer may not see."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.application.limits import Limits
from retrieval.application.matryoshka import Matryoshka, search_matryoshka
from retrieval.application.search import SearchPipeline
from retrieval.domain.filters import matches
from retrieval.domain.model import ANONYMOUS, Chunk, Collection, EmbeddingVersion, Item, Viewer
from retrieval.domain.search import IndexScope, SearchOptions, SearchParams, Source, Stage
from retrieval.domain.vectors import to_half
from retrieval.domain.visibility import can_see
from retrieval.faiss_cache.budget import coarse_bytes
from tests.caches import caught_up
from tests.catalogue import ATTRIBUTES, DataSet, clustered
from tests.property.strategies import FILTERS, VIEWERS, random_item

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.faiss_cache.conftest import Cached, Ground

DIM = 16
ROWS = 900
PATHS = ("segment", "delta", "segment and delta", "after compaction", "after a restart", "coarse")


class Crowd:
    """A cache over items of every visibility, and the items."""

    def __init__(self, name: str, cached: Cached, items: dict[str, Item]) -> None:
        self.name = name
        self.cached = cached
        self.items = items


@pytest.fixture(scope="module", params=PATHS)
async def crowd(
    request: pytest.FixtureRequest, ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Crowd]:
    path, folder = request.param, tmp_path_factory.mktemp("visibility")
    name = f"visible-{PATHS.index(path)}"
    chooser = Random(path)
    vectors = iter(clustered(2 * ROWS, DIM, 5))

    def some(numbers: range) -> list[Item]:
        made = []
        for number in numbers:
            item = random_item(f"i{number}", chooser)
            chunk = Chunk(0, to_half(next(vectors), DIM, collection.metric, "v"))
            made.append(Item(**{f: getattr(item, f) for f in item.__dataclass_fields__} | {"chunks": (chunk,)}))
        return made

    collection = await ground.stores.collections.create(
        Collection(0, name, attributes=ATTRIBUTES), EmbeddingVersion(0, 0, "m", DIM, (8,))
    )

    async def write(numbers: range) -> None:
        made = some(numbers)
        await ground.stores.items.upsert(collection, collection.active, made, "", b"")
        items.update({i.item_id: i for i in made})

    items: dict[str, Item] = {}
    data = DataSet(name, collection.metric, DIM, (8,), items, np.zeros((0, DIM)))
    await write(range(ROWS))
    settings_: dict[str, int] = {}
    if path != "delta":
        manifest = await ground.segment(data, folder)
        assert manifest.kind == "hnsw"
        if path == "coarse":
            settings_ = {"cache_memory_budget_bytes": coarse_bytes(manifest) + 100}
    if path != "segment":
        await write(range(0, ROWS, 3))
        gone = [f"i{n}" for n in range(1, ROWS, 7)]
        await ground.stores.items.delete(collection, gone, "", b"")
        for item_id in gone:
            items.pop(item_id, None)
    generation = 0 if path == "delta" else 1
    if path in {"after compaction", "after a restart"}:
        async with ground.cached(folder) as cached:
            await caught_up(cached.stores, name, 1)
            cached.stores.cache.prewarm(collection.active)
            generation = 2
            if path == "after a restart":
                await caught_up(cached.stores, name, 2)
                await write(range(0, ROWS, 5))
                await caught_up(cached.stores, name, 2)
            else:
                await caught_up(cached.stores, name, 2)
                yield Crowd(name, cached, items)
    if path != "after compaction":
        async with ground.cached(folder, building=False, **settings_) as cached:
            await caught_up(cached.stores, name, generation)
            yield Crowd(name, cached, items)
    await ground.stores.collections.delete(name)


@settings(max_examples=50)
@given(
    viewer=st.none() | VIEWERS,
    tree=st.none() | FILTERS,
    limit=st.sampled_from([1, 10, 50, 400]),
    scope=st.sampled_from(IndexScope),
    ef_search=st.sampled_from([None, None, 1, 20, 1000]),
    staged=st.booleans(),
    seed=st.integers(0, 1000),
)
async def test_nothing_hidden_is_returned(
    crowd: Crowd,
    viewer: Viewer | None,
    tree: object,
    limit: int,
    scope: IndexScope,
    ef_search: int | None,
    staged: bool,
    seed: int,
) -> None:
    params = SearchParams(scope=scope, ef_search=ef_search)
    options = SearchOptions(limit=limit, viewer=viewer, params=params)
    if tree is not None:
        options = SearchOptions(limit=limit, viewer=viewer, params=params, filter=tree)
    vector = clustered(1, DIM, seed)
    stages = (Stage(8, 500), Stage(DIM, 400)) if staged else ()
    pipeline = SearchPipeline(crowd.cached.stores, Limits())
    result = await search_matryoshka(pipeline, Matryoshka(crowd.name, vector[0], stages, options))
    found = [[h.item_id for h in result.hits]]
    hits = crowd.cached.stores.cache.search_now(crowd.name, vector, options)
    if hits is not None:
        found.append(hits.item_ids)
        assert len(hits.item_ids) == limit
        assert np.isfinite(hits.distances).all()
    for ids in found:
        assert len(set(ids)) == len(ids)
        for item_id in ids:
            item = crowd.items[item_id]
            assert can_see(item, viewer or ANONYMOUS), f"{item_id} is hidden from the viewer"
            assert tree is None or matches(options.filter, item)
    if scope is IndexScope.FULL and not staged:
        allowed = sum(can_see(i, viewer or ANONYMOUS) and matches(options.filter, i) for i in crowd.items.values())
        assert len(found[0]) == min(limit, allowed), result.report
    vectors = await crowd.cached.stores.index.vectors(
        (await crowd.cached.stores.collections.get(crowd.name)).active, sorted(crowd.items)[::3], viewer or ANONYMOUS
    )
    assert vectors.keys() == {i for i in sorted(crowd.items)[::3] if can_see(crowd.items[i], viewer or ANONYMOUS)}
    assert result.report.source in {Source.FAISS, Source.EXACT}
