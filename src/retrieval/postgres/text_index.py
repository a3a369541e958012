"""Full text in Postgres; implements `TextIndex`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.application.bounded_cache import BoundedCache
from retrieval.application.hybrid_ports import TextAnswer
from retrieval.domain.snippets import START, STOP, finish
from retrieval.domain.text_ranking import K1, MAX_RANKED_WORDS, B
from retrieval.postgres.predicate import Parameters, compile_visibility
from retrieval.postgres.search_sql import Statement, condition
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.text_conditions import Analysed, TextConditions, quoted
from retrieval.postgres.text_statistics import TEXT_PROFILE, TextStatistics
from retrieval.postgres.times import to_micros

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.application.hybrid_ports import SnippetStyle, TextSearch
    from retrieval.domain.model import Collection, Viewer
    from retrieval.domain.text_query import TextQuery
    from retrieval.postgres.database import Database
    from retrieval.postgres.text_statistics import Extent, Word

PROPOSING_ROWS = 2000
PROPOSING_PER_HIT = 20
"""Rare words are looked for until so many texts have them; what has only more common ones scores less, and words that
nearly every text has would make a search read all of them."""
KEPT_BYTES, KEPT_EACH_BYTES = 16 * 2**20, 64 * 2**10
"""What the language makes of recent queries: a search needs it up to three times, and many searches are the same."""


class PostgresText:
    """Finds items by their texts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statistics = TextStatistics(database)
        self._analysed: BoundedCache[tuple[str, TextQuery], TextConditions] = BoundedCache(KEPT_BYTES, KEPT_EACH_BYTES)

    async def search(self, question: TextSearch) -> TextAnswer:
        """See `TextIndex`. Where the rare words do not fill the page, the common ones propose too."""
        conditions = await self._conditions(question.collection, question.query)
        words = await self._statistics.words(question.collection, conditions.lexemes)
        extent = await self._statistics.extent(question.collection)
        proposing = proposing_words(words[:MAX_RANKED_WORDS], question.count)
        rows = await self._search(question, conditions, words, extent, proposing)
        if len(rows) < question.count and len(proposing) < len(words):
            rows = await self._search(question, conditions, words, extent, None)
        return TextAnswer(
            [r["item_id"] for r in rows],
            [r["score"] for r in rows],
            [r["owner_id"] for r in rows],
            np.array([to_micros(r["created_at"]) for r in rows], dtype=np.int64),
            np.array([r["rating_count"] for r in rows], dtype=np.int64),
            exhausted=len(rows) < question.count,
            searchable=bool(conditions.lexemes),
        )

    async def complying(self, collection: Collection, query: TextQuery, item_ids: Sequence[str]) -> set[str]:
        """See `TextIndex`."""
        binding = (await self._conditions(collection, query)).binding() if query.binding else ""
        if not binding:
            return set(item_ids)
        async with self._database.searching(None) as connection:
            rows = await connection.fetch(
                queries("text")["complying"], collection.collection_id, list(item_ids), binding
            )
        return {r["item_id"] for r in rows}

    async def snippets(
        self, collection: Collection, query: TextQuery, item_ids: Sequence[str], viewer: Viewer, style: SnippetStyle
    ) -> dict[str, str]:
        """See `TextIndex`."""
        options = (
            f"StartSel={START}, StopSel={STOP}, MaxWords={style.max_words}, MinWords={style.max_words // 2}, "
            f'ShortWord=0, MaxFragments={style.max_fragments}, FragmentDelimiter=" … "'
        )
        conditions = await self._conditions(collection, query)
        parameters = Parameters(
            collection.collection_id,
            list(item_ids),
            collection.text_language,
            conditions.highlighted(),
            options,
            START + STOP,
        )
        sql = fill(queries("text")["snippets"], predicate=compile_visibility(viewer, parameters))
        async with self._database.searching(None) as connection:
            rows = await connection.fetch(sql, *parameters.values)
        return {r["item_id"]: finish(r["snippet"], style.start_marker, style.end_marker, raw=style.raw) for r in rows}

    async def languages(self) -> frozenset[str]:
        """See `TextIndex`."""
        async with self._database.connection() as connection:
            return frozenset(r["language"] for r in await connection.fetch(queries("text")["languages"]))

    async def _conditions(self, collection: Collection, query: TextQuery) -> TextConditions:
        key = collection.text_language, query
        kept = self._analysed.get(key)
        if kept is not None:
            return kept
        pieces = query.pieces
        async with self._database.searching(None) as connection:
            rows = await connection.fetch(queries("text")["analyse"], collection.text_language, list(pieces))
        analysed = (Analysed(r["phrase"], tuple(r["lexemes"])) for r in rows)
        conditions = TextConditions(query, dict(zip(pieces, analysed, strict=True)))
        self._analysed.put(key, conditions)
        return conditions

    async def _search(
        self,
        question: TextSearch,
        conditions: TextConditions,
        words: Sequence[Word],
        extent: Extent,
        proposing: Sequence[str] | None,
    ) -> Sequence[Any]:
        matching = conditions.matching(proposing)
        if not matching:
            return ()
        statement = text_statement(question, matching, words, extent)
        async with self._database.searching(TEXT_PROFILE) as connection:
            return list(await connection.fetch(statement.sql, *statement.values))


def proposing_words(words: Sequence[Word], count: int) -> list[str]:
    """The rarest of the words, rarest first, that so many texts have that a page of `count` will be good."""
    proposing: list[str] = []
    seen = 0
    for word in words:
        if proposing and seen + word.frequency > max(PROPOSING_ROWS, PROPOSING_PER_HIT * count):
            break
        seen += word.frequency
        proposing.append(word.lexeme)
    return proposing


def text_statement(question: TextSearch, matching: str, words: Sequence[Word], extent: Extent) -> Statement:
    """Items whose texts satisfy `matching`, ranked by `words`."""
    parameters = Parameters(question.collection.collection_id, matching, extent.average_length, question.count)
    term = queries("text")["term"].rpartition("--")[2].partition("\n")[2]
    terms = [
        fill(term, weight=parameters.add(word.weight), condition=parameters.add(quoted(word.lexeme)), k1=K1)
        for word in words[:MAX_RANKED_WORDS]
    ]
    predicate = condition(question.predicate, question.collection, question.scope, parameters)
    sql = fill(
        queries("text")["search"],
        terms=" + ".join(terms) or "0",
        collection=extent.collection_expression,
        predicate=predicate,
        k1=K1,
        b=B,
    )
    return Statement(sql, parameters.values)
