"""Full text in Postgres: languages, hostile queries, the index that answers, and the migration of what was there."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import asyncpg
import numpy as np
import pytest

from retrieval.application.hybrid_ports import SnippetStyle, TextSearch, check_language
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import ANONYMOUS, Collection, EmbeddingVersion, Item
from retrieval.domain.search import Predicate
from retrieval.domain.text_query import TextMatch, parse_text
from retrieval.domain.text_ranking import inverse_frequency, word_score
from retrieval.postgres.migrate import Migrator
from retrieval.postgres.text_index import PROPOSING_ROWS, proposing_words, text_statement
from retrieval.postgres.text_statistics import TEXT_PROFILE, Extent, Word
from tests.catalogue import ATTRIBUTES
from tests.postgres.test_plans import FILTER, VIEWER, explain, used

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retrieval.application.ports import Stores
    from retrieval.postgres.adapter import PostgresAdapter

RARE = [Word("lighthouse", 3, 7.0), Word("harbour", 9, 6.0)]


async def shelf(stores: Stores, name: str, texts: Mapping[str, str], language: str = "english") -> Collection:
    collection = Collection(0, name, attributes=ATTRIBUTES, text_language=language)
    created = await stores.collections.create(collection, EmbeddingVersion(0, 0, "m", 2))
    await stores.items.upsert(created, created.active, [Item(i, text=t) for i, t in texts.items()], "", b"")
    return created


async def found(
    stores: Stores, collection: Collection, text: str, match: TextMatch = TextMatch.ANY, count: int = 10
) -> list[str]:
    return (await stores.text.search(TextSearch(collection, parse_text(text, match), count))).item_ids


ENGLISH = {
    "a": "Sailors were sailing to the harbours",
    "b": "The harbour master's ship",
    "c": "An e-mail about the shipping",
    "d": "nothing of the kind",
}


async def test_english_finds_stems_and_skips_stop_words(postgres: Stores, name: str) -> None:
    collection = await shelf(postgres, name, ENGLISH)
    assert (await postgres.collections.get(name)).text_language == "english"
    assert set(await found(postgres, collection, "sail")) == {"a"}
    assert set(await found(postgres, collection, "the harbours")) == {"a", "b"}
    assert set(await found(postgres, collection, "ships -harbour")) == {"c"}
    assert set(await found(postgres, collection, '"harbour masters"')) == {"b"}
    assert set(await found(postgres, collection, "the kind ships", TextMatch.ALL)) == set()
    assert set(await found(postgres, collection, "the harbour ship", TextMatch.ALL)) == {"b"}
    assert set(await found(postgres, collection, "e-mail")) == {"c"}
    nothing = await postgres.text.search(TextSearch(collection, parse_text('the "of the" -and'), 10))
    assert (nothing.item_ids, nothing.searchable, nothing.exhausted) == ([], False, True)
    # Where an alternative binds to nothing but stop words, everything passes.
    everything = set(ENGLISH)
    for text, passing in {
        '-"of the" ship OR "harbour master"': everything,
        '-sail OR "no such thing"': {"b", "c", "d"},
    }.items():
        assert await postgres.text.complying(collection, parse_text(text), list(ENGLISH)) == passing
    beginning = await postgres.text.snippets(collection, parse_text("the"), ["d"], ANONYMOUS, SnippetStyle())
    assert beginning == {"d": "nothing of the kind"}
    # A phrase of stop words alone says nothing, and neither does one that must not be there.
    assert set(await found(postgres, collection, '"of the" kind -"to the"')) == {"d"}


async def test_simple_takes_words_as_they_are(postgres: Stores, name: str) -> None:
    collection = await shelf(postgres, name, ENGLISH, "simple")
    assert await found(postgres, collection, "sail") == []
    assert set(await found(postgres, collection, "the")) == {"a", "b", "c", "d"}


async def test_other_languages(postgres: Stores, name: str) -> None:
    collection = await shelf(postgres, name, {"x": "Die Häuser am Meer", "y": "Das Haus"}, "german")
    assert set(await found(postgres, collection, "Häusern")) == {"x", "y"}
    excerpts = await postgres.text.snippets(collection, parse_text("Haus"), ["x"], ANONYMOUS, SnippetStyle())
    assert excerpts == {"x": "Die <b>Häuser</b> am Meer"}


async def test_every_installed_language_may_be_asked_for(postgres: Stores) -> None:
    languages = await postgres.text.languages()
    assert {"simple", "english", "german", "french", "russian"} <= languages
    await check_language(postgres.text, "german", "f")
    for wrong in ("klingon", "English", "english; DROP TABLE items", "pg_catalog.english"):
        with pytest.raises(InvalidArgumentError, match=r"f: .* is none of .*english") as refused:
            await check_language(postgres.text, wrong, "f")
        assert refused.value.reason == "UNKNOWN_TEXT_LANGUAGE"


async def test_a_configuration_of_ones_own(postgres: Stores, connection: asyncpg.Connection, name: str) -> None:
    await connection.execute("CREATE TEXT SEARCH CONFIGURATION public.own_english (COPY = pg_catalog.english)")
    try:
        await check_language(postgres.text, "public.own_english", "f")
        collection = await shelf(postgres, name, ENGLISH, "public.own_english")
        assert set(await found(postgres, collection, "sail")) == {"a"}
        await postgres.collections.delete(name)
    finally:
        await connection.execute("DROP TEXT SEARCH CONFIGURATION public.own_english")


HOSTILE = ["it's", "back\\slash", "a & b | !c", "<->", "'; DROP TABLE retrieval.items; --", "x:*", ":A", "naïve 映画"]


@pytest.mark.parametrize("text", [*HOSTILE, *(f'"{t}"' for t in HOSTILE), *(f"word -{t}" for t in HOSTILE)])
@pytest.mark.parametrize("match", TextMatch)
async def test_no_text_breaks_the_query(postgres: Stores, name: str, text: str, match: TextMatch) -> None:
    collection = await shelf(postgres, name, {str(n): t for n, t in enumerate(HOSTILE)})
    query = parse_text(text, match)
    answer = await postgres.text.search(TextSearch(collection, query, 10))
    await postgres.text.complying(collection, query, answer.item_ids)
    await postgres.text.snippets(collection, query, ["0", "1"], ANONYMOUS, SnippetStyle())


async def test_occurrences_are_counted_exactly(postgres: Stores, name: str) -> None:
    chooser = Random(2)
    counts = {f"i{n:03d}": n for n in (*range(1, 60), 100, 150, 200, 250)}
    texts = {i: " ".join(["stone"] * n + [f"w{k}" for k in range(chooser.randint(0, 50))]) for i, n in counts.items()}
    collection = await shelf(postgres, name, texts, "simple")
    answer = await postgres.text.search(TextSearch(collection, parse_text("stone"), 100))
    lengths = {i: len(set(t.split())) for i, t in texts.items()}
    weight = inverse_frequency(len(texts), len(texts))
    average = sum(lengths.values()) / len(lengths)
    expected = {i: word_score(weight, n, lengths[i], average) for i, n in counts.items()}
    assert dict(zip(answer.item_ids, answer.scores, strict=True)) == pytest.approx(expected)
    assert answer.scores == sorted(answer.scores, reverse=True)


def test_rare_words_propose() -> None:
    words = [Word("a", 5, 6.0), Word("b", PROPOSING_ROWS - 5, 1.0), Word("c", 1, 0.5)]
    assert proposing_words(words, 10) == ["a", "b"]
    assert proposing_words([Word("a", 10**6, 0.1)], 10) == ["a"], "one word at least"
    assert proposing_words(words, PROPOSING_ROWS) == ["a", "b", "c"], "a longer page needs more"
    assert proposing_words([], 10) == []


async def test_common_words_propose_where_rare_ones_do_not_fill_the_page(postgres: Stores, name: str) -> None:
    texts = {f"i{n:04d}": "common" for n in range(PROPOSING_ROWS + 10)} | {"rare": "rare"}
    created = await shelf(postgres, name, texts)
    assert len(await found(postgres, created, "common rare", count=1)) == 1
    answer = await postgres.text.search(TextSearch(created, parse_text("common rare"), 5))
    assert answer.item_ids == ["rare", "i0000", "i0001", "i0002", "i0003"]
    assert not answer.exhausted


PREDICATES = {
    "anonymous": Predicate(),
    "viewer": Predicate(viewer=VIEWER),
    "everything": Predicate(FILTER, VIEWER, tuple(f"i{n}" for n in range(50)), ("owner-1",)),
}


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=PREDICATES.keys())
async def test_the_text_index_answers(
    adapter: PostgresAdapter,
    postgres: Stores,
    connection: asyncpg.Connection,
    name: str,
    predicate: Predicate,
    analysed: bool,
) -> None:
    rng = np.random.default_rng(4)
    texts = {f"i{n}": " ".join(f"w{w}" for w in rng.zipf(1.5, 12) % 3000) for n in range(2000)}
    collection = await shelf(postgres, name, texts, "simple")
    frequencies = Counter(w for t in texts.values() for w in set(t.split()))
    rare = next(w for w, n in frequencies.items() if n == 3)
    question = TextSearch(collection, parse_text(rare), 10, predicate)
    statement = text_statement(question, f"'{rare}' | 'w1999'", RARE, Extent(2000, 9.0))
    # Whether the planner knows anything of the items makes no difference.
    if analysed:
        await connection.execute("ANALYZE retrieval.items")
    plan = await explain(adapter, statement, TEXT_PROFILE)
    assert "items_text_search" in used(plan)
    # The collection is checked on the rows that the index found: no other index is asked, and no table is read whole.
    assert used(plan) == {"items_text_search"}
    assert not [n for n in plan if n["Node Type"] == "Seq Scan" and n.get("Relation Name") == "items"]


async def test_texts_that_were_there_are_kept_by_the_migration(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    await migrator.up()
    connection = await asyncpg.connect(empty_database)
    insert = """INSERT INTO retrieval.items
        (collection_id, item_id, visibility, status, text, created_at, updated_at{columns})
        VALUES (1, $1, 'public', 'approved', 'The Ships', now(), now(){values})"""
    vectors = "SELECT item_id, text_search::text FROM retrieval.items ORDER BY item_id"
    try:
        english = insert.format(columns=", text_language", values=", 'english'")
        await connection.execute(english, "a")
        assert [tuple(r) for r in await connection.fetch(vectors)] == [("a", "'ship':2")]
        applied = len(await migrator.status())
        await migrator.down(applied - 8)
        assert [tuple(r) for r in await connection.fetch(vectors)] == [("a", "'ships':2 'the':1")]
        await connection.execute(insert.format(columns="", values=""), "b")
        await migrator.up()
        assert {r[1] for r in await connection.fetch(vectors)} == {"'ships':2 'the':1"}
    finally:
        await connection.close()
