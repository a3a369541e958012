"""What a segment says about itself: `manifest.json`, written last, so that a folder without one is no segment."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 2
"""Raised whenever an older reader would misread the files."""

MANIFEST = "manifest.json"


class SegmentError(Exception):
    """A segment that must not be served: torn, altered, or written by another version. The message says which."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to search for ten hits. `recall` and `microseconds` (a query, one thread) are those of the calibration.

    `ef_search` 0: compare every row. `shortlist`: rows of the coarse search that are compared on all components.
    `selectivity`: share of the rows that a filter admits for which the plan holds.
    """

    target_recall: float
    ef_search: int
    shortlist: int
    recall: float
    microseconds: float
    selectivity: float = 1.0


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file of the segment."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a segment but its data.

    `position` is the text of the feed position that the rows reflect; `dimension` that of the coarse index, whose
    `kind` is "hnsw", or "flat" where all rows are compared. `frontier` holds the cheapest plan for each calibrated
    recall, `filtered` the same under filters of falling selectivity. `exact_row_us`: microseconds to compare one
    scattered row on the coarse dimension and on all components.
    """

    identity: str
    version_id: int
    model: str
    metric: str
    full_dimension: int
    generation: int
    position: str
    rows: int
    kind: str
    dimension: int
    m: int
    frontier: tuple[Plan, ...]
    filtered: tuple[Plan, ...]
    exact_row_us: tuple[float, float]
    built_at: int
    build_ms: int
    files: tuple[FilePart, ...]
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into `folder`."""
        (folder / MANIFEST).write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(f.size_bytes for f in self.files)

    def size_of(self, name: str) -> int:
        """Bytes of the file of that name; 0 where the segment has none."""
        return next((f.size_bytes for f in self.files if f.name == name), 0)


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`. Raises: SegmentError."""
    try:
        fields: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        if fields["format"] != FORMAT:
            raise SegmentError(f"{folder.name} is of format {fields['format']}, not {FORMAT}")
        for name, kind in (("frontier", Plan), ("filtered", Plan), ("files", FilePart)):
            fields[name] = tuple(kind(**entry) for entry in fields[name])
        fields["exact_row_us"] = tuple(fields["exact_row_us"])
        return Manifest(**fields)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SegmentError(f"{folder.name} has no readable {MANIFEST}: {error}") from error
