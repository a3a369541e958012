"""Mutated requests of every unary RPC against a service of its own: `python -m benchmarks.fuzz`, see README.md.

No reply may be INTERNAL or UNKNOWN, and the server's memory may not grow by more than a third.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from rich.console import Console

from benchmarks.held_up import MESSAGE_BYTES, NAME, fill
from benchmarks.largest_requests import largest
from benchmarks.servers import service
from retrieval.v1 import (
    collection_service_pb2,
    embedding_job_service_pb2,
    feedback_service_pb2,
    item_service_pb2,
    maintenance_service_pb2,
    profile_service_pb2,
    retrieval_service_pb2,
    training_service_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

FILES = (
    retrieval_service_pb2,
    collection_service_pb2,
    item_service_pb2,
    feedback_service_pb2,
    profile_service_pb2,
    training_service_pb2,
    embedding_job_service_pb2,
    maintenance_service_pb2,
)
ITEMS = 6000
CALL_S = 5.0
GROWTH = 1.3
SEED_BYTES = 20_000
"""Larger examples are cut: a mutation of megabytes says no more than one of a few kilobytes."""
NUMBERS = (0, 1, -1, 2, 3, 10, 1000, 1001, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 7, 255, 65_536)
REALS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-320,
    5e-324,
    1e-45,
    1e308,
    -1e308,
    3.5e38,
    float("inf"),
    float("-inf"),
    float("nan"),
)
TEXTS = ("", "x", "\x00", "\x7f", "é" * 300, "a" * 257, "a" * 20_000, "'; DROP TABLE x; --", "ß", "\u2028", NAME)
BYTES = (b"", b"\0", b"\0\0\xc0\x7f" * 256, b"\0\0\x80\x7f" * 256, b"\xff" * 1024, b"\0" * 1024, b"\0\0\x80?" * 256)
KINDS = {
    FieldDescriptor.CPPTYPE_BOOL: (True, False),
    FieldDescriptor.CPPTYPE_DOUBLE: REALS,
    FieldDescriptor.CPPTYPE_FLOAT: REALS,
}


def methods() -> dict[str, type[Message]]:
    """Full name and request of every unary method of the service, but those that end or stop something for long."""
    return {
        f"/{each.full_name}/{method.name}": GetMessageClass(method.input_type)
        for file in FILES
        for each in file.DESCRIPTOR.services_by_name.values()
        for method in each.methods
        if not (method.client_streaming or method.server_streaming)
    }


def value(rng: random.Random, field: FieldDescriptor) -> Any:
    """Something that a field may hold, at an edge more often than not."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice(BYTES)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return rng.choice((*TEXTS, f"item-{rng.randrange(ITEMS):06d}", f"user-{rng.randrange(200)}", "tag", "like"))
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice([*(v.number for v in field.enum_type.values), 99, -1])
    if field.cpp_type in KINDS:
        return rng.choice(KINDS[field.cpp_type])
    number = rng.choice(NUMBERS)
    bits = 32 if field.cpp_type in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32} else 64
    if field.cpp_type in {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}:
        return abs(number) % 2**bits
    return max(-(2 ** (bits - 1)), min(2 ** (bits - 1) - 1, number))


def disturb(rng: random.Random, message: Message, depth: int = 0) -> None:
    """Change a field of the message, or of one below it."""
    if not message.DESCRIPTOR.fields:
        return
    field = rng.choice(message.DESCRIPTOR.fields)
    entry = field.message_type is not None and field.message_type.GetOptions().map_entry
    if entry or (depth > 12 and field.message_type is not None):
        return
    if rng.random() < 0.1:
        message.ClearField(field.name)
    elif field.message_type is not None and field.is_repeated:
        several = getattr(message, field.name)
        if several and rng.random() < 0.6:
            disturb(rng, rng.choice(several), depth + 1)
        else:
            for _ in range(rng.choice((1, 1, 2, 65))):
                disturb(rng, several.add(), depth + 1)
    elif field.message_type is not None:
        below = getattr(message, field.name)
        below.SetInParent()
        disturb(rng, below, depth + 1)
    elif field.is_repeated:
        getattr(message, field.name).extend(value(rng, field) for _ in range(rng.choice((1, 1, 2, 300))))
    else:
        setattr(message, field.name, value(rng, field))


def mutated(rng: random.Random, kind: type[Message], seeds: Sequence[bytes]) -> bytes:
    """An encoded request: one of the seeds or an empty one, with some fields changed and now and then its bytes."""
    message = kind()
    if seeds and rng.random() < 0.8:
        message.ParseFromString(rng.choice(seeds))
    else:
        named = kind.DESCRIPTOR.fields_by_name.get("collection")
        if named is not None and named.message_type is None:
            message.collection = NAME  # type: ignore[attr-defined]
    for _ in range(rng.choice((1, 1, 2, 4))):
        disturb(rng, message)
    raw = bytearray(message.SerializeToString())
    if raw and rng.random() < 0.15:
        for _ in range(rng.choice((1, 3))):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    if raw and rng.random() < 0.05:
        del raw[rng.randrange(len(raw)) :]
    return bytes(raw)


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


async def run(address: str, pid: int, count: int, seed: int, callers: int, console: Console) -> int:
    """The number of replies that must not be; prints what came back."""
    kinds = methods()
    seeds: dict[str, list[bytes]] = {name: [] for name in kinds}
    for each in largest(NAME, ITEMS):
        if len(each.request) <= SEED_BYTES and each.method in seeds:
            seeds[each.method].append(each.request)
    codes: Counter[str] = Counter()
    wrong: Counter[tuple[str, str, str]] = Counter()
    left, before = count, 0.0
    # What ends the fixture, or takes minutes, is asked for rarely.
    rare = (
        "DeleteCollection",
        "RunMaintenanceJob",
        "EvaluateRecall",
        "GenerateTrainingPairs",
        "DetachTable",
        "BuildIndex",
        "CreateCollection",
        "CreateEmbeddingVersion",
    )
    names = [name for name in kinds for _ in range(1 if name.endswith(rare) else 40)]
    async with grpc.aio.insecure_channel(address, MESSAGE_BYTES) as channel:

        async def caller(rng: random.Random) -> None:
            nonlocal left, before
            while left > 0:
                left -= 1
                if left == count * 4 // 5:
                    before = rss_mb(pid)
                if left % 20_000 == 0:
                    console.print(f"{left} requests to go, {rss_mb(pid):.0f} MB")
                name = rng.choice(names)
                payload = mutated(rng, kinds[name], seeds[name])
                try:
                    await channel.unary_unary(name)(payload, timeout=CALL_S)
                    codes["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    codes[error.code().name] += 1
                    if error.code() in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}:
                        wrong[name, error.code().name, (error.details() or "")[:100]] += 1

        await asyncio.gather(*(caller(random.Random(f"{seed}-{n}")) for n in range(callers)))
    await asyncio.sleep(2)
    after = rss_mb(pid)
    console.print(dict(codes))
    for (name, code, details), times in wrong.most_common(20):
        console.print(f"[red]{times} x {code}[/] {name}: {details}")
    console.print(f"memory: {before:.0f} MB after a fifth of the requests, {after:.0f} MB at the end")
    return sum(wrong.values()) + (after > GROWTH * before)


def main() -> int:
    """The exit code is 1 where a reply must not be, or memory grew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=120_000, help="for each front")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--front", action="append", choices=["grpcio", "native"])
    given = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=160)
    failed = 0
    for front in given.front or ["grpcio", "native"]:
        # Not below a folder that only this user may enter: Postgres runs as another one when started by root.
        with tempfile.TemporaryDirectory(prefix="retrieval-bench-", ignore_cleanup_errors=True) as folder:
            log = Path(folder, "log")
            with service(Path(folder), log, front=front) as server:
                fill(server.address, ITEMS, console)
                began = time.monotonic()
                wrong = asyncio.run(run(server.address, server.pid, given.requests, given.seed, given.callers, console))
                console.print(f"{front}: {given.requests} requests in {time.monotonic() - began:.0f} s, {wrong} wrong")
                if wrong:
                    kept = Path(tempfile.gettempdir(), f"fuzz-{front}.log")
                    kept.write_bytes(log.read_bytes())
                    console.print(f"the server's log is {kept}")
                failed += wrong
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
