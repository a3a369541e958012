"""A closed loop over raw sockets: what a client costs is a few microseconds a call, and the same for every engine.

A gRPC client in Python spends more on a call than the servers measured here. So requests are encoded beforehand, and
replies are kept as they came and read once the clock has stopped.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

SILENCE_S = 30.0
MAX_CONNECTIONS = 8
"""More requests in flight than this share connections, as those of any pooling client do."""
RECEIVE_BYTES = 1 << 18


class WireError(Exception):
    """A server broke the protocol, refused a request or fell silent."""


class Call(NamedTuple):
    """A call that was answered: number of its query, seconds it took, and the reply."""

    query: int
    seconds: float
    reply: Any


class Connection(Protocol):
    """A connected socket that speaks one protocol. Several requests may be on their way at once."""

    socket: socket.socket

    def send(self, slot: int, query: int) -> None:
        """Send query number `query` on behalf of a slot."""
        ...

    def receive(self) -> list[tuple[int, Any]]:
        """Read what has come: (slot, reply) of each request that is answered by it. Raises: WireError."""
        ...


class Wire(Protocol):
    """Something to put under load that can be spoken to in bytes. It travels to other processes, unconnected."""

    query_count: int
    shares_connections: bool
    """Whether a connection takes several requests at once."""

    def open(self) -> Connection:
        """A new connection."""
        ...


def connect(address: str) -> socket.socket:
    """A TCP connection to host:port without Nagle's delay."""
    host, _, port = address.rpartition(":")
    connected = socket.create_connection((host, int(port)), SILENCE_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def open_all(wire: Wire, slots: int) -> list[Connection]:
    """The connections that `slots` requests in flight are spread over."""
    return [wire.open() for _ in range(min(slots, MAX_CONNECTIONS) if wire.shares_connections else slots)]


def closed_loop(
    connections: Sequence[Connection], starts: Sequence[int], query_count: int, seconds: float, max_calls: int
) -> list[Call]:
    """Keep a request in flight for each of `starts`, which are the first queries, and count on from there.

    No request is sent once `seconds` are over or `max_calls` were sent; those on their way are waited for.
    Raises: WireError.
    """
    clock = time.perf_counter
    of_socket = {connection.socket.fileno(): connection for connection in connections}
    poll = select.epoll()
    for number in of_socket:
        poll.register(number, select.EPOLLIN)
    asked = [start % query_count for start in starts]
    began = [0.0] * len(starts)
    calls: list[Call] = []
    in_flight = sent = min(len(starts), max_calls)
    # A collection would stop the clock of every request in flight.
    gc.disable()
    try:
        stop = clock() + seconds
        for slot in range(in_flight):
            began[slot] = clock()
            connections[slot % len(connections)].send(slot, asked[slot])
        while in_flight:
            ready = poll.poll(SILENCE_S)
            if not ready:
                raise WireError(f"the server said nothing for {SILENCE_S:.0f} s")
            for number, _ in ready:
                connection = of_socket[number]
                for slot, reply in connection.receive():
                    now = clock()
                    calls.append(Call(asked[slot], now - began[slot], reply))
                    if now >= stop or sent >= max_calls:
                        in_flight -= 1
                        continue
                    sent += 1
                    asked[slot] = query = (asked[slot] + 1) % query_count
                    began[slot] = now
                    connection.send(slot, query)
    finally:
        gc.enable()
        poll.close()
    return calls
