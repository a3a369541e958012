"""How many texts a collection has and how many have a word: kept for a while, so that most searches count nothing."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from retrieval.domain.text_ranking import inverse_frequency
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.text_conditions import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection
    from retrieval.postgres.database import Database

K = TypeVar("K")
V = TypeVar("V")

STATISTICS_TTL_S = 60.0
LENGTH_SAMPLE_ROWS = 1000
MAX_COUNTED = 50_000
"""A word that more texts have is counted no further: it says little, and more would take time with their number."""
SMALL_COLLECTION = 1000
"""Up to so many texts may be read one by one: the full-text index is shared by all collections."""
KEPT_COLLECTIONS = 1000
KEPT_WORDS = 20_000
TEXT_PROFILE = (
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "on"),
    ("enable_sort", "on"),
    ("max_parallel_workers_per_gather", "0"),
    ("plan_cache_mode", "force_custom_plan"),
)
"""Session settings of searches in texts: the planner sees the words, and scanning all items is never the way."""


class Extent(NamedTuple):
    """Number of texts and their mean length in distinct words, never 0."""

    documents: int
    average_length: float

    @property
    def collection_expression(self) -> str:
        """What a row's collection is compared by; see `search` in sql/queries/text.sql."""
        return "collection_id" if self.documents <= SMALL_COLLECTION else "collection_id + 0"


class Word(NamedTuple):
    """A lexeme, the number of texts that have it, and its inverse frequency."""

    lexeme: str
    frequency: int
    weight: float


class TextStatistics:
    """Counts and keeps."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._extents: OrderedDict[int, tuple[float, Extent]] = OrderedDict()
        self._frequencies: OrderedDict[tuple[int, str], tuple[float, int]] = OrderedDict()

    async def extent(self, collection: Collection) -> Extent:
        """Size of a collection's texts, at most STATISTICS_TTL_S old."""
        key, now = collection.collection_id, time.monotonic()
        kept = self._extents.get(key)
        if kept is not None and now - kept[0] < STATISTICS_TTL_S:
            return kept[1]
        async with self._database.searching(TEXT_PROFILE) as connection:
            row = await connection.fetchrow(queries("text")["extent"], key, LENGTH_SAMPLE_ROWS)
        extent = Extent(row["documents"], row["average_length"] or 1.0)
        _keep(self._extents, key, (now, extent), KEPT_COLLECTIONS)
        return extent

    async def words(self, collection: Collection, lexemes: Sequence[str]) -> list[Word]:
        """Those of the lexemes that any text has, rarest first."""
        now = time.monotonic()
        extent = await self.extent(collection)
        known: dict[str, int] = {}
        for lexeme in lexemes:
            kept = self._frequencies.get((collection.collection_id, lexeme))
            if kept is not None and now - kept[0] < STATISTICS_TTL_S:
                known[lexeme] = kept[1]
        missing = [lexeme for lexeme in lexemes if lexeme not in known]
        if missing:
            async with self._database.searching(TEXT_PROFILE) as connection:
                sql = fill(queries("text")["frequencies"], collection=extent.collection_expression)
                rows = await connection.fetch(sql, collection.collection_id, list(map(quoted, missing)), MAX_COUNTED)
            for lexeme, row in zip(missing, rows, strict=True):
                known[lexeme] = row["frequency"]
                _keep(self._frequencies, (collection.collection_id, lexeme), (now, row["frequency"]), KEPT_WORDS)
        words = [Word(x, known[x], inverse_frequency(extent.documents, known[x])) for x in lexemes]
        return sorted((w for w in words if w.frequency), key=lambda w: (w.frequency, w.lexeme))


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
