"""Random lives of texts and jobs: in the end each item has the embedding of its latest text and no job is left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.domain.embedding_jobs import CompleteOutcome, EmbeddedText, JobFailure
from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.model import Item
from tests.embedding_jobs import add_version, check_texts, chunk, create, lease, work_off, write

if TYPE_CHECKING:
    from uuid import UUID

    from retrieval.application.ports import Stores
    from retrieval.domain.embedding_jobs import EmbeddingJob
    from retrieval.domain.model import Collection, EmbeddingVersion

ITEM_IDS = st.sampled_from(["a", "b"])
TEXTS = st.sampled_from(["", "one", "two", "three"])
PICK = st.integers(1, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), ITEM_IDS, TEXTS),
        st.tuples(st.just("write"), ITEM_IDS, TEXTS),
        st.tuples(st.just("delete"), ITEM_IDS),
        st.tuples(st.just("lease"), st.integers(0, 1), st.integers(1, 3), st.sampled_from([False, False, True])),
        st.tuples(st.just("complete"), PICK),
        st.tuples(st.just("complete"), PICK),
        st.tuples(st.just("fail"), PICK, st.booleans()),
        st.tuples(st.just("release"), PICK),
        st.tuples(st.just("extend"), PICK),
    ),
    min_size=6,
    max_size=30,
)


class Life:
    """A collection with two versions that embed texts, and what was written and leased so far."""

    def __init__(self, stores: Stores, collection: Collection) -> None:
        self.stores = stores
        self.collection = collection
        self.texts: dict[str, str] = {}
        self.leases: list[tuple[EmbeddingVersion, UUID, list[EmbeddingJob]]] = []
        self.applied: set[int] = set()

    async def step(self, step: tuple[object, ...]) -> None:
        jobs_of, collection = self.stores.embedding_jobs, self.collection
        match step:
            case ("write", str(item_id), str(text)):
                self.texts[item_id] = text
                await write(self.stores, collection, Item(item_id, text=text))
            case ("delete", str(item_id)):
                self.texts[item_id] = ""
                await self.stores.items.delete(collection, [item_id], "", b"")
            case ("lease", int(number), int(count), bool(ends_at_once)):
                version = collection.versions[number]
                lease_id, jobs = await lease(
                    self.stores, collection, version, count, lease_s=0 if ends_at_once else 3600
                )
                if jobs:
                    self.leases.append((version, lease_id, jobs))
            case (kind, int(pick), *rest) if len(self.leases) >= pick:
                version, lease_id, jobs = self.leases[-pick]
                try:
                    if kind == "complete":
                        done = [EmbeddedText(j.job_id, (chunk(j.text),)) for j in jobs]
                        outcomes = await jobs_of.complete(collection, version, lease_id, done)
                        for job in jobs:
                            if outcomes[job.job_id] is CompleteOutcome.APPLIED:
                                assert job.text == self.texts[job.item_id], "a text of the past was applied"
                                assert job.job_id not in self.applied, "applied twice"
                                self.applied.add(job.job_id)
                    elif kind == "fail":
                        failures = [JobFailure(j.job_id, "no", permanent=bool(rest[0]), retry_after_s=0) for j in jobs]
                        await jobs_of.fail(collection, version, lease_id, failures)
                    elif kind == "release":
                        await jobs_of.release(collection, version, lease_id)
                    else:
                        await jobs_of.extend(collection, version, lease_id, 3600)
                except FailedPreconditionError as error:
                    if error.reason != "LEASE_LOST":
                        raise

    async def finish(self) -> None:
        jobs_of, collection = self.stores.embedding_jobs, self.collection
        for version, lease_id, _ in self.leases:
            await jobs_of.release(collection, version, lease_id)
        for version in collection.versions:
            await jobs_of.requeue_dead(collection, version, [])
            # A job put back to be tried at once is due a moment later.
            while (counts := await jobs_of.counts(collection, version)).queued or counts.leased or counts.retrying:
                await work_off(self.stores, collection, version)
                await asyncio.sleep(0.001)
            assert counts.dead == 0
            await check_texts(self.stores, collection, version, self.texts)


@pytest.mark.parametrize("adapter_name", ["reference", "postgres"])
@settings(max_examples=50)
@given(steps=STEPS)
async def test_every_item_ends_with_the_embedding_of_its_latest_text(
    adapter_name: str, steps: list[tuple[object, ...]], reference: Stores, postgres: Stores
) -> None:
    stores = reference if adapter_name == "reference" else postgres
    name = f"life-{uuid4().hex[:12]}"
    await create(stores, name)
    collection, _ = await add_version(stores, name)
    life = Life(stores, collection)
    for step in steps:
        await life.step(step)
    await life.finish()
    await stores.collections.delete(name)
