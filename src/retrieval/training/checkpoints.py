"""What a training run has finished so far, on disk, so that one that was interrupted goes on where it was."""

from __future__ import annotations

import json
import logging
import shutil
import time
from typing import TYPE_CHECKING, Any

from retrieval.domain.array_archive import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

Arrays = dict[str, Any]

log = logging.getLogger(__name__)


class Checkpoints:
    """Results of the steps of one run in a directory.

    A run of other `settings`, or one begun more than `valid_s` seconds ago, is discarded.
    """

    def __init__(self, directory: Path, settings: Mapping[str, object], valid_s: float) -> None:
        self._directory = directory
        self._marker = json.dumps(settings, sort_keys=True)
        path = directory / "settings.json"
        known = path.exists() and path.read_bytes() == self._marker.encode()
        if not known or time.time() - path.stat().st_mtime > valid_s:
            self.discard()

    def step(self, name: str, work: Callable[[], Arrays]) -> Arrays:
        """The arrays that `work` gives, or gave in an earlier run."""
        found = self.load(name)
        if found is not None:
            return found
        arrays = work()
        self.save(name, arrays)
        return arrays

    def load(self, name: str) -> Arrays | None:
        """The arrays of a step that is done; None where it is not, or where they cannot be read."""
        path = self._directory / f"{name}.npz"
        if not path.exists():
            return None
        try:
            return unpack(path.read_bytes())
        except (ValueError, OSError):
            log.warning("the checkpoint %s is damaged: its step is done anew", path, exc_info=True)
            return None

    def save(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Note that a step is done: whole or not at all."""
        self._directory.mkdir(parents=True, exist_ok=True)
        marker = self._directory / "settings.json"
        if not marker.exists():
            marker.write_text(self._marker)
        unfinished = self._directory / f"{name}.part"
        unfinished.write_bytes(pack(arrays))
        unfinished.replace(self._directory / f"{name}.npz")

    def discard(self) -> None:
        """Forget everything."""
        shutil.rmtree(self._directory, ignore_errors=True)
