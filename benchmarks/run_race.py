"""Sets up the race: services on both fronts, echoes, peers, all on one core."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import datasets
from benchmarks.bare_faiss import BareFaiss, newest_segment
from benchmarks.cores import LOAD_CORE, SERVER_CORE, pinned
from benchmarks.database import database_pids, database_url, version_id
from benchmarks.load import LoadGenerator
from benchmarks.loading import cache, index_stats
from benchmarks.peers.chroma import chroma
from benchmarks.peers.milvus import milvus_lite
from benchmarks.peers.own import OwnPeer
from benchmarks.peers.peer import PeerMissingError
from benchmarks.peers.pgvector import pgvector
from benchmarks.peers.redis import redisearch, vector_set
from benchmarks.race import WANTED, Entry, Race
from benchmarks.searches import WiredTarget
from benchmarks.servers import Server, ServerError, echo, service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from benchmarks.datasets import Dataset
    from benchmarks.peers.peer import Peer
    from benchmarks.rows import Row

FRONTS = ("native", "grpcio")
PEERS = ("redisearch", "vectorset", "pgvector", "chroma", "milvus")
FEW_PEERS = ("redisearch", "pgvector")
"""Those that run on the long vectors too."""
DATASETS = (("synthetic-512", PEERS, WANTED), ("synthetic-2048", FEW_PEERS, WANTED[-1:]))


@dataclass(frozen=True)
class Field:
    """The processes that take part whatever the data set: own services and echoes by front, and the database's.

    `home` loads and builds, on all cores, and does not take part; it keeps the database.
    """

    home: Server
    services: dict[str, Server]
    echoes: dict[str, Server]
    data_dir: Path
    url: str
    database: list[int]
    generator: LoadGenerator
    bare: BareFaiss


def run_race(
    names: Sequence[str], rows: int, chosen: Sequence[str], seconds: float, k: int, console: Console
) -> list[Row]:
    """Measures those of `DATASETS` that are named, with `rows` rows each, the chosen peers among them."""
    data_dir, logs = datasets.CACHE / "data", datasets.CACHE / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    measured: list[Row] = []
    own: Entry | None = None
    with ExitStack() as stack:
        enter = stack.enter_context
        home = enter(service(data_dir, logs / "home.log"))
        url = database_url(data_dir)
        # Few connections leave some for pgvector's callers; searches of the cache need none.
        few = {"database_url": url, "search_connections": "1", "write_connections": "2"}
        services = {
            front: enter(service(data_dir, logs / f"{front}.log", SERVER_CORE, front=front, **few)) for front in FRONTS
        }
        echoes = {front: enter(echo(front, SERVER_CORE)) for front in FRONTS}
        generator, bare = enter(LoadGenerator(1, LOAD_CORE)), enter(BareFaiss())
        field = Field(home, services, echoes, data_dir, url, database_pids(data_dir), generator, bare)
        for name, peers, wanted in (entry for entry in DATASETS if entry[0] in names):
            dataset = datasets.load(name, rows, ())
            console.rule(f"{name}: {dataset.rows:,} x {dataset.dim}, every server on one core")
            companions = [own] if own else []
            wants = [peer for peer in peers if peer in chosen]
            race = _one(field, dataset, wants, wanted, companions, seconds, k, console, logs)
            measured += race.rows
            own = own or _fastest(race)
    return measured


def _one(
    field: Field,
    dataset: Dataset,
    chosen: Sequence[str],
    wanted: Sequence[float],
    companions: Sequence[Entry],
    seconds: float,
    k: int,
    console: Console,
    logs: Path,
) -> Race:
    for server in (field.home, *field.services.values()):
        collection = asyncio.run(cache(dataset, server.address, console))
    held = asyncio.run(index_stats(field.home.address, collection)).cache
    with ExitStack() as stack:
        peers: list[Peer] = [
            OwnPeer(dataset, k, server.address, front, [server.pid], held.build_ms / 1e3, held.size_bytes)
            for front, server in field.services.items()
        ]
        openers = {
            "redisearch": partial(redisearch, dataset, k, logs / "redisearch.log"),
            "vectorset": partial(vector_set, dataset, k, logs / "vectorset.log"),
            "pgvector": partial(pgvector, dataset, k, field.url, field.database),
            "chroma": partial(chroma, dataset, k, logs / "chroma.log"),
            "milvus": partial(milvus_lite, dataset, k, logs / "milvus.log"),
        }
        for name in chosen:
            try:
                with console.status(f"loading {dataset.rows:,} rows into {name}"):
                    peers.append(stack.enter_context(openers[name]()))
            except Exception as error:  # whatever its library raises: the others go on
                why = str(error) if isinstance(error, PeerMissingError | ServerError) else repr(error)
                console.print(f"[yellow]skipped[/] {name}: {why}", highlight=False, soft_wrap=True)
                continue
            console.print(f"{name}: loaded in {peers[-1].build_s:.0f} s", highlight=False)
        requests = peers[0].target(peers[0].efforts[0]).requests  # type: ignore[union-attr]
        echoes = [
            Entry("echo", front, dataset, WiredTarget(server.address, requests), 0.0)
            for front, server in field.echoes.items()
        ]
        segment = newest_segment(field.data_dir / "cache", asyncio.run(version_id(field.url, collection)))
        race = Race(
            dataset, peers, echoes, field.generator, field.bare, segment, console, seconds, k, wanted, companions
        )
        with pinned(field.database):
            race.run()
    return race


def _fastest(race: Race) -> Entry:
    """The service on the native front at the effort that it was tuned to first, to run beside the next data set."""
    peer = race.peers[0]
    row = next(r for r in race.rows if (r.engine, r.front, r.wanted_recall) == (peer.name, peer.front, race.wanted[0]))
    return race.entry(peer, row.effort, race.wanted[0])
