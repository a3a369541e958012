"""Follows the store: one step after the other, each from one consistent snapshot to the next."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from retrieval.domain.errors import NotFoundError
from retrieval.faiss_cache.manifest import SegmentError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from retrieval.application.cache_ports import ChangeFeed, Position
    from retrieval.faiss_cache.cache_settings import CacheSettings
    from retrieval.faiss_cache.resident import Resident

log = logging.getLogger("retrieval.cache")


class Follower:
    """Keeps all residents at one position. `on_catalogue` is awaited when collections or versions changed."""

    def __init__(
        self,
        feed: ChangeFeed,
        settings: CacheSettings,
        residents: MutableMapping[int, Resident],
        on_catalogue: Callable[[], Awaitable[None]],
    ) -> None:
        self._feed = feed
        self._settings = settings
        self._residents = residents
        self._on_catalogue = on_catalogue
        self._position: Position | None = None
        self._synced_at = -float("inf")
        self._owed_at = -float("inf")
        self._stepping = asyncio.Lock()

    @property
    def staleness_s(self) -> float:
        """Age of what the cache reflects: at most so long ago it was all that was committed."""
        return time.monotonic() - self._synced_at

    @property
    def is_fresh(self) -> bool:
        """Whether the cache lags less than the bound, and reflects what this process acknowledged."""
        return self._synced_at >= self._owed_at and self.staleness_s <= self._settings.max_staleness_s

    def owe(self) -> None:
        """A write was acknowledged that is not in yet: nothing is fresh until a step that begins from now on."""
        self._owed_at = time.monotonic()

    def reflects(self, token: str) -> bool:
        """Whether the write of that token is in. Raises: InvalidArgumentError (BAD_CONSISTENCY_TOKEN)."""
        return self._position is not None and self._position.reflects(token)

    async def wait_for(self, token: str, timeout_s: float) -> bool:
        """Look until the write of that token is in; False when it is not within the time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.reflects(token):
                    await self.step(token)
        except TimeoutError:
            return False
        return True

    async def pause(self) -> None:
        """Wait until another step is worth it."""
        await self._feed.wait(self._settings.heartbeat_s)

    async def step(self, until: str = "") -> None:
        """Come to what is committed now. `until`: a token; nothing is to be done where another step brought it in."""
        async with self._stepping:
            if until and self.reflects(until):
                return
            started = time.monotonic()
            async with self._feed.snapshot() as snapshot:
                changed: dict[int, set[str]] = {}
                if self._position is not None:
                    changes = await snapshot.changes(self._position)
                    if changes is None:
                        log.warning("the change log does not reach back to where the cache was: it starts over")
                        for resident in self._residents.values():
                            resident.forget()
                    else:
                        changed = changes.items
                    if changes is None or changes.catalogue:
                        # Ahead of the rows: whoever finds a write reflected finds the definitions that go with it.
                        await self._on_catalogue()
                for resident in list(self._residents.values()):
                    try:
                        await resident.step(snapshot, changed.get(resident.collection.collection_id, set()), self._feed)
                    except SegmentError as error:
                        log.warning("%s; it is built anew", error)
                    except NotFoundError:
                        # The version went away, and the look with it: the next one starts where this one did.
                        self._residents.pop(resident.version.version_id, None)
                        return
                self._position = snapshot.position
            self._synced_at = started
