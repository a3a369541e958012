"""A short run of the model test; `make torture` is the long one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.postgres.conftest import scratch_database
from tests.torture.world import World

if TYPE_CHECKING:
    from pathlib import Path

OPERATIONS = 1_500


async def test_the_cache_answers_as_the_model_does(database_url: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("RETRIEVAL_TORTURE_SEED", "1"))
    async with scratch_database(database_url) as url:
        world = World(url, tmp_path, seed)
        print(f"RETRIEVAL_TORTURE_SEED={seed} repeats this run")  # noqa: T201  # pytest shows it where the test fails
        await world.run(OPERATIONS)
        world.check()
