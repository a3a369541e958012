"""The protocol of Redis: commands are packed beforehand and pipelined, replies are read by hiredis."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.load import Answer, require_loopback
from benchmarks.wire import RECEIVE_BYTES, WireError, connect

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    Ids = Callable[[Any], list[int]]


@dataclass(frozen=True)
class RespWire:
    """See `Wire` and `Target`. `requests`: packed commands; `ids` reads the ids from a reply."""

    address: str
    requests: list[bytes]
    ids: Ids
    shares_connections: ClassVar = True

    def __post_init__(self) -> None:
        require_loopback(self.address.rpartition(":")[0])

    @property
    def query_count(self) -> int:
        """How many different requests there are."""
        return len(self.requests)

    def open(self) -> RespConnection:
        """A connection."""
        return RespConnection(self)

    def read(self, reply: Any) -> Answer:
        """Ids of a reply."""
        return Answer(self.ids(reply), "")


class RespConnection:
    """See `Connection`. Replies come in the order of the commands."""

    def __init__(self, wire: RespWire) -> None:
        import hiredis

        self.socket: socket.socket = connect(wire.address)
        self._requests = wire.requests
        self._reader = hiredis.Reader()
        self._slots: deque[int] = deque()

    def send(self, slot: int, query: int) -> None:
        """See `Connection`."""
        self._slots.append(slot)
        self.socket.sendall(self._requests[query])

    def receive(self) -> list[tuple[int, Any]]:
        """See `Connection`."""
        received = self.socket.recv(RECEIVE_BYTES)
        if not received:
            raise WireError("the server closed the connection")
        self._reader.feed(received)
        finished = []
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, Exception):
                raise WireError(str(reply))
            finished.append((self._slots.popleft(), reply))
        return finished
