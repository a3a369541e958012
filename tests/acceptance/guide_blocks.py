"""The blocks of a guide, in order."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"`([\w-]+\.json)`")
_PASSING = re.compile(
    r"(_at|token|duration|_ms|score|distance|weight|propensity|decision_id|run_id|strength)$", re.IGNORECASE
)
"""Fields that are others at every run, in part or always."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of `kind` sql, sh, file (JSON, written to `name`) or output (JSON that the sh block before prints).

    `line`: where it begins.
    """

    kind: str
    text: str
    line: int
    name: str = ""


def blocks_of(text: str) -> list[Block]:
    """Blocks that run, in order; others are left out.

    Raises: ValueError for a JSON block that neither is named in the line before nor follows a sh block.
    """
    found: list[Block] = []
    end = 0
    for fence in _FENCE.finditer(text):
        between, language, body = text[end : fence.start()].strip(), fence[1], fence[2]
        line, end = text.count("\n", 0, fence.start()) + 1, fence.end()
        if language in {"sql", "sh"}:
            found.append(Block(language, body, line))
        elif language == "json":
            named = _FILE.findall(between.splitlines()[-1]) if between else []
            if named:
                found.append(Block("file", body, line, named[-1]))
            elif not between and found and found[-1].kind == "sh":
                found.append(Block("output", body, line))
            else:
                raise ValueError(
                    f"line {line}: a json block is a file, named in the line before, or follows a sh block"
                )
    return found


def values_of(text: str) -> list[Any]:
    """The JSON values that stand one after the other in an output; what stands between them is passed over."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while (start := _next_value(text, at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, start)
            found.append(value)
        except json.JSONDecodeError:
            at = start + 1
    return found


def _next_value(text: str, at: int) -> int:
    places = [place for mark in "{[" if (place := text.find(mark, at)) >= 0]
    return min(places, default=-1)


def unmatched(shown: list[Any], printed: list[Any]) -> list[str]:
    """What is wrong with the values that a guide shows: each must be one of those printed, in their order."""
    found: list[str] = []
    at = 0
    for number, value in enumerate(shown):
        wrong = [differences(value, candidate, f"value {number}: $") for candidate in printed[at:]]
        if [] in wrong:
            at += wrong.index([]) + 1
        else:
            found += min(wrong, key=len, default=[f"value {number}: nothing is left that was printed"])
    return found


def differences(shown: Any, printed: Any, path: str = "$") -> list[str]:
    """Where an output lacks or contradicts what the guide shows.

    The guide may leave out keys, and the end of a list. Of fields that pass only the presence counts.
    """
    if isinstance(shown, dict) and isinstance(printed, dict):
        found = []
        for name, value in shown.items():
            if name not in printed:
                found.append(f"{path}.{name} is not there")
            elif not _PASSING.search(name):
                found += differences(value, printed[name], f"{path}.{name}")
        return found
    if isinstance(shown, list) and isinstance(printed, list):
        if len(shown) > len(printed):
            return [f"{path} has {len(printed)} values, {len(shown)} are shown"]
        return [d for n, value in enumerate(shown) for d in differences(value, printed[n], f"{path}[{n}]")]
    return [] if shown == printed else [f"{path} is {printed!r}, not {shown!r}"]
