"""The cache put together: which versions are resident, who follows, who builds."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from retrieval.application.cache_ports import CacheReport, CacheState, CalibratedPlan
from retrieval.application.task_supervisor import CACHE_FOLLOWER, CACHE_SEGMENTS
from retrieval.domain.errors import RetrievalError
from retrieval.faiss_cache.budget import Residency
from retrieval.faiss_cache.follower import Follower
from retrieval.faiss_cache.keeper import LOOK_S, Keeper
from retrieval.faiss_cache.resident import Resident

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retrieval.application.cache_ports import ChangeFeed
    from retrieval.application.ports import CollectionStore
    from retrieval.application.task_supervisor import BackgroundTask, TaskSupervisor
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.faiss_cache.cache_settings import CacheSettings
    from retrieval.faiss_cache.keeper import Build
    from retrieval.faiss_cache.manifest import Manifest
    from retrieval.faiss_cache.view import View

WRITE_WAIT_S = 1.0
"""So long the acknowledgement of a write waits for the cache; usually it takes a few milliseconds."""
_PAGE = 1000

log = logging.getLogger("retrieval.cache")


class FaissCache:
    """Holds the active version of every collection. `start` returns once segments on disk are served."""

    def __init__(
        self,
        feed: ChangeFeed,
        collections: CollectionStore,
        settings: CacheSettings,
        build: Build,
        tasks: TaskSupervisor,
    ) -> None:
        self._feed = feed
        self.collections = collections
        self._settings = settings
        self._build = build
        self._residents: dict[int, Resident] = {}
        self._by_name: dict[str, Resident] = {}
        self._supervisor = tasks
        self._tasks: list[BackgroundTask] = []
        self.follower = Follower(feed, settings, self._residents, self._refresh)
        self.keeper: Keeper

    async def start(self) -> None:
        """Open what is there and follow. Raises: UnavailableError."""
        self.keeper = Keeper(self._settings, await self._feed.identity(), self._residents, self._build)
        await self._refresh()
        await self.keeper.look()
        await self.follower.step()
        self._tasks = [
            # Vital: until it follows again every search goes to the store, at many times the cost.
            self._supervisor.start(CACHE_FOLLOWER, self.follower.step, self.follower.pause, vital=True),
            self._supervisor.start(CACHE_SEGMENTS, self._keep, LOOK_S),
        ]

    async def stop(self) -> None:
        """Stop following; a build under way is ended."""
        for task in self._tasks:
            await task.stop()
        if self._tasks:
            self.keeper.close()

    def view(self, collection: str, version: int = 0) -> View | None:
        """The view of a version (0: the active one), where it is held and within the bound of staleness."""
        resident = self._by_name.get(collection)
        if resident is None or resident.view is None or not self.follower.is_fresh:
            return None
        return resident.view if version in {0, resident.version.version} else None

    def reflects(self, token: str) -> bool:
        """Whether the views reflect the write of that token; none is reflected by all."""
        return not token or self.follower.reflects(token)

    async def wait_for(self, token: str, timeout_s: float) -> bool:
        """Wait until `reflects` holds; False when it does not within the time."""
        return await self.follower.wait_for(token, timeout_s)

    async def reflect(self, collection: Collection, token: str) -> None:
        """Take in the write of that token; where that takes too long, views are held back until it is in."""
        resident = self._by_name.get(collection.name)
        if resident is None or resident.view is None:
            return  # a view that comes to be later is later than the write
        try:
            taken_in = await self.follower.wait_for(token, WRITE_WAIT_S)
        except RetrievalError as error:
            log.info("the cache cannot take in a write yet: %s", error.message)
            taken_in = False
        if not taken_in:
            self.follower.owe()

    def resident(self, version_id: int) -> Resident | None:
        """The resident of a version by the store's own key."""
        return self._residents.get(version_id)

    def report(self, version: EmbeddingVersion) -> CacheReport:
        """What is held of the version."""
        resident = self._residents.get(version.version_id)
        view = None if resident is None else resident.view
        segment = None if view is None else view.segment
        building = self.keeper.building == version.version_id
        state = CacheState.BUILDING if building else CacheState.ABSENT
        if view is not None:
            state = CacheState.RESIDENT if view.residency is Residency.FULL else CacheState.COARSE
        manifest = None if segment is None else segment.manifest
        return CacheReport(
            state,
            0 if view is None else view.generation,
            0 if view is None else view.segment_rows - view.dead_rows + view.delta.living_rows,
            0 if view is None else view.delta.rows,
            0 if view is None else view.dead_rows,
            0 if manifest is None else manifest.size_bytes,
            0 if manifest is None else manifest.build_ms,
            0 if manifest is None else manifest.built_at,
            self.follower.staleness_s,
            self._settings.max_staleness_s,
            () if manifest is None else tuple(_calibrated(manifest)),
        )

    def prewarm(self, version: EmbeddingVersion) -> None:
        """Build the next segment of the version as soon as possible."""
        self.keeper.demand(version.version_id)

    async def _keep(self) -> None:
        """Take over segments that are new on disk, and build those that are due."""
        if await self.keeper.look():
            await self.follower.step()
        await self.keeper.build_due()

    async def _refresh(self) -> None:
        """Take on the collections as they are now."""
        active = {}
        after = ""
        while page := await self.collections.list_after(after, _PAGE):
            for collection in page:
                active[collection.active.version_id] = collection
            after = page[-1].name
        for version_id, collection in active.items():
            resident = self._residents.get(version_id)
            if resident is None:
                self._residents[version_id] = Resident(collection, collection.active, self._settings)
            else:
                resident.redefine(collection, collection.active)
        for version_id in self._residents.keys() - active.keys():
            del self._residents[version_id]
        self._by_name = {c.name: self._residents[version_id] for version_id, c in active.items()}
        with contextlib.suppress(OSError):
            self.keeper.clear()


def _calibrated(manifest: Manifest) -> Iterator[CalibratedPlan]:
    for plan in manifest.frontier:
        dimension = manifest.dimension if plan.ef_search else manifest.full_dimension
        yield CalibratedPlan(
            plan.target_recall, dimension, plan.ef_search, plan.shortlist, plan.recall, plan.microseconds
        )
