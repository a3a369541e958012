"""Several processes on one port: they share the calls, outlive each other, and end together."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from retrieval.client.probe import is_serving
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import collection_service_pb2_grpc as collections_grpc
from retrieval.v1 import item_service_pb2 as items_pb
from tests.patience import PATIENCE_S
from tests.server.process import ServerProcess, create, random_items, server_process, stubs_for, upsert
from tests.server.test_deadline import WAITING, locked
from tests.server.test_deadline import _request as search_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIST = collections_pb.ListCollectionsRequest()


@asynccontextmanager
async def two_workers(database_url: str, **environment: str) -> AsyncIterator[ServerProcess]:
    environment = {"RETRIEVAL_DATABASE_URL": database_url, "RETRIEVAL_SEARCH_CONNECTIONS": "4"} | environment
    async with server_process("--workers", "2", "--migrate", **environment) as server:
        yield server


def workers(server: ServerProcess) -> dict[int, list[int]]:
    """The processes that each worker number has had so far, newest last."""
    found: dict[int, list[int]] = {1: [], 2: []}
    for number, process in re.findall(r"worker (\d) is process (\d+)", "".join(server.lines)):
        found[int(number)].append(int(process))
    return found


async def answering(target: str) -> str:
    """What names the process that answers a call on a connection of its own."""
    async with grpc.aio.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = collections_grpc.CollectionServiceStub(channel).ListCollections(LIST, timeout=PATIENCE_S)
        await call
        return str(dict(await call.trailing_metadata())["call-id"]).partition("-")[0]


async def both_answer(target: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        seen: set[str] = set()
        while len(seen) < 2:
            seen.add(await answering(target))


def lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def test_workers_share_a_port_that_is_theirs_alone(database_url: str, front: str) -> None:
    async with two_workers(database_url, RETRIEVAL_FRONT=front) as server:
        await both_answer(server.target)
        lines = "".join(server.lines)
        assert "worker=1 retrieval ready" in lines
        assert "worker=2 retrieval ready" in lines
        for arguments in ((), ("--workers", "2")):
            code, err = await _serve(
                "--port", server.target.rpartition(":")[2], *arguments, RETRIEVAL_DATABASE_URL=database_url
            )
            assert (code, "ADDRESS_IN_USE" in err) == (1, True)
        assert await server.terminate() == 0


async def test_a_killed_worker_comes_back_while_the_other_one_answers(database_url: str) -> None:
    async with two_workers(database_url) as server:
        await both_answer(server.target)
        failed = answered = 0
        stop = asyncio.Event()

        async def load() -> None:
            nonlocal failed, answered
            while not stop.is_set():
                try:
                    await answering(server.target)
                    answered += 1
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017
                    failed += 1

        callers = [asyncio.create_task(load()) for _ in range(4)]
        victim = workers(server)[1][0]
        os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            while "".join(server.lines).count("worker=1 retrieval ready") < 2:
                await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(*callers)
        assert answered > 20
        # Those that were on their way into the process that died.
        assert failed <= len(callers)
        assert workers(server)[1][1] != victim
        assert len(workers(server)[2]) == 1
        await both_answer(server.target)


async def test_sigterm_lets_the_calls_of_all_workers_finish(database_url: str, front: str, name: str) -> None:
    async with two_workers(database_url, RETRIEVAL_FRONT=front) as server:
        async with stubs_for(server.target) as stubs:
            await create(stubs, name)
            await upsert(stubs, name, random_items(0, 50))
        local = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(server.target, local) for _ in range(12)]
        searches = [channel.unary_unary("/retrieval.v1.RetrievalService/SearchMatryoshka") for channel in channels]
        async with locked(database_url, name) as observer:
            calls = [search(search_request(name).SerializeToString()) for search in searches]
            async with asyncio.timeout(PATIENCE_S):
                # Each worker has four connections to search with.
                while await observer.fetchval(WAITING) < 5:
                    await asyncio.sleep(0.02)
            server.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_S):
                while "".join(server.lines).count("draining") < 3:
                    await asyncio.sleep(0.02)
            assert server.process.returncode is None
        assert all(await asyncio.gather(*calls))
        assert await asyncio.wait_for(server.process.wait(), PATIENCE_S) == 0
        assert not any(lives(process) for ended in workers(server).values() for process in ended)
        for channel in channels:
            await channel.close()


async def test_workers_do_not_outlive_their_supervisor(database_url: str) -> None:
    async with two_workers(database_url) as server:
        processes = [process for number in workers(server).values() for process in number]
        assert all(map(lives, processes))
        server.kill()
        async with asyncio.timeout(PATIENCE_S):
            while any(map(lives, processes)):
                await asyncio.sleep(0.05)


async def test_workers_that_warm_do_not_either(database_url: str, name: str, tmp_path: Path) -> None:
    # A catalogue that is never read to its end: nobody writes into the pipe.
    collection = {"collection": {"name": name}, "embedding_version": {"model": "test", "dimension": 16}}
    (tmp_path / "collection.json").write_text(json.dumps(collection))
    os.mkfifo(tmp_path / "items.jsonl")
    supervisor = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "retrieval.cli.main", "serve", "--port", "0", "--workers", "2", "--migrate"),
        *("--catalogue", str(tmp_path)),
        env=os.environ | {"RETRIEVAL_DATABASE_URL": database_url},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        log = ""
        async with asyncio.timeout(PATIENCE_S):
            while log.count("retrieval ready") < 2:
                log += (await supervisor.stderr.readline()).decode()
    finally:
        supervisor.kill()
        await supervisor.wait()
    processes = [int(process) for process in re.findall(r"is process (\d+)", log)]
    assert len(processes) == 2
    async with asyncio.timeout(PATIENCE_S):
        while any(map(lives, processes)):
            await asyncio.sleep(0.05)


ON_A_TERMINAL = """
import os, pty, sys
process, terminal = pty.fork()
if process == 0:
    os.execv(sys.executable, [sys.executable, "-m", "retrieval.cli.main", "serve", "--memory", "--port", "0"])
said = b""
while b"serving on" not in said:
    said += os.read(terminal, 4096)
os.close(terminal)
print("ended with", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


async def test_a_terminal_that_hangs_up_ends_what_runs_on_it() -> None:
    # In a process of its own, since this one has threads, and a fork of those may hang.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ON_A_TERMINAL, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert out == b"ended with 0\n"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_catalogue_is_loaded_before_workers_say_serving(database_url: str, name: str, tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    version = {"model": "wordllama-l2-supercat-256", "dimension": 256}
    collection = {"collection": {"name": name}, "embedding_version": version}
    (catalogue / "collection.json").write_text(json.dumps(collection))
    items = [{"item_id": str(number), "text": f"a film about {number} crows"} for number in range(7)]
    (catalogue / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    environment = {"RETRIEVAL_DATABASE_URL": database_url, "RETRIEVAL_DATA_DIR": str(tmp_path)}
    async with server_process("--workers", "2", "--migrate", "--catalogue", str(catalogue), **environment) as server:
        async with stubs_for(server.target) as stubs, asyncio.timeout(PATIENCE_S):
            page = await stubs.items.ListItems(items_pb.ListItemsRequest(collection=name))
            assert len(page.items) == 7
            while not await is_serving(server.target):
                await asyncio.sleep(0.02)
        assert await server.terminate() == 0
    log = "".join(server.lines)
    assert log.index("items: 7 of 7") < log.index("health: SERVING")
    # All is well, so nothing is to look as if it were not.
    assert "NOT_FOUND" not in log
    assert "faiss.loader" not in log


async def test_workers_that_cannot_start_end_the_command(database_url: str) -> None:
    folder = "/proc/version/cache"
    environment = {"RETRIEVAL_DATABASE_URL": database_url, "RETRIEVAL_CACHE_DIR": folder}
    code, err = await _serve("--port", "0", "--workers", "2", "--migrate", **environment)
    assert code == 1
    assert "WORKERS_FAILED" in err
    assert folder in err


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
async def test_a_hang_up_does_no_harm(database_url: str, workers: tuple[str, ...]) -> None:
    async with server_process("--migrate", *workers, RETRIEVAL_DATABASE_URL=database_url) as server:
        server.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE_S):
            while not any("SIGHUP is ignored" in line for line in server.lines):
                await asyncio.sleep(0.02)
        async with stubs_for(server.target) as stubs:
            await stubs.collections.ListCollections(LIST)
        assert await server.terminate() == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("--memory", "--workers", "2"), {}, "--memory"),
        (("--workers", "0"), {}, "RETRIEVAL_WORKERS must be positive"),
        (
            ("--memory",),
            {
                "RETRIEVAL_FRONT": "native",
                "RETRIEVAL_TLS_CERTIFICATE": "certificate.pem",
                "RETRIEVAL_TLS_KEY": "key.pem",
            },
            "cannot serve TLS",
        ),
        (
            ("--memory", "--workers", "2"),
            {"RETRIEVAL_TLS_CERTIFICATE": "/nowhere/certificate.pem", "RETRIEVAL_TLS_KEY": "/nowhere/key.pem"},
            "/nowhere/certificate.pem",
        ),
        (("--memory", "--port", "65536"), {}, "RETRIEVAL_PORT=65536"),
        (("--memory", "--catalogue", "/nowhere"), {}, "/nowhere is not a catalogue"),
        (("--memory",), {"RETRIEVAL_LOG_LEVEL": "LOUD"}, "RETRIEVAL_LOG_LEVEL"),
        ((), {"RETRIEVAL_DATABASE_URL": "mysql://a:secret@b/c"}, "postgresql://role:password@host"),
        ((), {"RETRIEVAL_DATABASE_URL": "postgresql://a:secret:b@host:port/c"}, "postgresql://role:password@host"),
    ],
)
async def test_what_cannot_be_is_refused_at_start(
    arguments: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    code, err = await _serve("--port", "0", *arguments, **environment)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert "secret" not in err


async def _serve(*arguments: str, **environment: str) -> tuple[int | None, str]:
    """A `retrieval serve` that is to end by itself, soon."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "retrieval.cli.main", "serve", *arguments),
        env=os.environ | environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, err.decode()
