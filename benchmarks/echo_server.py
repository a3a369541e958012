"""An RPC that does nothing: what gRPC alone costs.

It implements SearchMatryoshka, reads the request and answers with the same ten hits, so that its messages are of the
types and sizes of the real ones. `python -m benchmarks.echo_server` prints its port when it serves.
"""

from __future__ import annotations

import asyncio
import signal

import grpc
from google.protobuf import duration_pb2

from retrieval.v1 import common_pb2, retrieval_service_pb2, retrieval_service_pb2_grpc

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


class EchoService(retrieval_service_pb2_grpc.RetrievalServiceServicer):
    """Answers every SearchMatryoshka at once."""

    def __init__(self) -> None:
        self._reply = canned_reply()

    async def SearchMatryoshka(self, request, context):  # noqa: ARG002, N802
        """The canned reply."""
        return self._reply


async def serve() -> None:
    """Serves on a free loopback port until SIGTERM."""
    server = grpc.aio.server()
    retrieval_service_pb2_grpc.add_RetrievalServiceServicer_to_server(EchoService(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    await stopped.wait()
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(serve())
