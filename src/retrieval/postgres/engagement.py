"""Edges, counters and what trends in Postgres; implements `EngagementStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.engagement_ports import EdgeReceipt, ErasedRows, NewItem
from retrieval.domain.engagement import ItemCounts, user_hash
from retrieval.domain.owner_edges import MAX_FOLLOWED, MAX_TURNED_DOWN, EdgeKind, OwnerEdges
from retrieval.postgres.sql_files import queries
from retrieval.postgres.statements import affected
from retrieval.postgres.times import to_micros
from retrieval.postgres.user_feed import payloads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection
    from retrieval.domain.owner_edges import OwnerEdge
    from retrieval.postgres.database import Database
    from retrieval.postgres.folding import EventFolder
    from retrieval.postgres.retention import Retention
    from retrieval.postgres.trending import TrendingLists
    from retrieval.postgres.user_feed import PostgresUserFeed

_MOST = {EdgeKind.FOLLOW: MAX_FOLLOWED, EdgeKind.BLOCK: MAX_TURNED_DOWN, EdgeKind.MUTE: MAX_TURNED_DOWN}


class PostgresEngagement:
    """Reads what events add up to; writes edges."""

    def __init__(
        self,
        database: Database,
        feed: PostgresUserFeed,
        folder: EventFolder,
        trending: TrendingLists,
        retention: Retention,
    ) -> None:
        self._database = database
        self._feed = feed
        self._folder = folder
        self._trending = trending
        self._retention = retention

    async def edges(self, collection: Collection, user_id: str) -> OwnerEdges:
        """See `EngagementStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                queries("engagement")["edges"],
                collection.collection_id,
                user_id,
                [kind.value for kind in _MOST],
                list(_MOST.values()),
            )
        owners: dict[str, list[str]] = {}
        for kind, owner_id in rows:
            owners.setdefault(kind, []).append(owner_id)
        return OwnerEdges(
            tuple(owners.get("follow", ())), frozenset(owners.get("block", ())), frozenset(owners.get("mute", ()))
        )

    async def set_edges(
        self, collection: Collection, user_id: str, add: Sequence[OwnerEdge], remove: Sequence[OwnerEdge]
    ) -> EdgeReceipt:
        """See `EngagementStore`."""
        sql = queries("engagement")
        async with self._database.transaction() as connection:
            changed = [
                affected(
                    await connection.execute(
                        sql[statement],
                        collection.collection_id,
                        user_id,
                        [e.kind.value for e in edges],
                        [e.owner_id for e in edges],
                    )
                )
                for statement, edges in (("add_edges", add), ("remove_edges", remove))
            ]
            if any(changed):
                await connection.execute(sql["wake"], payloads(collection.collection_id, [user_hash(user_id)]))
        if any(changed):
            self._announce(collection, user_id)
        return EdgeReceipt(*changed)

    async def counts(self, collection: Collection, item_ids: Sequence[str]) -> dict[str, ItemCounts]:
        """See `EngagementStore`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries("engagement")["counts"], collection.collection_id, list(item_ids))
        return {item_id: ItemCounts(views, reposts) for item_id, views, reposts in rows}

    async def newest(self, collection: Collection, owner_ids: Sequence[str] | None, count: int) -> list[NewItem]:
        """See `EngagementStore`."""
        sql = queries("engagement")["newest_items" if owner_ids is None else "newest_items_of"]
        owners = () if owner_ids is None else (list(dict.fromkeys(owner_ids)),)
        async with self._database.connection() as connection:
            rows = await connection.fetch(sql, collection.collection_id, count, *owners)
        return [NewItem(item_id, owner_id, to_micros(created_at)) for item_id, owner_id, created_at in rows]

    async def newest_event_at(self, collection: Collection) -> int | None:
        """See `EngagementStore`."""
        async with self._database.connection() as connection:
            moment = await connection.fetchval(queries("engagement")["newest_event_at"], collection.collection_id)
        return None if moment is None else to_micros(moment)

    async def trending(self, collection: Collection, window_s: int, count: int) -> list[tuple[str, float]]:
        """See `EngagementStore`."""
        return await self._trending.best(collection.collection_id, window_s, count)

    async def trending_refreshed_at(self, collection: Collection, window_s: int) -> int | None:
        """See `EngagementStore`."""
        return await self._trending.refreshed_at(collection.collection_id, window_s)

    async def refresh_trending(self, collection: Collection) -> None:
        """See `EngagementStore`."""
        await self._folder.fold_now()
        await self._trending.refresh(collection.collection_id)

    async def prune_events(self, before: int) -> int:
        """See `EngagementStore`."""
        return await self._retention.prune(before)

    async def erase_user(self, collection: Collection, user_id: str) -> ErasedRows:
        """See `EngagementStore`. One transaction."""
        sql = queries("engagement")
        async with self._database.transaction() as connection:
            erased = ErasedRows(
                *[
                    affected(await connection.execute(sql[f"erase_{what}"], collection.collection_id, user_id))
                    for what in ("events", "edges", "profiles", "pairs")
                ]
            )
            await connection.execute(sql["wake"], payloads(collection.collection_id, [user_hash(user_id)]))
        self._announce(collection, user_id)
        return erased

    def _announce(self, collection: Collection, user_id: str) -> None:
        self._feed.announce(collection.collection_id, frozenset({user_hash(user_id)}))
