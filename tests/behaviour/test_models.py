"""The register of models: one active version a type, and the way back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from retrieval.domain.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError, RetrievalError
from retrieval.domain.model_registry import ModelVersion
from tests.training import generate, shelf

if TYPE_CHECKING:
    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection


@pytest.fixture
async def films(stores: Stores, name: str) -> Collection:
    return await shelf(stores, name, [])


async def register(stores: Stores, films: Collection, *versions: str, kind: str = "ranker") -> None:
    for version in versions:
        await stores.models.register(films, ModelVersion(0, films.collection_id, kind, version))


async def active(stores: Stores, films: Collection, kind: str = "ranker") -> str | None:
    found = await stores.models.active(films, kind)
    listed = [m.version for m in await stores.models.list_after(films, kind, ("", ""), 100) if m.active]
    assert listed == ([] if found is None else [found.version])
    return None if found is None else found.version


async def test_a_version_comes_back_as_it_was_registered(stores: Stores, films: Collection) -> None:
    await generate(stores, films)
    model = ModelVersion(
        0,
        films.collection_id,
        "two-tower",
        "2026-11 ü",
        {"auc": 0.91, "loss": 3.0},
        {"layers": [64, 32], "name": "ü", "nested": {"on": True, "off": None}},
        "s3://models/1",
        training_run_ids=("run",),
    )
    made = await stores.models.register(films, model)
    assert made == await stores.models.get(films, "two-tower", "2026-11 ü")
    assert (made.metrics, made.parameters, made.artifact_uri) == (model.metrics, model.parameters, model.artifact_uri)
    assert made.training_run_ids == ("run",)
    assert made.model_version_id
    assert made.collection_id == films.collection_id
    assert made.created_at
    assert (made.active, made.activated_at) == (False, None)
    with pytest.raises(AlreadyExistsError) as raised:
        await stores.models.register(films, model)
    assert raised.value.reason == "MODEL_VERSION_EXISTS"
    assert await active(stores, films, "two-tower") is None


async def test_a_run_that_is_not_there(stores: Stores, films: Collection) -> None:
    model = ModelVersion(0, films.collection_id, "ranker", "1", training_run_ids=("nothing",))
    with pytest.raises(NotFoundError, match="nothing") as raised:
        await stores.models.register(films, model)
    assert raised.value.reason == "TRAINING_RUN_NOT_FOUND"
    assert await stores.models.list_after(films, "", ("", ""), 10) == []


async def test_one_active_version_a_type(stores: Stores, films: Collection) -> None:
    await register(stores, films, "1", "2")
    await register(stores, films, "1", kind="tower")
    await stores.models.activate(films, "tower", "1")
    for version in ("1", "2", "2", "1"):
        made = await stores.models.activate(films, "ranker", version)
        assert made.active
        assert made.activated_at
        assert await active(stores, films) == version
    assert await active(stores, films, "tower") == "1"
    again = await stores.models.activate(films, "ranker", "1")
    assert again.activated_at == made.activated_at


async def test_rollback_goes_back_step_by_step(stores: Stores, films: Collection) -> None:
    await register(stores, films, "a", "b", "c", "d")
    for version in "abc":
        await stores.models.activate(films, "ranker", version)
    assert (await stores.models.rollback(films, "ranker")).version == "b"
    # What was rolled back from does not come back by a rollback.
    await stores.models.activate(films, "ranker", "d")
    assert (await stores.models.rollback(films, "ranker")).version == "b"
    assert (await stores.models.rollback(films, "ranker")).version == "a"
    assert await active(stores, films) == "a"
    with pytest.raises(FailedPreconditionError) as raised:
        await stores.models.rollback(films, "ranker")
    assert raised.value.reason == "NO_PREVIOUS_VERSION"
    assert await active(stores, films) == "a"


async def test_a_new_branch_forgets_the_old_one(stores: Stores, films: Collection) -> None:
    await register(stores, films, *"abcdef")
    for version in "abcd":
        await stores.models.activate(films, "ranker", version)
    for _ in range(2):
        await stores.models.rollback(films, "ranker")
    for version in "ef":
        await stores.models.activate(films, "ranker", version)
    assert [(await stores.models.rollback(films, "ranker")).version for _ in range(3)] == ["e", "b", "a"]


async def test_a_version_activated_again_leaves_its_old_place(stores: Stores, films: Collection) -> None:
    await register(stores, films, "a", "b", "c")
    for version in "abca":
        await stores.models.activate(films, "ranker", version)
    assert [(await stores.models.rollback(films, "ranker")).version for _ in range(2)] == ["c", "b"]
    with pytest.raises(FailedPreconditionError):
        await stores.models.rollback(films, "ranker")


async def test_nothing_to_roll_back(stores: Stores, films: Collection) -> None:
    await register(stores, films, "a")
    with pytest.raises(FailedPreconditionError):
        await stores.models.rollback(films, "ranker")
    with pytest.raises(FailedPreconditionError):
        await stores.models.rollback(films, "nothing")


async def test_versions_that_are_not_there(stores: Stores, films: Collection) -> None:
    await register(stores, films, "a")
    for kind, version in (("ranker", "b"), ("other", "a")):
        for call in (stores.models.activate, stores.models.get):
            with pytest.raises(NotFoundError) as raised:
                await call(films, kind, version)
            assert raised.value.reason == "MODEL_VERSION_NOT_FOUND"


async def test_lists_are_in_code_point_order(stores: Stores, films: Collection) -> None:
    names = ["a", "B", "ü", "a1", "_", "10", "9"]
    await register(stores, films, *names)
    await register(stores, films, "z", kind="alpha")
    expected = [("alpha", "z"), *(("ranker", n) for n in sorted(names))]
    seen: list[tuple[str, str]] = []
    while page := await stores.models.list_after(films, "", seen[-1] if seen else ("", ""), 3):
        seen += [(m.model_type, m.version) for m in page]
    assert seen == expected
    rankers = await stores.models.list_after(films, "ranker", ("ranker", "B"), 2)
    assert [m.version for m in rankers] == sorted(names)[3:5]


async def test_many_activations_at_once(stores: Stores, films: Collection) -> None:
    await register(stores, films, *"abcdef")
    await asyncio.gather(*(stores.models.activate(films, "ranker", version) for version in "abcdef"))
    assert await active(stores, films) is not None
    back = 0
    while True:
        try:
            await stores.models.rollback(films, "ranker")
        except RetrievalError:
            break
        back += 1
    assert back == 5


async def test_models_go_with_their_collection(stores: Stores, films: Collection) -> None:
    await register(stores, films, "a")
    await stores.collections.delete(films.name)
    for call in (stores.models.activate, stores.models.get):
        with pytest.raises(NotFoundError):
            await call(films, "ranker", "a")
