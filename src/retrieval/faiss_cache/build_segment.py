"""From the store to a segment on disk, in one go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from retrieval.domain.errors import FailedPreconditionError
from retrieval.faiss_cache.build import BuildReport, SegmentBuild
from retrieval.faiss_cache.segment_files import SegmentFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from retrieval.application.cache_ports import ChangeFeed
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.faiss_cache.manifest import Manifest


class SegmentBuilder:
    """Builds segments in this process; implements `keeper.Build`.

    `cores`: threads of a build. `report` is told how far it is.
    """

    def __init__(
        self, feed: ChangeFeed, root: Path, report: Callable[[BuildReport], None] = lambda _: None, cores: int = 1
    ) -> None:
        self._feed = feed
        self._root = root
        self._report = report
        self._cores = cores

    async def __call__(self, collection: Collection, version: EmbeddingVersion) -> None:
        """See `keeper.Build`."""
        await self.build(collection, version)

    async def build(self, collection: Collection, version: EmbeddingVersion) -> Manifest:
        """Read the version as it is now and write its next segment.

        Raises: FailedPreconditionError (VERSION_EMPTY); NotFoundError; OSError when the disk is full.
        """
        identity = await self._feed.identity()
        build = SegmentBuild(collection, version)
        async with self._feed.snapshot() as snapshot:
            position = str(snapshot.position)
            async for batch in snapshot.rows(collection, version):
                await asyncio.to_thread(build.add, batch)
                self._report(BuildReport(f"reading, {build.rows} rows", 0.0))
        if not build.rows:
            raise FailedPreconditionError(
                f"embedding version {version.version} of {collection.name!r} holds no rows yet", reason="VERSION_EMPTY"
            )
        folder = SegmentFolder(self._root, identity, version.version_id)
        return await asyncio.to_thread(build.finish, folder, identity, position, self._report, self._cores)
