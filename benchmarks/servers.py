"""Starts and stops the processes under test: the service and the echo server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0


class ServerError(Exception):
    """A server under test did not start."""


@contextmanager
def service(data_dir: Path, log: Path) -> Iterator[str]:
    """`retrieval serve` on a free loopback port; yields its address once health says SERVING.

    Its settings are those of the environment (RETRIEVAL_*), but for the data directory.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    command = [sys.executable, "-m", "retrieval.cli.main", "serve", "--migrate", "--port", str(port)]
    environment = {**os.environ, "RETRIEVAL_DATA_DIR": str(data_dir)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_until_serving(process, f"127.0.0.1:{port}", log)
            yield f"127.0.0.1:{port}"
        finally:
            _stop(process)


@contextmanager
def echo() -> Iterator[str]:
    """The echo server in a process of its own; yields its address."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.echo_server"], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline().strip() if process.stdout else ""
        if not line.isdigit():
            raise ServerError("the echo server did not start")
        yield f"127.0.0.1:{line}"
    finally:
        _stop(process)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_serving(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            try:
                reply = health.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
            except grpc.RpcError:
                time.sleep(0.1)
                continue
            if reply.status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(0.1)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise ServerError(f"the service has ended, or is not SERVING in {START_TIMEOUT_S:.0f} s; its last words:\n{tail}")


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
