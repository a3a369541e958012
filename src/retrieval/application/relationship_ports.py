"""What the use cases need of relationships between items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from retrieval.domain.model import Collection, Viewer
    from retrieval.domain.relationships import Place, Reached, Relationship, RelationshipKey, Walk
    from retrieval.domain.search import Predicate


class RelationshipStore(Protocol):
    """Relationships, durable once a write returns. Their items need not exist; deleting an item removes its own."""

    async def upsert(self, collection: Collection, relationships: Sequence[Relationship]) -> int:
        """Insert or replace relationships of distinct keys, all or none; how many there were."""
        ...

    async def delete(self, collection: Collection, keys: Sequence[RelationshipKey]) -> int:
        """Delete those that exist, all or none, and return how many that was."""
        ...

    async def walk(
        self, collection: Collection, walk: Walk, predicate: Predicate, after: Place | None, count: int
    ) -> list[Reached]:
        """Up to `count` items behind the place `after`: see `strongest_paths`.

        Every item of a path, but for the first one, may be seen by the predicate's viewer; the rest of the predicate
        holds for the items that are returned.
        """
        ...

    async def notes(self, collection: Collection, keys: Iterable[RelationshipKey]) -> dict[RelationshipKey, str]:
        """Notes by key, as it is kept, of those relationships that exist and have one."""
        ...

    async def neighbours(
        self, collection: Collection, item_ids: Sequence[str], viewer: Viewer, count: int
    ) -> list[tuple[str, float]]:
        """(item id, strength) of what one step of a favourable kind leads to from any of those items, strongest first.

        At most `count`, all visible to the viewer; the strength is that of the strongest step.
        """
        ...

    async def any(self, collection: Collection) -> bool:
        """Whether any relationship is declared in the collection."""
        ...
