"""The gRPC server: its services, its life."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from retrieval.transport.calls import Calls
from retrieval.transport.collection_servicer import CollectionServicer
from retrieval.transport.embedding_job_servicer import EmbeddingJobServicer
from retrieval.transport.feedback_servicer import FeedbackServicer
from retrieval.transport.fronts.choice import open_front
from retrieval.transport.fronts.front import Methods, Offer
from retrieval.transport.health import HealthMonitor
from retrieval.transport.hot_search import HotSearch
from retrieval.transport.item_servicer import ItemServicer
from retrieval.transport.lanes import Lanes
from retrieval.transport.maintenance_servicer import MaintenanceServicer
from retrieval.transport.profile_servicer import ProfileServicer
from retrieval.transport.reflection import add_reflection
from retrieval.transport.retrieval_servicer import RetrievalServicer
from retrieval.transport.training_servicer import TrainingServicer
from retrieval.v1 import (
    collection_service_pb2,
    collection_service_pb2_grpc,
    embedding_job_service_pb2,
    embedding_job_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    item_service_pb2,
    item_service_pb2_grpc,
    maintenance_service_pb2,
    maintenance_service_pb2_grpc,
    profile_service_pb2,
    profile_service_pb2_grpc,
    retrieval_service_pb2,
    retrieval_service_pb2_grpc,
    training_service_pb2,
    training_service_pb2_grpc,
)

if TYPE_CHECKING:
    from retrieval.application.service import Service
    from retrieval.config import Settings
    from retrieval.transport.fronts.front import Front
    from retrieval.transport.hot import HotMethods, LongMethods

log = logging.getLogger(__name__)

SERVICES = tuple(
    file.DESCRIPTOR.services_by_name[name].full_name
    for file, name in (
        (retrieval_service_pb2, "RetrievalService"),
        (collection_service_pb2, "CollectionService"),
        (item_service_pb2, "ItemService"),
        (feedback_service_pb2, "FeedbackService"),
        (training_service_pb2, "TrainingService"),
        (profile_service_pb2, "ProfileService"),
        (embedding_job_service_pb2, "EmbeddingJobService"),
        (maintenance_service_pb2, "MaintenanceService"),
    )
)
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


NO_HOT_METHODS: HotMethods = MappingProxyType({})


class RunningServer:
    """A server that accepts calls on `port`."""

    def __init__(self, front: Front, health: HealthMonitor, calls: Calls, drain_s: float) -> None:
        self._front = front
        self._health = health
        self._calls = calls
        self._drain_s = drain_s
        self.port = front.port

    def ready(self) -> None:
        """Warming is over: health says SERVING as soon as the store answers."""
        self._health.ready()

    async def drain(self) -> None:
        """Say NOT_SERVING, take no new calls, let those under way finish for `drain_s` seconds, then cancel them."""
        self._calls.draining = True
        await self._health.drain()
        await self._front.stop(self._drain_s)
        await self._calls.ended()


async def start_server(
    service: Service,
    settings: Settings,
    *,
    hot: HotMethods | None = None,
    warming: bool = False,
    reuse_port: bool = False,
) -> RunningServer:
    """Serve on the host and port of the settings. While `warming`, health says NOT_SERVING until `ready` is called.

    `hot`: methods that answer before the usual way is taken, by default the searches of the cache, where there is one.
    `reuse_port`: other processes listen on the port too, and each gets a part of the connections.

    Raises: UnavailableError (ADDRESS_IN_USE) when the address cannot be listened on; SettingsError when the settings
    ask for a front that is not there or cannot do what they ask.
    """
    long: LongMethods = {}
    if hot is None and service.stores.cache is not None:
        search = HotSearch(service.stores.cache)
        hot, long = search.methods(), search.long_methods()
    calls = Calls(Lanes(settings), settings.default_deadline_s, long)
    health = HealthMonitor(service.is_alive, SERVICES, service.tasks, warming=warming)
    methods = _methods(service, settings, health)
    offer = Offer(methods, calls, hot or NO_HOT_METHODS, settings.max_message_bytes)
    front = open_front(settings, offer, reuse_port=reuse_port)
    await front.start()
    await health.start()
    log.info("front: %s", front.name)
    return RunningServer(front, health, calls, settings.drain_s)


def _methods(service: Service, settings: Settings, health: HealthMonitor) -> Methods:
    methods: Any = Methods()
    retrieval_service_pb2_grpc.add_RetrievalServiceServicer_to_server(
        RetrievalServicer(service, settings.admin_token), methods
    )
    collection_service_pb2_grpc.add_CollectionServiceServicer_to_server(
        CollectionServicer(service, settings.admin_token), methods
    )
    item_service_pb2_grpc.add_ItemServiceServicer_to_server(ItemServicer(service, settings.admin_token), methods)
    feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(FeedbackServicer(service), methods)
    training_service_pb2_grpc.add_TrainingServiceServicer_to_server(
        TrainingServicer(service, settings.admin_token), methods
    )
    profile_service_pb2_grpc.add_ProfileServiceServicer_to_server(ProfileServicer(service), methods)
    embedding_job_service_pb2_grpc.add_EmbeddingJobServiceServicer_to_server(
        EmbeddingJobServicer(service, settings.admin_token), methods
    )
    maintenance_service_pb2_grpc.add_MaintenanceServiceServicer_to_server(
        MaintenanceServicer(service, settings.admin_token), methods
    )
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, methods)
    add_reflection(methods, (*SERVICES, HEALTH))
    gathered: Methods = methods
    return gathered
