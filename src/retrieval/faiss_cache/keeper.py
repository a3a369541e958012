"""Keeps the segments: finds newer ones on disk for the residents and, in one process a host, builds them."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import time
from typing import TYPE_CHECKING, Protocol

from retrieval.domain.errors import RetrievalError
from retrieval.faiss_cache.budget import Residency, share_out
from retrieval.faiss_cache.manifest import Manifest, SegmentError
from retrieval.faiss_cache.segment import open_segment
from retrieval.faiss_cache.segment_files import SegmentFolder, verified_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.faiss_cache.cache_settings import CacheSettings
    from retrieval.faiss_cache.resident import Resident

log = logging.getLogger("retrieval.cache")

LOOK_S = 0.25
"""Time between two looks at the disk."""
CALM_S = 1.0
HURRY_S = 20.0
"""A build waits until a version was left alone for `CALM_S`, at most for `HURRY_S`."""
RETRY_S = 10.0
"""Time between a failed build and the next attempt."""


class Build(Protocol):
    """Builds the next segment of a version on disk."""

    async def __call__(self, collection: Collection, version: EmbeddingVersion) -> None:
        """Return when it is published. Raises: RetrievalError, OSError."""
        ...


class Keeper:
    """`build` makes the next segment of a version on disk, in a process of its own or not."""

    def __init__(self, settings: CacheSettings, identity: str, residents: Mapping[int, Resident], build: Build) -> None:
        self._settings = settings
        self._root = settings.folder
        self._identity = identity
        self._residents = residents
        self._build = build
        self._lock: int | None = None
        self._due_since: dict[int, float] = {}
        self._retry_at: dict[int, float] = {}
        self._wanted: set[int] = set()
        self.building: int | None = None

    def folder(self, version_id: int) -> SegmentFolder:
        """Where the segments of a version are."""
        return SegmentFolder(self._root, self._identity, version_id)

    def demand(self, version_id: int) -> None:
        """Build the next segment of a version as soon as possible."""
        self._wanted.add(version_id)

    async def look(self) -> bool:
        """Offer newer segments to their residents; whether there were any."""
        found = False
        for resident in list(self._residents.values()):
            version_id = resident.version.version_id
            if resident.residency is Residency.NONE:
                continue
            folder = self.folder(version_id)
            present = folder.generations()
            known = resident.given_up if resident.view is None else resident.view.generation
            if known not in present:
                known = 0  # the folder was emptied, and generations are counted anew
            for generation in present:
                if generation <= known:
                    break
                if await self._offer(resident, folder, generation):
                    found = True
                    break
        return found

    async def _offer(self, resident: Resident, folder: SegmentFolder, generation: int) -> bool:
        path = folder.at(generation)
        started = time.perf_counter()
        try:
            manifest = await asyncio.to_thread(verified_manifest, path)
            self._check_origin(manifest, resident, generation)
            if self._share_out(manifest) is Residency.NONE:
                log.warning(
                    "collection %s: segment %d of %.0f MB does not fit in the memory budget of %.0f MB",
                    resident.collection.name,
                    generation,
                    manifest.size_bytes / 1e6,
                    self._settings.memory_budget_bytes / 1e6,
                )
                return False
            resident.offered = open_segment(path, manifest)
        except SegmentError as error:
            if not path.exists():
                return False  # a newer generation took its place meanwhile
            log.warning("a segment is damaged and goes: %s", error)
            folder.drop(generation)
            self.demand(resident.version.version_id)
            return False
        took_ms = (time.perf_counter() - started) * 1000
        log.info(
            "collection %s: segment %d of version %d mapped (%d rows, %.0f MB) in %.0f ms",
            resident.collection.name,
            generation,
            resident.version.version,
            manifest.rows,
            manifest.size_bytes / 1e6,
            took_ms,
        )
        return True

    def _check_origin(self, manifest: Manifest, resident: Resident, generation: int) -> None:
        version = resident.version
        if (manifest.identity, manifest.version_id, manifest.full_dimension, manifest.metric, manifest.generation) != (
            self._identity,
            version.version_id,
            version.dimension,
            resident.collection.metric.value,
            generation,
        ):
            raise SegmentError(f"generation {generation} belongs to another database or version")

    def _share_out(self, added: Manifest) -> Residency:
        """Grant every resident its part of the budget with `added` among them; returns what `added` gets."""
        manifests = {added.version_id: added}
        for resident in self._residents.values():
            if resident.view is not None and resident.view.segment is not None:
                manifests.setdefault(resident.version.version_id, resident.view.segment.manifest)
        ordered = [manifests[version_id] for version_id in sorted(manifests)]
        granted = share_out(ordered, self._settings.memory_budget_bytes)
        for manifest, residency in zip(ordered, granted, strict=True):
            self._residents[manifest.version_id].grant(residency)
        return self._residents[added.version_id].residency

    async def build_due(self) -> None:
        """Where this process is the elected builder: build the segments that are due, one after the other."""
        due = [r for r in self._residents.values() if self._is_due(r)]
        if not due or not self._elected():
            return
        for resident in due:
            version_id = resident.version.version_id
            self.building = version_id
            try:
                await self._build(resident.collection, resident.version)
                self._wanted.discard(version_id)
                self._due_since.pop(version_id, None)
            except (RetrievalError, OSError) as error:
                if isinstance(error, RetrievalError) and error.reason == "VERSION_EMPTY":
                    self._start_over(resident)
                else:
                    log.warning("no new segment for collection %s: %s", resident.collection.name, error)
                    self._retry_at[version_id] = time.monotonic() + RETRY_S
            except Exception:
                log.exception("building a segment for collection %s failed", resident.collection.name)
                self._retry_at[version_id] = time.monotonic() + RETRY_S
            finally:
                self.building = None
            await self.look()

    def _start_over(self, resident: Resident) -> None:
        """The version holds no rows any more: what is on disk of it is of no use, and without it, it is read whole."""
        version_id = resident.version.version_id
        self._wanted.discard(version_id)
        folder = self.folder(version_id)
        for generation in folder.generations():
            folder.drop(generation)
        resident.emptied()

    def _is_due(self, resident: Resident) -> bool:
        version_id = resident.version.version_id
        if resident.is_empty:
            # There is nothing to build until there are rows, and then few rows need no segment.
            self._wanted.discard(version_id)
            self._due_since.pop(version_id, None)
            return False
        now = time.monotonic()
        if now < self._retry_at.get(version_id, 0.0):
            return False
        if version_id in self._wanted:
            return True
        view = resident.view
        vanished = view is not None and view.generation and view.generation not in self.folder(version_id).generations()
        if not (resident.build_is_due or vanished):
            self._due_since.pop(version_id, None)
            return False
        since = self._due_since.setdefault(version_id, now)
        return now - resident.changed_at > CALM_S or now - since > HURRY_S

    def _elected(self) -> bool:
        """Whether this process builds for the host: it holds the lock until it ends."""
        if self._lock is not None:
            return True
        path = self._root / self._identity / "builder.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        log.info("this process builds the segments of this host")
        return True

    def clear(self) -> None:
        """Remove the folders of versions that nobody serves any more, where this process is the builder."""
        home: Path = self._root / self._identity
        if not home.is_dir() or not self._elected():
            return
        kept = {self.folder(version_id).path.name for version_id in self._residents}
        for path in home.glob("v*"):
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Let another process build."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
