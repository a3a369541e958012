from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from retrieval.transport.server import SERVICES
from tests.transport.conftest import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor

    from tests.transport.conftest import Running

Status = health_pb2.HealthCheckResponse
SERVING, NOT_SERVING = Status.SERVING, Status.NOT_SERVING


async def ask(run: Running, version: str, **request: str) -> reflection_pb2.ServerReflectionResponse:
    call = run.client.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter([reflection_pb2.ServerReflectionRequest(**request)]))
    return await call.read()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_and_describes_every_service(run: Running, version: str) -> None:
    reply = await ask(run, version, list_services="*")
    names = {service.name for service in reply.list_services_response.service}
    assert names == {
        *SERVICES,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    for name in names:
        found = await ask(run, version, file_containing_symbol=name)
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(raw)
            for raw in found.file_descriptor_response.file_descriptor_proto
        ]
        assert name in {f"{file.package}.{service.name}" for file in files for service in file.service}


def symbols_of(message: Descriptor) -> Iterator[str]:
    """The full names of a message and of everything inside it."""
    yield message.full_name
    for field in message.fields:
        yield field.full_name
    for oneof in message.oneofs:
        yield f"{message.full_name}.{oneof.name}"
    for extension in message.extensions:
        yield extension.full_name
    for enum in message.enum_types:
        yield from values_of(enum, message.full_name)
    for nested in message.nested_types:
        yield from symbols_of(nested)


def values_of(enum: EnumDescriptor, scope: str) -> Iterator[str]:
    """The full names of an enum and of its values, which belong to what is around it."""
    yield enum.full_name
    for value in enum.values:
        yield f"{scope}.{value.name}"


def symbols(file: FileDescriptor) -> Iterator[str]:
    for service in file.services_by_name.values():
        yield service.full_name
        for method in service.methods:
            yield method.full_name
    for message in file.message_types_by_name.values():
        yield from symbols_of(message)
    for enum in file.enum_types_by_name.values():
        yield from values_of(enum, file.package)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_knows_every_symbol(run: Running, version: str) -> None:
    pool = descriptor_pool.Default()
    wanted = {}
    for service in (*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"):
        file = pool.FindServiceByName(service).file
        for used in (file, *file.dependencies):
            wanted |= dict.fromkeys(symbols(used), used.name)
    assert "retrieval.v1.RetrievalService.SearchHybrid" in wanted
    assert "grpc.health.v1.HealthCheckResponse.SERVING" in wanted
    unknown = ["retrieval.v1.RetrievalService.Nothing", "retrieval.v1.Nothing.SearchHybrid", "SearchHybrid", ""]
    names = [*wanted, *unknown]
    call = run.client.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in names]))
    for name in names:
        reply = await call.read()
        assert reply.original_request.file_containing_symbol == name
        if name not in wanted:
            assert reply.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
            continue
        (first, *_) = reply.file_descriptor_response.file_descriptor_proto
        assert descriptor_pb2.FileDescriptorProto.FromString(first).name == wanted[name], name


async def test_health_lists_every_service(run: Running, caplog: pytest.LogCaptureFixture) -> None:
    await until(run, SERVING)
    reply = await health_pb2_grpc.HealthStub(run.client.channel).List(health_pb2.HealthListRequest())
    assert {name: reply.statuses[name].status for name in reply.statuses} == dict.fromkeys(("", *SERVICES), SERVING)
    assert not [record for record in caplog.records if record.exc_info]


async def check(run: Running, service: str = "") -> int:
    stub = health_pb2_grpc.HealthStub(run.client.channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def until(run: Running, status: int) -> None:
    async with asyncio.timeout(10):
        while await check(run) != status:
            await asyncio.sleep(0.02)


async def test_health_follows_warming_and_the_store(front: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.transport.health.INTERVAL_S", 0.02)
    alive = [True]
    async with running(front, warming=True, alive=alive) as run:
        await asyncio.sleep(0.1)
        assert {await check(run, name) for name in ("", *SERVICES)} == {NOT_SERVING}
        run.server.ready()
        await until(run, SERVING)
        assert {await check(run, name) for name in ("", *SERVICES)} == {SERVING}
        alive[0] = False
        await until(run, NOT_SERVING)
        alive[0] = True
        await until(run, SERVING)


async def test_a_watch_hears_of_the_drain_and_does_not_hold_it_up(front: str) -> None:
    async with running(front, drain_s=20) as run:
        await until(run, SERVING)
        watch = health_pb2_grpc.HealthStub(run.client.channel).Watch(health_pb2.HealthCheckRequest(service=SERVICES[0]))
        assert (await watch.read()).status == SERVING
        started = asyncio.get_running_loop().time()
        await run.server.drain()
        assert asyncio.get_running_loop().time() - started < 10
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF


async def test_an_unknown_service_is_not_found(run: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await check(run, "nope")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
