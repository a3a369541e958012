"""Text embeddings from any server that speaks OpenAI's protocol: POST {base}/embeddings."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from retrieval.application.embedders import TextRefused
from retrieval.embedding.openai_reply import BrokenReplyError, WrongReplyError, read_retry_after, read_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.embedding.rate_limit import RateLimiter

    Made = NDArray[np.float32] | TextRefused

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""A longer reply is not read: 64 vectors of 4,000 components written as digits take 6 MiB."""
MAX_SHOWN = 300
_LATER = frozenset({408, 409, 425, 429})
_BAD_INPUT = frozenset({400, 413, 422})
"""Statuses that may be due to one text of a batch."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask and how much at once. `key` is sent as a bearer token where there is one, and shown nowhere."""

    base_url: str
    key: str
    timeout_s: float
    batch_texts: int
    batch_characters: int
    concurrency: int


class HttpConnection:
    """Connections to one endpoint and its limits, shared by the embedders of its models."""

    def __init__(self, endpoint: Endpoint, limiter: RateLimiter) -> None:
        self.endpoint = endpoint
        self.limiter = limiter
        self.turns = asyncio.Semaphore(endpoint.concurrency)
        headers = {"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        # Proxies and certificates named in the environment are left alone: settings are read in one place.
        self._client = httpx.AsyncClient(headers=headers, timeout=endpoint.timeout_s, trust_env=False)

    async def post(self, body: bytes) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and body of the reply, within the time limit. Raises: httpx.HTTPError, TimeoutError."""
        url = f"{self.endpoint.base_url.rstrip('/')}/embeddings"
        sent = {"content-type": "application/json"}
        # The library's timeout is for each read, which a slow server can stretch for good.
        async with (
            asyncio.timeout(self.endpoint.timeout_s),
            self._client.stream("POST", url, content=body, headers=sent) as reply,
        ):
            read = bytearray()
            async for piece in reply.aiter_bytes():
                read += piece
                if len(read) > MAX_REPLY_BYTES:
                    raise httpx.ReadError(f"the reply is longer than {MAX_REPLY_BYTES} bytes")
            return reply.status_code, reply.headers, bytes(read)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class OpenAICompatibleEmbedder:
    """Embeds texts with one model of an endpoint."""

    def __init__(self, connection: HttpConnection, model: str, dimension: int) -> None:
        self.model = model
        self.dimension = dimension
        self.batch = connection.endpoint.batch_texts * connection.endpoint.concurrency
        self._connection = connection
        self._base64 = True

    async def embed(self, texts: Sequence[str], length: int, *, urgent: bool = False) -> list[Made]:
        """See `TextEmbedder`. Errors of the endpoint become refusals; a bad text is found by halving its batch."""
        batches = split(texts, self._connection.endpoint.batch_texts, self._connection.endpoint.batch_characters)
        made = await asyncio.gather(*(self._embed(batch, length, urgent=urgent) for batch in batches))
        return [one for batch in made for one in batch]

    async def close(self) -> None:
        """See `TextEmbedder`."""
        await self._connection.close()

    async def _embed(self, texts: Sequence[str], length: int, *, urgent: bool) -> list[Made]:
        made = await self._ask(texts, length, urgent=urgent)
        if isinstance(made, list):
            return made
        refused, by_input = made
        if not by_input or len(texts) == 1:
            return [refused] * len(texts)
        middle = len(texts) // 2
        first = await self._embed(texts[:middle], length, urgent=urgent)
        return first + await self._embed(texts[middle:], length, urgent=urgent)

    async def _ask(self, texts: Sequence[str], length: int, *, urgent: bool) -> list[Made] | tuple[TextRefused, bool]:
        """The vectors, or why there are none and whether one of the texts may be the reason."""
        connection = self._connection
        request: dict[str, object] = {"model": self.model, "input": list(texts)}
        if length != self.dimension:
            request["dimensions"] = length
        with_base64 = self._base64
        request["encoding_format"] = "base64" if with_base64 else "float"
        body = json.dumps(request, ensure_ascii=False).encode()
        await connection.limiter.admit(sum(len(text.encode()) for text in texts), urgent=urgent)
        try:
            async with connection.turns:
                status, headers, reply = await connection.post(body)
            if status // 100 == 2:
                return list(read_vectors(reply, len(texts), length))
        except TimeoutError:
            return TextRefused(f"no reply within {connection.endpoint.timeout_s:g} s"), False
        except (httpx.HTTPError, BrokenReplyError) as error:
            return TextRefused(self._shown(f"{type(error).__name__}: {error}")), False
        except WrongReplyError as error:
            return TextRefused(str(error), permanent=True), False
        if status in _BAD_INPUT and with_base64 and b"encoding_format" in reply:
            self._base64 = False
            return await self._ask(texts, length, urgent=urgent)
        retry_after_s = read_retry_after(headers.get("retry-after"))
        if retry_after_s is not None and status in {429, 503}:
            connection.limiter.pause(retry_after_s)
        permanent = status < 500 and status not in _LATER
        shown = self._shown(f"HTTP {status}: {reply[: 4 * MAX_SHOWN].decode(errors='replace')}")
        return TextRefused(shown, permanent, None if permanent else retry_after_s), status in _BAD_INPUT

    def _shown(self, text: str) -> str:
        """Cut, without the key, which some servers repeat, and without NUL, which Postgres does not store."""
        key = self._connection.endpoint.key
        return (text.replace(key, "***") if key else text).replace("\x00", "")[:MAX_SHOWN]


def split(texts: Sequence[str], most_texts: int, most_characters: int) -> list[list[str]]:
    """Batches of so many texts and characters at most, in order; a longer text goes alone."""
    batches: list[list[str]] = []
    size = 0
    for text in texts:
        if not batches or len(batches[-1]) == most_texts or size + len(text) > most_characters:
            batches.append([])
            size = 0
        batches[-1].append(text)
        size += len(text)
    return batches
