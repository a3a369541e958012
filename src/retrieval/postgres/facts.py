"""What the planner of a search has to know: rows, indexes that are ready, share of rows a predicate admits.

Both are kept for a short time, so that a search usually costs no extra round trip.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from retrieval.application.bounded_cache import BoundedCache
from retrieval.postgres.names import partition
from retrieval.postgres.search_sql import EXACT_PROFILE, selectivity_statement
from retrieval.postgres.sql_files import queries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retrieval.domain.model import EmbeddingVersion
    from retrieval.domain.search import IndexQuery, IndexScope, Predicate
    from retrieval.postgres.database import Database

FACTS_TTL_S = 1.0
SELECTIVITY_TTL_S = 30.0
SELECTIVITY_BYTES, SELECTIVITY_ENTRY_BYTES = 16 * 2**20, 64 * 2**10
"""Of the predicates whose shares are kept, together and each. What is larger is sampled anew, which takes no longer."""
SAMPLE_ROWS = 2000
"""Rows sampled: a share of 1 % comes out within a fifth of itself in two cases of three."""


@dataclass(frozen=True, slots=True)
class ReadyIndex:
    """An index that can be used."""

    lists: int
    generation: int


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """State of an embedding version. `indexes` by (kind, dimension)."""

    rows: int
    pages: int
    indexes: Mapping[tuple[str, int], ReadyIndex]


class FactsCache:
    """Reads and keeps facts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._facts: dict[int, tuple[float, VersionFacts]] = {}
        self._selectivity: BoundedCache[tuple[int, IndexScope, Predicate], tuple[float, float]] = BoundedCache(
            SELECTIVITY_BYTES, SELECTIVITY_ENTRY_BYTES
        )

    def forget(self) -> None:
        """Drop everything, e.g. after an index build."""
        self._facts.clear()
        self._selectivity.clear()

    async def facts(self, version: EmbeddingVersion) -> VersionFacts:
        """Facts of a version, at most FACTS_TTL_S old."""
        kept = self._facts.get(version.version_id)
        if kept is not None and time.monotonic() - kept[0] < FACTS_TTL_S:
            return kept[1]
        async with self._database.searching(None) as connection:
            row = await connection.fetchrow(
                queries("search")["version_facts"], f"retrieval.{partition(version.version_id)}", version.version_id
            )
        indexes = {
            (entry["kind"], entry["dimension"]): ReadyIndex(entry["lists"], entry["generation"])
            for entry in (json.loads(row["indexes"]) if row else ())
        }
        facts = VersionFacts(row["row_estimate"] if row else 0, row["pages"] if row else 0, indexes)
        if len(self._facts) > 1000:
            self._facts.clear()
        self._facts[version.version_id] = (time.monotonic(), facts)
        return facts

    async def selectivity(self, query: IndexQuery, facts: VersionFacts) -> float:
        """Estimated share of rows that the query's predicate admits, in (0, 1].

        Where the sample shows none, half a row of it stands for the share.
        """
        # Excluded ids are counted, not sampled: they differ with every user, and would fill the cache.
        predicate = query.predicate
        if predicate.excluded_item_ids:
            predicate = replace(predicate, excluded_item_ids=())
        excluded = len(query.predicate.excluded_item_ids) / max(facts.rows, 1)
        return max(await self._sampled(query, predicate, facts) - excluded, 0.5 / max(facts.rows, 1))

    async def _sampled(self, query: IndexQuery, predicate: Predicate, facts: VersionFacts) -> float:
        key = (query.version.version_id, query.params.scope, predicate)
        kept = self._selectivity.get(key)
        if kept is not None and time.monotonic() - kept[0] < SELECTIVITY_TTL_S:
            return kept[1]
        percent = min(100.0, 100.0 * SAMPLE_ROWS / max(facts.rows, 1))
        # SYSTEM picks whole pages; at least a handful of them
        percent = min(100.0, max(percent, 100.0 * 8 / max(facts.pages, 1)))
        statement = selectivity_statement(predicate, query.collection, query.version, query.params.scope, percent)
        async with self._database.searching(EXACT_PROFILE) as connection:
            row = await connection.fetchrow(statement.sql, *statement.values)
        share = max(row["admitted"], 0.5) / row["seen"] if row["seen"] else 1.0
        share = min(1.0, share)
        self._selectivity.put(key, (time.monotonic(), share))
        return share
