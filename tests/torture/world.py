"""Shelves over one database and one cache, with everything that may happen to the cache meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.bootstrap import cached
from retrieval.config import Settings
from retrieval.domain.model import Metric
from retrieval.postgres.adapter import PostgresAdapter
from retrieval.postgres.embedded import EmbeddedPostgres
from retrieval.reference.adapter import ReferenceAdapter
from tests.caches import graphs_of_few_rows, hasty_builder
from tests.torture.shelf import FLOOR, Shelf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retrieval.application.ports import Stores

ROUND = 40
"""Operations of each shelf between two disturbances."""


def lives(process: int) -> bool:
    """Whether there is a process of that number."""
    return Path(f"/proc/{process}").exists()


class OwnPostgres:
    """A server that may be killed: nobody else uses it."""

    def __init__(self, folder: Path) -> None:
        self._embedded = EmbeddedPostgres(folder)
        self.url = ""

    async def start(self) -> None:
        self.url = await self._embedded.start()

    async def crash(self) -> None:
        """End it without a checkpoint, as a power cut would, and start it again."""
        server = self._embedded._server
        postmaster = server.get_pid()
        os.kill(postmaster, signal.SIGQUIT)
        while lives(postmaster):
            await asyncio.sleep(0.02)
        await asyncio.to_thread(server.ensure_postgres_running)

    async def stop(self) -> None:
        await self._embedded.stop()


@asynccontextmanager
async def own_postgres() -> AsyncIterator[OwnPostgres]:
    with tempfile.TemporaryDirectory(prefix="retrieval-torture-", ignore_cleanup_errors=True) as folder:
        server = OwnPostgres(Path(folder))
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


def damage(folder: Path, chooser: random.Random) -> str:
    """Do to the files of the cache what a bad disk, a killed writer or a tired operator does; says what it was.

    Files are replaced, not written to: pages that are mapped are those of the old file.
    """
    try:
        return _damage(folder, chooser)
    except FileNotFoundError:
        return "nothing"  # a builder at work was quicker


def _damage(folder: Path, chooser: random.Random) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "builder.lock")
    segments = sorted({p.parent for p in files})
    if not files:
        return "nothing"
    victim = chooser.choice(files)
    content = bytearray(victim.read_bytes())
    kind = chooser.choice(("flip", "truncate", "empty", "remove", "swap", "half written", "segment", "all"))
    match kind:
        case "flip" if content:
            content[chooser.choice((0, len(content) - 1, chooser.randrange(len(content))))] ^= 1 << chooser.randrange(8)
            _replace(victim, content)
        case "truncate":
            _replace(victim, content[: chooser.randrange(len(content) + 1)])
        case "empty":
            _replace(victim, b"")
        case "swap":
            _replace(victim, chooser.choice(files).read_bytes())
        case "half written":
            writing = victim.parent.parent / ".writing-left"
            shutil.rmtree(writing, ignore_errors=True)
            writing.mkdir()
            (writing / victim.name).write_bytes(content[: len(content) // 2])
        case "segment":
            shutil.rmtree(chooser.choice(segments), ignore_errors=True)
        case "all":
            shutil.rmtree(folder, ignore_errors=True)
        case _:
            victim.unlink()
    return kind


def _replace(file: Path, content: bytes | bytearray) -> None:
    fresh = file.with_name("fresh")
    fresh.write_bytes(content)
    fresh.replace(file)


class World:
    """Runs the shelves side by side, round by round, and disturbs them."""

    def __init__(self, url: str, folder: Path, seed: int, server: OwnPostgres | None = None) -> None:
        self.chooser = random.Random(f"{seed}")
        self.server = server
        self.disturbances: list[str] = []
        self.folder = folder
        self._settings = Settings(database_url=url, cache_dir=folder, cache_delta_rows=60, search_connections=4)
        self._running = AsyncExitStack()
        self._adapter: PostgresAdapter
        self._stores: Stores
        self._oracle: Stores
        chooser = [random.Random(f"{seed}-{n}") for n in range(4)]
        self.shelves = [
            Shelf("exact", Metric.COSINE, 80, 1, chooser[0], exact=True),
            Shelf("graph", Metric.COSINE, 500, 1, chooser[1], exact=False),
            Shelf("chunks", Metric.L2, 150, 3, chooser[2], exact=False),
            Shelf("products", Metric.INNER_PRODUCT, 40, 2, chooser[3], exact=True),
        ]

    async def run(self, operations: int) -> None:
        """So many operations in all."""
        with graphs_of_few_rows(prefix=8), hasty_builder():
            try:
                await self._start(migrate=True)
                self._oracle = await ReferenceAdapter().open()
                for shelf in self.shelves:
                    await shelf.open(self._stores, self._oracle)
                while self.operations < operations:
                    await self._round()
                    await self._disturb()
            finally:
                await self._running.aclose()

    @property
    def operations(self) -> int:
        return sum(shelf.tally.operations for shelf in self.shelves)

    def check(self) -> None:
        """What holds only on the whole: the cache answered, and approximate answers were good."""
        for shelf in self.shelves:
            answered = shelf.tally.sources
            assert answered["FAISS"] > answered.total() / 20, f"{shelf.name}: {dict(answered)}"
            assert answered["now"] or shelf.chunks > 1, f"{shelf.name}: {dict(answered)}"
            assert not shelf.tally.recalls or shelf.tally.recall >= FLOOR, f"{shelf.name}: {shelf.tally.recall}"

    async def _start(self, *, migrate: bool = False) -> None:
        stack = AsyncExitStack()
        self._adapter = PostgresAdapter(self._settings)
        stack.push_async_callback(self._adapter.close)
        stores = await self._adapter.open(migrate=migrate)
        self._stores = await stack.enter_async_context(cached(self._adapter, stores, self._settings))
        self._running = stack
        for shelf in self.shelves:
            shelf.stores = self._stores

    async def _round(self) -> None:
        async with asyncio.TaskGroup() as group:
            for shelf in self.shelves:
                group.create_task(self._operate(shelf))
            if self.server is not None and self.chooser.random() < 0.02:
                self.disturbances.append("postgres")
                group.create_task(self.server.crash())

    @staticmethod
    async def _operate(shelf: Shelf) -> None:
        for _ in range(ROUND):
            await shelf.operate()

    async def _disturb(self) -> None:
        kinds = {"nothing": 10, "restart": 2, "damage": 2, "damage and restart": 3, "build": 3}
        kind = self.chooser.choices(list(kinds), list(kinds.values()))[0]
        if "restart" in kind:
            await self._running.aclose()
        if kind.startswith("damage") and self.folder.exists():
            kind = f"{kind}: {damage(self.folder, self.chooser)}"
        if "restart" in kind:
            await self._start()
        if kind == "build":
            for shelf in self.shelves:
                await shelf.prewarm()
        self.disturbances.append(kind)
