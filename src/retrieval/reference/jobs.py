"""Embedding jobs in memory: made and ended by writes of items."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from retrieval.domain.embedding_jobs import MAX_ERROR_CHARACTERS, WRITE_PRIORITY, TextEffect, text_effect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from retrieval.domain.model import Chunk, EmbeddingVersion, Item
    from retrieval.reference.memory import Held, Memory


@dataclass(slots=True)
class Job:
    """One job. Times in microseconds since the epoch; `lease` and `text` are those of the lease it is under."""

    job_id: int
    item_id: str
    priority: int
    created_at: int
    due_at: int
    attempts: int = 0
    lost_leases: int = 0
    lease: UUID | None = None
    lease_ends: int = 0
    text: str = ""
    dead: bool = False
    error: str = ""
    failed_at: int = 0

    def put_back(self, due_at: int, attempts: int) -> None:
        """Queue it again."""
        self.lease, self.due_at, self.attempts, self.dead = None, due_at, attempts, False
        self.lost_leases = min(self.lost_leases, attempts)

    def lose_lease(self) -> None:
        """Count a lease that ran out as an attempt."""
        self.lost_leases += 1
        self.put_back(self.due_at, self.attempts + 1)

    def hold(self, error: str, now: int) -> None:
        """It is dead."""
        self.lease, self.dead, self.error, self.failed_at = None, True, error[:MAX_ERROR_CHARACTERS], now


def enqueue(memory: Memory, held: Held, version_id: int, item_id: str, priority: int) -> None:
    """Queue an item whose text is new."""
    jobs = held.jobs[version_id]
    now = memory.now_us()
    job = jobs.get(item_id)
    if job is None or job.dead:
        jobs[item_id] = Job(memory.next_id(), item_id, priority, now, now)
        return
    job.priority = max(job.priority, priority)
    if job.lease is None:
        job.put_back(now, 0)


def apply_text_effects(memory: Memory, held: Held, target: EmbeddingVersion, item: Item, before: str | None) -> None:
    """Queue, keep and clear what belongs to an item that was just written with chunks of `target`."""
    for version_id, jobs in held.jobs.items():
        given = version_id == target.version_id and bool(item.chunks)
        embedded = bool(held.embeddings[version_id].of(item.item_id))
        match text_effect(before, item.text, given=given, embedded=embedded):
            case TextEffect.EMBED:
                enqueue(memory, held, version_id, item.item_id, WRITE_PRIORITY)
            case TextEffect.REPLACE:
                jobs.pop(item.item_id, None)
            case TextEffect.CLEAR:
                jobs.pop(item.item_id, None)
                held.embeddings[version_id].put(item.item_id, ())
            case TextEffect.NONE:
                pass


def count_texts(held: Held, version: EmbeddingVersion) -> tuple[int, int, int]:
    """Items with a text, those with an embedding, and those without one whose job is not dead."""
    texts = [i.item_id for i in held.items.values() if i.text]
    missing = [i for i in texts if not held.embeddings[version.version_id].of(i)]
    jobs = held.jobs.get(version.version_id, {})
    outstanding = [i for i in missing if i not in jobs or not jobs[i].dead]
    return len(texts), len(texts) - len(missing), len(outstanding)


def note_chunks(held: Held, version: EmbeddingVersion, written: Sequence[tuple[Chunk, ...]]) -> None:
    """Note how many chunks an item of the version has at most, and whether any has a place."""
    chunks = max((len(each) for each in written), default=1)
    places = any(chunk.placed for each in written for chunk in each)
    versions = tuple(
        replace(v, max_chunks=max(v.max_chunks, chunks), has_places=v.has_places or places)
        if v.version_id == version.version_id
        else v
        for v in held.collection.versions
    )
    held.collection = replace(held.collection, versions=versions)
