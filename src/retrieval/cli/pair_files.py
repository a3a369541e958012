"""Training pairs as a folder of Parquet files that an interrupted export goes on with.

Every part is written beside its place and renamed once it is whole. Its own metadata say which export it belongs to
and with which token the stream goes on behind it, so that data and state cannot disagree. Needs the extra `train`.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.config import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GROUP_ROWS = 1000
GROUP_BYTES = 16 * 1024 * 1024
"""Rows are held until there are this many, or this much of them."""
_EXPORT, _TOKEN = b"retrieval.export", b"retrieval.resume_token"


def schema() -> Any:
    """The columns of a pair; see docs/training.md."""
    moment = pa.timestamp("us", tz="UTC")
    event = pa.struct(
        [("item_id", pa.string()), ("type", pa.string()), ("value", pa.float64()), ("occurred_at", moment)]
    )
    return pa.schema(
        [
            pa.field("user_id", pa.string(), nullable=False),
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("interaction_at", moment, nullable=False),
            pa.field("label", pa.bool_(), nullable=False),
            pa.field("engagement_type", pa.string(), nullable=False),
            ("dwell_ms", pa.int64()),
            ("value", pa.float64()),
            pa.field("history", pa.list_(event), nullable=False),
            pa.field("item_owner_id", pa.string(), nullable=False),
            pa.field("item_text", pa.string(), nullable=False),
            pa.field("item_tags", pa.list_(pa.string()), nullable=False),
            pa.field("item_attributes", pa.string(), nullable=False),
            pa.field("item_created_at", moment, nullable=False),
            pa.field("item_positive_count", pa.int64(), nullable=False),
            pa.field("item_view_count", pa.int64(), nullable=False),
            pa.field("item_rating_count", pa.int64(), nullable=False),
            ("item_rating_mean", pa.float64()),
            pa.field("embedding_version", pa.int32(), nullable=False),
            ("embedding", pa.list_(pa.float32())),
            pa.field("model_version", pa.string(), nullable=False),
            pa.field("run_id", pa.string(), nullable=False),
        ]
    )


class PairFolder:
    """A folder of numbered parts. `export`: what is exported, which must be the same when it goes on.

    Raises: UsageError for a folder with another export, or a file in its place.
    """

    def __init__(self, folder: Path, export: dict[str, object]) -> None:
        self._folder = folder
        self._export = json.dumps(export, sort_keys=True)
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file; --out names a folder, which the parts are written to")
        folder.mkdir(parents=True, exist_ok=True)
        for torn in folder.glob(".part-*.new"):
            torn.unlink()
        parts = sorted(folder.glob("part-*.parquet"))
        self.next_part = int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0
        self.resume_token = ""
        self.rows = 0
        for part in parts:
            found = pq.read_metadata(part)
            noted = found.metadata or {}
            if noted.get(_EXPORT, b"").decode() != self._export:
                raise UsageError(
                    f"{part} is of another export than this one, {self._export}; choose another --out, or remove it"
                )
            self.rows += found.num_rows
            self.resume_token = noted[_TOKEN].decode()

    @contextmanager
    def part(self) -> Iterator[PairPart]:
        """The next part, which takes its place when the block ends: what has come is whole batches, however it ends."""
        name = f"part-{self.next_part:05d}"
        fresh = self._folder / f".{name}.new"
        part = PairPart(pq.ParquetWriter(fresh, schema(), compression="zstd"))
        try:
            try:
                yield part
            finally:
                part.close({_EXPORT: self._export.encode(), _TOKEN: part.resume_token.encode()})
                if part.rows:
                    _make_durable(fresh)
                    fresh.rename(self._folder / f"{name}.parquet")
                    _make_durable(self._folder)
                    self.next_part += 1
                    self.rows += part.rows
                    self.resume_token = part.resume_token
        finally:
            fresh.unlink(missing_ok=True)


class PairPart:
    """A part that is being written, a row group at a time."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._held: list[Any] = []
        self._held_rows = 0
        self._held_bytes = 0
        self.rows = 0
        self.resume_token = ""

    def write(self, columns: dict[str, list[Any]], resume_token: str) -> None:
        """Add a batch; the stream goes on behind it with `resume_token`."""
        batch = pa.RecordBatch.from_pydict(columns, schema=schema())
        self._held.append(batch)
        self._held_rows += batch.num_rows
        self._held_bytes += batch.nbytes
        self.rows += batch.num_rows
        self.resume_token = resume_token
        if self._held_rows >= GROUP_ROWS or self._held_bytes >= GROUP_BYTES:
            self._flush()

    def close(self, metadata: dict[bytes, bytes]) -> None:
        """Write what is held, and the metadata of the file."""
        self._flush()
        self._writer.add_key_value_metadata(metadata)
        self._writer.close()

    def _flush(self) -> None:
        """Write a row group of what is held."""
        if self._held:
            self._writer.write_table(pa.Table.from_batches(self._held), row_group_size=self._held_rows)
        self._held, self._held_rows, self._held_bytes = [], 0, 0


def _make_durable(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
