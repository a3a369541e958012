"""Loads a catalogue directory through the public contract: see docs/catalogues.md.

Interrupted, it goes on where it was: batches carry request ids, and a small state file counts those acknowledged.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf import json_format

from retrieval.client.indexes import build_indexes
from retrieval.config import UsageError
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import collection_service_pb2_grpc as collections_grpc
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import feedback_service_pb2_grpc as feedback_grpc
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import item_service_pb2_grpc as items_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import grpc

    from retrieval.application.ports import Embedder

BATCH = 1000
COLLECTIONS_A_PAGE = 1000
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class _State:
    """How far a load got. It belongs to one collection, by its creation time, and to one content."""

    created_at: str
    content: str
    items: int = 0
    events: int = 0
    indexed: bool = False


class CatalogueLoader:
    """Loads one directory into the service behind `channel`.

    `embedder` is called once texts have to be embedded; `progress` is told (what, done, total).
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        folder: Path,
        state_dir: Path,
        embedder: Callable[[], Embedder],
        progress: Progress,
    ) -> None:
        self._collections = collections_grpc.CollectionServiceStub(channel)
        self._items = items_grpc.ItemServiceStub(channel)
        self._feedback = feedback_grpc.FeedbackServiceStub(channel)
        self._folder = folder
        self._state_dir = state_dir
        self._embedder = embedder
        self._progress = progress

    async def load(self) -> bool:
        """Create the collection where it is missing, load what is not loaded, build the indexes; False: all was there.

        Raises: grpc.RpcError; UsageError for files that are not a catalogue.
        """
        collection = await self._ensure(read_collection(self._folder))
        name = collection.name
        state, path = self._read_state(collection)
        if state.indexed:
            return False
        await self._load_items(name, state, path)
        await self._load_events(name, state, path)
        await build_indexes(self._collections, name, self._progress)
        state.indexed = True
        _write_state(path, state)
        return True

    async def _ensure(self, request: collections_pb.CreateCollectionRequest) -> collections_pb.Collection:
        # Not by GetCollection, whose NOT_FOUND would stand in the log of a start at which all is well.
        token = ""
        while True:
            page = await self._collections.ListCollections(
                collections_pb.ListCollectionsRequest(page_size=COLLECTIONS_A_PAGE, page_token=token)
            )
            for collection in page.collections:
                if collection.name == request.collection.name:
                    return collection  # type: ignore[no-any-return]  # the stubs' replies are untyped
            token = page.next_page_token
            if not token:
                made = await self._collections.CreateCollection(request)
                return made.collection  # type: ignore[no-any-return]

    def _read_state(self, collection: collections_pb.Collection) -> tuple[_State, Path]:
        digest = hashlib.sha256()
        for file in ("collection.json", "items.jsonl", "events.csv"):
            path = self._folder / file
            with catalogue_files(self._folder):
                digest.update(path.read_bytes() if path.exists() else b"")
        state = _State(collection.created_at.ToJsonString(), digest.hexdigest())
        path = self._state_dir / "catalogues" / f"{collection.name}.json"
        try:
            kept = _State(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return state, path
        same = (kept.created_at, kept.content) == (state.created_at, state.content)
        return (kept if same else state), path

    async def _load_items(self, collection: str, state: _State, path: Path) -> None:
        # Not splitlines(), which also splits at separators that may stand inside a JSON string.
        with catalogue_files(self._folder), (self._folder / "items.jsonl").open(encoding="utf-8") as file:
            lines = [line for line in file if line.strip()]
            items = [json_format.Parse(line, common_pb.Item()) for line in lines[state.items :]]
        total = state.items + len(items)
        embedder = self._embedder() if items else None
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            if embedder is not None:
                vectors = await asyncio.to_thread(embedder.embed, [i.text for i in batch])
                for item, vector in zip(batch, vectors, strict=True):
                    if vector.any():
                        item.chunks.add(vector=common_pb.Vector(float32_le=vector.astype("<f4").tobytes()))
            await self._items.UpsertItems(
                items_pb.UpsertItemsRequest(
                    collection=collection, items=batch, request_id=f"catalogue:{state.content[:16]}:{state.items}"
                )
            )
            state.items += len(batch)
            _write_state(path, state)
            self._progress("items", state.items, total)

    async def _load_events(self, collection: str, state: _State, path: Path) -> None:
        file = self._folder / "events.csv"
        if not file.exists():
            return
        with catalogue_files(self._folder), file.open(encoding="utf-8", newline="") as opened:
            events = list(_events(opened))
        for start in range(state.events, len(events), BATCH):
            batch = events[start : start + BATCH]
            await self._feedback.RecordEvents(feedback_pb.RecordEventsRequest(collection=collection, events=batch))
            state.events += len(batch)
            _write_state(path, state)
            self._progress("events", state.events, len(events))


@contextmanager
def catalogue_files(folder: Path) -> Iterator[None]:
    """Raises: UsageError where the block finds files of a catalogue missing, unreadable or wrong."""
    try:
        yield
    except (OSError, ValueError, KeyError, json_format.ParseError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"{folder} is not a catalogue: {said}") from error


def read_collection(folder: Path) -> collections_pb.CreateCollectionRequest:
    """What a catalogue says of its collection. Raises: UsageError."""
    with catalogue_files(folder):
        text = (folder / "collection.json").read_text(encoding="utf-8")
        return json_format.Parse(text, collections_pb.CreateCollectionRequest())


def _write_state(path: Path, state: _State) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    values = {field: getattr(state, field) for field in _State.__slots__}
    fresh.write_text(json.dumps(values), encoding="utf-8")
    fresh.replace(path)


def _events(lines: Iterator[str]) -> Iterator[feedback_pb.Event]:
    for row in csv.DictReader(lines):
        event = feedback_pb.Event(user_id=row["user_id"], item_id=row["item_id"], type=row["type"])
        event.occurred_at.FromSeconds(int(row["occurred_at"]))
        if row["value"]:
            event.value = float(row["value"])
        yield event
