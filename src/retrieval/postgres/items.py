"""Items in Postgres; implements `ItemStore`. Every write is one transaction, acknowledged once it is durable."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from retrieval.application.candidate_ports import ItemFacts
from retrieval.application.ports import WriteReceipt
from retrieval.application.worker_threads import in_thread
from retrieval.domain.errors import ConflictError, FailedPreconditionError, NotFoundError
from retrieval.domain.model import Chunk
from retrieval.domain.search import Predicate
from retrieval.postgres.copy_rows import ITEM_COLUMNS, CopyRows
from retrieval.postgres.embedding_rows import brings_news, copy_in, write_chunks
from retrieval.postgres.item_rows import read_item, read_place
from retrieval.postgres.names import partition
from retrieval.postgres.predicate import Parameters, compile_predicate, compile_visibility, visible_rows
from retrieval.postgres.removal import remove_traces
from retrieval.postgres.search_sql import EXACT_PROFILE
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.text_effects import apply_text_effects, text_versions
from retrieval.postgres.times import to_micros
from retrieval.postgres.tokens import make_token, read_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from retrieval.domain.model import ChunkPlace, Collection, EmbeddingVersion, Item, Viewer
    from retrieval.postgres.database import Database

WRITE_ATTEMPTS = 5
MANY_ROWS = 100
"""More rows take milliseconds to become items."""


class PostgresItems:
    """Writes and reads items. `on_change` is told when a version's properties may have changed."""

    def __init__(self, database: Database, on_change: Callable[[], None]) -> None:
        self._database = database
        self._on_change = on_change

    async def upsert(
        self,
        collection: Collection,
        version: EmbeddingVersion,
        items: Sequence[Item],
        request_id: str,
        fingerprint: bytes,
    ) -> WriteReceipt:
        """See `ItemStore`. Rows are removed and copied in anew: one path for new and known items, and a fast one."""
        ordered = sorted(items, key=lambda i: i.item_id)
        ids = [i.item_id for i in ordered]
        news = brings_news(version, [i.chunks for i in items])

        async def write(connection: Any) -> int:
            sql = queries("items")
            embedding = await text_versions(connection, collection.collection_id)
            removed = await connection.fetch(
                fill(sql["remove_items"], text=", text" if embedding else ""), collection.collection_id, ids
            )
            known = {r["item_id"]: to_micros(r["created_at"]) for r in removed}
            kept = (
                {i.item_id for i in ordered if i.item_id in known and not i.chunks}
                if version.version_id in embedding
                else set()
            )
            if len(known) > len(kept):
                gone = [item_id for item_id in known if item_id not in kept]
                await connection.execute(sql["remove_embeddings"], version.version_id, gone)
            now = time.time_ns() // 1000
            created = [i.created_at if i.created_at is not None else known.get(i.item_id, now) for i in ordered]
            rows = CopyRows(collection, version.version_id, ordered, created, now)
            await copy_in(connection, "items", ITEM_COLUMNS, rows.items())
            await write_chunks(connection, collection, version, ordered, rows)
            if embedding:
                before = {r["item_id"]: r["text"] for r in removed}
                await apply_text_effects(connection, embedding, version, ordered, before)
            if known:
                await connection.execute(
                    sql["spread_columns"], collection.collection_id, list(known), version.version_id, list(kept)
                )
            return len(ordered)

        receipt = await self._write(collection, ids, request_id, fingerprint, write)
        if news:
            self._on_change()
        return receipt

    async def delete(
        self, collection: Collection, item_ids: Sequence[str], request_id: str, fingerprint: bytes
    ) -> WriteReceipt:
        """See `ItemStore`."""
        ids = sorted(item_ids)

        async def write(connection: Any) -> int:
            sql = fill(queries("items")["remove_items"], text="")
            rows = await connection.fetch(sql, collection.collection_id, ids)
            # Not `ids`: an item that another writer replaced meanwhile stays, and so do its embeddings.
            removed = [r[0] for r in rows]
            await remove_traces(connection, collection.collection_id, removed)
            return len(removed)

        return await self._write(collection, ids, request_id, fingerprint, write)

    async def _write(
        self, collection: Collection, ids: Sequence[str], request_id: str, fingerprint: bytes, write: Any
    ) -> WriteReceipt:
        """Run `write` in a transaction with request receipt and change log."""
        for attempt in range(WRITE_ATTEMPTS):
            try:
                return await self._attempt(collection, ids, request_id, fingerprint, write, alone=attempt > 0)
            except ConflictError:
                # Another writer put the same item in between. Writers that collided go on alone, one after the other.
                continue
        raise ConflictError("other writers keep changing the same items; try again")

    async def _attempt(
        self,
        collection: Collection,
        ids: Sequence[str],
        request_id: str,
        fingerprint: bytes,
        write: Any,
        *,
        alone: bool,
    ) -> WriteReceipt:
        sql = queries("items")
        async with self._database.transaction() as connection:
            lock = sql["write_alone" if alone else "write_together"]
            if await connection.fetchrow(lock, collection.collection_id) is None:
                raise NotFoundError(
                    f"collection {collection.name!r} was deleted meanwhile", reason="COLLECTION_NOT_FOUND"
                )
            if request_id:
                claimed = await connection.fetchval(
                    sql["claim_request"], collection.collection_id, request_id, fingerprint
                )
                if claimed is None:
                    return await self._repeat(connection, collection, request_id, fingerprint)
            affected = await write(connection)
            if request_id:
                await connection.execute(sql["finish_request"], collection.collection_id, request_id, affected)
            logged = await connection.fetchrow(sql["log_change"], collection.collection_id, ids)
            return WriteReceipt(affected, make_token(logged["transaction_id"]))

    @staticmethod
    async def _repeat(connection: Any, collection: Collection, request_id: str, fingerprint: bytes) -> WriteReceipt:
        row = await connection.fetchrow(queries("items")["get_request"], collection.collection_id, request_id)
        if row["fingerprint"] != fingerprint:
            raise FailedPreconditionError(
                f"request_id {request_id!r} was used for another request; choose a new one", reason="REQUEST_ID_REUSED"
            )
        return WriteReceipt(row["affected"], make_token(row["transaction_id"]))

    async def get(
        self,
        collection: Collection,
        version: EmbeddingVersion,
        item_ids: Sequence[str],
        viewer: Viewer,
        *,
        with_chunks: bool,
    ) -> dict[str, Item]:
        """See `ItemStore`."""
        walled = self._database.walls(viewer)
        parameters = Parameters(collection.collection_id, list(item_ids), walled=walled)
        predicate = compile_predicate(Predicate(viewer=viewer), collection, parameters)
        sql = fill(queries("items")["get_items"], predicate=predicate, payload=", i.payload" if with_chunks else "")
        async with self._database.searching(None, walled=walled) as connection:
            rows = await connection.fetch(sql, *parameters.values)
            ids = [r["item_id"] for r in rows]
            chunks = await self._chunks(connection, version, ids, viewer, walled=walled) if with_chunks else {}
        return {item.item_id: item for item in await _read(rows, collection, chunks)}

    async def get_placed(
        self, collection: Collection, version: EmbeddingVersion, chunks: Mapping[str, int], viewer: Viewer
    ) -> dict[str, tuple[Item, ChunkPlace | None]]:
        """See `ItemStore`."""
        walled = self._database.walls(viewer)
        parameters = Parameters(collection.collection_id, list(chunks), list(chunks.values()), walled=walled)
        sql = fill(
            queries("items")["get_placed_items"],
            predicate=compile_predicate(Predicate(viewer=viewer), collection, parameters),
            # The policies have been told of the viewer where items are read, which comes first.
            visible=visible_rows(viewer, parameters),
            partition=partition(version.version_id),
            version_id=version.version_id,
        )
        async with self._database.searching(None, walled=walled) as connection:
            rows = await connection.fetch(sql, *parameters.values)
        places = [None if r["chunk_index"] is None else read_place(r) for r in rows]
        items = await _read(rows, collection, {})
        return {item.item_id: (item, place) for item, place in zip(items, places, strict=True)}

    async def list_after(
        self,
        collection: Collection,
        version: EmbeddingVersion,
        item_id: str,
        count: int,
        predicate: Predicate,
        *,
        with_chunks: bool,
    ) -> list[Item]:
        """See `ItemStore`."""
        walled = self._database.walls(predicate.viewer)
        parameters = Parameters(collection.collection_id, item_id, count, walled=walled)
        condition = compile_predicate(predicate, collection, parameters)
        sql = fill(queries("items")["list_items"], predicate=condition, payload=", i.payload" if with_chunks else "")
        async with self._database.searching(EXACT_PROFILE, walled=walled) as connection:
            rows = await connection.fetch(sql, *parameters.values)
            ids = [r["item_id"] for r in rows]
            chunks = (
                await self._chunks(connection, version, ids, predicate.viewer, walled=walled) if with_chunks else {}
            )
        return await _read(rows, collection, chunks)

    @staticmethod
    async def _chunks(
        connection: Any, version: EmbeddingVersion, item_ids: Sequence[str], viewer: Viewer, *, walled: bool
    ) -> dict[str, tuple[Chunk, ...]]:
        parameters = Parameters(list(item_ids), walled=walled)
        sql = fill(
            queries("items")["get_chunks"],
            partition=partition(version.version_id),
            version_id=version.version_id,
            predicate=compile_visibility(viewer, parameters),
        )
        rows = await connection.fetch(sql, *parameters.values)

        def read() -> dict[str, tuple[Chunk, ...]]:
            found: dict[str, list[Chunk]] = {}
            for row in rows:
                place = read_place(row)
                chunk = Chunk(place.chunk_index, row["embedding"].to_numpy(), *place[1:])
                found.setdefault(row["item_id"], []).append(chunk)
            return {item_id: tuple(chunks) for item_id, chunks in found.items()}

        return await in_thread(read) if len(rows) > MANY_ROWS else read()

    async def popular(self, collection: Collection, predicate: Predicate, count: int) -> list[tuple[str, int]]:
        """See `ItemStore`."""
        walled = self._database.walls(predicate.viewer)
        parameters = Parameters(collection.collection_id, count, walled=walled)
        condition = compile_predicate(predicate, collection, parameters)
        sql = fill(queries("items")["popular_items"], predicate=condition)
        async with self._database.searching(EXACT_PROFILE, walled=walled) as connection:
            return [(r[0], r[1]) for r in await connection.fetch(sql, *parameters.values)]

    async def token(self) -> str:
        """See `ItemStore`."""
        async with self._database.connection() as connection:
            return make_token(await connection.fetchval(queries("items")["own_transaction"]))

    async def wait_for(self, token: str) -> None:
        """See `ItemStore`. Reads from the primary reflect every commit: there is nothing to wait for."""
        read_token(token)


async def _read(rows: Sequence[Any], collection: Collection, chunks: Mapping[str, tuple[Chunk, ...]]) -> list[Item]:
    """The items of rows, with their chunks; in a thread where they are many."""

    def read() -> list[Item]:
        return [read_item(r, collection, chunks.get(r["item_id"], ())) for r in rows]

    return await in_thread(read) if len(rows) > MANY_ROWS else read()


async def admitted_items(
    database: Database, collection: Collection, item_ids: Sequence[str], predicate: Predicate
) -> dict[str, ItemFacts]:
    """Facts of those items that the predicate admits."""
    walled = database.walls(predicate.viewer)
    parameters = Parameters(collection.collection_id, list(item_ids), walled=walled)
    condition = compile_predicate(predicate, collection, parameters)
    sql = fill(queries("items")["admitted_items"], predicate=condition)
    async with database.searching(None, walled=walled) as connection:
        rows = await connection.fetch(sql, *parameters.values)
    return {r[0]: ItemFacts(r[1], to_micros(r[2]), r[3]) for r in rows}
