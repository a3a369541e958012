"""An RPC that does nothing: what gRPC alone costs on a front of the service.

It answers every SearchMatryoshka at once with the same ten hits, so that its messages have the sizes of the real ones.
`python -m benchmarks.echo_server FRONT` prints its port when it serves.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Any

import uvloop
from google.protobuf import duration_pb2

from retrieval.config import Settings
from retrieval.transport.calls import Calls
from retrieval.transport.fronts.choice import open_front
from retrieval.transport.fronts.front import Methods, Offer
from retrieval.transport.lanes import Lanes
from retrieval.v1 import common_pb2, retrieval_service_pb2, retrieval_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

METHOD = "/retrieval.v1.RetrievalService/SearchMatryoshka"

STAGES = ("resolve", "plan", "search")


def canned_reply(k: int = 10) -> retrieval_service_pb2.SearchMatryoshkaResponse:
    """A reply with `k` hits (items 0 to k - 1) and everything else that a real one carries."""
    timings = [common_pb2.StageTiming(stage=s, duration=duration_pb2.Duration(nanos=123_456)) for s in STAGES]
    info = common_pb2.ResponseInfo(
        source=common_pb2.SOURCE_HNSW,
        embedding_version=1,
        index_generation=1,
        timings=timings,
        requested_count=k,
        returned_count=k,
        effort=100,
    )
    hits = [common_pb2.Hit(item_id=str(n), score=1 - n / 37, distance=n / 37) for n in range(k)]
    stages = [common_pb2.Stage(dimension=512, candidate_count=k)]
    return retrieval_service_pb2.SearchMatryoshkaResponse(hits=hits, info=info, stages=stages)


def echo(requests: Sequence[bytes]) -> list[bytes]:
    """The canned reply to every call; a hot method."""
    return [REPLY] * len(requests)


REPLY = canned_reply().SerializeToString()


async def serve(front_name: str) -> None:
    """Serves on a free loopback port until SIGTERM."""
    settings = Settings(front=front_name, port=0)
    methods: Any = Methods()
    retrieval_service_pb2_grpc.add_RetrievalServiceServicer_to_server(
        retrieval_service_pb2_grpc.RetrievalServiceServicer(), methods
    )
    calls = Calls(Lanes(settings), settings.default_deadline_s)
    front = open_front(settings, Offer(methods, calls, {METHOD: echo}, settings.max_message_bytes), reuse_port=False)
    await front.start()
    print(front.port, flush=True)
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    await stopped.wait()
    await front.stop(0)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
