"""Collections and embedding versions in memory; implements `CollectionStore`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.domain.embedding_jobs import BACKFILL_PRIORITY, check_complete
from retrieval.domain.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from retrieval.domain.model import VersionState
from retrieval.reference.jobs import count_texts, enqueue
from retrieval.reference.memory import Embeddings, Held

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retrieval.domain.engagement import EventType
    from retrieval.domain.model import AttributeType, Collection, EmbeddingVersion, PopularThresholds
    from retrieval.domain.projection import Projection
    from retrieval.reference.memory import Memory


class ReferenceCollections:
    """Makes, changes and removes collections."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def create(
        self, collection: Collection, version: EmbeddingVersion, projection: Projection | None = None
    ) -> Collection:
        """See `CollectionStore`."""
        if collection.name in self._memory.collections:
            raise AlreadyExistsError(
                f"collection {collection.name!r} exists; GetCollection shows it", reason="COLLECTION_EXISTS"
            )
        now_us = self._memory.now_us()
        held = Held(replace(collection, collection_id=self._memory.next_id(), versions=(), created_at=now_us))
        self._memory.collections[collection.name] = held
        self._add_version(held, replace(version, state=VersionState.ACTIVE, activated_at=now_us), projection)
        return held.collection

    async def get(self, name: str) -> Collection:
        """See `CollectionStore`."""
        return self._memory.named(name).collection

    def peek(self, name: str) -> Collection | None:
        """See `CollectionStore`."""
        held = self._memory.collections.get(name)
        return None if held is None else held.collection

    async def list_after(self, name: str, count: int) -> list[Collection]:
        """See `CollectionStore`."""
        names = sorted(n for n in self._memory.collections if n > name)[:count]
        return [self._memory.collections[n].collection for n in names]

    async def update(
        self,
        name: str,
        add_attributes: Mapping[str, AttributeType],
        popular: PopularThresholds | None,
        rating_scale_max: float | None,
        event_types: Mapping[str, EventType] | None = None,
    ) -> Collection:
        """See `CollectionStore`."""
        held = self._memory.named(name)
        before = held.collection
        held.collection = replace(
            before,
            attributes={**before.attributes, **add_attributes},
            popular=before.popular if popular is None else popular,
            rating_scale_max=before.rating_scale_max if rating_scale_max is None else rating_scale_max,
            event_types={**before.event_types, **(event_types or {})},
        )
        return held.collection

    async def delete(self, name: str) -> None:
        """See `CollectionStore`."""
        self._memory.named(name)
        del self._memory.collections[name]

    async def create_version(
        self, name: str, version: EmbeddingVersion, projection: Projection | None = None
    ) -> EmbeddingVersion:
        """See `CollectionStore`."""
        held = self._memory.named(name)
        return self._add_version(held, replace(version, state=VersionState.BUILDING, activated_at=None), projection)

    async def activate_version(self, name: str, version: int, *, allow_incomplete: bool = False) -> Collection:
        """See `CollectionStore`."""
        held = self._memory.named(name)
        target = next((v for v in held.collection.versions if v.version == version), None)
        if target is None:
            raise NotFoundError(
                f"collection {name!r} has no embedding version {version}; GetCollection lists them",
                reason="EMBEDDING_VERSION_NOT_FOUND",
            )
        if target.embeds_text and not allow_incomplete:
            check_complete(target, count_texts(held, target)[2])
        if not _has_rows(held, target) and _has_rows(held, held.collection.active):
            raise FailedPreconditionError(
                f"embedding version {version} holds no embeddings yet; upsert items with embedding_version = "
                f"{version} first",
                reason="VERSION_EMPTY",
            )
        return self._swap(held, target)

    async def rollback_version(self, name: str) -> Collection:
        """See `CollectionStore`."""
        held = self._memory.named(name)
        retired = [v for v in held.collection.versions if v.state is VersionState.RETIRED]
        if not retired:
            raise FailedPreconditionError(
                f"no other embedding version of {name!r} was active before", reason="NO_PREVIOUS_VERSION"
            )
        return self._swap(held, max(retired, key=lambda v: v.activated_at or 0))

    def _add_version(self, held: Held, version: EmbeddingVersion, projection: Projection | None) -> EmbeddingVersion:
        added = replace(
            version,
            version_id=self._memory.next_id(),
            version=len(held.collection.versions) + 1,
            resolutions=tuple(sorted(version.resolutions)),
            max_chunks=1,
            has_places=False,
            created_at=self._memory.now_us(),
            input_dimension=0 if projection is None else projection.input_dimension,
        )
        if projection is not None:
            held.projections[added.version_id] = projection
        held.embeddings[added.version_id] = Embeddings(added.dimension)
        if added.embeds_text:
            held.jobs[added.version_id] = {}
            for item in held.items.values():
                if item.text:
                    enqueue(self._memory, held, added.version_id, item.item_id, BACKFILL_PRIORITY)
        held.collection = replace(held.collection, versions=(*held.collection.versions, added))
        return added

    def _swap(self, held: Held, target: EmbeddingVersion) -> Collection:
        def after(version: EmbeddingVersion) -> EmbeddingVersion:
            if version.version == target.version:
                return replace(version, state=VersionState.ACTIVE, activated_at=self._memory.now_us())
            if version.state is VersionState.ACTIVE:
                return replace(version, state=VersionState.RETIRED)
            return version

        held.collection = replace(held.collection, versions=tuple(after(v) for v in held.collection.versions))
        return held.collection


def _has_rows(held: Held, version: EmbeddingVersion) -> bool:
    return bool(held.embeddings[version.version_id].rows().item_ids)
