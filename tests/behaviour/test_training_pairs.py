"""Training pairs: which there are, what they say, and that a run goes on where it was."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application import training_pairs
from retrieval.application.training_ports import PairQuery, RunProgress
from retrieval.domain.errors import FailedPreconditionError, NotFoundError
from retrieval.domain.model_registry import ModelVersion
from retrieval.domain.training import ItemCounts, PairEvent
from tests.training import END_US, HOUR_US, START_US, event, generate, item, pairs_of, run_of, shelf

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection
    from retrieval.domain.training import TrainingPair


def labels(pairs: list[TrainingPair]) -> set[tuple[str, str, str, bool]]:
    return {(p.user_id, p.item_id, p.event_type, p.label) for p in pairs}


@pytest.fixture
async def films(stores: Stores, name: str) -> Collection:
    return await shelf(stores, name, [item(f"i{n}") for n in range(40)])


async def test_labels(stores: Stores, films: Collection) -> None:
    await stores.events.record(
        films,
        [
            event("ann", "i0", "view", 1),
            event("ann", "i0", "like", 2),
            event("ann", "i0", "share", 3),
            event("ann", "i1", "view", 4),
            event("ann", "i2", "impression", 5),
            event("ann", "i3", "search", 6),
            event("ann", "i4", "rating", 7, 5.0),
            event("ann", "i5", "rating", 8, 1.0),
            event("ann", "i6", "rating", 9, 2.5),
            event("ann", "i7", "view", 10),
            event("ann", "i7", "not_interested", 11),
            event("ann", "i8", "impression", 12),
            event("ann", "i8", "view", 13),
        ],
    )
    progress = await generate(stores, films)
    pairs = await pairs_of(stores, films)
    assert labels(pairs) == {
        ("ann", "i0", "like", True),
        ("ann", "i0", "share", True),
        ("ann", "i4", "rating", True),
        ("ann", "i5", "rating", False),
        ("ann", "i7", "not_interested", False),
        ("ann", "i1", "view", False),
        ("ann", "i2", "impression", False),
        ("ann", "i8", "impression", False),
    }
    assert progress == RunProgress("ann", complete=True, positives=3, negatives=5, users=1)
    assert [p.key for p in pairs] == sorted(p.key for p in pairs)


async def test_one_pair_for_an_item_and_a_moment(stores: Stores, films: Collection) -> None:
    """The weightiest type is the one that counts."""
    await stores.events.record(films, [event("ann", "i0", kind, 1) for kind in ("click", "purchase", "view", "like")])
    progress = await generate(stores, films)
    assert labels(await pairs_of(stores, films)) == {("ann", "i0", "purchase", True)}
    assert (progress.positives, progress.negatives) == (1, 0)


async def test_engagement_at_any_other_time_is_no_negative(stores: Stores, films: Collection) -> None:
    """Before the window and after the view; what comes after the window is not known yet."""
    await stores.events.record(
        films,
        [
            event("ann", "i0", "like", 1),
            event("ann", "i1", "like", -5),
            event("ann", "i1", "view", 2),
            event("ann", "i2", "view", 3),
            event("ann", "i2", "click", 90),
            event("ann", "i3", "view", 4),
            event("ann", "i3", "click", 2000),
            event("ann", "i4", "rating", -5, 2.5),
            event("ann", "i4", "view", 5),
            event("ann", "i5", "rating", -5, 2.6),
            event("ann", "i5", "view", 5),
        ],
    )
    await generate(stores, films)
    assert labels(await pairs_of(stores, films)) == {
        ("ann", "i0", "like", True),
        ("ann", "i2", "click", True),
        ("ann", "i3", "view", False),
        ("ann", "i4", "view", False),
    }


async def test_the_ratio(stores: Stores, films: Collection) -> None:
    """Explicit negatives are kept, and count; a user without positives has no sampled ones."""
    views = [event(user, f"i{n}", "view", n) for user in ("ann", "bob") for n in range(10, 30)]
    likes = [event("ann", "i0", "like", 1), event("ann", "i1", "like", 2)]
    against = [event(user, f"i{n}", "report", n) for user in ("ann", "bob") for n in (3, 4, 5)]
    await stores.events.record(films, [*views, *likes, *against])
    for ratio, negatives in ((0, 3), (1, 3), (2, 4), (4, 8), (100, 23)):
        run = run_of(f"run-{ratio}", f"model-{ratio}")
        await generate(stores, films, run, negatives_per_positive=ratio)
        found = await pairs_of(stores, films, f"model-{ratio}")
        assert sum(p.user_id == "ann" and p.label for p in found) == 2
        assert sum(p.user_id == "ann" and not p.label for p in found) == negatives
        assert labels([p for p in found if p.user_id == "bob"]) == {
            ("bob", f"i{n}", "report", False) for n in (3, 4, 5)
        }


async def test_the_choice_is_seeded(stores: Stores, films: Collection) -> None:
    views = [event("ann", f"i{n}", "view", n) for n in range(10, 40)]
    await stores.events.record(films, [event("ann", "i0", "like", 1), *views])
    chosen = {}
    for label, seed in (("a", 1), ("b", 1), ("c", 2), ("d", -(2**63))):
        await generate(stores, films, run_of(label, label), seed=seed)
        chosen[label] = {p.item_id for p in await pairs_of(stores, films, label) if not p.label}
    assert chosen["a"] == chosen["b"]
    assert len({frozenset(c) for c in chosen.values()}) == 3
    more = [event("ann", "i1", "like", 50), event("ann", "i2", "view", 51)]
    await stores.events.record(films, more)
    await generate(stores, films, run_of("e", "e"), seed=1)
    assert chosen["a"] - {"i2"} <= {p.item_id for p in await pairs_of(stores, films, "e")}


async def test_history_is_what_came_before(stores: Stores, films: Collection) -> None:
    await stores.events.record(
        films,
        [
            event("ann", "i9", "like", -20),
            event("ann", "i8", "rating", -10, 4.0),
            event("ann", "i1", "view", 1),
            event("ann", "i2", "impression", 2),
            event("ann", "i3", "click", 3),
            event("ann", "i4", "like", 4),
            event("ann", "i5", "share", 4),
            event("ann", "i6", "share", 5),
            event("bob", "i7", "share", 3),
        ],
    )
    await generate(stores, films, run_of("a", "a"), history_length=3)
    await generate(stores, films, run_of("b", "b"))
    await generate(stores, films, run_of("c", "c"), history_length=0)
    liked = {label: next(p for p in await pairs_of(stores, films, label) if p.item_id == "i4") for label in "abc"}
    told = [
        PairEvent("i3", "click", None, START_US + 3 * HOUR_US),
        PairEvent("i1", "view", None, START_US + HOUR_US),
        PairEvent("i8", "rating", 4.0, START_US - 10 * HOUR_US),
        PairEvent("i9", "like", None, START_US - 20 * HOUR_US),
    ]
    assert liked["a"].history == tuple(told[:3])
    assert liked["b"].history == tuple(told)
    assert liked["c"].history == ()


async def test_counts_are_as_of_the_interaction(stores: Stores, films: Collection) -> None:
    await stores.events.record(
        films,
        [
            event("u1", "i0", "view", 1),
            event("u2", "i0", "impression", 2),
            event("u3", "i0", "like", 3),
            event("u4", "i0", "rating", 4, 4.0),
            event("u5", "i0", "rating", 5, 1.0),
            event("u6", "i0", "search", 6),
            event("u7", "i0", "report", 7),
            event("u8", "i0", "like", 8),
            event("u9", "i0", "like", 8),
            event("u9", "i1", "like", 1),
        ],
    )
    await generate(stores, films)
    pairs = {(p.user_id, p.item_id): p.item.counts for p in await pairs_of(stores, films)}
    assert pairs["u3", "i0"] == ItemCounts(0, 2)
    assert pairs["u4", "i0"] == ItemCounts(1, 2)
    assert pairs["u5", "i0"] == ItemCounts(2, 2, 1, 4.0)
    assert pairs["u8", "i0"] == pairs["u9", "i0"] == ItemCounts(2, 2, 2, 2.5)


async def test_counts_have_a_limit(stores: Stores, films: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a popular item the latest events count."""
    for module in ("reference.pairs", "postgres.interactions"):
        monkeypatch.setattr(f"retrieval.{module}.MAX_COUNTED_EVENTS", 3)
    views = [event(f"u{n}", "i0", "view", n) for n in range(1, 9)]
    likes = [event(f"u{n}", "i0", "like", n) for n in range(9, 11)]
    await stores.events.record(films, [*views, *likes])
    assert await stores.pairs.counts(films, [("i0", END_US), ("i1", END_US)]) == [ItemCounts(2, 1), ItemCounts()]


async def test_the_item_as_it_is_stored(stores: Stores, name: str) -> None:
    films = await shelf(stores, name, [item("i0"), item("i1", chunks=2), item("i2", chunks=0)])
    await stores.events.record(films, [event("ann", f"i{n}", "dwell", n, 0.5, dwell=700) for n in range(3)])
    await generate(stores, films)
    first, second, third = await pairs_of(stores, films)
    assert (first.value, first.dwell_ms, first.run_id, first.model_version) == (0.5, 700, "run", "two-tower-1")
    assert first.item.attributes == {"labels": ("x", "y"), "price": 2.0, "year": 1999}
    assert (first.item.owner_id, first.item.text, first.item.tags) == ("owner-of-i0", "text of i0", ("a", "b"))
    assert first.embedding_version == 1
    assert first.embedding is not None
    assert first.embedding.tolist() == [1, 0, 0, 0]
    assert second.embedding is not None
    assert np.allclose(second.embedding, np.array([1, 1, 0, 0]) / np.sqrt(2), atol=1e-3)
    assert third.embedding is None
    await stores.items.upsert(films, films.active, [replace(item("i0"), text="rewritten")], "", b"")
    assert (await pairs_of(stores, films))[0].item.text == "text of i0"


async def test_items_that_were_not_there_are_skipped(stores: Stores, name: str) -> None:
    """Skipped candidates make room for others."""
    items = [item("i0"), item("i1", born_hour=5), item("i2", born_hour=50), item("i3", born_hour=50), item("i4")]
    films = await shelf(stores, name, items)
    await stores.events.record(
        films,
        [
            event("ann", "i0", "like", 1),
            event("ann", "i1", "like", 5),
            event("ann", "i2", "like", 49),
            event("ann", "gone", "like", 6),
            event("ann", "i3", "view", 7),
            event("ann", "lost", "view", 8),
            event("ann", "i4", "view", 9),
        ],
    )
    progress = await generate(stores, films)
    assert labels(await pairs_of(stores, films)) == {
        ("ann", "i0", "like", True),
        ("ann", "i1", "like", True),
        ("ann", "i4", "view", False),
    }
    assert progress.skipped == 4


async def busy(stores: Stores, films: Collection, users: int = 7) -> list[str]:
    names = [f"user-{n:02d}" for n in range(users)]
    for user in names:
        views = [event(user, f"i{n}", "view", n) for n in range(10, 30)]
        await stores.events.record(films, [event(user, "i0", "like", 1), event(user, "i1", "save", 2), *views])
    return names


async def test_a_run_in_parts_is_the_run_as_a_whole(stores: Stores, films: Collection) -> None:
    users = await busy(stores, films)
    whole = await generate(stores, films, run_of("whole", "whole"))
    parts = []
    while not parts or not parts[-1].complete:
        parts.append(await generate(stores, films, run_of("parts", "parts"), max_users=3))
    assert [p.users for p in parts] == [3, 6, 7]
    assert parts[-1] == whole == RunProgress(users[-1], complete=True, positives=14, negatives=56, users=7)
    assert await generate(stores, films, run_of("parts", "parts")) == whole
    found = [await pairs_of(stores, films, label) for label in ("whole", "parts")]
    assert [replace(p, model_version="", run_id="") for p in found[0]] == [
        replace(p, model_version="", run_id="") for p in found[1]
    ]


async def test_a_complete_run_says_so_at_its_last_user(stores: Stores, films: Collection) -> None:
    await busy(stores, films, 3)
    assert (await generate(stores, films, max_users=3)).complete


async def test_some_users(stores: Stores, films: Collection) -> None:
    users = await busy(stores, films)
    wanted = (users[5], users[1], "nobody", users[1])
    first = await generate(stores, films, user_ids=wanted, max_users=2)
    assert (first.users, first.complete) == (2, False)
    last = await generate(stores, films, user_ids=wanted)
    assert (last.users, last.complete) == (3, True)
    assert {p.user_id for p in await pairs_of(stores, films)} == {users[1], users[5]}


@pytest.mark.parametrize("cut", range(1, 9))
async def test_a_run_goes_on_after_it_was_cut_off(
    stores: Stores, films: Collection, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """In the middle of a user too: nothing is missing, nothing there twice, and everything counted once."""
    await busy(stores, films, 3)
    monkeypatch.setattr(training_pairs, "BATCH_PAIRS", 4)
    add, calls = stores.pairs.add, 0

    async def failing(*arguments: object) -> RunProgress:
        nonlocal calls
        calls += 1
        if calls == cut:
            raise asyncio.CancelledError
        return await add(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(stores.pairs), "add", lambda _self, *arguments: failing(*arguments))
        with pytest.raises(asyncio.CancelledError):
            await generate(stores, films)
    assert await generate(stores, films) == RunProgress("user-02", complete=True, positives=6, negatives=24, users=3)
    found = await pairs_of(stores, films)
    assert len(found) == 30
    whole = await generate(stores, films, run_of("whole", "whole"))
    assert whole.negatives == 24
    assert [p.key for p in found] == [p.key for p in await pairs_of(stores, films, "whole")]


async def test_two_calls_at_once_do_the_work_of_one(stores: Stores, films: Collection) -> None:
    await busy(stores, films)
    both = await asyncio.gather(generate(stores, films), generate(stores, films))
    assert both[0].complete
    assert await generate(stores, films) == RunProgress("user-06", complete=True, positives=14, negatives=56, users=7)
    assert len(await pairs_of(stores, films)) == 70


async def test_time_running_out_ends_the_call_but_not_the_run(
    stores: Stores, films: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await busy(stores, films, 3)
    monkeypatch.setattr(training_pairs, "remaining_s", lambda: 0.0)
    progress = [(await generate(stores, films)).users for _ in range(3)]
    assert progress == [1, 2, 3]


async def test_other_settings_are_another_run(stores: Stores, films: Collection) -> None:
    await generate(stores, films, run_of(settings="a"))
    for other in (run_of(settings="b"), run_of(model_version="x", settings="a")):
        with pytest.raises(FailedPreconditionError) as raised:
            await generate(stores, films, other)
        assert raised.value.reason == "RUN_ID_REUSED"


async def test_a_user_with_too_many_events(stores: Stores, films: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_pairs, "MAX_WINDOW_EVENTS", 3)
    await stores.events.record(films, [event("ann", f"i{n}", "like", n) for n in range(5)])
    await stores.events.record(films, [event("bob", f"i{n}", "like", n) for n in range(3)])
    progress = await generate(stores, films)
    assert (progress.positives, progress.users, progress.truncated) == (6, 2, 1)


async def test_lists(stores: Stores, films: Collection) -> None:
    await busy(stores, films, 3)
    await generate(stores, films)
    everything = await pairs_of(stores, films)
    paged: list[TrainingPair] = []
    while page := await stores.pairs.list_after(films, PairQuery("two-tower-1"), paged[-1].key if paged else None, 7):
        assert len(page) <= 7
        paged += page
    assert paged == everything
    for label in (True, False):
        query = PairQuery("two-tower-1", label)
        assert await stores.pairs.list_after(films, query, None, 99) == [p for p in everything if p.label is label]
    since = everything[5].interaction_at
    query = PairQuery("two-tower-1", since=since)
    assert await stores.pairs.list_after(films, query, None, 99) == [p for p in everything if p.interaction_at >= since]


async def test_a_user_is_erased(stores: Stores, films: Collection) -> None:
    users = await busy(stores, films, 3)
    await generate(stores, films)
    await generate(stores, films, run_of("other", "other"))
    assert await stores.pairs.erase_user(films, users[1]) == 20
    assert await stores.pairs.erase_user(films, users[1]) == 0
    for label in ("two-tower-1", "other"):
        assert {p.user_id for p in await pairs_of(stores, films, label)} == {users[0], users[2]}


async def test_a_user_who_was_erased_meanwhile_gets_no_pairs(stores: Stores, films: Collection) -> None:
    await busy(stores, films, 1)
    await generate(stores, films, run_of("whole", "whole"))
    made = await pairs_of(stores, films, "whole")
    await stores.pairs.begin(films, run_of())
    late = [*made, *(replace(pair, user_id="erased") for pair in made)]
    assert (await stores.pairs.add(films, run_of(), late)).negatives == 8
    assert {p.user_id for p in await pairs_of(stores, films)} == {"user-00"}


async def test_pairs_that_a_model_has_used_are_pruned(stores: Stores, films: Collection) -> None:
    await busy(stores, films, 2)
    for run in ("used", "unused"):
        await generate(stores, films, run_of(run, run))
    model = ModelVersion(0, films.collection_id, "two-tower", "1", training_run_ids=("used",))
    made = (await stores.models.register(films, model)).created_at
    assert await stores.pairs.prune(made - 3600 * 1_000_000) == 0
    assert await stores.pairs.prune(made + 1) == 20
    assert await pairs_of(stores, films, "used") == []
    assert len(await pairs_of(stores, films, "unused")) == 20


async def test_pairs_go_with_their_collection(stores: Stores, films: Collection) -> None:
    await busy(stores, films, 2)
    progress = await generate(stores, films, max_users=1)
    assert not progress.complete
    await stores.collections.delete(films.name)
    with pytest.raises(NotFoundError) as raised:
        await stores.pairs.add(films, run_of(), [])
    assert raised.value.reason == "COLLECTION_NOT_FOUND"
