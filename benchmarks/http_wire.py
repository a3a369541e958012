"""HTTP/1.1 with JSON bodies that are encoded beforehand, one request at a time on a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmarks.load import Answer, require_loopback
from benchmarks.wire import RECEIVE_BYTES, WireError, connect

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    Ids = Callable[[bytes], list[int]]

END_OF_HEAD = b"\r\n\r\n"


def post(address: str, path: str, body: bytes) -> bytes:
    """A POST request in full."""
    head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + END_OF_HEAD + body


@dataclass(frozen=True)
class HttpWire:
    """See `Wire` and `Target`. `requests`: whole requests; `ids` reads the ids from a reply's body."""

    address: str
    requests: list[bytes]
    ids: Ids
    shares_connections: ClassVar = False

    def __post_init__(self) -> None:
        require_loopback(self.address.rpartition(":")[0])

    @property
    def query_count(self) -> int:
        """How many different requests there are."""
        return len(self.requests)

    def open(self) -> HttpConnection:
        """A connection."""
        return HttpConnection(self)

    def read(self, reply: bytes) -> Answer:
        """Ids of a reply."""
        return Answer(self.ids(reply), "")


class HttpConnection:
    """See `Connection`. Replies must be 2xx and tell their length."""

    def __init__(self, wire: HttpWire) -> None:
        self.socket: socket.socket = connect(wire.address)
        self._requests = wire.requests
        self._slot = 0
        self._rest = b""

    def send(self, slot: int, query: int) -> None:
        """See `Connection`. The one before must have been answered."""
        self._slot = slot
        self.socket.sendall(self._requests[query])

    def receive(self) -> list[tuple[int, bytes]]:
        """See `Connection`."""
        received = self.socket.recv(RECEIVE_BYTES)
        if not received:
            raise WireError("the server closed the connection")
        self._rest += received
        head, found, body = self._rest.partition(END_OF_HEAD)
        if not found or len(body) < (length := _length(head)):
            return []
        if not head.startswith(b"HTTP/1.1 2"):
            raise WireError(f"{head.splitlines()[0]!r}: {body[:200]!r}")
        self._rest = body[length:]
        return [(self._slot, body[:length])]


def _length(head: bytes) -> int:
    for line in head.lower().splitlines():
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise WireError("a reply does not tell its length")
