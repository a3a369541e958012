"""The service with ratings in it: loaded as a catalogue, trained, asked and told more by RPC."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.ranking import LISTED
from retrieval.application.candidates.catalogue import REFRESH_S
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import retrieval_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.ratings import Ratings
    from retrieval.client import RetrievalClient

COLLECTION = "ratings"
IN_FLIGHT = 4
TIMED = 300
"""Users asked one by one, for the latency."""
ACTIVATION_TIMEOUT_S = 60.0
RECORDED_AT_ONCE = 500


class Served:
    """The service with the ratings of the run in it."""

    def __init__(self, client: RetrievalClient, ratings: Ratings, folder: Path, collection: str = COLLECTION) -> None:
        self._client, self._ratings, self._folder, self._collection = client, ratings, folder, collection
        self._numbers = {item_id: number for number, item_id in enumerate(ratings.item_ids)}

    async def ask(self, user: int, strategy: str = "", token: str = "") -> tuple[NDArray[np.int64], float, str]:
        """The item numbers for a user, milliseconds, and the model that answered."""
        request = pb.SearchUserCandidatesRequest(
            collection=self._collection,
            user_id=self._ratings.user_ids[user],
            options=common_pb.SearchOptions(limit=LISTED, min_consistency_token=token),
        )
        if strategy:
            request.strategies.add(name=strategy)
        since = time.perf_counter()
        reply = await self._client.retrieval.SearchUserCandidates(request, timeout=30.0)
        took_ms = (time.perf_counter() - since) * 1e3
        found = np.array([self._numbers[hit.item_id] for hit in reply.hits], np.int64)
        return found, took_ms, reply.info.model_version

    async def ask_all(self, users: NDArray[np.int64], strategy: str = "") -> tuple[list[NDArray[np.int64]], float]:
        """The lists of users, and the median milliseconds of the first ones, who are asked one by one."""
        lists, times = [], []
        for user in users[:TIMED].tolist():
            found, took_ms, _ = await self.ask(user, strategy)
            lists.append(found)
            times.append(took_ms)
        free = asyncio.Semaphore(IN_FLIGHT)

        async def one(user: int) -> NDArray[np.int64]:
            async with free:
                return (await self.ask(user, strategy))[0]

        lists += await asyncio.gather(*(one(user) for user in users[TIMED:].tolist()))
        return lists, float(np.median(times))

    async def record(self, rows: Sequence[int]) -> str:
        """Record ratings as they come; the token of the last."""
        token = ""
        for start in range(0, len(rows), RECORDED_AT_ONCE):
            events = [
                feedback_pb.Event(
                    user_id=self._ratings.user_ids[self._ratings.users[row]],
                    item_id=self._ratings.item_ids[self._ratings.items[row]],
                    type="rating",
                    value=float(self._ratings.values[row]),
                    occurred_at=Timestamp(seconds=int(self._ratings.times[row])),
                    event_id=f"r{row}",
                )
                for row in rows[start : start + RECORDED_AT_ONCE]
            ]
            request = feedback_pb.RecordEventsRequest(collection=self._collection, events=events)
            token = (await self._client.feedback.RecordEvents(request, timeout=60.0)).consistency_token
        return token

    async def settled(self) -> None:
        """Return once the lists of what trends are there, and have been read."""
        deadline = time.monotonic() + ACTIVATION_TIMEOUT_S
        request = pb.ListTrendingItemsRequest(collection=self._collection)
        while not (await self._client.retrieval.ListTrendingItems(request, timeout=30.0)).HasField("refreshed_at"):
            if time.monotonic() > deadline:
                sys.exit("nothing trends")
            await asyncio.sleep(0.2)
        for _ in range(2):
            await self.ask(0)
            await asyncio.sleep(REFRESH_S + 1.0)

    async def train(self) -> float:
        """`retrieval train`, then wait until it answers; the seconds that the training took."""
        since = time.perf_counter()
        output = await asyncio.to_thread(run_command, self._folder, "train", self._collection, "--fresh")
        took_s = time.perf_counter() - since
        version = output.split()[1]
        deadline = time.monotonic() + ACTIVATION_TIMEOUT_S
        while (await self.ask(0))[2] != version:
            if time.monotonic() > deadline:
                sys.exit(f"model {version} is active, and does not answer")
            await asyncio.sleep(0.2)
        return took_s


def run_command(folder: Path, *arguments: str, **settings: str) -> str:
    """What a command of the service prints; `settings` as in `servers.service`, the embedded database in `folder`."""
    given = {f"RETRIEVAL_{name.upper()}": value for name, value in settings.items()}
    environment = {**os.environ, "RETRIEVAL_DATA_DIR": str(folder), **given}
    command = [sys.executable, "-m", "retrieval.cli.main", *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"retrieval {arguments[0]} failed")
    return done.stdout


def write_catalogue(ratings: Ratings, rows: NDArray[np.int64], folder: Path, name: str = COLLECTION) -> None:
    """The items and the ratings in `rows` as a catalogue that `retrieval load` reads.

    The items carry no count of ratings: it would tell of those that are held out.
    """
    folder.mkdir()
    request = {
        "collection": {"name": name, "metric": "METRIC_COSINE", "rating_scale_max": ratings.scale},
        "embedding_version": {"model": "wordllama-l2-supercat-256", "dimension": 256},
    }
    (folder / "collection.json").write_text(json.dumps(request), encoding="utf-8")
    with (folder / "items.jsonl").open("w", encoding="utf-8") as lines:
        for item_id, text in zip(ratings.item_ids, ratings.texts, strict=True):
            lines.write(json.dumps({"item_id": item_id, "text": text}) + "\n")
    with (folder / "events.csv").open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["user_id", "item_id", "type", "value", "occurred_at"])
        for row in rows.tolist():
            user, item = ratings.user_ids[ratings.users[row]], ratings.item_ids[ratings.items[row]]
            writer.writerow([user, item, "rating", ratings.values[row], int(ratings.times[row])])
