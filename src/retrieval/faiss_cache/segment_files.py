"""Segment folders on disk: `<cache>/<database>/v<version id>/<generation>/`.

A folder is written under a temporary name, synced, and renamed into place: it is there whole or not at all. What
happens to it later is found by its checksums, which cover the manifest as well.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.faiss_cache.manifest import MANIFEST, FilePart, SegmentError, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from retrieval.faiss_cache.manifest import Manifest

CHECKSUM = "manifest.sha256"
KEPT_GENERATIONS = 2
"""The newest, and one before it to fall back on should the newest turn out damaged."""

_TEMPORARY = ".writing-"


class SegmentFolder:
    """The generations of one embedding version."""

    def __init__(self, root: Path, identity: str, version_id: int) -> None:
        self.path = root / identity / f"v{version_id}"

    def generations(self) -> list[int]:
        """Numbers of the generations that are there, newest first."""
        try:
            names = [path.name for path in self.path.iterdir()]
        except FileNotFoundError:
            return []
        return sorted((int(n) for n in names if re.fullmatch(r"\d+", n)), reverse=True)

    def at(self, generation: int) -> Path:
        """Folder of a generation."""
        return self.path / str(generation)

    def begin(self) -> Path:
        """An empty temporary folder to write the next generation into; left-overs of earlier writers go."""
        self.path.mkdir(parents=True, exist_ok=True)
        for left in self.path.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(left, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self.path))

    def publish(self, folder: Path, manifest: Manifest) -> Path:
        """Seal a folder of `begin` with its manifest and give it its name. Older generations go."""
        manifest.write(folder)
        (folder / CHECKSUM).write_text(_sha256(folder / MANIFEST) + "\n")
        for name in (MANIFEST, CHECKSUM):
            _sync(folder / name)
        _sync(folder)
        target = self.at(manifest.generation)
        folder.rename(target)
        _sync(self.path)
        for old in self.generations()[KEPT_GENERATIONS:]:
            shutil.rmtree(self.at(old), ignore_errors=True)
        return target

    def drop(self, generation: int) -> None:
        """Remove a generation."""
        shutil.rmtree(self.at(generation), ignore_errors=True)


def describe(folder: Path, names: Iterable[str]) -> tuple[FilePart, ...]:
    """Sync the named files and take their sizes and checksums for the manifest."""
    parts = []
    for name in names:
        _sync(folder / name)
        parts.append(FilePart(name, (folder / name).stat().st_size, _sha256(folder / name)))
    return tuple(parts)


def verified_manifest(folder: Path) -> Manifest:
    """The manifest of a folder in which every byte is as it was written. Raises: SegmentError."""
    try:
        expected = (folder / CHECKSUM).read_text().strip()
        if _sha256(folder / MANIFEST) != expected:
            raise SegmentError(f"{folder.name}/{MANIFEST} was altered")
        manifest = read_manifest(folder)
        for part in manifest.files:
            size = (folder / part.name).stat().st_size
            if size != part.size_bytes:
                raise SegmentError(f"{folder.name}/{part.name} has {size} bytes, not {part.size_bytes}")
        # hashlib lets go of the interpreter lock
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            found = pool.map(lambda part: _sha256(folder / part.name), manifest.files)
        for part, digest in zip(manifest.files, found, strict=True):
            if digest != part.sha256:
                raise SegmentError(f"{folder.name}/{part.name} was altered")
    except (OSError, ValueError) as error:
        raise SegmentError(f"{folder.name} cannot be read: {error}") from error
    return manifest


def _sha256(path: Path) -> str:
    # Mapped rather than read: the pages are those that searches will touch, and no buffer stays behind.
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return hashlib.sha256().hexdigest()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
            return hashlib.sha256(pages).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
