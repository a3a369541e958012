"""gRPC over HTTP/2 (RFC 9113), as much of it as a client of unary calls needs: frames are made beforehand.

The compression table of requests (RFC 7541) is filled by the first one, so that a later one takes six bytes of headers,
as from any other client. Servers are asked to keep no table for replies, so that a status can be told by its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.wire import RECEIVE_BYTES, WireError, connect

if TYPE_CHECKING:
    import socket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
MAX_FRAME_BYTES = 16_384
DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = 2**31 - 1

INDEXED_REQUEST = bytes([0x83, 0x86, 0xC1, 0xC0, 0xBF, 0xBE])
"""POST, http, and the four headers of `first_headers` from the table, where the last one in comes first."""

_NAME = b"\x0bgrpc-status", b"\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f"
_ZERO = b"\x010", b"\x81\x07"
STATUS_OK = tuple(name + zero for name in _NAME for zero in _ZERO)
"""`grpc-status: 0` as a literal: each string plain or in the Huffman code."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def first_headers(path: str, authority: str) -> bytes:
    """The header block of the first request, which puts its four variable headers into the table."""

    def literal(name: bytes, value: str) -> bytes:
        return name + bytes([len(value)]) + value.encode()

    return b"".join(
        [
            b"\x83\x86",
            literal(b"\x44", path),
            literal(b"\x41", authority),
            literal(b"\x5f", "application/grpc"),
            literal(b"\x40\x02te", "trailers"),
        ]
    )


class _Upload:
    """A message that is larger than a window: the frames still to be sent, and the window of its stream."""

    def __init__(self, stream: int, frames: list[tuple[bytes, bytes]], window: int) -> None:
        self.stream = stream
        self.frames = frames
        self.window = window


class GrpcConnection:
    """See `Connection`: the unary method `path` of the server at `address`, with serialized requests.

    Every reply must be one whole message with `grpc-status: 0`.
    """

    def __init__(self, address: str, path: str, requests: list[bytes]) -> None:
        self.socket: socket.socket = connect(address)
        self._messages = [_data_frames(request) for request in requests]
        self._sizes = [len(request) + 5 for request in requests]
        self._block = first_headers(path, address)
        self._next_stream = 1
        self._window, self._stream_window = DEFAULT_WINDOW, DEFAULT_WINDOW
        self._slots: dict[int, int] = {}
        self._bodies: dict[int, bytes] = {}
        self._uploads: dict[int, _Upload] = {}
        self._rest = b""
        settings = HEADER_TABLE_SIZE.to_bytes(2, "big") + (0).to_bytes(4, "big")
        settings += INITIAL_WINDOW_SIZE.to_bytes(2, "big") + LARGEST_WINDOW.to_bytes(4, "big")
        room = (LARGEST_WINDOW - DEFAULT_WINDOW).to_bytes(4, "big")
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, room))

    def send(self, slot: int, query: int) -> None:
        """See `Connection`."""
        stream = self._next_stream
        self._next_stream += 2
        self._slots[stream] = slot
        number = stream.to_bytes(4, "big")
        parts = [len(self._block).to_bytes(3, "big"), b"\x01\x04", number, self._block]
        self._block = INDEXED_REQUEST
        frames, size = self._messages[query], self._sizes[query]
        if size <= self._stream_window and size <= self._window and not self._uploads:
            self._window -= size
            for head, payload in frames:
                parts += (head, number, payload)
            self.socket.sendall(b"".join(parts))
        else:
            self.socket.sendall(b"".join(parts))
            self._uploads[stream] = _Upload(stream, list(frames), self._stream_window)
            self._upload()

    def receive(self) -> list[tuple[int, bytes]]:
        """See `Connection`."""
        received = self.socket.recv(RECEIVE_BYTES)
        if not received:
            raise WireError("the server closed the connection")
        data = self._rest + received if self._rest else received
        begin, end = 0, len(data)
        finished = []
        while end - begin >= 9:
            after = begin + 9 + int.from_bytes(data[begin : begin + 3], "big")
            if after > end:
                break
            kind, flags, stream = data[begin + 3], data[begin + 4], int.from_bytes(data[begin + 5 : begin + 9], "big")
            payload = data[begin + 9 : after]
            begin = after
            if kind == DATA:
                self._bodies[stream] = self._bodies.get(stream, b"") + payload
            elif kind == HEADERS:
                if flags & END_STREAM:
                    finished.append((self._slots.pop(stream), self._message(stream, payload)))
            else:
                self._control(kind, flags, stream, payload)
        self._rest = data[begin:]
        return finished

    def _message(self, stream: int, trailers: bytes) -> bytes:
        body = self._bodies.pop(stream, b"")
        if not any(status in trailers for status in STATUS_OK):
            raise WireError(f"a call failed, its trailers are {trailers!r}")
        if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
            raise WireError("a reply is not one whole message")
        return body[5:]

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            if stream == 0:
                self._window += int.from_bytes(payload, "big")
            elif stream in self._uploads:
                self._uploads[stream].window += int.from_bytes(payload, "big")
            self._upload()
        elif kind == SETTINGS and not flags & ACK:
            for start in range(0, len(payload), 6):
                if int.from_bytes(payload[start : start + 2], "big") == INITIAL_WINDOW_SIZE:
                    window = int.from_bytes(payload[start + 2 : start + 6], "big")
                    for upload in self._uploads.values():
                        upload.window += window - self._stream_window
                    self._stream_window = window
            self.socket.sendall(frame(SETTINGS, ACK, 0, b""))
            self._upload()
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, payload))
        elif kind in {RST_STREAM, GOAWAY}:
            raise WireError(f"the server ended the {'stream' if kind == RST_STREAM else 'connection'}: {payload!r}")

    def _upload(self) -> None:
        """Send what the windows allow of the messages that wait for one."""
        for upload in list(self._uploads.values()):
            while upload.frames and len(upload.frames[0][1]) <= min(self._window, upload.window):
                head, payload = upload.frames.pop(0)
                self._window -= len(payload)
                upload.window -= len(payload)
                self.socket.sendall(head + upload.stream.to_bytes(4, "big") + payload)
            if not upload.frames:
                del self._uploads[upload.stream]


def _data_frames(request: bytes) -> list[tuple[bytes, bytes]]:
    """A gRPC message as (first five bytes of the frame, payload), between which the stream's number goes."""
    message = b"\0" + len(request).to_bytes(4, "big") + request
    pieces = [message[start : start + MAX_FRAME_BYTES] for start in range(0, len(message), MAX_FRAME_BYTES)]
    last = len(pieces) - 1
    return [
        (len(piece).to_bytes(3, "big") + bytes([DATA, END_STREAM if number == last else 0]), piece)
        for number, piece in enumerate(pieces)
    ]
