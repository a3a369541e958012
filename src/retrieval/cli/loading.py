"""The command `load`: loads a catalogue with progress."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from retrieval.cli.progress import shown_counts
from retrieval.client.catalogue import read_collection
from retrieval.client.loading import load_folder
from retrieval.embedding.wordllama import WordLlamaEmbedder

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from retrieval.config import Settings

log = logging.getLogger("retrieval.load")


async def run_load(settings: Settings, options: argparse.Namespace) -> int:
    """Load a catalogue into a running service."""
    await load_catalogue(options.target, options.folder, settings, options.ca)
    return 0


async def load_catalogue(target: str, folder: Path, settings: Settings, ca: Path | None = None) -> None:
    """Load `folder` into the service at `target`. `ca`: see `open_channel`."""
    with shown_counts(log) as show:
        if not await load_folder(target, folder, settings.data_dir, WordLlamaEmbedder, show, ca):
            log.info("%s is loaded already", folder)


def collection_name(folder: Path) -> str:
    """The name of the collection that a catalogue fills. Raises: UsageError where the folder is no catalogue."""
    return str(read_collection(folder).collection.name)
