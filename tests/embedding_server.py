"""A real HTTP server on 127.0.0.1 that speaks OpenAI's embeddings protocol, and misbehaves on request."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.embedding.openai_http import Endpoint, HttpConnection, OpenAICompatibleEmbedder
from retrieval.embedding.rate_limit import RateLimiter
from tests.embedding_jobs import DIM, embed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BAD_TEXT = "a text that the server refuses"


@dataclass(slots=True)
class Reply:
    """What the next request gets. `body` None: a proper one; `status` 0: the connection is cut."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


class EmbeddingServer:
    """`requests`: all that came; `script`: replies to the next ones, after which all are proper, after `pause_s`.

    `vector_of`: what a model (first argument) makes of a text.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.script: deque[Reply] = deque()
        self.takes_base64 = True
        self.vector_of: Callable[[str, str, int], NDArray[np.float32]] = lambda _, text, size: embed(text, size)
        self.pause_s = 0.0
        self.shuffled = False
        self.in_flight = 0
        self.most_in_flight = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def texts(self) -> list[str]:
        """All texts that were asked for, in order."""
        return [text for request in self.requests for text in request["input"]]

    async def start(self) -> None:
        """Listen; again on the same port after `stop`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._connections):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        assert head[0] == "POST /v1/embeddings HTTP/1.1"
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        request = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.requests.append(request)
        self.headers.append(headers)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self.script.popleft() if self.script else Reply()
            await asyncio.sleep(reply.delay_s or self.pause_s)
            if not reply.status:
                return False
            status, body = (reply.status, reply.body) if reply.body is not None else self._proper(request)
            lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in reply.headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
        finally:
            self.in_flight -= 1
        return True

    def _proper(self, request: dict[str, Any]) -> tuple[int, bytes]:
        if request["encoding_format"] == "base64" and not self.takes_base64:
            return 400, b'{"error": {"message": "encoding_format must be float"}}'
        if BAD_TEXT in request["input"]:
            return 400, b'{"error": {"message": "input is too long"}}'
        rows = [self._row(request, text) for text in request["input"]]
        data = [
            {
                "index": index,
                "embedding": base64.b64encode(row.tobytes()).decode()
                if request["encoding_format"] == "base64"
                else row.tolist(),
            }
            for index, row in enumerate(rows)
        ]
        return 200, json.dumps({"data": data[::-1] if self.shuffled else data}).encode()

    def _row(self, request: dict[str, Any], text: str) -> NDArray[Any]:
        return self.vector_of(request["model"], text, request.get("dimensions", DIM)).astype("<f4")

    def embedder(
        self, dimension: int = DIM, limiter: RateLimiter | None = None, **changed: Any
    ) -> OpenAICompatibleEmbedder:
        """An embedder of model-a that asks this server."""
        values = {"timeout_s": 5.0, "batch_texts": 4, "batch_characters": 1000, "concurrency": 2, "key": "sk-secret"}
        endpoint = Endpoint(self.url, **(values | changed))
        return OpenAICompatibleEmbedder(HttpConnection(endpoint, limiter or RateLimiter(0, 0)), "model-a", dimension)


def same(made: Any, text: str) -> bool:
    """Whether that is the vector of the text."""
    return isinstance(made, np.ndarray) and np.array_equal(made.astype(np.float16), embed(text, len(made)))
