"""A drain under load: no call is cut, whether it was under way or came on an open connection while the drain began."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter

import grpc

from retrieval.client import error_reason
from tests.patience import PATIENCE_S
from tests.transport.conftest import create, running

HOT = "/retrieval.v1.CollectionService/GetCollection"
USUAL = "/retrieval.v1.CollectionService/ListCollections"
CALLERS = 8
"""Connections of the load; each has calls of both kinds under way."""
ROUNDS = 3
REFUSED = ("failed to connect", "connection refused", "goaway")


class Load:
    """Callers with a connection each, which ask again as soon as they are answered, until nobody listens any more."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._ask, args=(method,), daemon=True)
            for _ in range(CALLERS)
            for method in (HOT, USUAL)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, method: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        with grpc.insecure_channel(f"127.0.0.1:{self._port}", options) as channel:
            call = channel.unary_unary(method)
            while not self._stop.is_set():
                outcome = self._outcome(call)
                self.outcomes[outcome] += 1
                if outcome == "nobody listens":
                    return

    @staticmethod
    def _outcome(call: grpc.UnaryUnaryMultiCallable[bytes, bytes]) -> str:
        try:
            call(b"", timeout=20)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                if error_reason(error)[0] == "SHUTTING_DOWN":
                    return "SHUTTING_DOWN"
                if error.details() == "gRPC server is shutting down":
                    return "closed"  # the native front's own word
                if any(word in error.details().lower() for word in REFUSED):
                    return "nobody listens"
            return f"{error.code().name}: {error.details()}"
        return "OK"


async def test_no_call_is_cut(front: str) -> None:
    reply = bytes(100)
    for _ in range(ROUNDS):
        async with running(front, drain_s=10, hot={HOT: lambda calls: [reply for _ in calls]}) as run:
            await create(run.client)
            with Load(run.server.port) as load:
                while load.outcomes["OK"] < 500:
                    await asyncio.sleep(0.01)
                began = time.monotonic()
                await run.server.drain()
                took = time.monotonic() - began
                async with asyncio.timeout(PATIENCE_S):
                    while load.outcomes["nobody listens"] < 2 * CALLERS:
                        await asyncio.sleep(0.01)
            assert set(load.outcomes) <= {"OK", "SHUTTING_DOWN", "closed", "nobody listens"}
            assert load.outcomes["nobody listens"] == 2 * CALLERS
            assert took < 5, "refused callers who come again do not hold up the drain"
