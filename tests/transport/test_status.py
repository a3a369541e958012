from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc import error_details_pb2 as details_pb
from google.rpc import status_pb2

from retrieval.client import error_reason
from retrieval.domain import errors
from retrieval.transport.status import CODES, code_of, known, rich_status, search_error
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from tests.transport.conftest import create, running

if TYPE_CHECKING:
    from tests.transport.conftest import Running


def details(error: errors.RetrievalError) -> status_pb2.Status:
    return status_pb2.Status.FromString(dict(rich_status(error).trailing_metadata)["grpc-status-details-bin"])


def test_every_domain_error_has_a_status() -> None:
    declared = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.RetrievalError) and kind is not errors.RetrievalError
    }
    assert declared <= CODES.keys()


def test_a_subclass_takes_the_status_of_its_base() -> None:
    class ThreadBareError(errors.NotFoundError):
        pass

    assert code_of(ThreadBareError("gone")) is grpc.StatusCode.NOT_FOUND


def test_violations_are_field_violations() -> None:
    status = details(errors.InvalidArgumentError.of("options.limit", "is -1", reason="LIMIT_OUT_OF_RANGE"))
    info, bad = details_pb.ErrorInfo(), details_pb.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.reason, info.domain) == ("LIMIT_OUT_OF_RANGE", "retrieval.v1")
    assert [(v.field, v.description) for v in bad.field_violations] == [("options.limit", "is -1")]


def test_overload_says_when_to_come_back() -> None:
    retry = details_pb.RetryInfo()
    assert details(errors.OverloadedError("busy", retry_after_s=0.25)).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 250


def test_long_texts_are_cut_to_fit_the_trailers() -> None:
    error = errors.InvalidArgumentError("é" * 50_000, violations=(errors.Violation("é" * 50_000, "é" * 50_000),) * 500)
    assert sum(len(value) for _, value in rich_status(error).trailing_metadata) < 20_000
    assert len(details(error).message.encode()) <= 1100


def test_a_defect_says_nothing_but_where_to_look(caplog: pytest.LogCaptureFixture) -> None:
    shown = known(ValueError("password=hunter2"))
    assert "hunter2" not in shown.message
    assert (shown.reason, code_of(shown)) == ("INTERNAL", grpc.StatusCode.INTERNAL)
    assert "hunter2" in caplog.text
    assert search_error(ValueError("hunter2")).code == grpc.StatusCode.INTERNAL.value[0]


async def test_a_defect_in_a_store_is_internal(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("secret SQL")

    monkeypatch.setattr(run.service.stores.collections, "get", broken)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await run.client.similar("films", ["a"])
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert error_reason(raised.value) == ("INTERNAL", [])
    assert "secret" not in str(raised.value.details())
    assert dict(raised.value.trailing_metadata())["call-id"] in str(raised.value.details())


async def test_a_call_is_cancelled_when_its_time_is_up(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()

    async def slow(*_: object) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    monkeypatch.setattr(run.service.stores.collections, "get", slow)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await run.client.similar("films", ["a"], timeout_s=0.1)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(ended.wait(), 10)


async def test_calls_without_a_deadline_get_one(front: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(front, default_deadline_s=0.05) as run:
        await create(run.client)
        monkeypatch.setattr(run.service.stores.collections, "get", lambda *_: asyncio.sleep(30))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await run.client.similar("films", ["a"])
        assert error_reason(raised.value) == ("DEADLINE_EXCEEDED", [])


async def test_a_timeout_that_is_not_the_deadline_is_a_defect(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def own_timeout(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(run.service.stores.collections, "get", own_timeout)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await run.client.similar("films", ["a"])
    assert raised.value.code() is grpc.StatusCode.INTERNAL


async def test_a_cancelled_call_cancels_its_handler(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> None:
        started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.set()
            raise

    monkeypatch.setattr(run.service.stores.collections, "get", slow)
    searches = [
        retrieval_pb.BatchSearchEntry(
            similar_items=retrieval_pb.SearchSimilarItemsRequest(collection="films", item_ids=["a"])
        )
    ]
    calling = asyncio.create_task(run.client.batch(searches * 3))
    await asyncio.wait_for(started.wait(), 10)
    calling.cancel()
    await asyncio.wait_for(ended.wait(), 10)
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_too_many_calls_are_shed_but_health_is_not(front: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval.client.probe import is_serving

    async with running(front, max_in_flight=2, max_heavy_in_flight=2) as run:
        await create(run.client)
        release = asyncio.Event()
        real = run.service.stores.collections.get

        async def wait(name: str) -> object:
            await release.wait()
            return await real(name)

        monkeypatch.setattr(run.service.stores.collections, "get", wait)
        held = [asyncio.create_task(run.client.candidates("films", "u")) for _ in range(2)]
        await asyncio.sleep(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await run.client.candidates("films", "u")
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error_reason(raised.value)[0] == "OVERLOADED"
        assert await is_serving(f"127.0.0.1:{run.server.port}")
        release.set()
        assert len(await asyncio.gather(*held)) == 2
        await run.client.candidates("films", "u")


async def test_a_malformed_message_is_an_invalid_argument(run: Running) -> None:
    not_utf8 = b"\x0a\x02\xff\xfe"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await run.client.channel.unary_unary("/retrieval.v1.CollectionService/GetCollection")(not_utf8)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_reason(raised.value)[0] == "MALFORMED_MESSAGE"


async def test_a_large_message_is_refused(run: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await run.client.collections.GetCollection(collections_pb.GetCollectionRequest(collection="x" * 10_000_000))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_address_in_use_is_a_clear_error(run: Running, front: str) -> None:
    from retrieval.config import Settings
    from retrieval.transport.server import start_server

    with pytest.raises(errors.UnavailableError, match="cannot listen on") as raised:
        await start_server(run.service, Settings(port=run.server.port, front=front))
    assert raised.value.reason == "ADDRESS_IN_USE"


async def test_every_call_reports_its_time(run: Running) -> None:
    call = run.client.collections.GetCollection(collections_pb.GetCollectionRequest(collection="films"))
    await call
    assert int(dict(await call.trailing_metadata())["server-timing-us"]) > 0


async def test_each_search_of_a_batch_has_its_own_status(run: Running) -> None:
    await run.client.upsert_items(
        "films", [common_pb.Item(item_id=i, chunks=[chunk]) for i, chunk in zip("ab", CHUNKS, strict=True)]
    )
    similar = retrieval_pb.SearchSimilarItemsRequest(collection="films", item_ids=["a"])
    wrong = retrieval_pb.SearchSimilarItemsRequest(
        collection="films", item_ids=["a"], options=common_pb.SearchOptions(limit=-1)
    )
    gone = retrieval_pb.SearchSimilarItemsRequest(collection="nope", item_ids=["a"])
    entries = [retrieval_pb.BatchSearchEntry(similar_items=s) for s in (wrong, similar, gone)]
    results = (await run.client.batch([*entries, retrieval_pb.BatchSearchEntry()])).results
    assert [hit.item_id for hit in results[1].hits] == ["b"]
    assert not results[1].HasField("error")
    assert [(r.error.code, r.error.reason, r.error.field) for r in results if r.HasField("error")] == [
        (3, "LIMIT_OUT_OF_RANGE", "options.limit"),
        (5, "COLLECTION_NOT_FOUND", ""),
        (3, "INVALID_REQUEST", "search"),
    ]


CHUNKS = [
    common_pb.Chunk(vector=common_pb.Vector(floats=common_pb.FloatArray(values=values)))
    for values in ([1, 0, 0, 0], [1, 1, 0, 0])
]
