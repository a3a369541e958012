"""The same SQL through bare asyncpg: what Postgres and the driver cost without a service in front."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgvector import HalfVector

from benchmarks.database import connect
from benchmarks.load import Answer
from retrieval.domain.model import Collection, EmbeddingVersion, Metric
from retrieval.domain.search import IndexQuery, Source, Stage
from retrieval.domain.vectors import to_half
from retrieval.postgres.search_sql import EXACT_PROFILE, exact_statement, index_profile, index_statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from benchmarks.datasets import Dataset
    from retrieval.postgres.search_connections import Profile


@dataclass(frozen=True)
class Baseline:
    """One statement with the arguments of every query, and the session settings it runs under."""

    sql: str
    arguments: list[list[Any]]
    profile: Profile


def baseline_statement(dataset: Dataset, version_id: int, source: Source, effort: int, k: int) -> Baseline:
    """The statement that the service runs for an unfiltered search on the full dimension, from the service itself."""
    version = EmbeddingVersion(version_id, 1, "benchmark", dataset.dim, dataset.resolutions)
    collection = Collection(0, "benchmark", versions=(version,))
    statements = []
    for number, vector in enumerate(dataset.queries):
        half = to_half(vector, dataset.dim, Metric.COSINE, f"queries[{number}]")
        query = IndexQuery(collection, version, half, (Stage(dataset.dim, k),))
        statements.append(exact_statement(query) if source is Source.EXACT else index_statement(query, source))
    profile = EXACT_PROFILE if source is Source.EXACT else index_profile(source, effort)
    arguments = [[HalfVector(v) if hasattr(v, "dtype") else v for v in s.values] for s in statements]
    return Baseline(statements[0].sql, arguments, profile)


@dataclass(frozen=True)
class AsyncpgTarget:
    """A prepared statement on a connection of each caller's own."""

    url: str
    baseline: Baseline
    source: str

    @property
    def query_count(self) -> int:
        """How many different queries there are."""
        return len(self.baseline.arguments)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Callable[[int], Awaitable[list[Any]]]]:
        """A connection with the statement prepared, as the function that runs it for query number i."""
        connection = await connect(self.url)
        try:
            for name, value in self.baseline.profile:
                await connection.execute("SELECT set_config($1, $2, false)", name, value)
            statement = await connection.prepare(self.baseline.sql)
            yield lambda query: statement.fetch(*self.baseline.arguments[query])
        finally:
            await connection.close()

    def read(self, reply: list[Any]) -> Answer:
        """Ids of the rows; item ids are row numbers."""
        return Answer([int(row[0]) for row in reply], self.source)
