"""What a caller types means what `websearch_to_tsquery` makes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from retrieval.domain.model import Collection
from retrieval.domain.text_query import TextMatch, parse_text

if TYPE_CHECKING:
    import asyncpg

    from retrieval.application.ports import Stores

SPACES = [" ", "  "]
PIECES = [
    *SPACES,
    "ant",
    "bee",
    "cat",
    "or",
    "OR",
    "orbit",
    "40",
    "e-mail",
    "-",
    "--",
    '"',
    "!",
    "&",
    "(",
    ")",
    ":",
    ".",
]
TEXTS = ["", "ant", "bee", "cat", "ant bee", "bee ant", "cat ant bee 40", "40", "or", "ant or", "e-mail", "a b", "b a"]
EXAMPLES = [
    "ant --bee",
    "ant - bee",
    "or",
    "or ant",
    "ant or",
    "ant or or bee",
    "-40 ant",
    '-"ant bee" cat',
    '"ant bee',
    'ant"bee cat"40',
    "ant or -bee",
    "ant OR(bee)",
    "ant !or bee",
    "(ant) | or bee",
    "a,b",
    "-a_b ant",
]


def with_examples(test: object) -> object:
    for each in EXAMPLES:
        test = example(each)(test)  # type: ignore[type-var]
    return test


async def test_as_postgres_has_it(postgres: Stores, connection: asyncpg.Connection) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
    @with_examples  # type: ignore[arg-type]
    def compare(text: str) -> None:
        asyncio.run_coroutine_threadsafe(same(postgres, connection, text), loop).result(60)

    await asyncio.to_thread(compare)


async def same(postgres: Stores, connection: asyncpg.Connection, text: str) -> None:
    query = parse_text(text, TextMatch.ALL)
    conditions = await postgres.text._conditions(Collection(0, "words", text_language="simple"), query)
    ours = conditions.binding()
    wanted = await connection.fetchval("SELECT websearch_to_tsquery('simple', $1)::text", text)
    if not ours:
        # Nothing is left that binds: there was no word, or it has no lexeme.
        assert not wanted or not query.binding, f"{text!r}: {wanted}"
        return
    for document in TEXTS:
        theirs, is_ours = await connection.fetchrow(
            "SELECT to_tsvector('simple', $1) @@ websearch_to_tsquery('simple', $2),"
            " to_tsvector('simple', $1) @@ $3::text::tsquery",
            document,
            text,
            ours,
        )
        assert is_ours == theirs, f"{text!r} of {document!r}: {ours} for {wanted}"
