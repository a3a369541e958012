"""The tables that say what holds each requirement name tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = sorted(path.name for path in (ROOT / "docs").glob("seeds*.md"))
NAMED = re.compile(r"::(test_\w+)")
PATH = re.compile(r"`((?:tests|benchmarks)/[\w./-]+)`")


def defined() -> set[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return {name for file in files for name in re.findall(r"def (test_\w+)\(", file.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("table", TABLES)
def test_every_test_and_file_that_is_named_is_there(table: str) -> None:
    text = (ROOT / "docs" / table).read_text(encoding="utf-8")
    named = set(NAMED.findall(text))
    assert named
    assert not named - defined()
    assert not [path for path in PATH.findall(text) if not (ROOT / path).exists()]


def test_a_test_that_is_not_there_would_be_missed() -> None:
    assert "test_that_nobody_wrote" not in defined()
    assert TABLES
