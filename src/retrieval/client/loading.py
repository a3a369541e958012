"""Opens a channel and loads a catalogue through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.client.catalogue import CatalogueLoader
from retrieval.client.channel import calling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from retrieval.application.ports import Embedder
    from retrieval.client.catalogue import Progress


async def load_folder(
    target: str,
    folder: Path,
    state_dir: Path,
    embedder: Callable[[], Embedder],
    progress: Progress,
    ca: Path | None = None,
) -> bool:
    """Load `folder` into the service at `target`; False when all of it was there.

    Raises: as `calling`; UsageError when the folder is not a catalogue; RetrievalError (INDEX_FAILED).
    """
    async with calling(target, ca) as channel:
        return await CatalogueLoader(channel, folder, state_dir, embedder, progress).load()
