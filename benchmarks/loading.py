"""Loads a data set into the service, and the same rows by bare COPY, to compare the rates."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import grpc
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.database import SCHEMA, connect, database_url, stored_rows
from retrieval.v1 import (
    collection_service_pb2,
    collection_service_pb2_grpc,
    common_pb2,
    item_service_pb2,
    item_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rich.console import Console

    from benchmarks.datasets import Dataset

BATCH_ROWS = 1000
POLL_S = 0.5
MIN_IVFFLAT_ROWS = 1000
BUILD_TIMEOUT_S = 3600.0


class LoadingError(Exception):
    """The data set did not get into the service."""


@dataclass(frozen=True)
class Loaded:
    """How the load went: rows a second through StreamUpsertItems, and by bare COPY of the same rows."""

    collection: str
    stream_rows_per_s: float
    copy_rows_per_s: float


async def load(dataset: Dataset, address: str, data_dir: Path, console: Console) -> Loaded:
    """Has the data set loaded and indexed; what an earlier run loaded is used as it is.

    Raises: LoadingError where an index build fails; grpc.aio.AioRpcError.
    """
    name = "-".join([dataset.key, *map(str, dataset.resolutions)])
    marker = data_dir / "loaded" / f"{name}.json"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with grpc.aio.insecure_channel(address) as channel:
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            if marker.exists() and await _exists(channel, name):
                loaded = Loaded(**json.loads(marker.read_text()))
            else:
                await _create(channel, name, dataset)
                stream = await _stream(channel, name, dataset, progress)
                copied = await _bare_copy(database_url(data_dir), name, progress)
                loaded = Loaded(name, stream, copied)
                marker.parent.mkdir(parents=True, exist_ok=True)
                marker.write_text(json.dumps(asdict(loaded)))
            await _build(channel, name, dataset, progress)
    return loaded


async def cache(dataset: Dataset, address: str, console: Console | None) -> str:
    """Has the data set in the FAISS cache, in one segment; returns the name of its collection.

    What an earlier run loaded is used as it is. `console` None: silently. Raises: LoadingError; grpc.aio.AioRpcError.
    """
    name = dataset.key
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with grpc.aio.insecure_channel(address) as channel:
        stub = collection_service_pb2_grpc.CollectionServiceStub(channel)
        stats = collection_service_pb2.GetIndexStatsRequest(collection=name)
        with Progress(*columns, console=console, disable=console is None) as progress:
            if not await _is_loaded(channel, name, dataset):
                await _create(channel, name, dataset)
                await _stream(channel, name, dataset, progress)
            task = progress.add_task(f"{dataset.name}: segment", total=1)
            await _cached(stub, stats, dataset)
            progress.advance(task)
    return name


async def _is_loaded(channel: grpc.aio.Channel, name: str, dataset: Dataset) -> bool:
    """Whether the last row is there: batches are stored in their order, each whole or not at all."""
    if not await _exists(channel, name):
        return False
    last = item_service_pb2.BatchGetItemsRequest(collection=name, item_ids=[str(dataset.rows - 1)])
    reply = await item_service_pb2_grpc.ItemServiceStub(channel).BatchGetItems(last)
    return bool(reply.items)


async def _cached(
    stub: collection_service_pb2_grpc.CollectionServiceStub,
    stats: collection_service_pb2.GetIndexStatsRequest,
    dataset: Dataset,
) -> None:
    """Asks for a segment until all rows are in it."""
    deadline = time.monotonic() + BUILD_TIMEOUT_S
    asked_after = -1
    while time.monotonic() < deadline:
        held = (await stub.GetIndexStats(stats)).cache
        if _is_cached(held, dataset):
            return
        if held.generation > asked_after:
            asked_after = held.generation
            await stub.PrewarmCache(collection_service_pb2.PrewarmCacheRequest(collection=stats.collection))
        await asyncio.sleep(POLL_S)
    raise LoadingError(f"{dataset.name} is not in the cache after {BUILD_TIMEOUT_S:.0f} s; see the service's log")


def _is_cached(held: collection_service_pb2.CacheStats, dataset: Dataset) -> bool:
    return (
        held.state == collection_service_pb2.CACHE_STATE_RESIDENT
        and held.generation > 0
        and (held.row_count, held.delta_rows) == (dataset.rows, 0)
    )


async def index_stats(address: str, collection: str) -> collection_service_pb2.GetIndexStatsResponse:
    """Sizes and build times of the collection's indexes."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = collection_service_pb2_grpc.CollectionServiceStub(channel)
        return await stub.GetIndexStats(collection_service_pb2.GetIndexStatsRequest(collection=collection))


async def _exists(channel: grpc.aio.Channel, name: str) -> bool:
    stub = collection_service_pb2_grpc.CollectionServiceStub(channel)
    try:
        await stub.GetCollection(collection_service_pb2.GetCollectionRequest(collection=name))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return False
        raise
    return True


async def _create(channel: grpc.aio.Channel, name: str, dataset: Dataset) -> None:
    """A new, empty collection; a half-loaded one of that name goes."""
    stub = collection_service_pb2_grpc.CollectionServiceStub(channel)
    if await _exists(channel, name):
        await stub.DeleteCollection(collection_service_pb2.DeleteCollectionRequest(collection=name))
    bucket = collection_service_pb2.AttributeDefinition(name="bucket", type=common_pb2.ATTRIBUTE_TYPE_INT64)
    await stub.CreateCollection(
        collection_service_pb2.CreateCollectionRequest(
            collection=collection_service_pb2.Collection(name=name, attributes=[bucket]),
            embedding_version=collection_service_pb2.EmbeddingVersion(
                model=dataset.name, dimension=dataset.dim, resolutions=dataset.resolutions
            ),
        )
    )


async def _stream(channel: grpc.aio.Channel, name: str, dataset: Dataset, progress: Progress) -> float:
    """Rows a second, from the first batch sent to the last one acknowledged. Acknowledgements are read meanwhile."""
    call = item_service_pb2_grpc.ItemServiceStub(channel).StreamUpsertItems(_batches(name, dataset))
    task = progress.add_task(f"{dataset.name}: StreamUpsertItems", total=dataset.rows)
    begin = time.perf_counter()
    acknowledged = 0
    async for reply in call:
        acknowledged += reply.upserted_count
        progress.update(task, completed=acknowledged)
    if acknowledged != dataset.rows:
        raise LoadingError(f"{acknowledged} of {dataset.rows} items were acknowledged")
    return dataset.rows / (time.perf_counter() - begin)


async def _batches(name: str, dataset: Dataset) -> AsyncIterator[item_service_pb2.StreamUpsertItemsRequest]:
    for start in range(0, dataset.rows, BATCH_ROWS):
        rows = dataset.base[start : start + BATCH_ROWS].astype("<f4")
        items = [
            common_pb2.Item(
                item_id=str(number),
                chunks=[common_pb2.Chunk(vector=common_pb2.Vector(float32_le=row.tobytes()))],
                attributes={"bucket": common_pb2.AttributeValue(int64=int(dataset.buckets[number]))},
            )
            for number, row in enumerate(rows, start)
        ]
        batch = item_service_pb2.UpsertItemsRequest(collection=name, items=items)
        yield item_service_pb2.StreamUpsertItemsRequest(batch=batch)


async def _bare_copy(url: str, name: str, progress: Progress) -> float:
    """Rows a second of one binary COPY a table, into empty tables with the columns, defaults and indexes of the real.

    The clock covers COPY and commit alone, not the making of the rows: a rate that no service can reach.
    """
    connection = await connect(url)
    try:
        tables = await stored_rows(connection, name)
        task = progress.add_task("the same rows by bare COPY", total=len(tables))
        for table, _, _ in tables:
            await connection.execute(f"DROP TABLE IF EXISTS {SCHEMA}.bare_{table}")
            await connection.execute(f"CREATE TABLE {SCHEMA}.bare_{table} (LIKE {SCHEMA}.{table} INCLUDING ALL)")
        begin = time.perf_counter()
        async with connection.transaction():
            for table, names, rows in tables:
                await connection.copy_records_to_table(
                    f"bare_{table}", schema_name=SCHEMA, columns=names, records=rows, timeout=600
                )
                progress.advance(task)
        elapsed = time.perf_counter() - begin
        for table, _, _ in tables:
            await connection.execute(f"DROP TABLE {SCHEMA}.bare_{table}")
        return len(tables[-1][2]) / elapsed
    finally:
        await connection.close()


async def _build(channel: grpc.aio.Channel, name: str, dataset: Dataset, progress: Progress) -> None:
    """Builds what is not built, and waits for it."""
    stub = collection_service_pb2_grpc.CollectionServiceStub(channel)
    kinds = [collection_service_pb2.INDEX_KIND_HNSW, collection_service_pb2.INDEX_KIND_ATTRIBUTE]
    if dataset.rows >= MIN_IVFFLAT_ROWS:
        kinds.append(collection_service_pb2.INDEX_KIND_IVFFLAT)
    await stub.BuildIndex(collection_service_pb2.BuildIndexRequest(collection=name, kinds=kinds))
    tasks: dict[str, int] = {}
    while True:
        stats = await stub.GetIndexStats(collection_service_pb2.GetIndexStatsRequest(collection=name))
        for index in stats.indexes:
            if index.state == collection_service_pb2.INDEX_STATE_FAILED:
                raise LoadingError(f"index {index.name}: {index.error}")
            if index.name not in tasks:
                tasks[index.name] = progress.add_task(f"index {index.name}", total=100)
            progress.update(tasks[index.name], completed=round(100 * index.progress))
        if stats.indexes and all(i.state == collection_service_pb2.INDEX_STATE_READY for i in stats.indexes):
            return
        await asyncio.sleep(POLL_S)
