"""One embedding version in memory: how its view comes to be and follows the store."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from retrieval.faiss_cache.bitmap import Bitmap
from retrieval.faiss_cache.budget import Residency
from retrieval.faiss_cache.delta import Delta
from retrieval.faiss_cache.manifest import SegmentError
from retrieval.faiss_cache.view import View

if TYPE_CHECKING:
    from collections.abc import Collection as AbstractCollection

    from retrieval.application.cache_ports import ChangeFeed, Position, RowBatch, StoreSnapshot
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.faiss_cache.cache_settings import CacheSettings
    from retrieval.faiss_cache.segment import Segment

INLINE_ROWS = 16
"""So few rows are taken in on the event loop; more go to a thread, so that searches do not wait."""


@dataclass(slots=True)
class Resident:
    """Keeps `view` true to the store; None while it cannot be.

    `offered`: a segment to go over to at the next step. `residency`: what the memory budget grants it. `outgrown`: too
    much changed to follow; only a segment after generation `given_up` helps. `changed_at`: monotonic time of the last
    change.
    """

    collection: Collection
    version: EmbeddingVersion
    settings: CacheSettings
    view: View | None = None
    offered: Segment | None = None
    residency: Residency = Residency.FULL
    outgrown: bool = False
    given_up: int = 0
    changed_at: float = field(default_factory=time.monotonic)

    @property
    def changed_rows(self) -> int:
        """Rows that the next segment would take in or leave out."""
        return 0 if self.view is None else self.view.delta.rows + self.view.dead_rows

    @property
    def build_is_due(self) -> bool:
        """Whether a segment should be built."""
        if self.residency is Residency.NONE:
            return False
        segment_rows = 0 if self.view is None else self.view.segment_rows
        return self.outgrown or self.changed_rows > self.settings.worth_a_build(segment_rows)

    @property
    def is_empty(self) -> bool:
        """Whether it is known that the version holds no rows."""
        view = self.view
        return view is not None and not view.segment_rows - view.dead_rows + view.delta.living_rows

    def redefine(self, collection: Collection, version: EmbeddingVersion) -> None:
        """Take on changed definitions."""
        declared = collection.attributes != self.collection.attributes
        self.collection, self.version = collection, version
        if self.residency is Residency.NONE:
            self.residency = Residency.FULL  # there may be room now
        if self.view is None:
            return
        self.view = self.view.but(collection=collection, version=version)
        if declared:  # the delta has no columns for new attributes: it is read anew
            self.offered = self.offered or self.view.segment
            if self.offered is None:
                self.view = None

    def grant(self, residency: Residency) -> None:
        """Take on what the memory budget grants."""
        self.residency = residency
        if residency is Residency.NONE:
            self.view = None
        elif self.view is not None:
            self.view = self.view.but(residency=residency)

    def forget(self) -> None:
        """The store cannot tell what changed: start over."""
        self.view, self.given_up = None, 0

    def emptied(self) -> None:
        """The version was found without rows: it can be followed from there."""
        self.forget()
        self.outgrown = False

    async def step(self, snapshot: StoreSnapshot, changed: AbstractCollection[str], feed: ChangeFeed) -> None:
        """Come to the snapshot. `changed`: items of the collection that changed since the view's position."""
        if changed:
            self.changed_at = time.monotonic()
        segment = self.offered
        if segment is not None:
            await self._adopt(segment, snapshot, feed)
            if self.offered is segment:
                self.offered = None
        elif self.view is not None:
            if changed:
                await self._move(self.view, snapshot, changed)
            elif str(self.view.position) != str(snapshot.position):
                self.view = replace(self.view, position=snapshot.position)
        elif not self.outgrown and self.residency is not Residency.NONE:
            # A version without a segment is read whole, as long as it is small.
            await self._move(self._empty(None, snapshot.position), snapshot, None)

    async def _adopt(self, segment: Segment, snapshot: StoreSnapshot, feed: ChangeFeed) -> None:
        """Go over to a segment: what changed since it was read makes the new delta."""
        changes = await snapshot.changes(feed.position(segment.manifest.position))
        if changes is None:
            self.offered = None
            self._give_up(segment.manifest.generation)
            raise SegmentError(f"generation {segment.manifest.generation} is older than the change log remembers")
        self.outgrown = False
        changed = changes.items.get(self.collection.collection_id, set())
        await self._move(self._empty(segment, snapshot.position), snapshot, changed)

    def _empty(self, segment: Segment | None, position: Position) -> View:
        delta = Delta(self.collection, self.version)
        return View(self.collection, self.version, segment, None, delta.view(), position, self.residency)

    async def _move(self, view: View, snapshot: StoreSnapshot, changed: AbstractCollection[str] | None) -> None:
        """Bring `view` to the snapshot by the items that changed, None for all, and serve it from then on.

        Searches go on with the view as it is: what is appended meanwhile is beyond what it looks at.
        """
        most = self.settings.too_many(view.segment_rows)
        delta = view.delta.delta
        if len(changed or ()) + view.delta.rows + view.dead_rows > most:
            self._give_up(view.generation)
            return
        living = view.living
        try:
            if changed is not None:
                delta.kill(changed)
                living = _less(view, changed)
            wanted = None if changed is None else sorted(changed)
            async for batch in snapshot.rows(self.collection, self.version, wanted):
                if view.delta.rows + len(batch.items) > most or delta.rows > most:
                    self._give_up(view.generation)
                    return
                if len(batch.items) <= INLINE_ROWS:
                    delta.append(batch)
                else:
                    await _append(delta, batch)
        except BaseException:
            delta.revert(view.delta)
            raise
        if self.residency is not Residency.NONE:  # it may have been granted another meanwhile
            self.view = view.but(
                living=living, delta=delta.view(), position=snapshot.position, residency=self.residency
            )

    def _give_up(self, generation: int) -> None:
        """Serve nothing until there is a segment after that generation."""
        self.view, self.outgrown, self.given_up = None, True, generation


async def _append(delta: Delta, batch: RowBatch) -> None:
    """Append in a thread; when cancelled, wait for the thread first, since nobody else may touch the delta before."""
    appending = asyncio.ensure_future(asyncio.to_thread(delta.append, batch))  # awaited: below
    try:
        await asyncio.shield(appending)
    except asyncio.CancelledError:
        await asyncio.wait([appending])
        raise


def _less(view: View, changed: AbstractCollection[str]) -> Bitmap | None:
    """The living rows of the segment without those of the changed items."""
    if view.segment is None:
        return None
    gone = view.segment.columns.item_ids.rows_of(changed)
    if not len(gone):
        return view.living
    return (view.living or Bitmap.full(view.segment_rows)).without(gone)
