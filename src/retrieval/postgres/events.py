"""Events in Postgres; implements `EventStore`. Partitioned by month so that old ones go by dropping a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.ports import EventReceipt
from retrieval.domain.model import Event
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.times import to_micros, to_moment
from retrieval.postgres.tokens import make_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection
    from retrieval.postgres.database import Database

_DDL_LOCK = 0x7265_7472_6965_7601  # "retriev", 1: serialises the making of partitions between processes


class PostgresEvents:
    """Stores and reads events."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._months: set[tuple[int, int]] = set()

    async def record(self, collection: Collection, events: Sequence[Event]) -> EventReceipt:
        """See `EventStore`. The primary key is an event's identity: a repeated event changes nothing."""
        moments = [to_moment(e.occurred_at) for e in events]
        await self._ensure_months({(m.year, m.month) for m in moments})
        # Sorted by key, so that concurrent writers of the same events do not deadlock.
        ordered = sorted(zip(moments, events, strict=True), key=lambda p: (p[1].user_id, p[0], p[1].item_id))
        columns = [
            [e.user_id for _, e in ordered],
            [m for m, _ in ordered],
            [e.item_id for _, e in ordered],
            [e.event_id for _, e in ordered],
            [e.event_type for _, e in ordered],
            [e.value for _, e in ordered],
            [e.dwell_ms for _, e in ordered],
            [e.position for _, e in ordered],
            [e.predicted_score for _, e in ordered],
            [e.algorithm for _, e in ordered],
            [e.device for _, e in ordered],
            [e.context_json for _, e in ordered],
        ]
        async with self._database.transaction() as connection:
            status = await connection.execute(queries("events")["insert_events"], collection.collection_id, *columns)
            transaction_id = await connection.fetchval(queries("events")["own_transaction"])
        recorded = int(status.rpartition(" ")[2])
        return EventReceipt(recorded, len(events) - recorded, make_token(transaction_id))

    async def history(self, collection: Collection, user_id: str, count: int) -> list[Event]:
        """See `EventStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries("events")["history"], collection.collection_id, user_id, count)
        return [
            Event(
                r["user_id"],
                r["item_id"],
                r["event_type"],
                to_micros(r["occurred_at"]),
                r["event_id"],
                r["value"],
                r["dwell_ms"],
            )
            for r in rows
        ]

    async def seen(self, collection: Collection, user_id: str, count: int) -> list[str]:
        """See `EventStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries("events")["seen"], collection.collection_id, user_id, count)
        return [r[0] for r in rows]

    async def owners_of(self, collection: Collection, item_ids: Sequence[str]) -> set[str]:
        """See `EventStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries("events")["owners_of"], collection.collection_id, list(item_ids))
        return {r[0] for r in rows}

    async def _ensure_months(self, months: set[tuple[int, int]]) -> None:
        missing = sorted(months - self._months)
        if not missing:
            return
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _DDL_LOCK)
            for year, month in missing:
                await connection.execute(_month_statement(year, month))
        self._months |= months


def _month_statement(year: int, month: int) -> str:
    following = f"{year + month // 12:04d}-{month % 12 + 1:02d}-01 00:00:00+00"
    return fill(
        queries("events")["create_month"],
        partition=f"events_{year:04d}_{month:02d}",
        start=f"{year:04d}-{month:02d}-01 00:00:00+00",
        end=following,
    )
