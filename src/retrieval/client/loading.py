"""Opens a channel and loads a catalogue through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from google.protobuf import json_format

from retrieval.client.catalogue import CatalogueLoader
from retrieval.client.channel import open_channel
from retrieval.domain.errors import RetrievalError, UnavailableError

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
    """Load `folder` into the service at `target`; False when all of it was there. `ca`: see `open_channel`.

    Raises: RetrievalError when the service refuses or goes away; ValueError when the folder is not a catalogue.
    """
    async with open_channel(target, ca) as channel:
        try:
            return await CatalogueLoader(channel, folder, state_dir, embedder, progress).load()
        except grpc.aio.AioRpcError as error:
            kind = UnavailableError if error.code() is grpc.StatusCode.UNAVAILABLE else RetrievalError
            raise kind(f"{error.code().name}: {error.details()}", reason="LOAD_FAILED") from error
        except (OSError, json_format.ParseError) as error:
            raise ValueError(f"{folder} is not a catalogue: {error}") from error
