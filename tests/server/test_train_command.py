"""`retrieval train` as a process: killed in the middle, it goes on where it was; and what it says."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from retrieval.application.candidates.catalogue import MODEL_TYPE
from retrieval.domain.model import Event
from tests.models import two_communities
from tests.server.commands import run_command
from tests.training import item, shelf

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.application.ports import Stores


async def train(database_url: str, folder: Path, *arguments: str, kill_at: str = "") -> tuple[int, str, list[str]]:
    """Run the command, or kill it once it says that; its exit code, what it wrote, and what it logged."""
    places = {"RETRIEVAL_DATABASE_URL": database_url, "RETRIEVAL_DATA_DIR": str(folder)}
    code, out, log = await run_command("train", *arguments, kill_at=kill_at, **places)
    return code, out, log.splitlines()


def steps_of(lines: list[str]) -> list[str]:
    return [found[1] for line in lines if (found := re.search(r"step \d of \d, ([a-z0-9 ]+)", line))]


async def test_a_killed_run_goes_on(database_url: str, postgres: Stores, name: str, tmp_path: Path) -> None:
    ids = [f"i{n:03d}" for n in range(200)]
    films = await shelf(postgres, name, [item(i) for i in ids])
    log = two_communities(ids, users=150, each=12)
    rows = zip(log.users.tolist(), log.items.tolist(), log.times.tolist(), strict=True)
    await postgres.events.record(films, [Event(f"user-{u:03d}", ids[i], "like", at, "e") for u, i, at in rows])

    code, out, lines = await train(database_url, tmp_path, name, kill_at="examples left out")
    assert (code, out) == (-signal.SIGKILL, "")
    assert steps_of(lines)[:2] == ["read", "fit"]
    assert await postgres.models.active(films, MODEL_TYPE) is None
    # Killed again, later.
    code, out, lines = await train(database_url, tmp_path, name, kill_at="examples as of cut 3")
    assert (code, out) == (-signal.SIGKILL, "")
    assert "read" not in steps_of(lines)
    code, out, lines = await train(database_url, tmp_path, name)
    assert code == 0, lines
    assert "read" not in steps_of(lines)
    assert steps_of(lines)[-2:] == ["validate", "blend"]
    model = await postgres.models.active(films, MODEL_TYPE)
    assert model is not None
    assert f"co_engagement {model.version} of {name} is active" in out
    assert re.search(r"hr_100 +\d\.\d{4}\n", out)
    assert model.metrics["engagements"] == len(log)
    # The next run begins anew.
    code, out, lines = await train(database_url, tmp_path, name, "--no-activate", kill_at="examples")
    assert steps_of(lines)[0] == "read"


async def test_too_few_events_have_a_message(database_url: str, postgres: Stores, name: str, tmp_path: Path) -> None:
    await shelf(postgres, name, [])
    code, out, lines = await train(database_url, tmp_path, name)
    assert (code, out) == (1, "")
    assert "TOO_FEW_EVENTS" in "".join(lines)
    assert "no user has chosen two items yet" in "".join(lines)
