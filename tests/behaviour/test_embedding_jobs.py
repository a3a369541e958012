"""Texts embedded through the queue: what is queued and kept, and what a lease may write. On both stores alike."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest

from retrieval.domain.embedding_jobs import (
    FIRST_DELAY_S,
    LEASE_RAN_OUT,
    LONE_AFTER,
    LONGEST_DELAY_S,
    MAX_ATTEMPTS,
    MAX_LEASED_TEXT_BYTES,
    CompleteOutcome,
    EmbeddedText,
    FailOutcome,
    JobFailure,
    leased_together,
    retry_delay_s,
)
from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.model import EVERYTHING, Chunk, Item, Visibility
from tests.embedding_jobs import (
    add_version,
    check_texts,
    chunk,
    complete,
    create,
    lease,
    until_dead,
    until_leased,
    vectors,
    work_off,
    write,
)

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection


@pytest.fixture
async def texts(stores: Stores, name: str) -> Collection:
    return await create(stores, name)


async def test_a_text_is_queued_and_its_embedding_replaced(stores: Stores, texts: Collection) -> None:
    version = texts.active
    await write(stores, texts, Item("a", text="one"), Item("b"), Item("c", (chunk("given"),), text="three"))
    assert await vectors(stores, texts, version, "a", "b") == {}
    assert (texts.name, version.version) in await stores.embedding_jobs.due()
    assert await work_off(stores, texts, version) == ["one"]
    await check_texts(stores, texts, version, {"a": "one", "b": "", "c": "given"})
    await write(stores, texts, Item("a", text="two"), Item("c", text="three"))
    await check_texts(stores, texts, version, {"a": "one", "c": "given"})
    assert await work_off(stores, texts, version) == ["two"]
    await check_texts(stores, texts, version, {"a": "two", "c": "given"})
    counts = await stores.embedding_jobs.counts(texts, version)
    assert (counts.queued, counts.leased, counts.retrying, counts.dead) == (0, 0, 0, 0)
    assert (counts.total, counts.embedded, counts.outstanding, counts.oldest_age_s) == (2, 2, 0, 0)
    assert (texts.name, version.version) not in await stores.embedding_jobs.due()


async def test_what_keeps_and_what_loses_an_embedding(stores: Stores, texts: Collection) -> None:
    version = texts.active
    await write(stores, texts, Item("a", text="one"), Item("b", text="two"), Item("c", text="three"))
    await work_off(stores, texts, version)
    await write(stores, texts, Item("a", text="one", owner_id="ann", visibility=Visibility.PRIVATE), Item("b"))
    assert await work_off(stores, texts, version) == []
    await check_texts(stores, texts, version, {"a": "one", "b": "", "c": "three"})
    # The columns beside a kept embedding are those of the item.
    seen = await stores.index.vectors(version, ["a", "c"], replace(EVERYTHING, unrestricted=False))
    assert set(seen) == {"c"}
    await write(stores, texts, Item("c", text="three"), Item("b", text="back"))
    await stores.items.delete(texts, ["a", "b"], "", b"")
    assert await work_off(stores, texts, version) == []
    await write(stores, texts, Item("c", (chunk("given"),), text="new"))
    assert await work_off(stores, texts, version) == []
    await check_texts(stores, texts, version, {"a": "", "c": "given"})


async def test_versions_in_every_state_follow_the_texts(stores: Stores, texts: Collection) -> None:
    first = texts.active
    await write(stores, texts, Item("a", text="one"))
    await work_off(stores, texts, first)
    collection, second = await add_version(stores, texts.name)
    await write(stores, collection, Item("a", (chunk("mine"),), text="two"), version=second.version)
    assert await work_off(stores, collection, first) == ["two"]
    assert await work_off(stores, collection, second) == []
    collection = await stores.collections.activate_version(texts.name, second.version)
    await write(stores, collection, Item("a", text="three"), Item("b", text="new"))
    for version in (first, second):
        assert sorted(await work_off(stores, collection, version)) == ["new", "three"]
        await check_texts(stores, collection, version, {"a": "three", "b": "new"})
    await write(stores, collection, Item("b"))
    for version in (first, second):
        await check_texts(stores, collection, version, {"a": "three", "b": ""})


async def test_a_plain_version_is_as_ever(stores: Stores, name: str) -> None:
    collection = await create(stores, name, embeds_text=False)
    await write(stores, collection, Item("a", (chunk("given"),), text="one"))
    await write(stores, collection, Item("a", text="two"))
    assert await vectors(stores, collection, collection.active, "a") == {}
    _, jobs = await lease(stores, collection, collection.active)
    assert jobs == []


async def test_a_version_made_later_gets_what_is_there(stores: Stores, name: str) -> None:
    collection = await create(stores, name, embeds_text=False)
    items = [Item(f"i{n:04d}", (chunk(f"old {n}"),), text=f"text {n}" if n % 2 else "") for n in range(700)]
    await write(stores, collection, *items)
    collection, made = await add_version(stores, name)
    assert made.embeds_text
    assert not collection.active.embeds_text
    counts = await stores.embedding_jobs.counts(collection, made)
    assert (counts.queued, counts.total, counts.embedded, counts.outstanding) == (350, 350, 0, 350)
    assert counts.oldest_age_s > 0
    assert await stores.embedding_jobs.backfill() == 0
    # What is written now comes first.
    await write(stores, collection, Item("i0601", text="urgent"), Item("new", text="newest"))
    _, jobs = await lease(stores, collection, made, count=3)
    assert sorted(j.item_id for j in jobs[:2]) == ["i0601", "new"]
    assert jobs[2].item_id == "i0001"


async def test_a_text_that_changes_under_a_lease_is_embedded_again(stores: Stores, texts: Collection) -> None:
    version = texts.active
    await write(stores, texts, Item("a", text="one"), Item("b", text="b"), Item("c", text="c"))
    lease_id, jobs = await lease(stores, texts, version)
    await write(stores, texts, Item("a", text="two"))
    await stores.items.delete(texts, ["b"], "", b"")
    outcomes = dict(zip((j.item_id for j in jobs), await complete(stores, texts, version, lease_id, jobs), strict=True))
    assert outcomes == {
        "a": CompleteOutcome.TEXT_CHANGED,
        "b": CompleteOutcome.LEASE_LOST,
        "c": CompleteOutcome.APPLIED,
    }
    await check_texts(stores, texts, version, {"a": "", "b": "", "c": "c"})
    assert await work_off(stores, texts, version) == ["two"]
    # A failure with the old text says nothing of the new one.
    await write(stores, texts, Item("a", text="three"))
    lease_id, jobs = await lease(stores, texts, version)
    await write(stores, texts, Item("a", text="four"))
    failed = await stores.embedding_jobs.fail(
        texts, version, lease_id, [JobFailure(jobs[0].job_id, "no", permanent=True)]
    )
    assert failed == {jobs[0].job_id: FailOutcome.TEXT_CHANGED}
    assert await work_off(stores, texts, version) == ["four"]
    await check_texts(stores, texts, version, {"a": "four"})


async def test_only_the_holder_of_a_lease_writes(stores: Stores, texts: Collection) -> None:
    version, jobs_of = texts.active, stores.embedding_jobs
    await write(stores, texts, Item("a", text="one"))
    slow, jobs = await lease(stores, texts, version, lease_s=0)
    quick, again = await until_leased(stores, texts, version)
    assert [j.item_id for j in again] == ["a"]
    assert (await jobs_of.counts(texts, version)).leased == 1
    for call in (
        complete(stores, texts, version, slow, jobs),
        jobs_of.extend(texts, version, slow, 60),
        jobs_of.fail(texts, version, slow, [JobFailure(jobs[0].job_id, "late")]),
        complete(stores, texts, version, uuid4(), jobs),
    ):
        with pytest.raises(FailedPreconditionError) as raised:
            await call
        assert raised.value.reason == "LEASE_LOST"
    assert await vectors(stores, texts, version, "a") == {}
    assert await jobs_of.extend(texts, version, quick, 60) == 1
    assert await complete(stores, texts, version, quick, again) == [CompleteOutcome.APPLIED]
    with pytest.raises(FailedPreconditionError):
        await complete(stores, texts, version, quick, again)
    assert await work_off(stores, texts, version) == []


async def test_a_lease_given_back_costs_no_attempt(stores: Stores, texts: Collection) -> None:
    version = texts.active
    await write(stores, texts, Item("a", text="one"))
    lease_id, _ = await lease(stores, texts, version)
    assert (await lease(stores, texts, version))[1] == []
    await stores.embedding_jobs.release(texts, version, lease_id)
    _, jobs = await lease(stores, texts, version)
    assert [(j.item_id, j.attempt) for j in jobs] == [("a", 1)]


async def test_a_lease_that_runs_out_is_a_failed_attempt(stores: Stores, texts: Collection) -> None:
    version, jobs_of = texts.active, stores.embedding_jobs
    await write(stores, texts, Item("a", text="kills"))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        _, (job,) = await until_leased(stores, texts, version, lease_s=0)
        assert job.attempt == attempt
    await until_dead(stores, texts, version)
    (dead,) = await jobs_of.list_dead(texts, version, 0, 10)
    assert (dead.item_id, dead.error, dead.attempts) == ("a", LEASE_RAN_OUT, MAX_ATTEMPTS)
    assert await jobs_of.requeue_dead(texts, version, []) == 1
    await write(stores, texts, Item("b", text="harmless"))
    _, jobs = await until_leased(stores, texts, version, lease_s=0)
    assert {(j.item_id, j.attempt) for j in jobs} == {("a", 1), ("b", 1)}, "it is under suspicion no more"
    _, jobs = await until_leased(stores, texts, version)
    assert {(j.item_id, j.attempt) for j in jobs} == {("a", 2), ("b", 2)}


async def test_a_text_that_kills_its_worker_takes_no_other_along(stores: Stores, texts: Collection) -> None:
    version = texts.active
    await write(stores, texts, *(Item(i, text=i) for i in "abc"))
    for _ in range(LONE_AFTER):
        _, jobs = await until_leased(stores, texts, version, lease_s=0)
        assert {j.item_id for j in jobs} == set("abc")
    await write(stores, texts, *(Item(i, text=i) for i in "de"))
    assert [j.item_id for j in (await until_leased(stores, texts, version, lease_s=0))[1]] == ["a"]
    lease_id, jobs = await until_leased(stores, texts, version)
    assert [(j.item_id, j.attempt) for j in jobs] == [("a", LONE_AFTER + 2)]
    await stores.embedding_jobs.fail(texts, version, lease_id, [JobFailure(jobs[0].job_id, "bad", permanent=True)])
    for alone in "bc":
        lease_id, jobs = await until_leased(stores, texts, version)
        assert [j.item_id for j in jobs] == [alone]
        await complete(stores, texts, version, lease_id, jobs)
    _, jobs = await until_leased(stores, texts, version)
    assert {j.item_id for j in jobs} == set("de")


@pytest.mark.parametrize(
    ("lost", "together"),
    [([], []), ([0, 1, 0], [0, 1, 2]), ([0, 2, 1, 3], [0, 2]), ([2, 0, 0], [0]), ([5, 7], [0]), ([1], [0])],
)
def test_who_shares_a_lease(lost: list[int], together: list[int]) -> None:
    assert leased_together(lost) == together


async def test_failures_are_tried_again_and_then_held(stores: Stores, texts: Collection) -> None:
    version, jobs_of = texts.active, stores.embedding_jobs
    await write(stores, texts, Item("a", text="one"))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        lease_id, (job,) = await until_leased(stores, texts, version)
        assert job.attempt == attempt
        outcome = await jobs_of.fail(
            texts, version, lease_id, [JobFailure(job.job_id, f"no {attempt}", retry_after_s=0)]
        )
        assert outcome == {job.job_id: FailOutcome.RETRY if attempt < MAX_ATTEMPTS else FailOutcome.DEAD}
    assert await work_off(stores, texts, version) == []
    (dead,) = await jobs_of.list_dead(texts, version, 0, 10)
    assert (dead.item_id, dead.error, dead.attempts) == ("a", f"no {MAX_ATTEMPTS}", MAX_ATTEMPTS)
    counts = await jobs_of.counts(texts, version)
    assert (counts.dead, counts.queued, counts.total, counts.outstanding) == (1, 0, 1, 0)
    assert await jobs_of.requeue_dead(texts, version, [dead.job_id + 1_000_000]) == 0
    assert await jobs_of.requeue_dead(texts, version, []) == 1
    _, (job,) = await until_leased(stores, texts, version)
    assert job.attempt == 1


async def test_a_failure_waits_and_a_new_text_does_not(stores: Stores, texts: Collection) -> None:
    version, jobs_of = texts.active, stores.embedding_jobs
    await write(stores, texts, Item("a", text="one"), Item("b", text="b"))
    lease_id, jobs = await lease(stores, texts, version)
    await jobs_of.fail(texts, version, lease_id, [JobFailure(j.job_id, "later", retry_after_s=3600) for j in jobs])
    assert (await jobs_of.counts(texts, version)).retrying == 2
    assert (await lease(stores, texts, version))[1] == []
    await write(stores, texts, Item("a", text="two"))
    _, jobs = await until_leased(stores, texts, version)
    assert [(j.text, j.attempt) for j in jobs] == [("two", 1)]


async def test_what_cannot_get_better_is_held_until_the_text_changes(stores: Stores, texts: Collection) -> None:
    version, jobs_of = texts.active, stores.embedding_jobs
    await write(stores, texts, *(Item(i, text=i) for i in "abc"))
    lease_id, jobs = await lease(stores, texts, version)
    outcomes = await jobs_of.fail(texts, version, lease_id, [JobFailure(j.job_id, "bad", permanent=True) for j in jobs])
    assert set(outcomes.values()) == {FailOutcome.DEAD}
    first = await jobs_of.list_dead(texts, version, 0, 2)
    rest = await jobs_of.list_dead(texts, version, first[-1].job_id, 2)
    assert [d.item_id for d in (*first, *rest)] == ["a", "b", "c"]
    await write(stores, texts, Item("a", text="better"))
    await stores.items.delete(texts, ["b"], "", b"")
    assert [d.item_id for d in await jobs_of.list_dead(texts, version, 0, 10)] == ["c"]
    assert await work_off(stores, texts, version) == ["better"]
    assert await jobs_of.prune_embedding_jobs(0) == 0
    assert await jobs_of.prune_embedding_jobs(2**52) >= 1
    assert await jobs_of.list_dead(texts, version, 0, 10) == []


async def test_several_chunks_and_nothing_else_changes(stores: Stores, texts: Collection) -> None:
    version = texts.active
    item = Item("a", text="one", owner_id="ann", tags=("t",), rating_value=3.5, payload_json='{"a": 1}')
    await write(stores, texts, item)
    before = (await stores.items.get(texts, version, ["a"], EVERYTHING, with_chunks=True))["a"]
    lease_id, (job,) = await lease(stores, texts, version)
    chunks = (Chunk(0, chunk("x").vector), Chunk(3, chunk("y").vector))
    await stores.embedding_jobs.complete(texts, version, lease_id, [EmbeddedText(job.job_id, chunks)])
    after = (await stores.items.get(texts, version, ["a"], EVERYTHING, with_chunks=True))["a"]
    assert replace(after, chunks=()) == before
    assert [c.chunk_index for c in after.chunks] == [0, 3]
    assert np.array_equal(after.chunks[1].vector, chunks[1].vector)
    assert (await stores.collections.get(texts.name)).active.max_chunks == 2


async def test_a_lease_ends_where_the_texts_get_long(stores: Stores, texts: Collection) -> None:
    text = "x" * 100_000
    await write(stores, texts, *(Item(f"i{n:02d}", text=text) for n in range(50)))
    _, jobs = await lease(stores, texts, texts.active)
    assert len(jobs) == -(-MAX_LEASED_TEXT_BYTES // len(text))
    _, rest = await lease(stores, texts, texts.active)
    assert len(rest) == 50 - len(jobs)
    assert {j.attempt for j in rest} == {1}


async def test_a_version_is_complete_before_it_is_activated(stores: Stores, texts: Collection) -> None:
    await write(stores, texts, *(Item(i, text=i) for i in "abc"))
    await work_off(stores, texts, texts.active)
    collection, made = await add_version(stores, texts.name)
    lease_id, (job, *_) = await lease(stores, collection, made, count=1)
    await stores.embedding_jobs.fail(collection, made, lease_id, [JobFailure(job.job_id, "bad", permanent=True)])
    with pytest.raises(FailedPreconditionError, match="version 2 yet: 2;") as raised:
        await stores.collections.activate_version(texts.name, made.version)
    assert raised.value.reason == "VERSION_INCOMPLETE"
    lease_id, jobs = await lease(stores, collection, made, count=1)
    await complete(stores, collection, made, lease_id, jobs)
    early = await stores.collections.activate_version(texts.name, made.version, allow_incomplete=True)
    assert early.active.version == made.version
    await stores.collections.rollback_version(texts.name)
    await work_off(stores, collection, made)
    # One is dead: it would keep the version from being activated for good.
    assert (await stores.collections.activate_version(texts.name, made.version)).active.version == made.version


async def test_jobs_end_with_their_collection(stores: Stores, name: str) -> None:
    collection = await create(stores, name)
    await write(stores, collection, Item("a", text="one"))
    await stores.collections.delete(name)
    assert name not in {found for found, _ in await stores.embedding_jobs.due()}


def test_retries_spread_between_a_second_and_five_minutes() -> None:
    assert {retry_delay_s(attempt, 0.0) for attempt in range(1, 12)} == {FIRST_DELAY_S}
    latest = [retry_delay_s(attempt, 0.999999) for attempt in range(1, 12)]
    assert all(a <= b for a, b in pairwise(latest))
    assert latest[0] == pytest.approx(2, abs=0.01)
    assert latest[-1] == pytest.approx(LONGEST_DELAY_S, abs=0.01)
