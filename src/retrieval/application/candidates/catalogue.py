"""What candidates need to know of a collection, whoever asks: its model, what trends, what is popular and new."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.candidates.latest import co_visits
from retrieval.application.candidates.strategies import LEARNED, NO_EVIDENCE, Evidence
from retrieval.application.worker_threads import in_thread
from retrieval.domain.model_bytes import from_bytes
from retrieval.domain.ranker import TREND_WINDOWS_S, crowd
from retrieval.domain.search import Predicate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retrieval.application.ports import Stores
    from retrieval.application.task_supervisor import TaskSupervisor
    from retrieval.domain.co_engagement import CoEngagement
    from retrieval.domain.co_visits import CoVisits
    from retrieval.domain.model import Collection
    from retrieval.domain.ranker import Crowd

log = logging.getLogger(__name__)

MODEL_TYPE = "co_engagement"
"""The type under which `retrieval train` registers its models."""
REFRESH_S = 5.0
"""Facts as old as this are read anew, in the background, while they still serve."""
STALE_S = 60.0
"""Facts as old as this do not serve any more."""
LISTED = 1000
FRESH_ITEMS = 200
KEPT_BYTES = 256 * 2**20
"""Catalogues in memory over all collections, as estimated by `Catalogue.size_bytes`."""
FIRST_LOOK_S = 0.5
"""The first who asks waits for the latest events so long; where they take longer, the next reading takes its time."""
VISITS_REST_FACTOR, VISITS_REST_S = 50.0, 1800.0
"""Where the latest events took t seconds to read, they serve for 50 t, and for half an hour at most."""
LITTLE_EXPOSURE = 100
"""An item with fewer views than this has not been shown enough to be judged."""


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """Facts as of `read_at_s`. Lists are best first, without regard to who asks.

    `newest_event_at`: microseconds, or None. `everybody` and `model` go together; `visits`, what the latest events say,
    stands in where there is no model, and serves until `visits_until_s`.
    """

    read_at_s: float
    model: CoEngagement | None
    everybody: Crowd | None
    visits: CoVisits | None
    visits_until_s: float
    trending: list[str]
    popular: list[str]
    fresh: list[str]
    newest_event_at: int | None
    has_relations: bool

    @property
    def model_version(self) -> str:
        """The version of the trained model; empty where there is none."""
        return "" if self.model is None else self.model.version

    @property
    def evidence(self) -> Evidence:
        """How far others speak for a user."""
        if self.model is not None:
            return LEARNED
        return NO_EVIDENCE if self.visits is None else Evidence(self.visits.evidence, self.visits.traffic)

    @property
    def size_bytes(self) -> int:
        """Estimated bytes of the lists and what comes of the latest events; models are the caller's to keep few."""
        lists = len(self.trending) + len(self.popular) + len(self.fresh)
        return 1000 + 100 * lists + (0 if self.visits is None else self.visits.size_bytes)


class Catalogues:
    """Reads catalogues, and keeps them fresh as long as they are asked for; those asked for lately, within a budget."""

    def __init__(self, stores: Stores, tasks: TaskSupervisor) -> None:
        self._stores = stores
        self._tasks = tasks
        self._known: OrderedDict[int, Catalogue] = OrderedDict()
        self._reading: dict[int, asyncio.Task[Catalogue]] = {}

    async def of(self, collection: Collection) -> Catalogue:
        """What is known of the collection."""
        key = collection.collection_id
        known = self._known.get(key)
        age_s = float("inf") if known is None else time.monotonic() - known.read_at_s
        if known is not None:
            self._known.move_to_end(key)
            if age_s < REFRESH_S:
                return known
        task = self._reading.get(key)
        if task is None:
            task = self._tasks.once(f"catalogue of collection {key}", self._read(collection, known))
            self._reading[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        if known is not None and age_s < STALE_S:
            return known
        return await asyncio.shield(task)

    async def settled(self) -> None:
        """Return when nothing is being read."""
        while self._reading:
            await asyncio.wait(self._reading.values())

    async def close(self) -> None:
        """Stop reading."""
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, key: int, task: asyncio.Task[Catalogue]) -> None:
        self._reading.pop(key, None)
        if task.cancelled():
            return
        if task.exception() is None:
            self._known[key] = task.result()
            while len(self._known) > 1 and sum(each.size_bytes for each in self._known.values()) > KEPT_BYTES:
                self._known.popitem(last=False)

    async def _read(self, collection: Collection, known: Catalogue | None) -> Catalogue:
        engagement = self._stores.engagement
        model = await self._model(collection, known)
        trends = {window: await engagement.trending(collection, window, LISTED) for window in TREND_WINDOWS_S}
        visits, visits_until_s = (None, 0.0) if model is not None else await self._visits(collection, known)
        popular = await self._popular(collection, model, visits, trends)
        newest = await engagement.newest(collection, None, FRESH_ITEMS)
        counts = await engagement.counts(collection, [item.item_id for item in newest])
        fresh = [
            item.item_id
            for item in newest
            if item.item_id not in counts or counts[item.item_id].view_count < LITTLE_EXPOSURE
        ]
        everybody = None
        if model is not None:
            everybody = await in_thread(_crowd, model, trends)
        return Catalogue(
            time.monotonic(),
            model,
            everybody,
            visits,
            visits_until_s,
            [item_id for item_id, _ in next((trend for trend in trends.values() if trend), [])],
            popular,
            fresh,
            await engagement.newest_event_at(collection),
            await self._stores.relationships.any(collection),
        )

    async def _visits(self, collection: Collection, known: Catalogue | None) -> tuple[CoVisits | None, float]:
        """What the latest events say, and until when (monotonic) it serves. A first caller does not wait for many."""
        since = time.monotonic()
        if known is not None and known.visits_until_s > since:
            return known.visits, known.visits_until_s
        try:
            async with asyncio.timeout(FIRST_LOOK_S if known is None else None):
                found = await co_visits(self._stores.archive, collection)
        except TimeoutError:
            return None, 0.0
        now = time.monotonic()
        return found, now + min(VISITS_REST_FACTOR * (now - since), VISITS_REST_S)

    async def _model(self, collection: Collection, known: Catalogue | None) -> CoEngagement | None:
        active = await self._stores.models.active(collection, MODEL_TYPE)
        if active is None:
            return None
        if known is not None and known.model is not None and known.model.version == active.version:
            return known.model
        data = await self._stores.artifacts.load(active)
        if data is None:
            log.warning(
                "model %s of collection %s has no bytes: candidates go without", active.version, collection.name
            )
            return None
        try:
            return await in_thread(from_bytes, data, active.version)
        except ValueError:
            log.warning("model %s of collection %s cannot be read", active.version, collection.name, exc_info=True)
            return None

    async def _popular(
        self,
        collection: Collection,
        model: CoEngagement | None,
        visits: CoVisits | None,
        trends: Mapping[int, list[tuple[str, float]]],
    ) -> list[str]:
        rated = await self._stores.items.popular(collection, Predicate(), LISTED)
        if any(count for _, count in rated):
            return [item_id for item_id, _ in rated]
        # The application counts no ratings: what was engaged with most stands in.
        learned = model or visits
        if learned is None:
            return [item_id for item_id, _ in trends[max(trends)]] or [item_id for item_id, _ in rated]
        order = np.argsort(-learned.popularity, kind="stable")[:LISTED]
        return [learned.item_ids[number] for number in order.tolist()]


def _crowd(model: CoEngagement, trends: dict[int, list[tuple[str, float]]]) -> Crowd:
    masses = {}
    for window, ranked in trends.items():
        mass = np.zeros(len(model), np.float32)
        for item_id, score in ranked:
            number = model.numbers.get(item_id)
            if number is not None:
                mass[number] = score
        masses[window] = mass
    return crowd(model, masses)
