"""The fronts: which one serves, and that callers cannot tell."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from retrieval.client import RetrievalClient, error_reason
from retrieval.config import Settings, SettingsError, load_settings
from retrieval.transport.fronts import choice
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb
from tests.transport.conftest import create, running

if TYPE_CHECKING:
    from tests.transport.conftest import Running

TLS = Path(__file__).parent / "tls"
CERTIFICATE, KEY = TLS / "certificate.pem", TLS / "key.pem"
WITH_TLS = {"tls_certificate": CERTIFICATE, "tls_key": KEY}
LIST = collections_pb.ListCollectionsRequest()
GET = "/retrieval.v1.CollectionService/GetCollection"


@pytest.mark.parametrize(
    ("front", "tls", "installed", "chosen"),
    [
        ("auto", False, True, "native"),
        ("auto", True, True, "grpcio"),
        ("auto", False, False, "grpcio"),
        ("grpcio", False, True, "grpcio"),
        ("native", False, True, "native"),
        ("native", True, True, "cannot serve TLS"),
        ("native", False, False, r"pip install 'retrieval-service\[native\]'"),
    ],
)
def test_the_front_is_chosen_or_refused(
    front: str, tls: bool, installed: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed:
        monkeypatch.setattr(choice, "find_spec", lambda _: None)
    settings = Settings(front=front, **(WITH_TLS if tls else {}))
    if chosen in {"native", "grpcio"}:
        assert choice.choose(settings) == chosen
    else:
        with pytest.raises(SettingsError, match=chosen):
            choice.choose(settings)


def test_settings_of_fronts_are_checked() -> None:
    with pytest.raises(SettingsError, match="RETRIEVAL_FRONT='nginx' must be one of auto, grpcio, native"):
        load_settings({"RETRIEVAL_FRONT": "nginx"})
    with pytest.raises(SettingsError, match="set both or neither"):
        load_settings({"RETRIEVAL_TLS_CERTIFICATE": "server.pem"})
    assert not load_settings({"RETRIEVAL_TLS_CERTIFICATE": "", "RETRIEVAL_TLS_KEY": ""}).tls


def test_nothing_but_its_front_needs_pygrpc_native() -> None:
    code = "import sys; sys.modules['pygrpc_native'] = None; import retrieval.cli.serving, retrieval.transport.server"
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_the_log_says_which_front_serves(front: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(front):
        assert f"front: {front}" in caplog.text


async def test_tls() -> None:
    credentials = grpc.ssl_channel_credentials(CERTIFICATE.read_bytes())
    async with running("auto", **WITH_TLS) as run:
        async with grpc.aio.secure_channel(f"localhost:{run.server.port}", credentials) as channel:
            call = channel.unary_unary(
                "/retrieval.v1.CollectionService/ListCollections",
                request_serializer=collections_pb.ListCollectionsRequest.SerializeToString,
                response_deserializer=collections_pb.ListCollectionsResponse.FromString,
            )
            assert not (await call(LIST, timeout=5)).collections
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await run.client.collections.ListCollections(LIST, timeout=5)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("wrong", ["tls_certificate", "tls_key"])
async def test_files_that_are_no_pair_are_refused(wrong: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for path in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        with pytest.raises(SettingsError, match=r"RETRIEVAL_TLS_CERTIFICATE=.* PEM files"):
            async with running("auto", **(WITH_TLS | {wrong: path})):
                pass


async def test_of_many_calls_at_once_only_those_allowed_run(front: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(front, max_heavy_in_flight=10, heavy_concurrency=10) as run:
        await create(run.client)
        release, started = asyncio.Event(), 0
        real = run.service.stores.collections.get

        async def wait(name: str) -> object:
            nonlocal started
            started += 1
            await release.wait()
            return await real(name)

        monkeypatch.setattr(run.service.stores.collections, "get", wait)
        calls = [asyncio.create_task(run.client.candidates("films", "u")) for _ in range(200)]
        async with asyncio.timeout(10):
            while sum(call.done() for call in calls) < 190:
                await asyncio.sleep(0.01)
        assert started == 10
        release.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
        assert len(refused) == 190
        assert {error_reason(error)[0] for error in refused} == {"OVERLOADED"}
        await run.client.candidates("films", "u")


async def test_a_large_reply_is_refused(front: str) -> None:
    async with running(front, max_message_bytes=2000) as run:
        for n in range(20):
            await create(run.client, f"collection-{n}")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await run.client.collections.ListCollections(LIST)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in raised.value.details()
        assert (await get(run, "collection-1")).collection.name == "collection-1"


async def test_metadata_makes_an_administrator(front: str) -> None:
    request = items_pb.BatchGetItemsRequest(
        collection="films", item_ids=["a"], viewer=common_pb.Viewer(unrestricted=True)
    )
    async with running(front, admin_token="secret") as run:
        await create(run.client)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await run.client.items.BatchGetItems(request, metadata=(("authorization", "Bearer guess"),))
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
        found = await run.client.items.BatchGetItems(request, metadata=(("authorization", "Bearer secret"),))
        assert found.missing_item_ids == ["a"]


async def test_texts_of_errors_survive_the_wire(run: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await get(run, "größe 100% ✓")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert "größe 100% ✓" in raised.value.details()
    assert error_reason(raised.value)[0] == "COLLECTION_NOT_FOUND"
    assert dict(raised.value.trailing_metadata())["call-id"]


async def test_compressed_requests_are_read(run: Running) -> None:
    request = collections_pb.GetCollectionRequest(collection="films")
    reply = await run.client.collections.GetCollection(request, compression=grpc.Compression.Gzip)
    assert reply.collection.name == "films"


@pytest.mark.parametrize("method", ["/retrieval.v1.ItemService/Nothing", "/nowhere.Service/Method"])
async def test_unknown_methods_are_unimplemented(run: Running, method: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await run.client.channel.unary_unary(method)(b"")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_drain_waits_for_calls_under_way(front: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(front, drain_s=5) as run:
        await create(run.client)
        started, release = asyncio.Event(), asyncio.Event()
        real = run.service.stores.collections.get

        async def wait(name: str) -> object:
            started.set()
            await release.wait()
            return await real(name)

        monkeypatch.setattr(run.service.stores.collections, "get", wait)
        call = asyncio.ensure_future(run.client.candidates("films", "u"))
        await asyncio.wait_for(started.wait(), 10)
        draining = asyncio.create_task(run.server.drain())
        await asyncio.sleep(0.1)
        async with RetrievalClient(f"127.0.0.1:{run.server.port}") as late:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await get(late, "films")
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not draining.done()
        release.set()
        assert not (await call).hits
        await asyncio.wait_for(draining, 10)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


async def test_a_drain_waits_for_a_reply_that_the_caller_reads_slowly(front: str) -> None:
    size = 300_000
    async with running(front, drain_s=10, hot={GET: lambda calls: [bytes(size) for _ in calls]}) as run:
        reader, writer = await asyncio.open_connection("127.0.0.1", run.server.port)
        headers = b"\x83\x86" + b"".join(  # POST, http
            b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
            for name, value in (
                (b":path", GET.encode()),
                (b":authority", b"localhost"),
                (b"content-type", b"application/grpc"),
                (b"te", b"trailers"),
            )
        )
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, headers))
        writer.write(frame(0, 1, 1, bytes(5)))
        got = ended = 0
        draining = None
        async with asyncio.timeout(10):
            while not ended:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3]))
                kind, flags = head[3], head[4]
                got += len(payload) if kind == 0 else 0
                ended = kind == 1 and flags & 1
                if kind in {4, 6} and not flags & 1:
                    writer.write(frame(kind, 1, 0, payload if kind == 6 else b""))
                if got == 65_535 and draining is None:
                    # So much was allowed to come; the rest is still in the server.
                    draining = asyncio.create_task(run.server.drain())
                    await asyncio.sleep(0.3)
                    assert not draining.done()
                    for stream in (0, 1):
                        writer.write(frame(8, 0, stream, size.to_bytes(4)))
        assert got == size + 5
        assert draining is not None
        writer.close()
        await asyncio.wait_for(draining, 10)


async def test_calls_that_ended_badly_do_not_hold_up_a_drain(front: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(front, drain_s=20, max_message_bytes=1000) as run:
        await create(run.client)
        with pytest.raises(grpc.aio.AioRpcError, match="larger than max"):
            await get(run, "x" * 2000)
        started = asyncio.Event()

        async def hang(*_: object) -> None:
            started.set()
            await asyncio.sleep(30)

        monkeypatch.setattr(run.service.stores.collections, "get", hang)
        with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
            await run.client.similar("films", ["a"], timeout_s=0.05)
        call = asyncio.ensure_future(run.client.candidates("films", "u"))
        await asyncio.wait_for(started.wait(), 10)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.wait_for(run.server.drain(), 10)


async def test_the_end_of_a_drain_cancels_what_still_runs(front: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(front, drain_s=0.2) as run:
        await create(run.client)
        started, ended = asyncio.Event(), asyncio.Event()

        async def hang(*_: object) -> None:
            started.set()
            try:
                await asyncio.sleep(30)
            finally:
                ended.set()

        monkeypatch.setattr(run.service.stores.collections, "get", hang)
        call = asyncio.ensure_future(run.client.candidates("films", "u"))
        await asyncio.wait_for(started.wait(), 10)
        await asyncio.wait_for(run.server.drain(), 10)
        assert ended.is_set()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def get(run: Running | RetrievalClient, name: str) -> Any:
    client = run if isinstance(run, RetrievalClient) else run.client
    return client.collections.GetCollection(collections_pb.GetCollectionRequest(collection=name))
