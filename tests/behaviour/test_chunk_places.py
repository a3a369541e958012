"""Where in its item a chunk is: kept with it, and told with the hit that it makes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application.candidates.engine import UserCandidates
from retrieval.application.hybrid import Hybrid
from retrieval.application.matryoshka import Matryoshka
from retrieval.application.rank_items import RankItems
from retrieval.application.similar_items import SeedStrategy, SimilarItems
from retrieval.domain.hybrid import HybridMode
from retrieval.domain.model import Chunk, ChunkPlace, Collection, EmbeddingVersion, Item, Viewer, Visibility
from retrieval.domain.search import NO_CHUNK, Predicate, SearchOptions, View
from retrieval.domain.text_query import parse_text
from tests.backends import exact_backend

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from tests.backends import Request

DIMENSION = 4
TEXT = "one two three"
SPAN, MOMENTS = (4, 7), (1_500, 62_001)


def unit(axis: int) -> np.ndarray:
    return np.eye(DIMENSION, dtype=np.float16)[axis]


ITEMS = (
    Item(
        "film",
        (
            Chunk(0, unit(0), (0, 3), (0, 1_500)),
            Chunk(7, unit(1), SPAN, MOMENTS),
            Chunk(9, unit(2), None, (62_001, 3650 * 86_400_000), "spoken “words” \U0001f600\n"),
        ),
        text=TEXT,
    ),
    Item("plain", (Chunk(0, unit(3)),), text="four"),
    Item("hidden", (Chunk(2, unit(1), None, None, "secret"),), "owner", Visibility.PRIVATE),
    Item("wordy", (), text="two"),
)
PLACES = {0: ChunkPlace(0, (0, 3), (0, 1_500)), 7: ChunkPlace(7, SPAN, MOMENTS), 9: ITEMS[0].chunks[2].place}


@pytest.fixture
async def collection(stores: Stores, name: str) -> Collection:
    made = await stores.collections.create(Collection(0, name), EmbeddingVersion(0, 0, "model", DIMENSION))
    await stores.items.upsert(made, made.active, ITEMS, "", b"")
    return await stores.collections.get(name)


def near(axis: int) -> np.ndarray:
    """A query nearest to an axis, and near to no other alone."""
    return (np.full(DIMENSION, 0.1) + np.eye(DIMENSION)[axis]).astype(np.float32)


@pytest.mark.parametrize("view", [View.BASIC, View.FULL])
@pytest.mark.parametrize(("axis", "index"), [(0, 0), (1, 7), (2, 9)])
async def test_every_search_by_a_vector_tells_the_place(
    stores: Stores, collection: Collection, view: View, axis: int, index: int
) -> None:
    options = SearchOptions(view=view)
    name, query = collection.name, near(axis)
    requests: tuple[Request, ...] = (
        Matryoshka(name, query, options=options),
        RankItems(name, ("plain", "film"), query, options=options),
        Hybrid(name, parse_text("two"), query, options=options),
        Hybrid(name, vector=query, mode=HybridMode.VECTOR, options=options),
        UserCandidates(name, "somebody", user_vector=query, options=options),
    )
    for request in requests:
        hits = {h.item_id: h for h in (await exact_backend(stores).search(request)).hits}
        film = hits["film"]
        assert (film.chunk_index, film.place) == (index, PLACES[index]), type(request).__name__
        assert film.item is not None
        assert film.item.text == TEXT
        if "plain" in hits:
            assert hits["plain"].place == ChunkPlace(0)
        assert "hidden" not in hits


async def test_a_seed_finds_the_place_too(stores: Stores, collection: Collection) -> None:
    seed = Item("seed", (Chunk(0, near(2).astype(np.float16)),))
    await stores.items.upsert(collection, collection.active, [seed], "", b"")
    for strategy in SeedStrategy:
        request = SimilarItems(collection.name, ("seed",), strategy=strategy, options=SearchOptions(view=View.BASIC))
        (film, *_) = (await exact_backend(stores).search(request)).hits
        assert (film.item_id, film.place) == ("film", PLACES[9])


async def test_ids_and_scores_alone_come_without_places(stores: Stores, collection: Collection) -> None:
    (film, *_) = (await exact_backend(stores).search(Matryoshka(collection.name, near(1)))).hits
    assert (film.item_id, film.chunk_index, film.place) == ("film", 7, None)


async def test_words_alone_find_no_chunk(stores: Stores, collection: Collection) -> None:
    options = SearchOptions(view=View.BASIC)
    for mode, vector in ((HybridMode.TEXT, None), (HybridMode.HYBRID, near(1))):
        request = Hybrid(collection.name, parse_text("two"), vector, mode, options=options)
        hits = {h.item_id: h for h in (await exact_backend(stores).search(request)).hits}
        assert (hits["wordy"].chunk_index, hits["wordy"].place) == (NO_CHUNK, None)
        assert (hits["film"].chunk_index == NO_CHUNK) == (mode is HybridMode.TEXT)


async def test_places_are_as_visible_as_their_items(stores: Stores, collection: Collection) -> None:
    version, chunks = collection.active, {"hidden": 2, "film": 7, "plain": 1, "wordy": NO_CHUNK, "nowhere": 0}
    placed = await stores.items.get_placed(collection, version, chunks, Viewer())
    assert {i: place for i, (_, place) in placed.items()} == {"film": PLACES[7], "plain": None, "wordy": None}
    placed = await stores.items.get_placed(collection, version, chunks, Viewer("owner"))
    item, place = placed["hidden"]
    assert place == ChunkPlace(2, None, None, "secret")
    assert (item.item_id, item.chunks, item.payload_json) == ("hidden", (), None)


async def test_places_come_and_go_with_their_chunks(stores: Stores, collection: Collection) -> None:
    async def read() -> tuple[Chunk, ...]:
        found = await stores.items.get(collection, collection.active, ["film"], Viewer(), with_chunks=True)
        (listed,) = await stores.items.list_after(collection, collection.active, "", 1, Predicate(), with_chunks=True)
        assert [c.place for c in listed.chunks] == [c.place for c in found["film"].chunks]
        return found["film"].chunks

    assert [c.place for c in await read()] == list(PLACES.values())
    fewer = replace(ITEMS[0], chunks=(Chunk(7, unit(1)),))
    await stores.items.upsert(collection, collection.active, [fewer], "", b"")
    assert [c.place for c in await read()] == [ChunkPlace(7)]
