"""The searches of the benchmark as requests of the contract, and the service as a target of load."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import grpc
import numpy as np

from benchmarks.grpc_wire import GrpcConnection
from benchmarks.load import Answer, require_loopback
from retrieval.v1 import common_pb2, retrieval_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from benchmarks.datasets import Dataset

METHOD = "/retrieval.v1.RetrievalService/SearchMatryoshka"
SERVER_TIME_KEY = "server-timing-us"
CALL_TIMEOUT_S = 30.0
CHANNEL_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]  # else channels to one address share a connection

SearchReply = retrieval_service_pb2.SearchMatryoshkaResponse


@dataclass(frozen=True)
class Search:
    """One way to search. `effort`: ef_search or nprobe, 0 for the server's default; `funnel`: the default stages.

    FAISS takes no stages: the plan of the segment has its own.
    """

    source: str
    effort: int = 0
    bucket_below: int | None = None
    funnel: bool = False
    target_recall: float = 0.0

    def requests(self, dataset: Dataset, collection: str, k: int) -> list[bytes]:
        """The serialized request of every query of the data set."""
        params = common_pb2.SearchParams(source=common_pb2.Source.Value(f"SOURCE_{self.source.upper()}"))
        if self.source == "ivfflat":
            params.nprobe = self.effort
        else:
            params.ef_search = self.effort
        params.target_recall = self.target_recall
        options = common_pb2.SearchOptions(limit=k, params=params)
        if self.bucket_below is not None:
            below = common_pb2.AttributeValue(int64=self.bucket_below)
            condition = common_pb2.Condition(range=common_pb2.Range(attribute="bucket", lt=below))
            options.filter.must.append(condition)
        own_stages = self.funnel or self.source == "faiss"
        stages = [] if own_stages else [common_pb2.Stage(dimension=dataset.dim, candidate_count=k)]
        return [
            retrieval_service_pb2.SearchMatryoshkaRequest(
                collection=collection,
                vector=common_pb2.Vector(float32_le=query.astype("<f4").tobytes()),
                stages=stages,
                options=options,
            ).SerializeToString()
            for query in dataset.queries
        ]


@dataclass(frozen=True)
class GrpcTarget:
    """Requests over gRPC to `address` (host:port), each caller on a channel of its own."""

    address: str
    requests: list[bytes]

    def __post_init__(self) -> None:
        require_loopback(self.address.rpartition(":")[0])

    @property
    def query_count(self) -> int:
        """How many different requests there are."""
        return len(self.requests)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Callable[[int], Awaitable[SearchReply]]]:
        """A channel, as the function that sends request number i."""
        async with grpc.aio.insecure_channel(self.address, options=CHANNEL_OPTIONS) as channel:
            search = channel.unary_unary(METHOD, response_deserializer=SearchReply.FromString)
            yield lambda query: search(self.requests[query], timeout=CALL_TIMEOUT_S)

    def read(self, reply: SearchReply) -> Answer:
        """Ids and source of a reply; item ids are row numbers."""
        source = common_pb2.Source.Name(reply.info.source).removeprefix("SOURCE_").lower()
        return Answer([int(hit.item_id) for hit in reply.hits], source)


@dataclass(frozen=True)
class WiredTarget(GrpcTarget):
    """The same requests by a client that is cheap enough for the fastest of servers, see `benchmarks.grpc_wire`."""

    shares_connections: ClassVar = True
    method: ClassVar = METHOD

    def open(self) -> GrpcConnection:
        """A connection."""
        return GrpcConnection(self.address, self.method, self.requests)

    def read(self, reply: bytes) -> Answer:
        """Ids and source of an encoded reply."""
        return super().read(SearchReply.FromString(reply))


class ServerTime(NamedTuple):
    """Medians over single calls, in milliseconds: the whole handler, and what of it is not the SQL statement."""

    handler_ms: float
    outside_sql_ms: float


def probe(target: GrpcTarget, calls: int = 300) -> ServerTime | None:
    """Server time by the server's own clock, from one caller; None where the server does not send it."""
    handler, outside = [], []
    with grpc.insecure_channel(target.address, options=CHANNEL_OPTIONS) as channel:
        search = channel.unary_unary(METHOD, response_deserializer=SearchReply.FromString)
        for number in range(calls):
            request = target.requests[number % target.query_count]
            reply, call = search.with_call(request, timeout=CALL_TIMEOUT_S)
            total_us = dict(call.trailing_metadata() or ()).get(SERVER_TIME_KEY)
            if total_us is None:
                return None
            sql_ms = sum(t.duration.ToMicroseconds() for t in reply.info.timings if t.stage == "search") / 1e3
            handler.append(int(total_us) / 1e3)
            outside.append(int(total_us) / 1e3 - sql_ms)
    return ServerTime(float(np.median(handler)), float(np.median(outside)))


def found_by(target: GrpcTarget) -> list[list[int]]:
    """The ids that each query finds, every query once."""
    with grpc.insecure_channel(target.address, options=CHANNEL_OPTIONS) as channel:
        search = channel.unary_unary(METHOD, response_deserializer=SearchReply.FromString)
        return [target.read(search(request, timeout=CALL_TIMEOUT_S)).ids for request in target.requests]


def effort_of(target: GrpcTarget) -> int:
    """The ef_search or nprobe that the service uses for these requests; 0 where it compares every row."""
    with grpc.insecure_channel(target.address, options=CHANNEL_OPTIONS) as channel:
        search = channel.unary_unary(METHOD, response_deserializer=SearchReply.FromString)
        return int(search(target.requests[0], timeout=CALL_TIMEOUT_S).info.effort)
