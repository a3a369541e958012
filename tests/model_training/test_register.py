"""From events to an active model, on both stores; and what is said where that cannot be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from retrieval.application.candidates import catalogue as catalogues
from retrieval.application.candidates.catalogue import MODEL_TYPE
from retrieval.application.candidates.engine import CandidateEngine, UserCandidates
from retrieval.application.candidates.strategies import Strategy
from retrieval.application.limits import Limits
from retrieval.application.search import SearchPipeline
from retrieval.bootstrap import train_and_register, train_model
from retrieval.config import Settings
from retrieval.domain.errors import FailedPreconditionError, NotFoundError
from retrieval.domain.model import Event
from retrieval.domain.model_bytes import from_bytes
from retrieval.domain.model_registry import ModelVersion
from retrieval.training.run import NotEnoughError
from tests.models import two_communities
from tests.training import item, shelf

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.application.ports import Stores
    from retrieval.domain.model import Collection
    from retrieval.training.run import Progress

IDS = [f"i{n:02d}" for n in range(30)]


async def communities(stores: Stores, name: str) -> Collection:
    """Thirty films and users of two communities, who like the first or the second half of them."""
    films = await shelf(stores, name, [item(i) for i in IDS])
    await stores.events.record(films, likes())
    return films


def likes() -> list[Event]:
    log = two_communities(IDS, users=24, each=7)
    rows = zip(log.users.tolist(), log.items.tolist(), log.times.tolist(), strict=True)
    return [Event(f"user-{u:02d}", IDS[i], "like", at, "e") for u, i, at in rows]


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_events_become_an_active_model(
    stores: Stores, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = await communities(stores, name)
    engine = CandidateEngine(stores, SearchPipeline(stores, Limits()))
    engine.open()
    learned = (Strategy("learned", {"co_engagement": 1.0}),)
    collaborative = UserCandidates(name, "user-00", strategies=learned)
    said: list[Progress] = []
    try:
        # An engine that runs already comes to see it.
        assert (await engine.search(collaborative)).report.model_version == ""
        model = await train_and_register(stores, name, tmp_path, said.append)
        monkeypatch.setattr(catalogues, "STALE_S", 0.0)
        monkeypatch.setattr(catalogues, "REFRESH_S", 0.0)
        result = await engine.search(collaborative)
    finally:
        await engine.close()
    assert result.report.model_version == model.version
    # User 0 is of the first community, and has eight of its fifteen films left to see, of twenty-three in all.
    assert len([h for h in result.hits[:8] if h.item_id < "i15"]) >= 6
    assert model.active
    assert model.metrics["engagements"] == 24 * 7
    assert model.parameters == {"factors": 32, "confidence": 4.0}
    assert await stores.models.active(films, MODEL_TYPE) == model
    data = await stores.artifacts.load(model)
    assert data is not None
    assert from_bytes(data, "").item_ids == sorted(IDS, key=from_bytes(data, "").numbers.__getitem__)
    assert (said[0].name, said[0].done) == ("read", 24 * 7)
    assert [p.step for p in said[1:]] == list(range(1, said[-1].steps + 1))
    # Nothing is left of the run.
    assert files_below(tmp_path) == []


async def test_the_model_is_large(stores: Stores, name: str) -> None:
    """Bytes are stored in parts, and replaced as a whole."""
    films = await shelf(stores, name, [])
    model = await stores.models.register(films, ModelVersion(0, films.collection_id, MODEL_TYPE, "1"))
    assert await stores.artifacts.load(model) is None
    for data in (bytes(range(256)) * 80_000, b"", b"small"):
        await stores.artifacts.save(model, data)
        assert (await stores.artifacts.load(model) or b"") == data


async def test_registered_only(stores: Stores, name: str, tmp_path: Path) -> None:
    films = await communities(stores, name)
    first = await train_and_register(stores, name, tmp_path, lambda _: None)
    second = await train_and_register(stores, name, tmp_path, lambda _: None, activate=False)
    assert not second.active
    active = await stores.models.active(films, MODEL_TYPE)
    assert active is not None
    assert active.version == first.version


async def test_too_few_events_then_enough(stores: Stores, name: str, tmp_path: Path) -> None:
    """The run after one that found too little looks at what there is then."""
    films = await shelf(stores, name, [item(i) for i in IDS])
    with pytest.raises(NotEnoughError):
        await train_and_register(stores, name, tmp_path, lambda _: None)
    await stores.events.record(films, likes())
    assert (await train_and_register(stores, name, tmp_path, lambda _: None)).active


async def test_the_command_says_what_is_missing(
    postgres: Stores, database_url: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(database_url=database_url, data_dir=tmp_path)
    with pytest.raises(NotFoundError) as unknown:
        await train_model(settings, "nowhere", lambda _: None)
    assert unknown.value.reason == "COLLECTION_NOT_FOUND"
    await shelf(postgres, name, [item("i00")])
    with pytest.raises(FailedPreconditionError) as few:
        await train_model(settings, name, lambda _: None)
    assert few.value.reason == "TOO_FEW_EVENTS"
    for package in ("implicit", "scipy"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            for module in [m for m in sys.modules if m.startswith(("retrieval.training", f"{package}."))]:
                patch.delitem(sys.modules, module)
            with pytest.raises(FailedPreconditionError) as missing:
                await train_model(settings, name, lambda _: None)
        assert missing.value.reason == "TRAINING_NOT_INSTALLED"
        assert "[train]" in missing.value.message
