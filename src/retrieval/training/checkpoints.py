"""What a training run has finished so far, on disk, so that one that was interrupted goes on where it was."""

from __future__ import annotations

import json
import shutil
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

Arrays = dict[str, Any]


class Checkpoints:
    """Results of the steps of one run in a directory. `settings` that differ from those of an earlier run discard it."""

    def __init__(self, directory: Path, settings: Mapping[str, object]) -> None:
        self._directory = directory
        marker = directory / "settings.json"
        text = json.dumps(settings, sort_keys=True)
        if not marker.exists() or marker.read_text() != text:
            self.discard()
            directory.mkdir(parents=True, exist_ok=True)
            marker.write_text(text)

    def step(self, name: str, work: Callable[[], Arrays]) -> Arrays:
        """The arrays that `work` gives, or gave in an earlier run."""
        found = self.load(name)
        if found is not None:
            return found
        arrays = work()
        self.save(name, arrays)
        return arrays

    def load(self, name: str) -> Arrays | None:
        """The arrays of a step that is done."""
        path = self._directory / f"{name}.npz"
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    def save(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Note that a step is done: whole or not at all."""
        file = BytesIO()
        np.savez(file, **dict(arrays))
        unfinished = self._directory / f"{name}.part"
        unfinished.write_bytes(file.getvalue())
        unfinished.replace(self._directory / f"{name}.npz")

    def discard(self) -> None:
        """Forget everything."""
        shutil.rmtree(self._directory, ignore_errors=True)
