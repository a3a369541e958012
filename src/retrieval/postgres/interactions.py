"""Events as training reads them, in Postgres; implements `InteractionLog`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.application.training_ports import MAX_COUNTED_EVENTS
from retrieval.domain.model import Event
from retrieval.domain.training import ENGAGING_TYPES, HISTORY_EXCLUDES, SEEN_TYPES, ItemCounts, rating_middle
from retrieval.postgres.sql_files import queries
from retrieval.postgres.times import to_micros, to_moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection
    from retrieval.postgres.database import Database


class PostgresInteractions:
    """Reads events by user and by item."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def users_after(self, collection: Collection, user_id: str, start: int, end: int, count: int) -> list[str]:
        """See `InteractionLog`."""
        rows = await self._fetch("users_after", collection, user_id, to_moment(start), to_moment(end), count)
        return [row["user_id"] for row in rows]

    async def window(self, collection: Collection, user_id: str, start: int, end: int, count: int) -> list[Event]:
        """See `InteractionLog`."""
        rows = await self._fetch("window", collection, user_id, to_moment(start), to_moment(end), count)
        return [_event(row) for row in rows]

    async def before(self, collection: Collection, user_id: str, moment: int, count: int) -> list[Event]:
        """See `InteractionLog`."""
        rows = await self._fetch("before", collection, user_id, to_moment(moment), count, HISTORY_EXCLUDES)
        return [_event(row) for row in rows]

    async def engaged_before(
        self, collection: Collection, user_id: str, item_ids: Sequence[str], moment: int
    ) -> set[str]:
        """See `InteractionLog`."""
        rows = await self._fetch(
            "engaged_before",
            collection,
            user_id,
            list(item_ids),
            to_moment(moment),
            list(ENGAGING_TYPES),
            rating_middle(collection.rating_scale_max),
        )
        return {row["item_id"] for row in rows}

    async def counts(self, collection: Collection, moments: Sequence[tuple[str, int]]) -> list[ItemCounts]:
        """See `InteractionLog`."""
        rows = await self._fetch(
            "counts",
            collection,
            [item_id for item_id, _ in moments],
            [to_moment(moment) for _, moment in moments],
            MAX_COUNTED_EVENTS,
            list(ENGAGING_TYPES),
            rating_middle(collection.rating_scale_max),
            list(SEEN_TYPES),
        )
        return [ItemCounts(*row) for row in rows]

    async def _fetch(self, name: str, collection: Collection, *values: object) -> list[Any]:
        async with self._database.connection() as connection:
            rows: list[Any] = await connection.fetch(queries("interactions")[name], collection.collection_id, *values)
        return rows


def _event(row: Any) -> Event:
    return Event(
        row["user_id"],
        row["item_id"],
        row["event_type"],
        to_micros(row["occurred_at"]),
        row["event_id"],
        row["value"],
        row["dwell_ms"],
    )
