"""Which core runs what: servers on one, the load on another, so that neither takes the other's time."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SERVER_CORE = min(os.sched_getaffinity(0))
LOAD_CORE = max(os.sched_getaffinity(0))
"""The same one on a machine of one core, where figures mean little."""


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def pin(pids: Iterable[int], cores: set[int]) -> None:
    """Keep every thread of the processes, and of what they start from now on, on `cores`."""
    for pid in pids:
        for thread in _threads(pid):
            try:
                os.sched_setaffinity(thread, cores)
            except ProcessLookupError:
                continue  # it ended meanwhile


@contextmanager
def starting_on(core: int | None) -> Iterator[None]:
    """Processes that are started by the block are on the core from their first instruction; None: on all.

    Thread pools are made for the cores that there are: one for two cores that later has to do with one may stand in
    its own way.
    """
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def pinned(pids: Iterable[int]) -> Iterator[None]:
    """The processes with all their children on the server's core, for as long as the block takes."""
    every = [child for pid in pids for child in tree(pid)]
    pin(every, {SERVER_CORE})
    try:
        yield
    finally:
        pin((child for pid in pids for child in tree(pid)), set(os.sched_getaffinity(0)))


def memory_bytes(pid: int, field: str = "Pss") -> int:
    """Resident memory of one process: `Pss` counts a page that n processes share as an nth in each of them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"smaps_rollup has no {field}")


def _threads(pid: int) -> list[int]:
    try:
        return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    except FileNotFoundError:
        return []
