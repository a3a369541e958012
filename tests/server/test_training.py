"""A run of pairs outlives the server that it began on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from retrieval.v1 import training_service_pb2 as pb
from retrieval.v1 import training_service_pb2_grpc as pb_grpc
from tests.patience import PATIENCE_S
from tests.server.process import server_process
from tests.training import END_US, START_US, event, item, pairs_of, shelf

if TYPE_CHECKING:
    from retrieval.application.ports import Stores


async def test_a_run_goes_on_after_the_server_was_killed(database_url: str, postgres: Stores, name: str) -> None:
    films = await shelf(postgres, name, [item(f"i{n}") for n in range(10)])
    for user in ("ann", "bob", "eve"):
        views = [event(user, f"i{n}", "view", n) for n in range(1, 10)]
        await postgres.events.record(films, [event(user, "i0", "like", 1), *views])
    request = pb.GenerateTrainingPairsRequest(collection=name, model_version="two-tower-1", max_users=2)
    request.window_start.FromMicroseconds(START_US)
    request.window_end.FromMicroseconds(END_US)
    for number, users in enumerate((2, 3)):
        async with (
            server_process(RETRIEVAL_DATABASE_URL=database_url, RETRIEVAL_CACHE_MEMORY_BUDGET_BYTES="0") as server,
            grpc.aio.insecure_channel(server.target) as channel,
        ):
            reply = await pb_grpc.TrainingServiceStub(channel).GenerateTrainingPairs(request, timeout=PATIENCE_S)
            assert reply.user_count == users
            assert bool(reply.resume_token) is (number == 0)
            request.run_id = reply.run_id
            server.kill()
            await server.process.wait()
    assert (reply.positive_count, reply.negative_count) == (3, 12)
    assert len(await pairs_of(postgres, films)) == 15
