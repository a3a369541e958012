"""The HTTP embedder against a real server: what it sends, in which pieces, and what it makes of every bad answer."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest

from retrieval.application.embedders import TextRefused
from retrieval.embedding.openai_http import split
from retrieval.embedding.openai_reply import MAX_RETRY_AFTER_S, read_retry_after
from retrieval.embedding.rate_limit import BURST_S, BYTES_PER_TOKEN, RateLimiter
from tests.embedding_jobs import DIM
from tests.embedding_server import BAD_TEXT, Reply, same

if TYPE_CHECKING:
    from tests.embedding_server import EmbeddingServer

TEXTS = [f"text {n} ü" for n in range(10)]


async def test_vectors_come_in_the_order_of_the_texts(http: EmbeddingServer) -> None:
    embedder = http.embedder()
    for shuffled, takes_base64 in ((False, True), (True, True), (True, False)):
        http.shuffled, http.takes_base64 = shuffled, takes_base64
        http.requests.clear()
        made = await embedder.embed(TEXTS, DIM)
        assert all(same(m, t) for m, t in zip(made, TEXTS, strict=True))
    await embedder.embed(TEXTS[:1], DIM)
    assert http.requests[-1] == {"model": "model-a", "input": TEXTS[:1], "encoding_format": "float"}
    assert {h["authorization"] for h in http.headers} == {"Bearer sk-secret"}
    await embedder.close()


async def test_a_shorter_vector_is_asked_for_and_cut_by_the_server(http: EmbeddingServer) -> None:
    embedder = http.embedder(dimension=DIM)
    (made,) = await embedder.embed(["one"], 4)
    assert same(made, "one")
    assert http.requests[0]["dimensions"] == 4
    await embedder.close()


async def test_batches_and_their_number_at_a_time(http: EmbeddingServer) -> None:
    http.script.extend(Reply(delay_s=0.05) for _ in range(5))
    embedder = http.embedder(batch_texts=2)
    await embedder.embed(TEXTS, DIM)
    assert [len(r["input"]) for r in http.requests] == [2] * 5
    assert http.most_in_flight == 2
    await embedder.close()


def test_batches_end_at_texts_and_characters() -> None:
    assert split(["aa", "bb", "c" * 9, "dd", "ee", "ff", "gg"], 3, 4) == [
        ["aa", "bb"],
        ["c" * 9],
        ["dd", "ee"],
        ["ff", "gg"],
    ]
    assert split(["a", "b", "c"], 2, 100) == [["a", "b"], ["c"]]
    assert split([], 2, 100) == []


@pytest.mark.parametrize(
    ("reply", "permanent", "shown"),
    [
        (Reply(500, b"oops"), False, "HTTP 500: oops"),
        (Reply(503, b""), False, "HTTP 503"),
        (Reply(408, b""), False, "HTTP 408"),
        (Reply(429, b"slow down"), False, "HTTP 429: slow down"),
        (Reply(401, b"bad key sk-secret \x00!"), True, "HTTP 401: bad key *** !"),
        (Reply(404, b"no such model"), True, "HTTP 404: no such model"),
        (Reply(302, b"", {"location": "/elsewhere"}), True, "HTTP 302"),
        (Reply(200, b'{"data": [{"index": 0, "emb'), False, "BrokenReplyError"),
        (Reply(200, b"[]"), False, "BrokenReplyError"),
        (Reply(200, b'{"data": [{"index": 0, "embedding": "?"}]}'), False, "BrokenReplyError"),
        (Reply(200, b"[" * 100_000), False, "BrokenReplyError"),
        (Reply(200, b'{"data": []}'), True, "0 embeddings"),
        (Reply(200, json.dumps({"data": [{"index": 1, "embedding": [0.1] * DIM}]}).encode()), True, "do not name 1"),
        (Reply(200, json.dumps({"data": [{"index": 0, "embedding": [0.1] * 3}]}).encode()), True, "3 components"),
        (Reply(0), False, "RemoteProtocolError"),
        (Reply(delay_s=60), False, "no reply within 0.2 s"),
    ],
)
async def test_bad_answers(http: EmbeddingServer, reply: Reply, *, permanent: bool, shown: str) -> None:
    http.script.append(reply)
    embedder = http.embedder(timeout_s=0.2 if reply.delay_s else 5.0)
    (made,) = await embedder.embed(["one"], DIM)
    assert isinstance(made, TextRefused)
    assert made.permanent is permanent
    assert shown in made.error
    assert "sk-secret" not in made.error
    assert "\x00" not in made.error
    # The next request is answered as if nothing had been.
    (made,) = await embedder.embed(["one"], DIM, urgent=True)
    assert same(made, "one")
    await embedder.close()


async def test_the_bad_text_of_a_batch_is_found(http: EmbeddingServer) -> None:
    embedder = http.embedder(batch_texts=8)
    texts = [*TEXTS[:5], BAD_TEXT, *TEXTS[5:7]]
    made = await embedder.embed(texts, DIM)
    bad = made.pop(5)
    assert isinstance(bad, TextRefused)
    assert bad.permanent
    assert "too long" in bad.error
    assert all(same(m, t) for m, t in zip(made, TEXTS[:7], strict=True))
    assert [len(r["input"]) for r in http.requests] == [8, 4, 4, 2, 1, 1, 2]
    await embedder.close()


async def test_a_server_that_goes_and_comes_back(http: EmbeddingServer) -> None:
    embedder = http.embedder()
    assert same((await embedder.embed(["one"], DIM))[0], "one")
    await http.stop()
    (made,) = await embedder.embed(["one"], DIM)
    assert isinstance(made, TextRefused)
    assert not made.permanent
    await http.start()
    assert same((await embedder.embed(["one"], DIM))[0], "one")
    await embedder.close()


async def test_a_pause_that_is_asked_for_is_kept_by_all_but_urgent_ones(http: EmbeddingServer) -> None:
    limiter = RateLimiter(0, 0)
    embedder = http.embedder(limiter=limiter)
    http.script.append(Reply(429, b"", {"retry-after": "30"}))
    (made,) = await embedder.embed(["one"], DIM)
    assert isinstance(made, TextRefused)
    assert made.retry_after_s == 30
    assert 29 < limiter.reserve(1, time.monotonic()) <= 30
    assert same((await embedder.embed(["one"], DIM, urgent=True))[0], "one")
    await embedder.close()


def test_retry_after_is_a_number_or_a_date() -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    assert read_retry_after("12") == 12
    assert read_retry_after("1.5") == 1.5
    assert read_retry_after(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90
    assert read_retry_after(format_datetime(now - timedelta(seconds=90), usegmt=True), now) == 0
    assert read_retry_after("1e9") == MAX_RETRY_AFTER_S
    for unreadable in (None, "", "soon", "nan"):
        assert read_retry_after(unreadable) is None


def test_requests_and_tokens_stay_within_a_minutes_allowance() -> None:
    for limiter, size in ((RateLimiter(60, 0), 1), (RateLimiter(0, 60), BYTES_PER_TOKEN)):
        waits = [limiter.reserve(size, 1000.0) for _ in range(20)]
        assert waits == [max(0.0, n - BURST_S) for n in range(20)], "one a second, after the burst"
        assert limiter.reserve(size, 2000.0) == 0
    unlimited = RateLimiter(0, 0)
    assert {unlimited.reserve(10**9, 5.0) for _ in range(50)} == {0.0}


async def test_the_key_is_not_logged(http: EmbeddingServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    http.script.append(Reply(401, b"who is sk-secret?"))
    embedder = http.embedder()
    made: list[Any] = await embedder.embed(["one"], DIM)
    assert "sk-secret" not in caplog.text + str(made)
    await embedder.close()
