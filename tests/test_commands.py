"""The table of commands."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import subprocess
import sys

import pytest

from retrieval.cli.arguments import make_parser
from retrieval.cli.main import _COMMANDS, _command, main
from retrieval.config import SettingsError, UsageError
from retrieval.domain.errors import UnavailableError


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_command_is_there(name: str) -> None:
    function = _command(name)
    assert inspect.iscoroutinefunction(function)
    assert list(inspect.signature(function).parameters)[1] == "options"


def test_every_subcommand_has_one() -> None:
    (commands,) = [a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    assert set(commands.choices) == set(_COMMANDS)


async def _raising(error: Exception) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("--out is a file"), 2, "retrieval: --out is a file\n"),
        (SettingsError("RETRIEVAL_X is wrong"), 2, "retrieval: RETRIEVAL_X is wrong\n"),
        (UnavailableError("it is away", reason="AWAY"), 1, "retrieval: it is away [AWAY]\n"),
        (FileNotFoundError(2, "No such file", "/a"), 1, "retrieval: /a: No such file [SYSTEM_ERROR]\n"),
    ],
)
def test_what_an_operator_can_mend_is_one_line(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("retrieval.cli.main._command", lambda _: lambda *_: _raising(error))
    assert main(["health"]) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("error", [ValueError("no such thing"), KeyError("x"), asyncio.InvalidStateError()])
def test_a_defect_is_not_called_wrong_usage(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.cli.main._command", lambda _: lambda *_: _raising(error))
    with pytest.raises(type(error)):
        main(["health"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("health", "--target", ""),
        ("care", "--target", "a:b"),
        ("health", "--target", "a b:1"),
        ("load", "x", "--target", "::1:50051"),
        ("health", "--target", "host:65536"),
        ("migrate", "down", "--steps", "-1"),
        ("migrate", "down", "--steps", "0"),
    ],
)
def test_arguments_that_cannot_be(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        make_parser().parse_args(arguments)
    assert caught.value.code == 2
    assert repr(arguments[-1]) in capsys.readouterr().err


@pytest.mark.parametrize("target", ["host:1", "127.0.0.1:50051", "[::1]:50051", "unix:/a/b", "dns:///host:1"])
def test_targets_that_can_be(target: str) -> None:
    assert make_parser().parse_args(["health", "--target", target]).target == target


def test_a_health_check_is_light() -> None:
    heavy = {"faiss", "asyncpg", "pgqueuer", "retrieval.bootstrap"}
    code = f"import sys, retrieval.cli.main, retrieval.cli.health; print({heavy!r} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "set()\n"
