"""SearchHybrid: the same answers on every backend, explicit syntax, and all options of a search."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest

from retrieval.application.embedders import Embedders, LocalTextEmbedder
from retrieval.application.hybrid import Hybrid, search_hybrid
from retrieval.application.hybrid_ports import SnippetStyle
from retrieval.application.limits import Limits
from retrieval.application.query_embedder import QueryEmbedder, no_embedder
from retrieval.application.search import SearchPipeline
from retrieval.domain.boosts import Boosts, PopularityBoost
from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError
from retrieval.domain.filters import Filter, MatchAny, TypedValue
from retrieval.domain.hybrid import Fusion, HybridMode
from retrieval.domain.model import AttributeType, Chunk, Collection, EmbeddingVersion, Item, Viewer, Visibility
from retrieval.domain.search import Diversity, IndexScope, SearchOptions, SearchParams, Shortfall, Source, View
from retrieval.domain.text_query import TextMatch, parse_text
from tests.backends import Agreement, exact_backend
from tests.catalogue import GROUPS, make
from tests.texts import with_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retrieval.application.ports import Stores
    from retrieval.domain.search import SearchResult
    from tests.backends import Oracle
    from tests.catalogue import DataSet
    from tests.conftest import Loader

JAZZ = Filter(must=(MatchAny("genre", (TypedValue(AttributeType.KEYWORD, "jazz"),)),))
OPTIONS = {
    "plain": SearchOptions(),
    "long": SearchOptions(limit=150),
    "filter": SearchOptions(filter=JAZZ),
    "viewer": SearchOptions(viewer=Viewer("owner-3", GROUPS[:2])),
    "excluded": SearchOptions(exclude_item_ids=tuple(f"item-{n:05d}" for n in range(0, 700, 3))),
    "threshold": SearchOptions(limit=30, score_threshold=0.35),
    "popular": SearchOptions(params=SearchParams(scope=IndexScope.POPULAR)),
    "owners": SearchOptions(limit=20, diversity=Diversity(max_per_owner=1)),
    "mmr": SearchOptions(diversity=Diversity(mmr_lambda=0.6)),
    "boosts": SearchOptions(boosts=Boosts(popularity=PopularityBoost(2.0))),
}


@pytest.fixture(scope="module")
async def library(loader: Loader) -> DataSet:
    """700 items of up to three chunks, with texts."""
    return await loader(with_texts(make("library", 700, dimension=32, resolutions=(16,), max_chunks=3, seed=21)))


def asked(data: DataSet, text: str, number: int = 0, **fields: object) -> Hybrid:
    """A request with a text and a query vector."""
    return Hybrid(data.name, parse_text(text), data.queries[number], **fields)  # type: ignore[arg-type]


def parts_add_up(result: SearchResult) -> None:
    for hit in result.hits:
        assert hit.score == pytest.approx(sum(part.score for part in hit.contributions))
        assert {part.source for part in hit.contributions} <= {"text", "vector"}


@pytest.mark.parametrize("fusion", Fusion)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
async def test_both_arms(
    library: DataSet, postgres: Stores, oracle: Oracle, fusion: Fusion, options: SearchOptions
) -> None:
    # Exactly: a shortlist that misses one row gives every other one another score.
    agreement = Agreement(exact_backend(postgres), oracle)
    for number, text in enumerate(("castle storm", "the dragon of the island", '"river river" violin', "piano -river")):
        result = await agreement.of(library, asked(library, text, number, fusion=fusion, options=options))
        parts_add_up(result)
        assert {report.name for report in result.report.sources} == {"text", "vector"}
        if options.score_threshold is not None:
            assert all(hit.score >= options.score_threshold for hit in result.hits)


async def test_an_index_proposes_nearly_what_comparison_does(library: DataSet, agreement: Agreement) -> None:
    for number in range(12):
        request = asked(library, "castle storm mirror", number)
        expected = {hit.item_id for hit in (await agreement.oracle.search(request)).hits}
        result = await agreement.backend.search(request)
        assert result.report.source is agreement.backend.answers
        agreement.recalls.append(len(expected.intersection(hit.item_id for hit in result.hits)) / len(expected))


@pytest.mark.parametrize("text", ["bread", "river bridge", "lighthouse OR mirror", '"stone river"', "captain -river"])
async def test_text_alone(library: DataSet, agreement: Agreement, text: str) -> None:
    request = replace(asked(library, text), mode=HybridMode.TEXT, vector=None)
    result = await agreement.of(library, request, answers=Source.TEXT)
    expected = await agreement.oracle.search(request)
    assert [h.item_id for h in result.hits] == [h.item_id for h in expected.hits]
    assert [h.score for h in result.hits] == pytest.approx([h.score for h in expected.hits])
    assert result.hits
    assert all(hit.distance == 0 and hit.contributions[0].source == "text" for hit in result.hits)


async def test_the_vector_alone(library: DataSet, agreement: Agreement) -> None:
    for number, vector in enumerate(agreement.queries(library)):
        result = await agreement.of(library, Hybrid(library.name, vector=vector, mode=HybridMode.VECTOR))
        assert [hit.contributions[0].rank for hit in result.hits] == list(range(1, 11)), number


@pytest.fixture
async def shelf(stores: Stores, name: str) -> Collection:
    """A few items whose texts are known, in two dimensions; one is hidden, one has no embedding."""
    collection = await stores.collections.create(Collection(0, name), EmbeddingVersion(0, 0, "mine", 2))
    texts = {
        "ape": "an ape eats a green apple in the green tree",
        "bee": "the bee likes the apple tree",
        "cat": "a cat sleeps under the tree",
        "dog": "the dog <b>barks</b> & the cat runs",
        "eel": "green eel",
        "fox": "the secret apple of the fox",
        "gnu": "",
    }
    angles = np.linspace(0, 1.5, len(texts))
    items = [
        Item(
            item_id,
            () if item_id == "eel" else (Chunk(0, np.array([np.cos(a), np.sin(a)], dtype=np.float16)),),
            owner_id="renard" if item_id == "fox" else "",
            visibility=Visibility.PRIVATE if item_id == "fox" else Visibility.PUBLIC,
            text=text,
        )
        for a, (item_id, text) in zip(angles, texts.items(), strict=True)
    ]
    await stores.items.upsert(collection, collection.active, items, "", b"")
    return await stores.collections.get(name)


async def run(stores: Stores, request: Hybrid, embedder: QueryEmbedder | None = None) -> SearchResult:
    return await search_hybrid(stores, SearchPipeline(stores, Limits()), embedder or no_embedder(), request)


def ids(result: SearchResult) -> list[str]:
    return [hit.item_id for hit in result.hits]


SYNTAX = {
    "apple": {"ape", "bee"},
    "APPLE, Tree!": {"ape", "bee", "cat"},
    '"apple tree"': {"bee"},
    '"green tree" bee': {"ape"},
    "tree -apple": {"cat"},
    'tree -"apple tree"': {"ape", "cat"},
    "dog or eel": {"dog", "eel"},
    '"cat runs" OR "green eel"': {"dog", "eel"},
    '"cat runs" OR eel -green': {"dog"},
    "unicorn": set(),
    '"tree apple"': set(),
    "it's": set(),
}


@pytest.mark.parametrize(("text", "expected"), SYNTAX.items(), ids=SYNTAX.keys())
async def test_syntax(stores: Stores, shelf: Collection, text: str, expected: set[str]) -> None:
    assert set(ids(await run(stores, Hybrid(shelf.name, parse_text(text), mode=HybridMode.TEXT)))) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("green apple", {"ape"}), ("green OR dog", {"ape", "eel", "dog"}), ("tree -a bee", {"bee"})]
)
async def test_all_words(stores: Stores, shelf: Collection, text: str, expected: set[str]) -> None:
    query = parse_text(text, TextMatch.ALL)
    assert set(ids(await run(stores, Hybrid(shelf.name, query, mode=HybridMode.TEXT)))) == expected


EAST = np.array([1, 0], dtype=np.float32)


async def test_explicit_syntax_binds_the_vector_too(stores: Stores, shelf: Collection) -> None:
    everything = await run(stores, Hybrid(shelf.name, parse_text("tree"), EAST))
    assert set(ids(everything)) == {"ape", "bee", "cat", "dog", "gnu"}
    without = await run(stores, Hybrid(shelf.name, parse_text("tree -apple"), EAST))
    assert set(ids(without)) == {"cat", "dog", "gnu"}
    assert without.report.shortfall is Shortfall.FILTER_EXHAUSTED
    quoted = await run(stores, Hybrid(shelf.name, parse_text('"apple tree"'), EAST, HybridMode.VECTOR))
    assert ids(quoted) == ["bee"]
    only = await run(stores, Hybrid(shelf.name, parse_text("-tree"), EAST, HybridMode.VECTOR))
    assert ids(only) == ["dog", "gnu"]
    words = await run(stores, Hybrid(shelf.name, parse_text("green apple", TextMatch.ALL), EAST))
    assert ids(words) == ["ape"]


async def test_an_item_without_an_embedding_is_found_by_its_text(stores: Stores, shelf: Collection) -> None:
    for options in (
        SearchOptions(),
        SearchOptions(diversity=Diversity(mmr_lambda=0.5), boosts=OPTIONS["boosts"].boosts),
    ):
        result = await run(stores, Hybrid(shelf.name, parse_text("eel"), EAST, options=options))
        by_id = {hit.item_id: hit for hit in result.hits}
        assert [part.source for part in by_id["eel"].contributions] == ["text"]
        assert by_id["eel"].distance == 0
        assert set(by_id) == {"ape", "bee", "cat", "dog", "eel", "gnu"}


async def test_distances_are_told_of_what_the_text_alone_proposed(stores: Stores, shelf: Collection) -> None:
    request = Hybrid(shelf.name, parse_text("bee"), EAST, vector_candidates=1)
    hits = {hit.item_id: hit for hit in (await run(stores, request)).hits}
    assert {name: [p.source for p in hit.contributions] for name, hit in hits.items()} == {
        "ape": ["vector"],
        "bee": ["text"],
    }
    assert hits["bee"].distance == pytest.approx(1 - np.cos(0.25), abs=2e-3)


async def test_chosen_candidates_bound_the_answer(stores: Stores, shelf: Collection) -> None:
    request = Hybrid(shelf.name, parse_text("tree"), EAST, text_candidates=1, vector_candidates=2)
    result = await run(stores, request)
    assert len(result.hits) <= 3
    assert result.report.shortfall is Shortfall.CANDIDATES_EXHAUSTED
    assert [(s.name, s.quota, s.returned) for s in result.report.sources] == [("text", 1, 1), ("vector", 2, 2)]


async def test_weights(stores: Stores, shelf: Collection) -> None:
    request = Hybrid(shelf.name, parse_text("dog"), EAST)
    assert ids(await run(stores, replace(request, text_weight=9.0, vector_weight=1.0)))[0] == "dog"
    assert ids(await run(stores, replace(request, text_weight=1.0, vector_weight=9.0)))[0] == "ape"
    alone = await run(stores, replace(request, text_weight=0.0))
    assert {p.source for hit in alone.hits for p in hit.contributions} == {"vector"}
    # No vector is needed where it counts for nothing.
    assert ids(await run(stores, replace(request, vector=None, vector_weight=0.0))) == ["dog"]


async def test_the_owner_finds_its_hidden_item(stores: Stores, shelf: Collection) -> None:
    style = SnippetStyle()
    request = Hybrid(shelf.name, parse_text("apple"), EAST, snippets=style)
    assert "fox" not in ids(await run(stores, request))
    own = replace(request, options=SearchOptions(viewer=Viewer("renard")))
    assert "fox" in ids(await run(stores, own))
    # Whoever asks for the excerpt of an item without being allowed to see it gets none.
    found = await stores.text.snippets(shelf, request.words, ["fox", "bee"], Viewer(), style)
    assert set(found) == {"bee"}


async def test_snippets(stores: Stores, shelf: Collection) -> None:
    async def snippet(text: str, item_id: str, style: SnippetStyle) -> str:
        result = await run(stores, Hybrid(shelf.name, parse_text(text), mode=HybridMode.TEXT, snippets=style))
        assert "snippets" in dict(result.report.timings_s)
        return next(hit.snippet for hit in result.hits if hit.item_id == item_id)

    assert await snippet("bee apple", "bee", SnippetStyle()) == "the <b>bee</b> likes the <b>apple</b> tree"
    marked = SnippetStyle(start_marker="[[", end_marker="")
    assert await snippet("bee", "bee", marked) == "the [[bee likes the apple tree"
    assert "<b>barks" not in await snippet("dog", "dog", SnippetStyle())
    assert "&amp; the <b>cat</b>" in await snippet("cat", "dog", SnippetStyle())
    assert "& the <b>cat</b>" in await snippet("cat", "dog", SnippetStyle(raw=True))
    short = await snippet("tree", "ape", SnippetStyle(max_words=5))
    assert len(short.split()) <= 5
    assert "<b>tree</b>" in short


async def test_a_text_cannot_forge_markers(stores: Stores, name: str) -> None:
    collection = await stores.collections.create(Collection(0, name), EmbeddingVersion(0, 0, "mine", 2))
    item = Item("x", text="a \x01forged\x02 mark\x07 and a word")
    await stores.items.upsert(collection, collection.active, [item], "", b"")
    request = Hybrid(name, parse_text("word"), mode=HybridMode.TEXT, snippets=SnippetStyle())
    (hit,) = (await run(stores, request)).hits
    assert hit.snippet.split() == ["a", "forged", "mark", "and", "a", "<b>word</b>"]


class Fake:
    """Embeds by the number of letters; knows no word of three."""

    model = "fake"
    dimension = 4

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        return np.array([[0 if len(t) == 3 else 1, len(t) / 10, 0.5, 1] for t in texts], np.float32) * [
            [len(t) != 3] for t in texts
        ]


async def test_the_text_is_embedded_where_there_is_no_vector(stores: Stores, name: str) -> None:
    collection = await stores.collections.create(Collection(0, name), EmbeddingVersion(0, 0, "fake", 2))
    item = Item("x", (Chunk(0, np.array([1, 0], dtype=np.float16)),), text="cat")
    await stores.items.upsert(collection, collection.active, [item], "", b"")
    fake, loads = Fake(), []

    def load() -> Fake:
        loads.append(1)
        return fake

    embedder = QueryEmbedder(Embedders(LocalTextEmbedder("fake", 4, load)))
    for _ in range(2):
        result = await run(stores, Hybrid(name, parse_text('"big cats" -dogs')), embedder)
        assert ids(result) == []
        assert "embed" in dict(result.report.timings_s)
    assert fake.texts == ["big cats"] * 2
    assert len(loads) == 1, "the model is loaded once"
    # Only the first components are those of the version.
    result = await run(stores, Hybrid(name, parse_text("cats are"), mode=HybridMode.VECTOR), embedder)
    (hit,) = result.hits
    assert hit.distance == pytest.approx(1 - 1 / np.hypot(1, 0.8), abs=2e-3)
    # No vector for the text: what is left answers, and says so.
    silent = await run(stores, Hybrid(name, parse_text("cat")), embedder)
    assert ids(silent) == ["x"]
    assert silent.report.degraded_reason == "NO_QUERY_VECTOR"
    with pytest.raises(InvalidArgumentError) as refused:
        await run(stores, Hybrid(name, parse_text("cat"), mode=HybridMode.VECTOR), embedder)
    assert refused.value.reason == "NO_QUERY_VECTOR"


async def test_another_model_needs_a_vector(stores: Stores, shelf: Collection) -> None:
    embedder = QueryEmbedder(Embedders(LocalTextEmbedder("fake", 4, Fake)))
    with pytest.raises(FailedPreconditionError, match="'mine' with 2 components") as refused:
        await run(stores, Hybrid(shelf.name, parse_text("tree")), embedder)
    assert refused.value.reason == "NO_QUERY_EMBEDDER"
    assert ids(await run(stores, Hybrid(shelf.name, parse_text("bee"), mode=HybridMode.TEXT), embedder)) == ["bee"]


async def test_views_and_tokens(stores: Stores, shelf: Collection) -> None:
    receipt = await stores.items.upsert(
        shelf, shelf.active, [Item("owl", (Chunk(0, np.array([0, 1], np.float16)),), text="wise owl")], "", b""
    )
    options = SearchOptions(view=View.FULL, min_consistency_token=receipt.token)
    result = await run(stores, Hybrid(shelf.name, parse_text("owl"), EAST, options=options))
    assert result.hits[0].item is not None
    assert result.hits[0].item.text == "wise owl"
    with pytest.raises(InvalidArgumentError):
        await run(
            stores,
            Hybrid(shelf.name, parse_text("owl"), EAST, options=SearchOptions(min_consistency_token="no token")),
        )


async def test_wrong_vectors_and_filters_are_refused(stores: Stores, shelf: Collection) -> None:
    with pytest.raises(InvalidArgumentError, match="vector"):
        await run(stores, Hybrid(shelf.name, parse_text("owl"), np.ones(3, np.float32)))
    with pytest.raises(InvalidArgumentError, match=r"options\.filter"):
        await run(stores, Hybrid(shelf.name, parse_text("owl"), EAST, options=SearchOptions(filter=JAZZ)))


async def test_an_empty_collection(stores: Stores) -> None:
    name = f"empty-{uuid4().hex[:8]}"
    await stores.collections.create(Collection(0, name), EmbeddingVersion(0, 0, "mine", 2))
    result = await run(stores, Hybrid(name, parse_text("anything at all"), EAST))
    assert result.hits == []
