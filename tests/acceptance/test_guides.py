"""What the guides show can be typed in as it stands, and comes out as they show it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.acceptance.guide_blocks import GUIDES, Block, blocks_of, differences, unmatched, values_of
from tests.patience import PATIENCE_S
from tests.postgres.conftest import scratch_database
from tests.server.process import server_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ADMIN_TOKEN = "secret"
DATABASE = re.compile(r"postgresql://localhost/\w+")
RETRIEVAL = """#!/bin/sh
# The command of this checkout, which talks to the server of this test.
case "$1" in
    attach | attached | detach | resync | reembed | care | generate-pairs | export-pairs | health | load)
        exec "{python}" -m retrieval.cli.main "$@" --target "{target}" ;;
    *) exec "{python}" -m retrieval.cli.main "$@" ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Place:
    """What the guides expect: a database of their own, a server on it, grpcurl, `retrieval` and Python on the path."""

    database_url: str
    target: str
    path: str


@pytest.fixture
async def place(database_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with scratch_database(database_url) as url:
        settings = {
            "RETRIEVAL_DATABASE_URL": url,
            "RETRIEVAL_ADMIN_TOKEN": ADMIN_TOKEN,
            "RETRIEVAL_DATA_DIR": str(tmp_path / "data"),
            "RETRIEVAL_TRENDING_REFRESH_S": "0.5",
        }
        async with server_process("--migrate", **settings) as server:
            programs = tmp_path / "bin"
            programs.mkdir()
            command = programs / "retrieval"
            command.write_text(RETRIEVAL.format(python=sys.executable, target=server.target))
            command.chmod(0o755)
            path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
            yield Place(url, server.target, path)


async def run_shell(block: Block, place: Place, folder: Path) -> str:
    """What a sh block prints, in an environment that has what the blocks before it set, and nothing else.

    Where it says localhost:50051, or names a database there, those of the test stand.
    """
    script = DATABASE.sub(place.database_url, block.text.replace("localhost:50051", place.target))
    kept = folder / ".environment"
    kept.touch()
    process = await asyncio.create_subprocess_exec(
        *("bash", "-e", "-o", "pipefail", "-c", f"source '{kept}'\n{script}\ndeclare -px > '{kept}'"),
        cwd=folder,
        env={"PATH": place.path, "HOME": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            printed = (await process.stdout.read()).decode()
            assert await process.wait() == 0, f"line {block.line}: {printed}"
            return printed
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("guide", sorted(path.name for path in GUIDES.glob("*.md")))
async def test_a_guide_runs_as_it_stands(guide: str, place: Place, tmp_path: Path) -> None:
    text = (GUIDES / guide).read_text(encoding="utf-8")
    folder = tmp_path / "work"
    folder.mkdir()
    connection = await asyncpg.connect(place.database_url)
    printed = ""
    try:
        for block in blocks_of(text):
            if block.kind == "sql":
                await connection.execute(block.text)
            elif block.kind == "sh":
                printed = await run_shell(block, place, folder)
            elif block.kind == "file":
                json.loads(block.text)
                (folder / block.name).write_text(block.text, encoding="utf-8")
            else:
                shown, came = values_of(block.text), values_of(printed)
                assert not unmatched(shown, came), f"{guide}, line {block.line}: {printed}"
    finally:
        await connection.close()


def test_there_are_guides() -> None:
    assert list(GUIDES.glob("*.md"))


def test_a_block_that_would_not_run_is_noticed() -> None:
    with pytest.raises(ValueError, match="line 3"):
        blocks_of('Text.\n\n```json\n{"a": 1}\n```\n')


def test_blocks_are_told_apart() -> None:
    text = "Bound in `b.json`:\n\n```json\n{}\n```\n\n```sh\nls\n```\n\n```json\n{}\n```\n\n```python\nx\n```\n"
    assert [(b.kind, b.name) for b in blocks_of(text)] == [("file", "b.json"), ("sh", ""), ("output", "")]


def test_an_output_is_held_against_what_is_shown() -> None:
    shown, printed = {"hits": [{"item_id": "a", "score": 1}]}, {"hits": [{"item_id": "a", "score": 2}, {}], "info": {}}
    assert not differences(shown, printed)
    assert differences(shown, {"hits": []}) == ["$.hits has 0 values, 1 are shown"]
    assert differences(shown, {"hits": [{"item_id": "b", "score": 1}]}) == ["$.hits[0].item_id is 'b', not 'a'"]
    assert differences(shown, {}) == ["$.hits is not there"]
    came = values_of('before {"hits": [{"item_id": "a"}]} [x {"x": 1} {"x": 2}')
    assert not unmatched([{"x": 2}], came)
    assert unmatched([{"x": 2}, {"x": 1}], came) == ["value 1: nothing is left that was printed"]
    assert unmatched([shown], came) == ["value 0: $.hits[0].score is not there"]
