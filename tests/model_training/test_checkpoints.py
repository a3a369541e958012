"""A run that was interrupted goes on where it was, with the same result; what cannot be gone on with begins anew."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from retrieval.domain.model_bytes import to_bytes
from retrieval.training import run
from retrieval.training.checkpoints import Checkpoints
from retrieval.training.run import RESUMED_S, NotEnoughError, Progress, open_checkpoints, train
from tests.models import two_communities

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOG = two_communities([f"i{n:02d}" for n in range(30)], users=24, each=7)
STEPS = 7


def quiet(_: Progress) -> None:
    pass


class PlugPulledError(Exception):
    """Somebody pulled the plug."""


def interrupted_at(step: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step == step:
            raise PlugPulledError

    return report


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the dear steps were done."""
    done: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **settings: object) -> object:
            done[name] += 1
            return function(*arguments, **settings)

        return call

    for name in ("fit", "make_examples"):
        monkeypatch.setattr(run, name, counted(name, getattr(run, name)))
    return done


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> run.Trained:
    """The model of a run that nobody interrupted."""
    return train(LOG, open_checkpoints(tmp_path_factory.mktemp("whole") / "kept"), quiet, threads=1)


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_run_goes_on(tmp_path: Path, whole: run.Trained, work: Counter[str], step: int) -> None:
    with pytest.raises(PlugPulledError):
        train(LOG, open_checkpoints(tmp_path / "kept"), interrupted_at(step), threads=1)
    done = Counter(work)
    assert done == Counter(fit=int(step > 1), make_examples=max(0, min(step - 2, 4)))
    seen: list[Progress] = []
    trained = train(LOG, open_checkpoints(tmp_path / "kept"), seen.append, threads=1)
    assert work == Counter(fit=1, make_examples=4)
    assert [progress.step for progress in seen] == list(range(1, STEPS + 1))
    assert {progress.steps for progress in seen} == {STEPS}
    assert to_bytes(trained.model) == to_bytes(whole.model)
    assert trained.metrics == whole.metrics


def test_the_figures_of_a_run(whole: run.Trained) -> None:
    assert whole.metrics["engagements"] == len(LOG)
    assert whole.metrics["items"] == 30
    assert whole.metrics["examples"] > 60
    assert {"hr_100", "ndcg_100", "hr_100.popularity", "ndcg_100.co_visited"} <= whole.metrics.keys()
    assert all(0 <= value <= 1 for name, value in whole.metrics.items() if "_100" in name)


def one(kept: Checkpoints, value: int) -> int:
    return int(kept.step("one", lambda: {"value": np.array(value)})["value"])


def test_a_step_is_done_once(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "kept", {"a": 1}, 60)
    assert (one(kept, 1), one(kept, 2)) == (1, 1)
    assert one(Checkpoints(tmp_path / "kept", {"a": 1}, 60), 3) == 1
    kept.discard()
    assert one(kept, 4) == 4


def test_other_parameters_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(open_checkpoints(tmp_path / "kept"), 1) == 1
    assert one(open_checkpoints(tmp_path / "kept"), 2) == 1
    monkeypatch.setattr(run, "PARAMETERS", {**run.PARAMETERS, "factors": 64})
    assert one(open_checkpoints(tmp_path / "kept"), 3) == 3
    assert one(open_checkpoints(tmp_path / "kept", fresh=True), 4) == 4


def test_what_began_more_than_a_day_ago_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    assert one(open_checkpoints(folder), 1) == 1
    now = time.time()
    os.utime(folder / "settings.json", (now, now - RESUMED_S + 600))
    assert one(open_checkpoints(folder), 2) == 1
    os.utime(folder / "settings.json", (now, now - RESUMED_S - 600))
    assert one(open_checkpoints(folder), 3) == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "text"])
def test_a_damaged_step_is_done_anew(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "kept"
    kept = open_checkpoints(folder)
    assert one(kept, 1) == 1
    path = folder / "one.npz"
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[data.index(b"\x01\x00\x00\x00\x00\x00\x00\x00")] = 7
    path.write_bytes({"cut": data[:-30], "empty": b"", "flipped": bytes(flipped), "text": b"nothing"}[damage])
    assert one(open_checkpoints(folder), 2) == 2
    assert one(open_checkpoints(folder), 3) == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{"])
def test_damaged_settings_begin_anew(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "kept"
    assert one(open_checkpoints(folder), 1) == 1
    (folder / "settings.json").write_bytes(content)
    assert one(open_checkpoints(folder), 2) == 2


def test_a_step_that_was_being_written_is_not_done(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    assert one(open_checkpoints(folder), 1) == 1
    (folder / "one.npz").rename(folder / "one.part")
    assert one(open_checkpoints(folder), 2) == 2


def test_a_model_of_another_release_is_fitted_anew(tmp_path: Path, whole: run.Trained, work: Counter[str]) -> None:
    kept = open_checkpoints(tmp_path / "kept")
    kept.save("model", {"bytes": np.frombuffer(b"of another release", np.uint8)})
    trained = train(LOG, kept, quiet, threads=1)
    assert work["fit"] == 1
    assert to_bytes(trained.model) == to_bytes(whole.model)


def test_too_few_events(tmp_path: Path) -> None:
    first = LOG.part(np.arange(len(LOG)) == 0)
    for log in (first, LOG.part(LOG.times < 0)):
        with pytest.raises(NotEnoughError):
            train(log, open_checkpoints(tmp_path / "kept"), quiet, threads=1)
