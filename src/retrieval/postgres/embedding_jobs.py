"""Embedding jobs inside somebody else's transaction: queued, ended and counted together with what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retrieval.postgres.embedding_queue import entrypoint, keys, queue_on
from retrieval.postgres.names import partition
from retrieval.postgres.sql_files import fill, queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection, EmbeddingVersion

SLICE = 100
"""Jobs a statement: the library's compares each of them with each, which takes 200 ms for a thousand."""


async def enqueue(connection: Any, version_id: int, item_ids: Sequence[str], priority: int) -> None:
    """Queue a job for each of the items, which have a new text; they are distinct and sorted.

    A job that is there is due at once, at the higher of the two priorities; one that is being worked on is done again
    once its text turns out to be another.
    """
    if not item_ids:
        return
    names = keys(version_id, item_ids)
    sql = queries("embedding_jobs")
    await connection.execute(sql["end_dead_jobs"], names)
    await connection.execute(sql["renew_jobs"], names)
    queue, job_name = queue_on(connection), entrypoint(version_id)
    for start in range(0, len(names), SLICE):
        part = item_ids[start : start + SLICE]
        await queue.enqueue(
            [job_name] * len(part),
            [item_id.encode() for item_id in part],
            [priority] * len(part),
            dedupe_key=list(names[start : start + SLICE]),
            on_conflict="update_priority",
        )


async def end_jobs(connection: Any, version_id: int, item_ids: Sequence[str]) -> None:
    """End the jobs of items, whatever their state; whoever works on one finds its lease lost."""
    if item_ids:
        await connection.execute(queries("embedding_jobs")["end_jobs"], keys(version_id, item_ids))


async def embedded_items(connection: Any, version_id: int, item_ids: Sequence[str]) -> set[str]:
    """Those of the items that have an embedding in the version."""
    if not item_ids:
        return set()
    sql = fill(queries("embedding_jobs")["embedded_items"], partition=partition(version_id), version_id=version_id)
    return {r["item_id"] for r in await connection.fetch(sql, list(item_ids))}


@dataclass(frozen=True, slots=True)
class TextCounts:
    """Items with a text; see `JobCounts`."""

    total: int
    embedded: int
    outstanding: int


async def count_texts(connection: Any, collection: Collection, version: EmbeddingVersion) -> TextCounts:
    """How many texts a version has embedded."""
    place = {"partition": partition(version.version_id), "version_id": version.version_id}
    row = await connection.fetchrow(fill(queries("embedding_jobs")["count_texts"], **place), collection.collection_id)
    return TextCounts(row["total"], row["embedded"], row["outstanding"])
