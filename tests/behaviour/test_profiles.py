"""Profiles of users, their vectors, and how both are forgotten. On both stores alike."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.application.candidates.engine import UserCandidates
from retrieval.application.candidates.profile import ProfileRequest, UserProfile
from retrieval.application.candidates.strategies import SourceSetting
from retrieval.application.erase_user import erase_user
from retrieval.application.service import Service
from retrieval.domain.engagement import EVENT_TYPES, HOUR_US, user_hash
from retrieval.domain.errors import InvalidArgumentError, NotFoundError
from retrieval.domain.interests import Facet, Interest
from retrieval.domain.model import Chunk, EmbeddingVersion, Event, Item, Viewer, Visibility
from retrieval.domain.owner_edges import EdgeKind, OwnerEdge
from retrieval.domain.search import SearchOptions
from tests.catalogue import make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection

NOW_US = time.time_ns() // 1000
DIM = 4
ROCK, JAZZ = (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0)


@pytest.fixture
async def collection(stores: Stores, name: str) -> Collection:
    """Ten rock items and ten jazz items, the last of each private to their owner."""
    data = make(name, 1, dimension=DIM)
    made = await stores.collections.create(data.collection(), data.version())
    items = []
    for genre, direction in (("rock", ROCK), ("jazz", JAZZ)):
        for number in range(10):
            vector = np.array(direction, np.float16)
            vector[2] = number / 100
            hidden = number == 9
            items.append(
                Item(
                    f"{genre}-{number}",
                    (Chunk(0, vector),),
                    f"owner-{genre}",
                    Visibility.PRIVATE if hidden else Visibility.PUBLIC,
                    tags=("loud", "loud") if genre == "rock" else (),
                    attributes={"genre": genre, "labels": ("secret",) if hidden else ()},
                )
            )
    await stores.items.upsert(made, made.active, items, "", b"")
    return made


@pytest.fixture
async def service(stores: Stores) -> AsyncIterator[Service]:
    """One that keeps states, as a server does."""

    async def alive() -> bool:
        return True

    service = Service(stores, alive)
    service.candidates.open()
    yield service
    await service.candidates.close()


def event(item_id: str, kind: str = "like", *, user: str = "ann", hours_ago: int = 1) -> Event:
    return Event(user, item_id, kind, NOW_US - hours_ago * HOUR_US, f"{kind}-{item_id}-{hours_ago}")


async def record(service: Service, collection: Collection, *events: Event) -> None:
    await service.stores.events.record(collection, events)


async def profile(service: Service, collection: Collection, user: str = "ann", **rest: object) -> UserProfile:
    return await service.profiles.read(ProfileRequest(collection.name, user, **rest))  # type: ignore[arg-type]


async def test_nobody_has_an_empty_profile(service: Service, collection: Collection) -> None:
    got = await profile(service, collection)
    assert (got.interests, got.facets, got.gaps, dict(got.event_counts)) == ((), (), (), {})
    assert (got.positive_items, got.negative_items, got.seen_items) == (0, 0, 0)
    assert (got.newest_event_at, got.oldest_event_at, got.vector_set_at, got.interests_at) == (None,) * 4
    assert got.computed_at >= NOW_US
    assert got.embedding_version == 1


async def test_a_profile_shows_events_as_soon_as_they_are_recorded(service: Service, collection: Collection) -> None:
    """Not as of the state that was kept from the question before."""
    await profile(service, collection)
    await record(service, collection, event("rock-0", hours_ago=5), event("rock-1", "view", hours_ago=3))
    got = await profile(service, collection)
    assert dict(got.event_counts) == {"like": 1, "view": 1}
    assert (got.positive_items, got.negative_items, got.seen_items) == (2, 0, 2)
    assert (got.newest_event_at, got.oldest_event_at) == (NOW_US - 3 * HOUR_US, NOW_US - 5 * HOUR_US)
    assert [(i.medoid, i.item_ids) for i in got.interests] == [("rock-0", ("rock-0", "rock-1"))]
    again = await profile(service, collection)
    while again.interests_at != got.interests_at:  # the write came back over the database, and dropped the state again
        got, again = again, await profile(service, collection)
    assert again.computed_at > got.computed_at
    before = again.interests_at
    assert before is not None
    more = [event(f"jazz-{n}", "share") for n in range(6)] + [event("rock-2", "not_interested")]
    await record(service, collection, *more)
    got = await profile(service, collection)
    assert (got.positive_items, got.negative_items, got.seen_items) == (8, 1, 9)
    assert [{i.partition("-")[0] for i in interest.item_ids} for interest in got.interests] == [{"jazz"}, {"rock"}]
    assert got.interests_at is not None
    assert got.interests_at > before


async def test_a_profile_follows_the_weights_of_its_collection(service: Service, collection: Collection) -> None:
    """Nor as of the weights that the state was kept with."""
    await record(service, collection, event("rock-0"), event("jazz-0", "click"))
    (interest,) = (await profile(service, collection)).interests
    assert interest.item_ids == ("rock-0", "jazz-0")
    click = replace(EVENT_TYPES["click"], weight=50.0)
    await service.stores.collections.update(collection.name, {}, None, None, {"click": click})
    (interest,) = (await profile(service, collection)).interests
    assert interest.item_ids == ("jazz-0", "rock-0")
    rating = Event("ben", "rock-0", "rating", NOW_US - HOUR_US, "r", value=4.0)
    await record(service, collection, rating)
    assert (await profile(service, collection, "ben")).positive_items == 1
    await service.stores.collections.update(collection.name, {}, None, 10.0)
    assert (await profile(service, collection, "ben")).negative_items == 1


async def test_edges_are_counted(service: Service, collection: Collection) -> None:
    await profile(service, collection)
    kinds = [EdgeKind.FOLLOW] * 3 + [EdgeKind.BLOCK] * 2 + [EdgeKind.MUTE]
    edges = [OwnerEdge(f"o{n}", kind) for n, kind in enumerate(kinds)]
    await service.stores.engagement.set_edges(collection, "ann", edges, [])
    got = (await profile(service, collection)).edges
    assert (len(got.followed), len(got.blocked), len(got.muted)) == (3, 2, 1)


async def test_facets_are_weighted_and_of_what_the_user_may_see(service: Service, collection: Collection) -> None:
    # Weights 1, 1.5 and 1.5 of the same age; a private item of somebody else, and what is not stored, count nothing.
    await record(service, collection, event("rock-0"), event("rock-1", "share"), event("jazz-0", "share"))
    await record(service, collection, event("jazz-9", "purchase"), event("nowhere", "purchase"))
    got = await profile(service, collection)
    assert [(f.attribute, f.value) for f in got.facets] == [("genre", "rock"), ("tags", "loud")]
    half_lives = 2.0 ** (-1 / 24 / 60)
    rock, jazz = 2.5 * half_lives, 1.5 * half_lives
    for facet in got.facets:
        assert facet.user_share == pytest.approx(rock / (rock + jazz))
        assert facet.catalogue_share == pytest.approx(0.5), "a value counts once an item, and public items alone"
    assert got.gaps == ()
    assert "jazz-9" in {i for interest in got.interests for i in interest.item_ids}, "one's own engagement"
    owned = [event("jazz-9", user="owner-jazz"), event("jazz-0", "view", user="owner-jazz")]
    await record(service, collection, *owned)
    of_owner = await profile(service, collection, "owner-jazz", facet_limit=1)
    assert [(f.attribute, f.value) for f in of_owner.facets] == [("labels", "secret")]
    (first,) = of_owner.gaps
    assert first == Facet("genre", "rock", 0.0, 0.5)


async def test_groups_of_the_user_see_more(service: Service, collection: Collection) -> None:
    item = Item("inner", (Chunk(0, np.array(ROCK, np.float16)),), "x", Visibility.GROUPS, ("club",), tags=("inner",))
    await service.stores.items.upsert(collection, collection.active, [item], "", b"")
    await record(service, collection, event("inner"))
    assert (await profile(service, collection)).facets == ()
    got = await profile(service, collection, group_ids=("club",))
    assert [(f.value, f.user_share, f.catalogue_share) for f in got.facets] == [("inner", 1.0, 0.0)]


async def test_a_version_without_embeddings_has_no_interests(service: Service, collection: Collection) -> None:
    await service.stores.collections.create_version(collection.name, EmbeddingVersion(0, 0, "next", 8))
    await record(service, collection, event("rock-0"))
    got = await profile(service, collection, embedding_version=2)
    assert (got.embedding_version, got.interests, got.interests_at, got.positive_items) == (2, (), None, 1)
    assert (await profile(service, collection)).interests
    with pytest.raises(NotFoundError):
        await profile(service, collection, embedding_version=3)


async def test_interests_miss_nothing_that_a_cache_does_not_have_yet(
    service: Service, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a cache leaves out what is new, but for who presents a token."""
    await record(service, collection, event("rock-0"), event("rock-1"))
    store = service.stores.index
    everything = type(store).vectors

    async def lagging(
        self: object, version: EmbeddingVersion, item_ids: list[str], viewer: Viewer, token: str = ""
    ) -> dict[str, object]:
        found = await everything(self, version, item_ids, viewer)  # type: ignore[arg-type]
        return {i: rows for i, rows in found.items() if token or i != "rock-1"}

    monkeypatch.setattr(type(store), "vectors", lagging)
    (interest,) = (await profile(service, collection)).interests
    assert set(interest.item_ids) == {"rock-0", "rock-1"}


async def candidates(service: Service, collection: Collection, user: str = "ann") -> list[str]:
    """What the user's vector alone proposes."""
    found = await service.candidates.search(
        UserCandidates(
            collection.name,
            user,
            options=SearchOptions(limit=3),
            sources={name: SourceSetting(quota=0) for name in ("popular", "fresh", "trending", "interests", "similar")},
        )
    )
    return [hit.item_id for hit in found.hits if any(c.source == "user_vector" for c in hit.contributions)]


async def test_a_vector_takes_effect_for_the_next_candidates(service: Service, collection: Collection) -> None:
    assert await candidates(service, collection) == []
    token = await service.profiles.set_vector(collection.name, "ann", 0, np.array(ROCK, np.float32) * 7)
    assert await candidates(service, collection) == ["rock-0", "rock-1", "rock-2"]
    set_at = (await profile(service, collection)).vector_set_at
    assert set_at is not None
    await service.stores.items.wait_for(token)
    await service.profiles.set_vector(collection.name, "ann", 1, np.array(JAZZ, np.float32))
    assert await candidates(service, collection) == ["jazz-0", "jazz-1", "jazz-2"]
    assert await candidates(service, collection, "bob") == []
    later = (await profile(service, collection)).vector_set_at
    assert later is not None
    assert later > set_at
    await service.profiles.set_vector(collection.name, "ann", 0, None)
    assert await candidates(service, collection) == []
    assert (await profile(service, collection)).vector_set_at is None


async def test_vectors_that_are_refused(service: Service, collection: Collection) -> None:
    for bad, reason in (((1, 2, 3), "DIMENSION_MISMATCH"), ((0, 0, 0, 0), "VECTOR_ZERO")):
        with pytest.raises(InvalidArgumentError) as raised:
            await service.profiles.set_vector(collection.name, "ann", 0, np.array(bad, np.float32))
        assert (raised.value.reason, raised.value.violations[0].field) == (reason, "vector")
    assert await service.stores.profiles.vector(collection.active, "ann") is None


async def test_changes_of_what_is_kept_are_told(stores: Stores, collection: Collection) -> None:
    heard: list[tuple[int | None, frozenset[int]]] = []
    end = stores.user_feed.subscribe(lambda *change: heard.append(change))
    try:
        half = np.array(ROCK, np.float16)
        for change in (
            stores.profiles.set_vector(collection, collection.active, "ann", half),
            stores.profiles.set_vector(collection, collection.active, "ann", None),
            stores.profiles.erase_user(collection, "ann"),
        ):
            heard.clear()
            await change
            assert (collection.collection_id, frozenset({user_hash("ann")})) in heard
    finally:
        end()


async def test_nothing_of_a_user_remains(service: Service, collection: Collection) -> None:
    """Nor of another version; and what was worked out for a user who was forgotten meanwhile is not stored."""
    stores = service.stores
    second = await stores.collections.create_version(collection.name, EmbeddingVersion(0, 0, "next", 2))
    versions = collection.active, second
    for user in ("ann", "bob"):
        await record(service, collection, event("rock-0", user=user), event("jazz-0", user=user))
        await stores.profiles.set_vector(collection, collection.active, user, np.array(ROCK, np.float16))
        await stores.profiles.set_vector(collection, second, user, np.array((1, 0), np.float16))
        await profile(service, collection, user)
    other = (Interest(np.array((1, 0), np.float32), 1.0, "rock-0", ("rock-0",)),)
    await stores.profiles.save_interests(second, "ann", other)
    kept = await stored(service, versions, "ann")
    assert all(kept)
    erased = await erase_user(stores, collection.name, "ann")
    assert erased.profiles == len(kept)
    assert await stored(service, versions, "ann") == [None] * 4
    await stores.profiles.save_interests(second, "ann", other)
    assert await stored(service, versions, "ann") == [None] * 4
    got = await profile(service, collection)
    assert (got.interests, got.positive_items, got.vector_set_at) == ((), 0, None)
    assert await candidates(service, collection) == []
    assert len([found for found in await stored(service, versions, "bob") if found is not None]) == 3
    assert (await erase_user(stores, collection.name, "ann")).profiles == 0


async def stored(service: Service, versions: tuple[EmbeddingVersion, ...], user: str) -> list[object]:
    """Interests and vectors in each version, once those under way are stored."""
    await service.candidates.states.settle()
    profiles = service.stores.profiles
    found = await asyncio.gather(
        *(profiles.stored(version, user) for version in versions),
        *(profiles.vector_set_at(version, user) for version in versions),
    )
    vectors = [await profiles.vector(version, user) for version in versions]
    assert [v is None for v in vectors] == [f is None for f in found[len(versions) :]]
    return list(found)


async def test_shares_of_the_catalogue_are_the_same_everywhere(reference: Stores, postgres: Stores, name: str) -> None:
    data = make(name, 400, dimension=DIM)
    shares = []
    for each in (reference, postgres):
        made = await each.collections.create(data.collection(), data.version())
        await each.items.upsert(made, made.active, list(data.items.values()), "", b"")
        shares.append(dict(await each.profiles.facet_shares(made)))
    assert shares[0] == pytest.approx(shares[1])
    assert list(shares[0]) == list(shares[1])
    assert {("tags", "loud"), ("genre", "jazz"), ("labels", "new")} <= shares[0].keys()
    assert all(0 < share <= 1 for share in shares[0].values())


async def test_the_catalogue_is_counted_once_a_while(
    service: Service, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    profiles = service.stores.profiles
    count = type(profiles).facet_shares

    async def counting(self: object, of: Collection) -> object:
        counted.append(of.name)
        return await count(self, of)  # type: ignore[arg-type]

    monkeypatch.setattr(type(profiles), "facet_shares", counting)
    await profile(service, collection)
    assert counted == [], "nobody to compare with it"
    await record(service, collection, event("rock-0"), event("rock-0", user="bob"))
    await asyncio.gather(*(profile(service, collection, user) for user in ("ann", "bob", "ann")))
    assert counted == [collection.name]
    monkeypatch.setattr("retrieval.application.candidates.profile.SHARES_TTL_S", 0.0)
    await profile(service, collection)
    assert counted == [collection.name] * 2
