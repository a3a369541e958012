"""Hot methods: tried first, on every front, and never in the way of the usual one."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from retrieval.client import error_reason
from retrieval.domain.errors import NotFoundError
from retrieval.v1 import collection_service_pb2 as pb
from tests.transport.conftest import create, running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.transport.conftest import Running

METHOD = "/retrieval.v1.CollectionService/GetCollection"


class Hot:
    """Answers for collections named hot…, and remembers what it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []

    def __call__(self, calls: Sequence[bytes]) -> Sequence[bytes | None]:
        self.batches.append(list(calls))
        names = [pb.GetCollectionRequest.FromString(call).collection for call in calls]
        return [reply(name) if name.startswith("hot") else None for name in names]


def reply(name: str) -> bytes:
    return pb.GetCollectionResponse(collection=pb.Collection(name=name)).SerializeToString()


def get(run: Running, name: str, **options: Any) -> Any:
    return run.client.collections.GetCollection(pb.GetCollectionRequest(collection=name), **options)


async def test_a_hot_method_answers_with_both_trailers(front: str) -> None:
    hot = Hot()
    async with running(front, hot={METHOD: hot}) as run:
        call = get(run, "hot")
        assert (await call).collection.name == "hot"
        trailers = dict(await call.trailing_metadata())
        assert int(trailers["server-timing-us"]) >= 0
        assert trailers["call-id"]
        again = get(run, "hot")
        assert dict(await again.trailing_metadata())["call-id"] != trailers["call-id"]


async def test_what_it_declines_takes_the_usual_way(front: str) -> None:
    hot = Hot()
    async with running(front, hot={METHOD: hot}) as run:
        await create(run.client)
        assert (await get(run, "films")).collection.attributes
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await get(run, "nope")
        assert error_reason(raised.value)[0] == "COLLECTION_NOT_FOUND"
    assert [len(batch) for batch in hot.batches] == [1, 1]


@pytest.mark.parametrize("broken", ["raises", "too few"])
async def test_a_broken_one_leaves_calls_to_the_usual_way(
    front: str, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(calls: Sequence[bytes]) -> Sequence[bytes | None]:
        if broken == "raises":
            raise ZeroDivisionError
        return []

    async with running(front, hot={METHOD: fail}) as run:
        await create(run.client)
        assert (await get(run, "films")).collection.attributes
    assert "the usual way" in caplog.text


async def test_replies_that_are_none_do_not_stop_the_thread_that_receives(caplog: pytest.LogCaptureFixture) -> None:
    async with running("native", hot={METHOD: lambda calls: [5 for _ in calls]}) as run:
        await create(run.client)
        assert (await get(run, "films")).collection.attributes
        assert (await get(run, "films")).collection.attributes
    assert "the usual way" in caplog.text


async def test_calls_that_arrive_together_are_answered_together() -> None:
    entered, release, hot = threading.Event(), threading.Event(), Hot()

    def hold(calls: Sequence[bytes]) -> Sequence[bytes | None]:
        entered.set()
        assert release.wait(5)
        return hot(calls)

    async with running("native", hot={METHOD: hold}) as run:
        await create(run.client)
        first = asyncio.ensure_future(get(run, "hot-first"))
        assert await asyncio.to_thread(entered.wait, 5)
        names = [f"hot-{n}" if n % 3 else "films" for n in range(30)]
        calls = [asyncio.ensure_future(get(run, name)) for name in names]
        # Another method in between, and a call whose caller leaves before anybody looks at it.
        other = asyncio.ensure_future(run.client.collections.ListCollections(pb.ListCollectionsRequest()))
        gone = get(run, "films")
        await asyncio.sleep(0.1)
        gone.cancel()
        release.set()
        assert (await first).collection.name == "hot-first"
        assert [got.collection.name for got in await asyncio.gather(*calls)] == names
        assert [c.name for c in (await other).collections] == ["films"]
    assert len(hot.batches) < 10
    assert max(len(batch) for batch in hot.batches) > 10


async def test_a_declined_call_is_cancelled_with_its_caller(front: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(front, hot={METHOD: Hot()}) as run:
        started, ended = asyncio.Event(), asyncio.Event()

        async def slow(*_: object) -> None:
            started.set()
            try:
                await asyncio.sleep(30)
            finally:
                ended.set()

        monkeypatch.setattr(run.service.stores.collections, "get", slow)
        call = get(run, "films")
        await asyncio.wait_for(started.wait(), 10)
        call.cancel()
        await asyncio.wait_for(ended.wait(), 10)


async def test_a_draining_server_asks_no_hot_method(front: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hot = Hot()
    async with running(front, hot={METHOD: hot}) as run:
        assert (await get(run, "hot")).collection.name == "hot"
        started, release = asyncio.Event(), asyncio.Event()

        async def slow(*_: object) -> None:
            started.set()
            await release.wait()
            raise NotFoundError("gone")

        monkeypatch.setattr(run.service.stores.collections, "get", slow)
        held = asyncio.ensure_future(run.client.candidates("films", "u"))
        await asyncio.wait_for(started.wait(), 10)
        draining = asyncio.ensure_future(run.server.drain())
        await asyncio.sleep(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await get(run, "hot")
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert front == "grpcio" or error_reason(raised.value)[0] == "SHUTTING_DOWN"
        release.set()
        with pytest.raises(grpc.aio.AioRpcError, match="gone"):
            await held
        await draining
    assert len(hot.batches) == 1


async def test_limits_hold_for_hot_calls(front: str) -> None:
    def large(calls: Sequence[bytes]) -> Sequence[bytes | None]:
        return [bytes(2000) for _ in calls]

    hot = Hot()
    async with running(front, hot={METHOD: hot}, max_message_bytes=1000) as run:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await get(run, "hot" * 400)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not hot.batches
    async with running(front, hot={METHOD: large}, max_message_bytes=1000) as run:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await get(run, "hot")
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_hot_calls_are_in_the_access_log(front: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "retrieval.access")
    async with running(front, hot={METHOD: Hot()}) as run:
        call = get(run, "hot")
        identity = dict(await call.trailing_metadata())["call-id"]
    assert f"method={METHOD} code=OK" in caplog.text
    assert f"call={identity}" in caplog.text
