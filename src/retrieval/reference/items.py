"""Items in memory; implements `ItemStore`."""

from __future__ import annotations

from dataclasses import replace
from heapq import nsmallest
from typing import TYPE_CHECKING

from retrieval.application.candidate_ports import ItemFacts
from retrieval.application.ports import WriteReceipt
from retrieval.domain.engagement import ItemCounts
from retrieval.domain.errors import FailedPreconditionError, InvalidArgumentError
from retrieval.domain.visibility import can_see
from retrieval.reference.admission import admitted
from retrieval.reference.jobs import apply_text_effects, note_chunks
from retrieval.reference.tokens import check_token, make_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from retrieval.domain.model import ChunkPlace, Collection, EmbeddingVersion, Item, Viewer
    from retrieval.domain.search import Predicate
    from retrieval.reference.memory import Held, Memory

_NEVER_SEEN = ItemCounts()


class ReferenceItems:
    """Writes and reads items."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def upsert(
        self,
        collection: Collection,
        version: EmbeddingVersion,
        items: Sequence[Item],
        request_id: str,
        fingerprint: bytes,
    ) -> WriteReceipt:
        """See `ItemStore`."""
        for item in items:
            for chunk in item.chunks:
                if chunk.vector.shape != (version.dimension,):
                    raise InvalidArgumentError(
                        f"item {item.item_id!r} has an embedding of {chunk.vector.shape[0]} components, the version "
                        f"takes {version.dimension}",
                        reason="DIMENSION_MISMATCH",
                    )

        def write(held: Held) -> int:
            now_us = self._memory.now_us()
            for item in items:
                known = held.items.get(item.item_id)
                created_at = item.created_at
                if created_at is None:
                    created_at = now_us if known is None else known.created_at
                held.items[item.item_id] = replace(item, chunks=(), created_at=created_at, updated_at=now_us)
                if item.chunks or not version.embeds_text:
                    held.embeddings[version.version_id].put(item.item_id, item.chunks)
                apply_text_effects(self._memory, held, version, item, None if known is None else known.text)
            note_chunks(held, version, [item.chunks for item in items])
            return len(items)

        return self._write(collection, request_id, fingerprint, write)

    async def delete(
        self, collection: Collection, item_ids: Sequence[str], request_id: str, fingerprint: bytes
    ) -> WriteReceipt:
        """See `ItemStore`."""

        def write(held: Held) -> int:
            for embeddings in held.embeddings.values():
                for item_id in item_ids:
                    embeddings.put(item_id, ())
            gone = {i for i in item_ids if held.items.pop(i, None) is not None}
            for jobs in held.jobs.values():
                for item_id in item_ids:
                    jobs.pop(item_id, None)
            for key in [k for k in held.relationships if not gone.isdisjoint(k[:2])]:
                del held.relationships[key]
            return len(gone)

        return self._write(collection, request_id, fingerprint, write)

    def _write(
        self, collection: Collection, request_id: str, fingerprint: bytes, write: Callable[[Held], int]
    ) -> WriteReceipt:
        held = self._memory.held(collection)
        before = held.requests.get(request_id)
        if before is not None:
            if before[0] != fingerprint:
                raise FailedPreconditionError(
                    f"request_id {request_id!r} was used for another request; choose a new one",
                    reason="REQUEST_ID_REUSED",
                )
            return before[1]
        affected = write(held)
        self._memory.writes += 1
        receipt = WriteReceipt(affected, make_token(self._memory.writes))
        if request_id:
            held.requests[request_id] = (fingerprint, receipt, self._memory.now_us())
        return receipt

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
        held = self._memory.held(collection)
        found = (held.items[i] for i in dict.fromkeys(item_ids) if i in held.items)
        return {i.item_id: _read(held, version, i, with_chunks=with_chunks) for i in found if can_see(i, viewer)}

    async def get_placed(
        self, collection: Collection, version: EmbeddingVersion, chunks: Mapping[str, int], viewer: Viewer
    ) -> dict[str, tuple[Item, ChunkPlace | None]]:
        """See `ItemStore`."""
        found = await self.get(collection, version, list(chunks), viewer, with_chunks=False)
        embeddings = self._memory.held(collection).embeddings[version.version_id]
        places = {i: {c.chunk_index: c.place for c in embeddings.of(i)} for i in found}
        return {i: (item, places[i].get(chunks[i])) for i, item in found.items()}

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
        held = self._memory.held(collection)
        later = (held.items[i] for i in sorted(held.items) if i > item_id)
        page = list(admitted(later, predicate, collection))[:count]
        return [_read(held, version, item, with_chunks=with_chunks) for item in page]

    async def popular(self, collection: Collection, predicate: Predicate, count: int) -> list[tuple[str, int]]:
        """See `ItemStore`."""
        items = admitted(self._memory.held(collection).items.values(), predicate, collection)
        lowest = float("-inf")
        ordered = nsmallest(
            count,
            items,
            key=lambda i: (-i.rating_count, -(lowest if i.rating_value is None else i.rating_value), i.item_id),
        )
        return [(i.item_id, i.rating_count) for i in ordered]

    async def token(self) -> str:
        """See `ItemStore`."""
        return make_token(self._memory.writes)

    async def wait_for(self, token: str) -> None:
        """See `ItemStore`. Reads reflect every write at once: there is nothing to wait for."""
        check_token(token)


def admitted_facts(
    memory: Memory, collection: Collection, item_ids: Sequence[str], predicate: Predicate
) -> dict[str, ItemFacts]:
    """Facts of those items that the predicate admits."""
    items = memory.held(collection).items
    found = admitted((items[i] for i in dict.fromkeys(item_ids) if i in items), predicate, collection)
    return {i.item_id: ItemFacts(i.owner_id, i.created_at or 0, i.rating_count) for i in found}


def _read(held: Held, version: EmbeddingVersion, item: Item, *, with_chunks: bool) -> Item:
    counts = held.counts.get(item.item_id, _NEVER_SEEN)
    counted = replace(item, view_count=counts.view_count, repost_count=counts.repost_count)
    if not with_chunks:
        return replace(counted, payload_json=None)
    return replace(counted, chunks=held.embeddings[version.version_id].of(item.item_id))
