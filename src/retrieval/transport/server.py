"""The gRPC server: its services, its life."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from retrieval.domain.errors import UnavailableError
from retrieval.transport.collection_servicer import CollectionServicer
from retrieval.transport.feedback_servicer import FeedbackServicer
from retrieval.transport.health import HealthMonitor
from retrieval.transport.interceptors import CallInterceptor
from retrieval.transport.item_servicer import ItemServicer
from retrieval.transport.reflection import add_reflection
from retrieval.transport.retrieval_servicer import RetrievalServicer
from retrieval.v1 import (
    collection_service_pb2,
    collection_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    item_service_pb2,
    item_service_pb2_grpc,
    retrieval_service_pb2,
    retrieval_service_pb2_grpc,
)

if TYPE_CHECKING:
    from retrieval.application.service import Service
    from retrieval.config import Settings

SERVICES = tuple(
    file.DESCRIPTOR.services_by_name[name].full_name
    for file, name in (
        (retrieval_service_pb2, "RetrievalService"),
        (collection_service_pb2, "CollectionService"),
        (item_service_pb2, "ItemService"),
        (feedback_service_pb2, "FeedbackService"),
    )
)
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class RunningServer:
    """A server that accepts calls on `port`."""

    def __init__(
        self, server: grpc.aio.Server, port: int, health: HealthMonitor, calls: CallInterceptor, drain_s: float
    ) -> None:
        self._server = server
        self._health = health
        self._calls = calls
        self._drain_s = drain_s
        self.port = port

    def ready(self) -> None:
        """Warming is over: health says SERVING as soon as the store answers."""
        self._health.ready()

    async def drain(self) -> None:
        """Say NOT_SERVING, take no new calls, let those under way finish for `drain_s` seconds, then cancel them."""
        self._calls.draining = True
        await self._health.drain()
        await self._server.stop(self._drain_s)


async def start_server(service: Service, settings: Settings, *, warming: bool = False) -> RunningServer:
    """Serve on the host and port of the settings. While `warming`, health says NOT_SERVING until `ready` is called.

    Raises: UnavailableError (ADDRESS_IN_USE) when the address cannot be listened on.
    """
    calls = CallInterceptor(settings.max_in_flight, settings.default_deadline_s)
    server = grpc.aio.server(interceptors=(calls,), options=_options(settings))
    retrieval_service_pb2_grpc.add_RetrievalServiceServicer_to_server(
        RetrievalServicer(service, settings.admin_token), server
    )
    collection_service_pb2_grpc.add_CollectionServiceServicer_to_server(CollectionServicer(service), server)
    item_service_pb2_grpc.add_ItemServiceServicer_to_server(ItemServicer(service, settings.admin_token), server)
    feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(FeedbackServicer(service), server)
    health = HealthMonitor(service.is_alive, SERVICES, warming=warming)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    add_reflection(server, (*SERVICES, HEALTH))
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port = server.add_insecure_port(f"{host}:{settings.port}")
    except RuntimeError as error:
        raise UnavailableError(
            f"cannot listen on {host}:{settings.port}: the port is taken, or the address is not of this machine",
            reason="ADDRESS_IN_USE",
        ) from error
    await server.start()
    await health.start()
    return RunningServer(server, port, health, calls, settings.drain_s)


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Two servers on one port would share its calls by chance; the second one is to fail instead.
        ("grpc.so_reuseport", 0),
        # Find dead peers within 80 s, and let clients ping idle connections every 10 s, as proxies make them do.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
