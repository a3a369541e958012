"""The table of commands."""

from __future__ import annotations

import argparse
import inspect
import subprocess
import sys

import pytest

from retrieval.cli.arguments import make_parser
from retrieval.cli.main import _COMMANDS, _command


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_command_is_there(name: str) -> None:
    function = _command(name)
    assert inspect.iscoroutinefunction(function)
    assert list(inspect.signature(function).parameters)[1] == "options"


def test_every_subcommand_has_one() -> None:
    (commands,) = [a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    assert set(commands.choices) == set(_COMMANDS)


def test_a_health_check_is_light() -> None:
    heavy = {"faiss", "asyncpg", "pgqueuer", "retrieval.bootstrap"}
    code = f"import sys, retrieval.cli.main, retrieval.cli.health; print({heavy!r} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "set()\n"
