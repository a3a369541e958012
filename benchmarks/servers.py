"""Starts and stops the processes under test: the service, the echo server, and the servers of peers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.cores import starting_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.02


class ServerError(Exception):
    """A server under test did not start."""


class Server(NamedTuple):
    """A server that runs: host:port, and its process."""

    address: str
    pid: int


@contextmanager
def service(data_dir: Path, log: Path, core: int | None = None, **settings: str) -> Iterator[Server]:
    """`retrieval serve` on a free loopback port, once health says SERVING.

    Its settings are those of the environment (RETRIEVAL_*), but for the data directory and `settings`, e.g.
    `front="native"`.
    """
    port = free_port()
    command, environment = service_command(data_dir, port, settings)
    address = f"127.0.0.1:{port}"
    with started(command, log, lambda: is_serving(address), environment, core) as pid:
        yield Server(address, pid)


def service_command(data_dir: Path, port: int, settings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Command and environment of `service`."""
    data_dir.mkdir(parents=True, exist_ok=True)
    given = {f"RETRIEVAL_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "retrieval.cli.main", "serve", "--migrate", "--port", str(port)]
    return command, {**os.environ, "RETRIEVAL_DATA_DIR": str(data_dir), **given}


@contextmanager
def echo(front: str = "grpcio", core: int | None = None) -> Iterator[Server]:
    """The echo server on a front, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.echo_server", front]
    with starting_on(core):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline().strip() if process.stdout else ""
        if not line.isdigit():
            raise ServerError("the echo server did not start")
        yield Server(f"127.0.0.1:{line}", process.pid)
    finally:
        _stop(process)


@contextmanager
def started(
    command: Sequence[str],
    log: Path,
    is_ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    core: int | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Iterator[int]:
    """A server process on a core, by its id, once it is ready; stopped at the end. What it prints goes to `log`.

    Raises: ServerError with its last words where it ends before, or is not ready in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        with starting_on(core):
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + timeout_s
            while not is_ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                    raise ServerError(
                        f"{command[0]} has ended, or is not ready in {timeout_s:.0f} s; its last words:\n{tail}"
                    )
                time.sleep(POLL_S)
            yield process.pid
        finally:
            _stop(process)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_serving(address: str) -> bool:
    """Whether health says SERVING."""
    with grpc.insecure_channel(address) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.RpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def accepts(address: str) -> bool:
    """Whether somebody listens there."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1.0).close()
    except OSError:
        return False
    return True


def _stop(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """SIGTERM to this one process, and patience while it drains."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()
