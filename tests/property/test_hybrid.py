"""Hybrid search whatever is asked: syntax is read, arms are fused as defined, and nothing forbidden comes out."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.application.hybrid import Hybrid, search_hybrid
from retrieval.application.limits import Limits
from retrieval.application.query_embedder import no_embedder
from retrieval.application.search import SearchPipeline
from retrieval.domain.blend import fuse
from retrieval.domain.filters import Filter, matches
from retrieval.domain.hybrid import Arm, Fusion, HybridMode, fuse_arms
from retrieval.domain.model import ANONYMOUS, Chunk, Collection, EmbeddingVersion, Item, Viewer
from retrieval.domain.search import SearchOptions
from retrieval.domain.snippets import START, STOP, finish
from retrieval.domain.text_query import TextMatch, parse_text
from retrieval.domain.visibility import can_see
from retrieval.reference.text_index import complies, words_of
from tests.catalogue import ATTRIBUTES
from tests.property.strategies import FILTERS, IDS, VIEWERS, random_item
from tests.texts import WORDS, random_text

if TYPE_CHECKING:
    from retrieval.application.ports import Stores

PIECES = st.one_of(
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS[:8]), min_size=1, max_size=2).map(lambda w: f'"{" ".join(w)}"'),
    st.sampled_from(WORDS[:12]).map("-{}".format),
    st.just("OR"),
)
TEXTS = st.lists(PIECES, min_size=1, max_size=6).map(" ".join)
SHORTLISTS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(-500, 500).map(lambda n: n / 100)),
    max_size=8,
    unique_by=lambda pair: pair[0],
).map(lambda pairs: sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


@pytest.fixture(scope="module")
def shelf() -> dict[str, Item]:
    chooser, rng = Random(6), np.random.default_rng(6)
    made = {i: replace(random_item(i, chooser), text=random_text(chooser)) for i in IDS}
    vectors = rng.standard_normal((len(IDS), 4)).astype(np.float16)
    return {
        i: replace(item, chunks=() if n % 5 == 0 else (Chunk(0, vectors[n]),))
        for n, (i, item) in enumerate(made.items())
    }


@pytest.fixture(scope="module")
async def both(shelf: dict[str, Item], postgres: Stores, reference: Stores) -> tuple[Collection, Collection]:
    name = f"hybrid-{uuid4().hex[:8]}"
    made = []
    for stores in (postgres, reference):
        collection = Collection(0, name, attributes=ATTRIBUTES)
        created = await stores.collections.create(collection, EmbeddingVersion(0, 0, "m", 4))
        await stores.items.upsert(created, created.active, list(shelf.values()), "", b"")
        made.append(created)
    return made[0], made[1]


async def run(stores: Stores, request: Hybrid) -> list[tuple[str, float]]:
    result = await search_hybrid(stores, SearchPipeline(stores, Limits()), no_embedder(), request)
    return [(hit.item_id, hit.score) for hit in result.hits]


@settings(max_examples=150)
@given(
    text=TEXTS,
    tree=FILTERS,
    viewer=st.none() | VIEWERS,
    excluded=st.lists(st.sampled_from(IDS), max_size=40),
    mode=st.sampled_from(HybridMode),
    match=st.sampled_from(TextMatch),
    fusion=st.sampled_from(Fusion),
    seed=st.integers(0, 1000),
)
async def test_nothing_that_is_not_allowed_comes_out(
    postgres: Stores,
    reference: Stores,
    both: tuple[Collection, Collection],
    shelf: dict[str, Item],
    text: str,
    tree: Filter,
    viewer: Viewer | None,
    excluded: list[str],
    mode: HybridMode,
    match: TextMatch,
    fusion: Fusion,
    seed: int,
) -> None:
    words = parse_text(text, match)
    options = SearchOptions(limit=50, filter=tree, viewer=viewer, exclude_item_ids=tuple(excluded))
    vector = None if mode is HybridMode.TEXT else np.random.default_rng(seed).standard_normal(4).astype(np.float32)
    request = Hybrid(both[0].name, words, vector, mode, fusion, options=options)
    found = await run(postgres, request)
    for item_id, _ in found:
        item = shelf[item_id]
        assert item_id not in excluded
        assert can_see(item, viewer or ANONYMOUS)
        assert matches(tree, item)
        assert not words.alternatives or complies(words, words_of(item.text))
    assert dict(found) == pytest.approx(dict(await run(reference, request)), abs=2e-3)


@given(text=st.text('ab "-or\t\u00e9', max_size=30), match=st.sampled_from(TextMatch))
def test_every_text_can_be_read(text: str, match: TextMatch) -> None:
    query = parse_text(text, match)
    assert all(a.words or a.phrases or a.excluded for a in query.alternatives)
    assert all(any(c.isalnum() for c in piece) for piece in query.pieces)
    assert set(query.wanted) <= set(query.pieces)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", [(("a", "b"), (), ())]),
        ("a or b c", [(("a",), (), ()), (("b", "c"), (), ())]),
        ('-a "b c" -"d e" f', [(("f",), ("b c",), ("a", "d e"))]),
        ('"not closed', [((), ("not closed",), ())]),
        ("well-known - -- e-mail", [(("well-known",), (), ("e-mail",))]),
        ("wsl --shutdown", [(("wsl", "shutdown"), (), ())]),
        ("a or", [(("a", "or"), (), ())]),
        ("(a) | or b", [(("a",), (), ()), (("b",), (), ())]),
        ("_ a", [(("a",), (), ())]),
        ("-only -this OR that", [((), (), ("only", "this")), (("that",), (), ())]),
        ('or OR "or"', [(("or",), (), ()), ((), ("or",), ())]),
    ],
)
def test_syntax(text: str, expected: list[object]) -> None:
    assert [tuple(a) for a in parse_text(text).alternatives] == expected


@given(first=SHORTLISTS, second=SHORTLISTS, weights=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)))
def test_fusion_by_scores(
    first: list[tuple[str, float]], second: list[tuple[str, float]], weights: tuple[float, float]
) -> None:
    arms = [
        Arm(name, [i for i, _ in each], [s for _, s in each], weight)
        for name, each, weight in zip(("text", "vector"), (first, second), weights, strict=True)
    ]
    fused = fuse_arms(arms, Fusion.SCORES)
    assert {f.item_id for f in fused} == {i for i, _ in first + second}
    assert [(-f.score, f.item_id) for f in fused] == sorted((-f.score, f.item_id) for f in fused)
    assert all(0 <= f.score <= 1 + 1e-9 for f in fused)
    # Scores on another scale change nothing.
    scaled = fuse_arms([arms[0]._replace(scores=[3 * s + 7 for s in arms[0].scores]), arms[1]], Fusion.SCORES)
    assert {f.item_id: f.score for f in scaled} == pytest.approx({f.item_id: f.score for f in fused}, abs=1e-6)


@given(first=SHORTLISTS, second=SHORTLISTS, weight=st.floats(0.1, 10))
def test_fusion_by_ranks_is_that_of_candidates(
    first: list[tuple[str, float]], second: list[tuple[str, float]], weight: float
) -> None:
    lists = {"text": [i for i, _ in first], "vector": [i for i, _ in second]}
    arms = [Arm(name, ids, [0.0] * len(ids), weight if name == "text" else 1.0) for name, ids in lists.items()]
    fused = fuse_arms(arms, Fusion.RECIPROCAL_RANKS)
    assert {f.item_id: f.score for f in fused} == pytest.approx(fuse(lists, {"text": weight}))
    assert all(f.score == pytest.approx(sum(p.score for p in f.contributions)) for f in fused)


@given(excerpt=st.text('a&<>"\x01\x02\x00\x1b\n', max_size=20))
def test_excerpts_are_safe(excerpt: str) -> None:
    shown = finish(excerpt, "[", "]", raw=False)
    assert not set(shown) & set('<>"\x01\x02\x00\x1b\n')
    assert shown.count("[") == excerpt.count(START)
    assert shown.count("]") == excerpt.count(STOP)
