"""The load client of the benchmarks speaks gRPC as a real server does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from benchmarks.grpc_wire import GrpcConnection
from benchmarks.wire import WireError, closed_loop

SIZES = (0, 1, 2_000, 16_379, 16_384, 70_000, 300_000)
"""Around the largest frame, and beyond the window of a stream and of a connection."""
REQUESTS = [bytes([number]) * size for number, size in enumerate(SIZES)]


@contextmanager
def server(answer):
    """A grpcio server whose one method is `answer`, which takes and returns bytes; yields its address."""
    handler = grpc.unary_unary_rpc_method_handler(answer)
    running = grpc.server(ThreadPoolExecutor(4))
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {"Echo": handler}),))
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        running.stop(0).wait()


@contextmanager
def connections(address, count):
    opened = [GrpcConnection(address, "/test.Echo/Echo", REQUESTS) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.socket.close()


def test_each_query_gets_its_own_reply_in_turn_whatever_its_size():
    with server(lambda request, _: request) as address, connections(address, 3) as opened:
        calls = closed_loop(opened, range(8), len(REQUESTS), 30.0, 60)
    assert len(calls) == 60
    assert all(call.reply == REQUESTS[call.query] and call.seconds > 0 for call in calls)
    assert {call.query for call in calls} == set(range(len(REQUESTS)))


def test_a_status_other_than_ok_ends_the_run():
    def answer(request, context):
        if len(request) == 2_000:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
        return request

    with server(answer) as address, connections(address, 1) as opened, pytest.raises(WireError, match="enough"):
        closed_loop(opened, [0], len(REQUESTS), 30.0, 60)


def test_no_request_is_sent_once_the_time_is_up():
    with server(lambda request, _: request) as address, connections(address, 2) as opened:
        assert len(closed_loop(opened, range(4), len(REQUESTS), 0.0, 60)) == 4
