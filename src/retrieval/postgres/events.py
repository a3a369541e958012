"""Events in Postgres; implements `EventStore`. Partitioned by month so that old ones go by dropping a table."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import asyncpg

from retrieval.application.ports import EventReceipt
from retrieval.domain.decay import counted
from retrieval.domain.engagement import DAY_US, LEAST_RATING, event_types_of
from retrieval.domain.model import Event
from retrieval.domain.owner_edges import EDGE_EVENTS
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.times import to_micros, to_moment
from retrieval.postgres.tokens import make_token
from retrieval.postgres.user_feed import hashes_of, payloads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection
    from retrieval.postgres.database import Database
    from retrieval.postgres.user_feed import PostgresUserFeed

DDL_LOCK = 0x7265_7472_6965_7601  # "retriev", 1: serialises the making and dropping of partitions between processes


class PostgresEvents:
    """Stores and reads events."""

    def __init__(self, database: Database, feed: PostgresUserFeed) -> None:
        self._database = database
        self._feed = feed
        self._months: set[tuple[int, int]] = set()

    async def record(self, collection: Collection, events: Sequence[Event]) -> EventReceipt:
        """See `EventStore`. The primary key is an event's identity: a repeated event changes nothing."""
        # The first of several with the same key, and sorted by it: concurrent writers of the same do not deadlock.
        unique = {(e.user_id, e.occurred_at, e.item_id, e.event_id): e for e in reversed(events)}
        ordered = [unique[key] for key in sorted(unique)]
        days = {e.occurred_at // DAY_US for e in ordered}
        months = {(m.year, m.month) for m in (to_moment(day * DAY_US) for day in days)}
        hashes = hashes_of({e.user_id for e in ordered})
        statement = fill(
            queries("events")["record_events"],
            edges=queries("events")["record_edges"] if any(e.event_type in EDGE_EVENTS for e in ordered) else "",
        )
        values = (
            collection.collection_id,
            [e.user_id for e in ordered],
            [e.occurred_at for e in ordered],
            [e.item_id for e in ordered],
            [e.event_id for e in ordered],
            [e.event_type for e in ordered],
            [e.value for e in ordered],
            [e.dwell_ms for e in ordered],
            [e.position for e in ordered],
            [e.predicted_score for e in ordered],
            [e.algorithm for e in ordered],
            [e.device for e in ordered],
            [e.context_json for e in ordered],
            json.dumps({name: counted(kind.weight) for name, kind in event_types_of(collection).items()}),
            collection.rating_scale_max,
            payloads(collection.collection_id, hashes),
            LEAST_RATING * collection.rating_scale_max,
        )
        row = await self._insert(months, statement, values)
        if row["recorded"]:
            self._feed.announce(collection.collection_id, hashes)
        return EventReceipt(row["recorded"], len(events) - row["recorded"], make_token(row["transaction_id"]))

    async def _insert(self, months: set[tuple[int, int]], statement: str, values: tuple[object, ...]) -> asyncpg.Record:
        await self._ensure_months(months)
        async with self._database.connection() as connection:
            try:
                return await connection.fetchrow(statement, *values)
            except asyncpg.CheckViolationError:
                # Another process dropped a month that is known here as made.
                self._months -= months
        await self._ensure_months(months)
        async with self._database.connection() as connection:
            return await connection.fetchrow(statement, *values)

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

    async def seen(self, collection: Collection, user_id: str, count: int) -> list[tuple[str, bool]]:
        """See `EventStore`."""
        types = event_types_of(collection)
        negative = [name for name, kind in types.items() if kind.weight < 0 and name != "rating"]
        scale = collection.rating_scale_max
        values = (user_id, count, negative, scale, counted(types["rating"].weight), LEAST_RATING * scale)
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries("events")["seen"], collection.collection_id, *values)
        # Up to a million: other calls must not wait for it.
        return await asyncio.to_thread(lambda: [(r[0], bool(r[1])) for r in rows])

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
            await connection.execute("SELECT pg_advisory_xact_lock($1)", DDL_LOCK)
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
